"""The alerts table as people see it: rows ready to show, and the columns of a spreadsheet."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.numbers import amount, moment, number
from pipeline.settings.config import Config
from pipeline.settings.contract import MASK, Contract
from pipeline.tables.period import local_times

REASONS_IN_CSV = ("reason_1", "reason_2", "reason_3")


def for_spreadsheets(alerts: pa.Table, timestamp: str, zone: str, sensitive: tuple[str, ...]) -> pa.Table:
    """Return alerts, or rows to audit, for people: sensitive cells masked, local times, a column for each reason."""
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for field in alerts.schema:
        column = alerts.column(field.name)
        name = f"{field.name} (input)" if field.name in REASONS_IN_CSV else field.name
        if field.name.removesuffix(" (input)") in sensitive:
            columns[name] = pc.if_else(column.is_valid(), MASK, pa.scalar(None, pa.string()))
        elif field.name == timestamp:
            columns[name] = _at_their_precision(local_times(column, zone))
        elif pa.types.is_dictionary(field.type) or pa.types.is_large_string(field.type):
            columns[name] = column.cast(pa.string())
        elif not pa.types.is_nested(field.type):
            columns[name] = column
    if "reasons" not in alerts.column_names:
        return pa.table(columns)
    texts = [[reason["text"] for reason in reasons] for reasons in alerts.column("reasons").to_pylist()]
    for place, name in enumerate(REASONS_IN_CSV):
        found = [row[place] if place < len(row) else None for row in texts]
        columns[name] = pa.array(found, pa.string())
    return pa.table(columns)


def _at_their_precision(times: np.ndarray) -> pa.Array:
    """Return times in whole seconds where all are: spreadsheets take six more digits for text."""
    seconds = times.astype("datetime64[s]")
    return pa.array(seconds if (seconds == times).all() else times)


# Columns that scoring adds to the input's.
SCORING = (
    "anomaly_score",
    "p_value",
    "tail_p_value",
    "is_flagged",
    "batch_id",
    "model_version",
    "scored_at",
    "threshold",
    "rank",
    "reasons",
    "reason",
)


@dataclass(frozen=True)
class ReasonRow:
    """One reason of an alert, ready to show; ``share`` is that of the score, in 0..1."""

    column: str
    actual: str
    expected: str
    share: float
    text: str


@dataclass(frozen=True)
class AlertRow:
    """One alert, ready to show, sensitive values already masked. Made by :func:`alert_rows`."""

    rank: int
    id: str
    time: str
    amount: str
    keys: tuple[tuple[str, str], ...]  # entities and categories, by column
    score: float
    p_value: float
    reasons: tuple[ReasonRow, ...]
    is_fraud: bool | None


def alert_rows(alerts: pa.Table, config: Config, *, limit: int = 25, show_labels: bool = False) -> list[AlertRow]:
    """Make the first alerts ready to show; values of sensitive columns are masked here, wherever they stand.

    Parameters
    ----------
    alerts : pyarrow.Table
        The alerts table.
    config : Config
        Names the columns and the sensitive ones among them; times are shown in its zone.
    limit : int
    show_labels : bool
        Whether to say which alerts are fraud, as far as the table has it.

    Returns
    -------
    list of AlertRow
        At most ``limit``, by rank.
    """
    contract = config.contract
    zone = ZoneInfo(config.table.time_zone)
    rows = []
    for row in alerts.sort_by("rank").slice(0, limit).to_pylist():
        # An input column named like one that scoring adds goes by another name in the alerts table.
        cells = {name.removesuffix(" (input)"): value for name, value in row.items() if name not in SCORING}
        hidden = _spellings(cells[name] for name in contract.sensitive if name in cells)
        shown = {name: "none" if cells[name] is None else str(cells[name]) for name in contract.key_columns}
        shown[contract.timestamp] = moment(cells[contract.timestamp], zone)
        shown[contract.amount] = amount(cells[contract.amount])
        shown |= dict.fromkeys(contract.sensitive, MASK)
        reasons = tuple(_reason(reason, contract, hidden) for reason in row.get("reasons") or ())
        label = cells.get(contract.label) if show_labels and contract.label not in contract.sensitive else None
        rows.append(
            AlertRow(
                rank=row["rank"],
                id=shown[contract.id],
                time=shown[contract.timestamp],
                amount=shown[contract.amount],
                keys=tuple((name, shown[name]) for name in contract.key_columns[1:]),
                score=row["anomaly_score"],
                p_value=row["p_value"],
                reasons=reasons,
                is_fraud=None if label is None else bool(label),
            )
        )
    return rows


def _reason(reason: Mapping[str, Any], contract: Contract, hidden: re.Pattern[str]) -> ReasonRow:
    column, text = reason["column"], reason["text"]
    actual, expected = number(reason["actual"]), number(reason["expected"])
    if _is_sensitive(column, contract) or any(map(hidden.search, (actual, expected, text))):
        actual = expected = MASK
        text = f"{column} {MASK}, not what was expected"
    return ReasonRow(column, actual, expected, float(reason["share"]), text)


def _is_sensitive(column: str, contract: Contract) -> bool:
    """Whether a reason's figures would show a sensitive column, or an average of one.

    What an entity has been doing ("CUSTOMER_ID: transactions") does not show which entity it is.
    """
    numbers = set(contract.sensitive) - set(contract.entities)
    if contract.amount in contract.sensitive and "amount" in column.lower():
        return True
    return column in contract.sensitive or any(name in column for name in numbers)


def _spellings(values: Iterable[Any]) -> re.Pattern[str]:
    """Return a pattern that finds the values, as whole words, in every way in which a page may write them."""
    spellings = set()
    for value in values:
        if isinstance(value, float):
            spellings |= {f"{value:,.2f}", f"{value:.2f}", f"{value:g}"}
        spellings |= {str(value), number(value)} if value is not None else set()
    words = "|".join(re.escape(text) for text in sorted(spellings) if text.strip())
    return re.compile(rf"(?<![\w.])(?:{words})(?!\w)" if words else r"(?!)")
