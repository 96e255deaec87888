"""The first reading of a table: every row judged by itself, batch by batch, with memory for one batch."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.suites import Rule, contract_suite, list_rules, read_suite
from pipeline.settings.config import Config
from pipeline.tables.cells import as_text
from pipeline.tables.parsing import RULES as TYPE_RULES
from pipeline.tables.parsing import parse, typed_schema
from pipeline.tables.period import Period
from pipeline.tables.reading import Table
from pipeline.tables.writing import ParquetWriter
from pipeline.validation.duplicates import ID, ROW
from pipeline.validation.quarantine import BROKEN_LINE

CELLS = 4_000_000
"""Of a wide table, as many cells are judged at a time: pandas and Great Expectations copy each several times."""
LEAST_ROWS = 10_000

Rows = np.ndarray  # int64 places in the order of Table.batches


def unique(config: Config) -> str:
    """Return the name of the rule that no id comes twice in a table."""
    return f"{config.contract.id}: unique"


def rows_at_a_time(config: Config, columns: int) -> int:
    """Return how many rows of a table with so many columns are read at a time.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> rows_at_a_time(config, 8), rows_at_a_time(config, 40), rows_at_a_time(config, 4000)
    (500000, 100000, 10000)
    """
    return min(config.validation.batch_rows, max(LEAST_ROWS, CELLS // columns))


def not_seen(config: Config) -> str:
    """Return the name of the rule that no id comes again after an earlier batch."""
    return f"{config.contract.id}: not scored in an earlier batch"


@dataclass
class Part:
    """The rows inside the period, or those that features look back to.

    ``path`` holds those that passed the rules about a row and ``keys`` their ids and places, in the same
    order; ``pending`` those that broke a rule with ``mostly``; ``late`` those that were rejected afterwards.
    """

    path: Path
    keys: Path
    rows: int = 0
    passed: int = 0
    pending: dict[str, list[Rows]] = field(default_factory=dict)
    late: list[Rows] = field(default_factory=list)


class Reading:
    """Reads a table once; afterwards its attributes say what was found.

    Attributes
    ----------
    rules : dict of str to Rule
        All rules by name; those about more than a row are not judged here.
    outcomes : dict of str to Outcome
        What became of each rule, and of each column's type, for the rows inside the period.
    type_rules : dict of str to str
        For each rule that a cell can be typed, its column.
    inside, lookback : Part
    broken : dict of str to list of numpy.ndarray
        Rows inside the period to reject, by rule.
    unplaced : list of numpy.ndarray
        Rows inside the period only because they have no plausible time.
    rows : int
        Rows read, without CSV lines that could not be cut into cells.
    missing, unparsed, first_unparsed : dict of str to int
        For each of the contract's columns the empty cells, the cells that could not be typed, and the first
        row with one.
    """

    def __init__(self, table: Table, config: Config, period: Period, at: datetime, scratch: Path) -> None:
        from expectations.runs import Engine, Outcome

        self.table, self.config = table, config
        self.schema = typed_schema(table.schema, config)
        plausible = _plausible(config, at)
        self.plausible = tuple(_microseconds(moment) for moment in plausible)
        self.period = period
        self.span = tuple(_microseconds(moment) if moment else None for moment in (period.start, period.end))
        contract = config.contract
        self.type_rules = {
            f"{name}: {TYPE_RULES[contract.type_of(name)]}": name
            for name in contract.columns
            if name in table.schema.names and contract.type_of(name) in TYPE_RULES
        }
        rules = _list_rules(config, self.schema, plausible, {*self.type_rules, not_seen(config), BROKEN_LINE})
        self.rules = {rule.name: rule for rule in rules}
        self.row_rules = [rule for rule in rules if rule.scope == "row"]
        self.judged_columns = list(dict.fromkeys(name for rule in self.row_rules for name in rule.columns))
        self.outcomes = {rule.name: Outcome.of(rule) for rule in rules}
        for name, column in self.type_rules.items():
            kwargs = {"column": column, "type_": contract.type_of(column)}
            kind = "expect_column_values_to_be_of_type"
            self.outcomes.setdefault(name, Outcome(name, kind, kwargs, "critical", (column,)))
        self.engine = Engine(contract.sensitive)
        self.inside = Part(scratch / "inside.parquet", scratch / "inside_keys.parquet")
        self.lookback = Part(scratch / "lookback.parquet", scratch / "lookback_keys.parquet")
        self.broken: dict[str, list[Rows]] = {}
        self.unplaced: list[Rows] = []
        self.rows = 0
        self.missing = dict.fromkeys((n for n in contract.columns if n in table.schema.names), 0)
        self.unparsed: dict[str, int] = {}
        self.first_unparsed: dict[str, int] = {}

    @property
    def read_rows(self) -> int:
        """Rows read, those CSV lines included that could not be cut into cells."""
        return self.rows + len(self.table.broken)

    def run(self, on_rows: Callable[[int], None]) -> None:
        """Judge every row by itself; keep the rows that pass, and of the others the places and rules."""
        with ExitStack() as stack:
            key_schema = pa.schema({ID: self.schema.field(self.config.contract.id).type, ROW: pa.int64()})
            writers = [
                (
                    part,
                    stack.enter_context(ParquetWriter(part.path, self.schema)),
                    stack.enter_context(ParquetWriter(part.keys, key_schema)),
                )
                for part in (self.inside, self.lookback)
            ]
            for raw in self.table.batches(rows_at_a_time(self.config, len(self.schema))):
                typed, unparsed = parse(raw, self.config)
                self._count_cells(typed, unparsed)
                for mask, (part, rows, keys) in zip(self._split(typed), writers, strict=True):
                    places = np.flatnonzero(mask)
                    if not len(places):
                        continue
                    if part is self.inside:
                        self.unplaced.append(self.rows + np.flatnonzero(~self._has_time(typed)))
                    passed = places[self._judge(part, raw, typed, unparsed, places)]
                    good = typed.take(pa.array(passed))
                    rows.write(good)
                    ids = good.column(self.config.contract.id)
                    keys.write(pa.record_batch([ids, pa.array(self.rows + passed)], schema=key_schema))
                    part.rows += len(places)
                    part.passed += len(passed)
                self.rows += raw.num_rows
                on_rows(raw.num_rows)

    def _count_cells(self, typed: pa.RecordBatch, unparsed: dict[str, np.ndarray]) -> None:
        for column in self.missing:
            self.missing[column] += typed.column(column).null_count
        for name, mask in unparsed.items():
            column, count = self.type_rules[name], int(mask.sum())
            self.missing[column] -= count
            self.unparsed[column] = self.unparsed.get(column, 0) + count
            self.first_unparsed.setdefault(column, self.rows + int(np.argmax(mask)))

    def _split(self, typed: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Return which rows are inside the period, or have no plausible time, and which are to look back to."""
        moment = pc.fill_null(typed.column(self.config.contract.timestamp).cast(pa.int64()), 0).to_numpy()
        known = self._has_time(typed)
        start, end = self.span
        outside, lookback = np.zeros(len(moment), dtype=bool), np.zeros(len(moment), dtype=bool)
        if end is not None:
            outside |= moment >= end
        if start is not None:
            outside |= moment < start
            oldest = start - self.config.features.max_window_days * 86_400_000_000
            lookback = known & (moment < start) & (moment >= oldest)
        return ~(known & outside), lookback

    def _has_time(self, typed: pa.RecordBatch) -> np.ndarray:
        """Return which rows have a plausible time."""
        column = typed.column(self.config.contract.timestamp)
        moment = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
        known = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return known & (moment >= self.plausible[0]) & (moment <= self.plausible[1])

    def _judge(
        self,
        part: Part,
        raw: pa.RecordBatch,
        typed: pa.RecordBatch,
        unparsed: dict[str, np.ndarray],
        places: np.ndarray,
    ) -> np.ndarray:
        """Return which of some rows of a batch (n_places,) pass every rule about a row."""
        from expectations.runs import to_frame

        found: dict[str, np.ndarray] = {}
        lost: dict[str, np.ndarray] = {}  # by column, the cells that were there and could not be typed
        for name, mask in unparsed.items():
            column = self.type_rules[name]
            lost[column] = mask[places]
            found[name] = np.flatnonzero(lost[column])
        frame = to_frame(typed.select(self.judged_columns).take(pa.array(places)))
        results = self.engine.rows(self.row_rules, frame)
        for name, result in results.items():
            positions, rule = result.positions, self.rules[name]
            if rule.expectation.expectation_type == "expect_column_values_to_not_be_null":
                unreadable = lost.get(rule.columns[0])
                positions = positions if unreadable is None else positions[~unreadable[positions]]
            if part is self.inside:
                self.outcomes[name].add(result.rows, result.missing, len(positions), result.values)
            found[name] = np.union1d(found[name], positions) if name in found else positions
        if part is self.inside:
            for name, column in self.type_rules.items():
                bad = np.flatnonzero(lost[column]) if column in lost else np.array([], dtype=np.int64)
                sample = as_text(raw.column(column).take(pa.array(places[bad[:20]]))).to_pylist()
                if name in results:  # which took these cells for missing ones
                    self.outcomes[name].add(0, -len(bad), len(bad), sample)
                else:
                    missing = typed.column(column).take(pa.array(places)).null_count - len(bad)
                    self.outcomes[name].add(len(places), missing, len(bad), sample)
        passes = np.ones(len(places), dtype=bool)
        for name, positions in found.items():
            rule_of = self.rules.get(name)
            if not len(positions) or (rule_of and rule_of.severity != "critical"):
                continue
            rows = self.rows + places[positions]
            if rule_of and rule_of.mostly < 1:
                part.pending.setdefault(name, []).append(rows)
                continue
            passes[positions] = False
            if part is self.inside:
                self.broken.setdefault(name, []).append(rows)
        return passes


