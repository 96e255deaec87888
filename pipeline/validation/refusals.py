"""What a refused batch says: one sentence with the counts, the rules broken most, an example of each, the remedy."""

from collections.abc import Mapping

import numpy as np

from pipeline.errors import BatchRefused
from pipeline.numbers import minute, percent
from pipeline.settings.config import Config
from pipeline.settings.sensitive import mask
from pipeline.tables.cells import describe_cells
from pipeline.tables.label_words import describe_words
from pipeline.tables.parsing import RULES
from pipeline.tables.period import Period
from pipeline.tables.reading import Table
from pipeline.validation.quarantine import BROKEN_LINE
from pipeline.validation.rules import not_seen

_TOP = 3  # rules named
_RAISE = "or raise [validation] max_rejected"
NAME_WORDS = "mend the cells, or name their words in [table] label_fraud, label_normal or label_unknown"
_TYPES = {
    "number": "a number",
    "timestamp": "a timestamp (write it as 2025-01-31 23:59:00)",
    "integer": "a whole number",
}


def check_names(table: Table, config: Config) -> None:
    """Refuse a table with a second column of a name that the contract means one of.

    Raises
    ------
    BatchRefused
    """
    contract = config.contract
    for word, name in table.renamed.items():
        if name in contract.columns and word not in (*contract.columns, *contract.ignored):
            raise BatchRefused(
                f"{table.path} has two columns named {name!r}; call one of them otherwise, or put the second, which is "
                f"called {word!r}, into [contract]"
            )


def check_share(
    table: Table,
    config: Config,
    broken: Mapping[str, np.ndarray],
    columns: Mapping[str, str],
    *,
    broken_lines: int,
    rejected: int,
    judged: int,
    read: int,
) -> None:
    """Refuse a batch of which more than ``max_rejected`` broke a rule.

    Parameters
    ----------
    table : Table
    config : Config
    broken : mapping of str to numpy.ndarray
        For each rule the rows that broke it, in the order of ``table.batches``.
    columns : mapping of str to str
        The column whose value is the example of a rule.
    broken_lines : int
        CSV lines that could not be cut into cells.
    rejected, judged, read : int
        Rows that broke a rule, rows inside the period, rows read.

    Raises
    ------
    BatchRefused
    """
    limit = config.validation.max_rejected
    if not judged or rejected / judged <= limit:
        return
    counts = {name: len(rows) for name, rows in broken.items()}
    if broken_lines:
        counts[BROKEN_LINE] = broken_lines
    top = sorted(counts, key=lambda name: -counts[name])[:_TOP]
    cells = {name: (columns[name], int(broken[name][0])) for name in top if name in columns}
    examples = describe_cells(table, list(cells.values()), config.validation.batch_rows)
    parts = []
    for name in top:
        example = ""
        if name in cells:
            value, place = examples[cells[name]]
            example = f", e.g. {mask(value, config.contract, columns[name])} in {place}"
        elif name == BROKEN_LINE:
            line = table.broken[0]
            example = f", e.g. in {line.source_file}, source_row {line.source_row}"
        parts.append(f"{name} ({counts[name]:,} rows{example})")
    others = f" and {len(counts) - _TOP} more rules" if len(counts) > _TOP else ""
    raise BatchRefused(
        f"{table.path}: {rejected:,} of {judged:,} rows ({percent(rejected / judged)}) break a rule, more than "
        f"max_rejected = {percent(limit)}: {'; '.join(parts)}{others}; {_remedy(top[0], config)}",
        read,
    )


def _remedy(rule: str, config: Config) -> str:
    """Return what to do about a batch of which too many rows break this rule more than any other."""
    if rule == not_seen(config):
        return (
            "score other days with --from and --to, or save the table under the name of the file scored before, "
            "whose rows it then replaces"
        )
    if rule == f"{config.contract.amount}: not negative":
        return f"mend the table, set [validation] negative_amounts = true where refunds are meant, {_RAISE}"
    if rule == f"{config.contract.label}: {RULES['label']}":
        return f"a label is {describe_words(config.table)}; {NAME_WORDS}, {_RAISE}"
    return f"mend the table, {_RAISE}"


def check_any_accepted(table: Table, period: Period, accepted: int, *, judged: int, again: int, read: int) -> None:
    """Refuse a batch that leaves nothing to learn from or to score.

    Parameters
    ----------
    table : Table
    period : Period
    accepted, judged, again, read : int
        Rows that no rule rejected, rows inside the period, those of them that were delivered before, and rows read.

    Raises
    ------
    BatchRefused
    """
    if accepted:
        return
    if judged and judged == again:
        raise BatchRefused(
            f"{table.path}: all {judged:,} rows in the period were delivered before, as they are, and have their "
            "scores; there is nothing new to score",
            read,
        )
    if judged:
        raise BatchRefused(
            f"{table.path}: none of the {judged:,} rows in the period passed; look at them with assay validate", read
        )
    start, end = (minute(side) if side else "any time" for side in (period.start, period.end))
    raise BatchRefused(
        f"{table.path}: no row of {read:,} lies in the period asked for, {start} to {end} (UTC); give another --from "
        "and --to",
        read,
    )


def check_types(
    table: Table,
    config: Config,
    *,
    missing: Mapping[str, int],
    unparsed: Mapping[str, int],
    first: Mapping[str, int],
    rows: int,
    read: int,
) -> None:
    """Refuse a table with a column of which no cell is of the contract's type, or that may not be empty and is.

    A column that may be empty (a number, a category, a label) and holds a few cells, all of them wrong, is
    left to the rows' own rules.

    Parameters
    ----------
    table : Table
    config : Config
    missing, unparsed : mapping of str to int
        For each column the cells that are empty, and those that are there and not of the type.
    first : mapping of str to int
        For each column with unparsed cells the row of the first, in the order of ``table.batches``.
    rows, read : int
        Rows whose cells were looked at, and rows read (broken CSV lines included).

    Raises
    ------
    BatchRefused
    """
    contract = config.contract
    for column, empty in missing.items():
        failures = unparsed.get(column, 0)
        if failures and failures == rows - empty:
            if (
                column not in contract.obligatory
                and failures < rows
                and failures / rows <= config.validation.max_rejected
            ):
                continue
            cell = (column, first[column])
            value, place = describe_cells(table, [cell], config.validation.batch_rows)[cell]
            value = mask(value, contract, column)
            kind, remedy = contract.type_of(column), "mend the column, or its role in [contract]"
            rule = _TYPES.get(kind, "")
            if kind == "label":
                rule, remedy = describe_words(config.table), NAME_WORDS
            raise BatchRefused(
                f"{table.path}: column {column!r} is of the wrong type: none of its {failures:,} values is {rule}, "
                f"e.g. {value} in {place}; {remedy}",
                read,
            )
        if rows and empty == rows and column in contract.obligatory:
            raise BatchRefused(
                f"{table.path}: column {column!r} is empty in all {rows:,} rows, and the contract needs its "
                f"values; deliver them",
                read,
            )
