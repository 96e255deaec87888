"""The first reading of a table: every row judged by itself, batch by batch, with memory for one batch."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.settings.config import Config
from pipeline.tables.ahead import ahead, behind
from pipeline.tables.cells import as_text
from pipeline.tables.parquet import read_batches
from pipeline.tables.parsing import parse, typed_schema
from pipeline.tables.period import DAY_US, Period
from pipeline.tables.reading import Table
from pipeline.tables.writing import ParquetWriter
from pipeline.validation.duplicates import ID, ROW, Rise
from pipeline.validation.quarantine import BROKEN_LINE, union
from pipeline.validation.rules import not_seen, plausible_times, table_rules, type_rules

CELLS = 4_000_000
"""Of a wide table, as many cells are judged at a time: pandas and Great Expectations copy each several times."""
LEAST_ROWS = 10_000
"""Rows of a wide table that are judged at a time at least."""

Places = np.ndarray
"""Which rows of a table: int64, ascending places in the order of ``Table.batches``."""


def rows_at_a_time(config: Config, columns: int) -> int:
    """Return how many rows of a table with so many columns are read at a time.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> rows_at_a_time(config, 8), rows_at_a_time(config, 40), rows_at_a_time(config, 4000)
    (500000, 100000, 10000)
    """
    return min(config.validation.batch_rows, max(LEAST_ROWS, CELLS // columns))


@dataclass
class Part:
    """The rows inside the period, or those that features look back to.

    Attributes
    ----------
    path : Path
        Parquet: the rows that passed the rules about a row.
    keys : Path
        Parquet: their ids and places, in the same order.
    id_column : str
        The contract's.
    rows, passes : int
        Rows of the part, and those of them in ``path``.
    mostly : dict of str to list of Places
        The rows in ``path`` that broke a rule with ``mostly``, by rule.
    late_rejects : list of Places
        The rows in ``path`` that were rejected after the first reading.
    """

    path: Path
    keys: Path
    id_column: str
    rows: int = 0
    passes: int = 0
    mostly: dict[str, list[Places]] = field(default_factory=dict)
    late_rejects: list[Places] = field(default_factory=list)

    def find(self, places: Places) -> tuple[np.ndarray, Places]:
        """Return the positions in ``path`` of those of some rows that are there, and the places of these."""
        positions, hits = [np.array([], dtype=np.int64)], [np.array([], dtype=np.int64)]
        start = 0
        for batch in read_batches(self.keys, [ROW]) if len(places) else ():
            block = batch.column(0).to_numpy()
            offsets = np.flatnonzero(np.isin(block, places, assume_unique=True))
            positions.append(start + offsets)
            hits.append(block[offsets])
            start += len(block)
        return np.concatenate(positions), np.concatenate(hits)

    def drop_late_rejects(self) -> None:
        """Write ``path`` again without the rows that were rejected late."""
        positions, _ = self.find(union(self.late_rejects))
        if not len(positions):
            return
        start = 0
        with ParquetWriter(self.path, pq.read_schema(self.path), distinct=[self.id_column]) as writer:
            for batch in ahead(read_batches(self.path)):
                mask = np.ones(batch.num_rows, dtype=bool)
                end = start + batch.num_rows
                mask[positions[np.searchsorted(positions, start) : np.searchsorted(positions, end)] - start] = False
                writer.write(batch.filter(pa.array(mask)))
                start = end


class Reading:
    """A reading goes through a table once; afterwards its attributes say what it met.

    Parameters
    ----------
    table : Table
    config : Config
    period : Period
    now : datetime
        In UTC, with its zone.
    scratch : Path
        Folder for the parts' files.

    Attributes
    ----------
    rules : dict of str to Rule
        All rules by name; those about more than a row are not judged here.
    outcomes : dict of str to Outcome
        What became of each rule, and of each column's type, for the rows inside the period.
    type_rules : dict of str to str
        For each rule that a cell can be typed, its column.
    inside, lookback : Part
    rise : Rise
        Of the ids, in the table's order.
    breaches : dict of str to list of Places
        Rows inside the period to reject, by rule.
    without_time : list of Places
        Rows inside the period only because they have no plausible time.
    rows : int
        Rows read, without CSV lines that could not be cut into cells.
    missing, unparsed, first_unparsed : dict of str to int
        For each of the contract's columns the empty cells, the cells that could not be typed, and the first
        row with one.
    """

    def __init__(self, table: Table, config: Config, period: Period, *, now: datetime, scratch: Path) -> None:
        from expectations.runs import Engine, Outcome

        self.table, self.config, self.period = table, config, period
        self.schema = typed_schema(table.schema, config)
        earliest, latest = plausible_times(config, now)
        self._plausible = (_microseconds(earliest), _microseconds(latest))
        self._span = tuple(_microseconds(moment) if moment else None for moment in (period.start, period.end))
        self.type_rules = type_rules(config, table.schema)
        names = {*self.type_rules, not_seen(config), BROKEN_LINE}
        rules = table_rules(config, self.schema, earliest=earliest, latest=latest, names=names)
        self.rules = {rule.name: rule for rule in rules}
        self._row_rules = [rule for rule in rules if rule.scope == "row"]
        self._row_columns = list(dict.fromkeys(name for rule in self._row_rules for name in rule.columns))
        contract = config.contract
        self.outcomes = {rule.name: Outcome.of(rule) for rule in rules}
        for name, column in self.type_rules.items():
            kwargs = {"column": column, "type_": contract.type_of(column)}
            kind = "expect_column_values_to_be_of_type"
            self.outcomes.setdefault(name, Outcome(name, kind, kwargs, "critical", (column,)))
        self.engine = Engine(contract.sensitive)
        self.inside, self.lookback = (
            Part(scratch / f"{name}.parquet", scratch / f"{name}_keys.parquet", contract.id)
            for name in ("inside", "lookback")
        )
        self.rise = Rise()
        self.breaches: dict[str, list[Places]] = {}
        self.without_time: list[Places] = []
        self.rows = 0
        self.missing = dict.fromkeys((name for name in contract.columns if name in table.schema.names), 0)
        self.unparsed: dict[str, int] = {}
        self.first_unparsed: dict[str, int] = {}

    @property
    def read_rows(self) -> int:
        """Rows read, those CSV lines included that could not be cut into cells."""
        return self.rows + len(self.table.broken)

    def run(self, on_rows: Callable[[int], None]) -> None:
        """Judge every row by itself; keep the rows that pass, and of the others the places and rules.

        Parameters
        ----------
        on_rows : callable
            Called with the number of rows of every batch that was read.
        """
        with ExitStack() as stack:
            key_schema = pa.schema({ID: self.schema.field(self.config.contract.id).type, ROW: pa.int64()})
            writers = [
                (
                    part,
                    stack.enter_context(ParquetWriter(part.path, self.schema, distinct=[part.id_column])),
                    stack.enter_context(ParquetWriter(part.keys, key_schema, distinct=key_schema.names)),
                )
                for part in (self.inside, self.lookback)
            ]
            put = stack.enter_context(behind(_write, depth=2))
            for raw in self.table.batches(rows_at_a_time(self.config, len(self.schema))):
                typed, unparsed = parse(raw, self.config)
                self._count_cells(typed, unparsed)
                self.rise.add(typed.column(self.config.contract.id))
                for mask, (part, rows, keys) in zip(self._split(typed), writers, strict=True):
                    places = np.flatnonzero(mask)
                    if not len(places):
                        continue
                    if part is self.inside:
                        self.without_time.append(self.rows + np.flatnonzero(~self._has_time(typed)))
                    passes = places[self._judge(part, places, raw=raw, typed=typed, unparsed=unparsed)]
                    accepted = _rows_at(typed, passes)
                    put((rows, accepted))
                    ids = accepted.column(self.config.contract.id)
                    put((keys, pa.record_batch([ids, pa.array(self.rows + passes)], schema=key_schema)))
                    part.rows += len(places)
                    part.passes += len(passes)
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
        has_time = self._has_time(typed)
        start, end = self._span
        is_outside, is_lookback = np.zeros(len(moment), dtype=bool), np.zeros(len(moment), dtype=bool)
        if end is not None:
            is_outside |= moment >= end
        if start is not None:
            is_outside |= moment < start
            oldest = start - self.config.features.max_window_days * DAY_US
            is_lookback = has_time & (moment < start) & (moment >= oldest)
        return ~(has_time & is_outside), is_lookback

    def _has_time(self, typed: pa.RecordBatch) -> np.ndarray:
        """Return which rows have a plausible time."""
        column = typed.column(self.config.contract.timestamp)
        moment = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
        is_there = pc.is_valid(column).to_numpy(zero_copy_only=False)
        return is_there & (moment >= self._plausible[0]) & (moment <= self._plausible[1])

    def _judge(
        self,
        part: Part,
        places: np.ndarray,
        *,
        raw: pa.RecordBatch,
        typed: pa.RecordBatch,
        unparsed: dict[str, np.ndarray],
    ) -> np.ndarray:
        """Return which of some rows of a batch (n_places,) pass every rule about a row."""
        masks = {self.type_rules[name]: mask[places] for name, mask in unparsed.items()}
        breaches = {name: np.flatnonzero(mask[places]) for name, mask in unparsed.items()}
        results = self.engine.rows(self._row_rules, _rows_at(typed.select(self._row_columns), places))
        for name, result in results.items():
            positions, rule = result.positions, self.rules[name]
            if rule.kind == "expect_column_values_to_not_be_null":
                # A cell that is there and could not be typed is not missing.
                unreadable = masks.get(rule.columns[0])
                positions = positions if unreadable is None else positions[~unreadable[positions]]
            if part is self.inside:
                self.outcomes[name].add(result.rows, result.missing, len(positions), result.values)
            breaches[name] = np.union1d(breaches[name], positions) if name in breaches else positions
        if part is self.inside:
            for name, column in self.type_rules.items():
                failures = np.flatnonzero(masks[column]) if column in masks else np.array([], dtype=np.int64)
                sample = as_text(raw.column(column).take(pa.array(places[failures[:20]]))).to_pylist()
                if name in results:  # which took these cells for missing ones
                    self.outcomes[name].add(0, -len(failures), len(failures), sample)
                else:
                    cells = _rows_at(typed.select([column]), places).column(0)
                    missing = cells.null_count - len(failures)
                    self.outcomes[name].add(len(places), missing, len(failures), sample)
        return self._passes(part, places, breaches)

    def _passes(self, part: Part, places: np.ndarray, breaches: dict[str, np.ndarray]) -> np.ndarray:
        """Return which rows (n_places,) go on, and note the others by the rule that they broke."""
        passes = np.ones(len(places), dtype=bool)
        for name, positions in breaches.items():
            rule = self.rules.get(name)
            if not len(positions) or (rule and rule.severity != "critical"):
                continue
            rows = self.rows + places[positions]
            if rule and rule.mostly < 1:
                part.mostly.setdefault(name, []).append(rows)
                continue
            passes[positions] = False
            if part is self.inside:
                self.breaches.setdefault(name, []).append(rows)
        return passes


def _write(rows: tuple[ParquetWriter, pa.RecordBatch]) -> None:
    writer, batch = rows
    writer.write(batch)


def _rows_at(batch: pa.RecordBatch, places: np.ndarray) -> pa.RecordBatch:
    """Return the rows at some ascending places of a batch, which is not copied where these are all."""
    return batch if len(places) == batch.num_rows else batch.take(pa.array(places))


def _microseconds(moment: datetime) -> int:
    return (moment.replace(tzinfo=None) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