def _plausible(config: Config, at: datetime) -> tuple[datetime, datetime]:
    """Return the first and the last plausible time, in UTC; beyond the calendar's ends there is nothing to say."""
    zone = ZoneInfo(config.table.time_zone)
    try:
        first = datetime.combine(config.validation.earliest, time(), tzinfo=zone).astimezone(UTC)
    except OverflowError:  # the first day of year 1, east of Greenwich
        first = datetime.min.replace(tzinfo=UTC)
    try:
        last = at + timedelta(days=config.validation.latest_days_ahead)
    except OverflowError:
        last = datetime.max.replace(tzinfo=UTC)
    return first, last


def _microseconds(moment: datetime) -> int:
    return (moment.replace(tzinfo=None) - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def _list_rules(config: Config, schema: pa.Schema, plausible: tuple[datetime, datetime], taken: set[str]) -> list[Rule]:
    """Return the rules that follow from the contract, then those of the table's own suite."""
    contract = config.contract
    zones = {
        field.name: config.table.time_zone if field.name in contract.columns or field.type.tz else "UTC"
        for field in schema
        if pa.types.is_timestamp(field.type)
    }
    zones |= {field.name: "UTC" for field in schema if pa.types.is_date(field.type)}
    entries = contract_suite(
        id=contract.id,
        timestamp=contract.timestamp,
        amount=contract.amount,
        entities=contract.entities,
        numeric=contract.numeric,
        label=contract.label,
        earliest=plausible[0],
        latest=plausible[1],
        max_amount=config.validation.max_amount,
        negative_amounts=config.validation.negative_amounts,
    )
    late = [name for name in (contract.label, contract.labelled_at) if name]
    columns = schema.names
    rules = list_rules(entries, origin="the contract", columns=columns, zones=zones, optional=late)
    if config.validation.suite:
        path = Path(config.validation.suite)
        rules += list_rules(
            read_suite(path),
            origin=str(path),
            columns=columns,
            zones=zones,
            optional=late,
            taken={*taken, *(rule.name for rule in rules)},
        )
    return rules
