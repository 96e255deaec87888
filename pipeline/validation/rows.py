"""The first reading of a table: every row judged by itself, batch by batch, with memory for one batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.settings.config import Config
from pipeline.tables.ahead import ahead, behind
from pipeline.tables.cells import as_text
from pipeline.tables.parquet import read_batches, take_rows
from pipeline.tables.parsing import parse, typed_schema
from pipeline.tables.period import DAY_US, Period
from pipeline.tables.reading import Table
from pipeline.tables.stretches import TableStretch
from pipeline.tables.writing import ParquetWriter
from pipeline.validation.duplicates import ID, ROW, Rise
from pipeline.validation.quarantine import BROKEN_LINE, union
from pipeline.validation.rules import not_seen, plausible_times, table_rules, type_rules

if TYPE_CHECKING:
    from expectations.runs import Outcome

CELLS = 4_000_000
"""Of a wide table, as many cells are judged at a time: pandas and Great Expectations copy each several times."""
LEAST_ROWS = 10_000
"""Rows of a wide table that are judged at a time at least."""

OF_THE_ROWS = {"contract", "table", "validation", "features"}
"""Sections of the configuration that rows are judged by, and that say how far features look back."""

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
    id_column : str
        The contract's.
    paths : list of Path
        Parquet, one after the other: the rows that passed the rules about a row.
    keys : list of Path
        Parquet, one for each of them: their ids and places, in the same order.
    rows, passes : int
        Rows of the part, and those of them in ``paths``.
    mostly : dict of str to list of Places
        The rows in ``paths`` that broke a rule with ``mostly``, by rule.
    late_rejects : list of Places
        The rows in ``paths`` that were rejected after the first reading.
    """

    id_column: str
    paths: list[Path] = field(default_factory=list)
    keys: list[Path] = field(default_factory=list)
    rows: int = 0
    passes: int = 0
    mostly: dict[str, list[Places]] = field(default_factory=dict)
    late_rejects: list[Places] = field(default_factory=list)

    def add(self, other: "Part") -> None:
        """Add the rows of the part that follow."""
        self.paths += other.paths
        self.keys += other.keys
        self.rows += other.rows
        self.passes += other.passes
        for name, places in other.mostly.items():
            self.mostly.setdefault(name, []).extend(places)

    def find(self, places: Places) -> tuple[np.ndarray, Places]:
        """Return the positions in ``paths`` of those of some rows that are there, and the places of these."""
        positions, hits = [np.array([], dtype=np.int64)], [np.array([], dtype=np.int64)]
        start = 0
        for batch in _batches(self.keys, [ROW]) if len(places) else ():
            block = batch.column(0).to_numpy()
            offsets = np.flatnonzero(np.isin(block, places, assume_unique=True))
            positions.append(start + offsets)
            hits.append(block[offsets])
            start += len(block)
        return np.concatenate(positions), np.concatenate(hits)

    def take(self, positions: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Return some columns of the rows at ascending positions in ``paths``."""
        tables, start = [pq.read_schema(self.paths[0]).empty_table().select(list(columns))], 0
        for path in self.paths:
            end = start + pq.read_metadata(path).num_rows
            own = positions[np.searchsorted(positions, start) : np.searchsorted(positions, end)] - start
            if len(own):
                tables.append(take_rows(path, own, columns))
            start = end
        return pa.concat_tables(tables)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of the rows in ``paths``."""
        return pa.concat_tables([pq.read_table(path, columns=list(columns)) for path in self.paths])

    def finish(self, target: Path, join: Callable[[Sequence[Path], Path], Path]) -> None:
        """Write the rows in ``paths`` that were not rejected late as one file, which takes their place.

        Parameters
        ----------
        target : Path
        join : callable
            Makes one file, its second argument, of several that lose no row.
        """
        positions, _ = self.find(union(self.late_rejects))
        if len(self.paths) > 1 and not len(positions):
            self.paths = [join(self.paths, target)]
        elif len(positions):
            schema, start = pq.read_schema(self.paths[0]), 0
            with ParquetWriter(target, schema, distinct=[self.id_column]) as writer:
                for batch in ahead(_batches(self.paths)):
                    mask = np.ones(batch.num_rows, dtype=bool)
                    end = start + batch.num_rows
                    mask[positions[np.searchsorted(positions, start) : np.searchsorted(positions, end)] - start] = False
                    writer.write(batch if mask.all() else batch.filter(pa.array(mask)))
                    start = end
            self.paths = [target]


@dataclass
class Findings:
    """What a reading met in rows that lie side by side.

    Attributes
    ----------
    inside, lookback : Part
    outcomes : dict of str to Outcome
        What became of each rule, and of each column's type, for the rows inside the period.
    missing, unparsed, first_unparsed : dict of str to int
        For each of the contract's columns the empty cells, the cells that could not be typed, and the first
        row with one.
    first, rows : int
        Number of the first row in the table, and how many were read, without CSV lines that could not be cut into
        cells.
    rise : Rise
        Of the ids, in the table's order.
    breaches : dict of str to list of Places
        Rows inside the period to reject, by rule.
    without_time : list of Places
        Rows inside the period only because they have no plausible time.
    """

    inside: Part
    lookback: Part
    outcomes: dict[str, "Outcome"]
    missing: dict[str, int]
    first: int = 0
    rows: int = 0
    rise: Rise = field(default_factory=Rise)
    breaches: dict[str, list[Places]] = field(default_factory=dict)
    without_time: list[Places] = field(default_factory=list)
    unparsed: dict[str, int] = field(default_factory=dict)
    first_unparsed: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Findings") -> None:
        """Add what was met in the rows that follow: it is as if all were read at once."""
        self.inside.add(other.inside)
        self.lookback.add(other.lookback)
        for name, outcome in other.outcomes.items():
            self.outcomes[name].add(outcome.rows, outcome.missing, outcome.broken, outcome.values)
        for counts, others in ((self.missing, other.missing), (self.unparsed, other.unparsed)):
            for column, count in others.items():
                counts[column] = counts.get(column, 0) + count
        self.rows += other.rows
        self.rise.join(other.rise)
        for name, places in other.breaches.items():
            self.breaches.setdefault(name, []).extend(places)
        self.without_time += other.without_time
        self.first_unparsed = other.first_unparsed | self.first_unparsed


class Reading:
    """A reading goes through rows once; afterwards its findings say what it met.

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
    type_rules : dict of str to str
        For each rule that a cell can be typed, its column.
    schema : pyarrow.Schema
        Of the rows that pass.
    batch_rows : int
        Rows that are judged at a time.
    stretch : TableStretch or None
        The rows that it goes through; None for all.
    stretches : list of TableStretch
        Those of which tasks went through one each.
    findings : Findings
    """

    def __init__(self, table: Table, config: Config, period: Period, *, now: datetime, scratch: Path) -> None:
        from expectations.runs import Engine

        self.table, self.config, self.period, self.scratch = table, config, period, scratch
        self.schema = typed_schema(table.schema, config)
        self.batch_rows = rows_at_a_time(config, len(self.schema))
        earliest, latest = plausible_times(config, now)
        self._plausible = (_microseconds(earliest), _microseconds(latest))
        self._span = tuple(_microseconds(moment) if moment else None for moment in (period.start, period.end))
        self.type_rules = type_rules(config, table.schema)
        names = {*self.type_rules, not_seen(config), BROKEN_LINE}
        rules = table_rules(config, self.schema, earliest=earliest, latest=latest, names=names)
        self.rules = {rule.name: rule for rule in rules}
        self.engine = Engine(config.contract.sensitive)
        self.findings = self._nothing(0)
        self.stretch: TableStretch | None = None
        self.stretches: list[TableStretch] = []

    @property
    def read_rows(self) -> int:
        """Rows read, those CSV lines included that could not be cut into cells."""
        return self.findings.rows + len(self.table.broken)

    def of_tasks(self) -> "Reading":
        """Return what a task needs to read a stretch: no rule about more than a row, no setting that none goes by."""
        reading = copy(self)
        reading.config = Config.model_validate_json(self.config.model_dump_json(include=OF_THE_ROWS))
        reading.rules = {name: rule for name, rule in self.rules.items() if rule.scope == "row"}
        return reading

    def over(self, stretch: TableStretch, scratch: Path) -> "Reading":
        """Return a reading by the same rules that has read nothing, and goes through a stretch of the table."""
        reading = copy(self)
        reading.findings = self._nothing(stretch.first)
        reading.stretch, reading.scratch = stretch, scratch
        return reading

    def _nothing(self, first: int) -> Findings:
        from expectations.runs import Outcome

        contract = self.config.contract
        outcomes = {rule.name: Outcome.of(rule) for rule in self.rules.values()}
        for name, column in self.type_rules.items():
            kwargs = {"column": column, "type_": contract.type_of(column)}
            kind = "expect_column_values_to_be_of_type"
            outcomes.setdefault(name, Outcome(name, kind, kwargs, "critical", (column,)))
        missing = dict.fromkeys((name for name in contract.columns if name in self.table.schema.names), 0)
        return Findings(Part(contract.id), Part(contract.id), outcomes, missing, first)

    def run(self, on_rows: Callable[[int], None]) -> None:
        """Judge every row by itself; keep the rows that pass, and of the others the places and rules.

        Parameters
        ----------
        on_rows : callable
            Called with the number of rows of every batch that was read.
        """
        findings, contract = self.findings, self.config.contract
        with ExitStack() as stack:
            key_schema = pa.schema({ID: self.schema.field(contract.id).type, ROW: pa.int64()})
            writers = []
            for part, name in ((findings.inside, "inside"), (findings.lookback, "lookback")):
                part.paths.append(self.scratch / f"{name}.parquet")
                part.keys.append(self.scratch / f"{name}_keys.parquet")
                rows = stack.enter_context(ParquetWriter(part.paths[0], self.schema, distinct=[contract.id]))
                keys = stack.enter_context(ParquetWriter(part.keys[0], key_schema, distinct=key_schema.names))
                writers.append((part, rows, keys))
            put = stack.enter_context(behind(_write, depth=2))
            for raw in self.table.batches(self.batch_rows, self.stretch):
                typed, unparsed = parse(raw, self.config)
                self._count_cells(typed, unparsed)
                findings.rise.add(typed.column(contract.id))
                for mask, (part, rows, keys) in zip(self._split(typed), writers, strict=True):
                    places = np.flatnonzero(mask)
                    if not len(places):
                        continue
                    if part is findings.inside:
                        findings.without_time.append(self._next + np.flatnonzero(~self._has_time(typed)))
                    passes = places[self._judge(part, places, raw=raw, typed=typed, unparsed=unparsed)]
                    accepted = _rows_at(typed, passes)
                    put((rows, accepted))
                    ids = accepted.column(contract.id)
                    put((keys, pa.record_batch([ids, pa.array(self._next + passes)], schema=key_schema)))
                    part.rows += len(places)
                    part.passes += len(passes)
                findings.rows += raw.num_rows
                on_rows(raw.num_rows)

    @property
    def _next(self) -> int:
        """Number of the first row that was not read yet."""
        return self.findings.first + self.findings.rows

    def _count_cells(self, typed: pa.RecordBatch, unparsed: dict[str, np.ndarray]) -> None:
        for column in self.findings.missing:
            self.findings.missing[column] += typed.column(column).null_count
        for name, mask in unparsed.items():
            column, count = self.type_rules[name], int(mask.sum())
            self.findings.missing[column] -= count
            self.findings.unparsed[column] = self.findings.unparsed.get(column, 0) + count
            self.findings.first_unparsed.setdefault(column, self._next + int(np.argmax(mask)))

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
        rules = [rule for rule in self.rules.values() if rule.scope == "row"]
        columns = list(dict.fromkeys(name for rule in rules for name in rule.columns))
        results = self.engine.rows(rules, _rows_at(typed.select(columns), places))
        for name, result in results.items():
            positions, rule = result.positions, self.rules[name]
            if rule.kind == "expect_column_values_to_not_be_null":
                # A cell that is there and could not be typed is not missing.
                unreadable = masks.get(rule.columns[0])
                positions = positions if unreadable is None else positions[~unreadable[positions]]
            if part is self.findings.inside:
                self.findings.outcomes[name].add(result.rows, result.missing, len(positions), result.values)
            breaches[name] = np.union1d(breaches[name], positions) if name in breaches else positions
        if part is self.findings.inside:
            for name, column in self.type_rules.items():
                failures = np.flatnonzero(masks[column]) if column in masks else np.array([], dtype=np.int64)
                sample = as_text(raw.column(column).take(pa.array(places[failures[:20]]))).to_pylist()
                if name in results:  # which took these cells for missing ones
                    self.findings.outcomes[name].add(0, -len(failures), len(failures), sample)
                else:
                    cells = _rows_at(typed.select([column]), places).column(0)
                    missing = cells.null_count - len(failures)
                    self.findings.outcomes[name].add(len(places), missing, len(failures), sample)
        return self._passes(part, places, breaches)

    def _passes(self, part: Part, places: np.ndarray, breaches: dict[str, np.ndarray]) -> np.ndarray:
        """Return which rows (n_places,) go on, and note the others by the rule that they broke."""
        passes = np.ones(len(places), dtype=bool)
        for name, positions in breaches.items():
            rule = self.rules.get(name)
            if not len(positions) or (rule and rule.severity != "critical"):
                continue
            rows = self._next + places[positions]
            if rule and rule.mostly < 1:
                part.mostly.setdefault(name, []).append(rows)
                continue
            passes[positions] = False
            if part is self.findings.inside:
                self.findings.breaches.setdefault(name, []).append(rows)
        return passes


def _batches(paths: Sequence[Path], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    for path in paths:
        yield from read_batches(path, columns)


def _write(rows: tuple[ParquetWriter, pa.RecordBatch]) -> None:
    writer, batch = rows
    writer.write(batch)


def _rows_at(batch: pa.RecordBatch, places: np.ndarray) -> pa.RecordBatch:
    """Return the rows at some ascending places of a batch, which is not copied where these are all."""
    return batch if len(places) == batch.num_rows else batch.take(pa.array(places))


def _microseconds(moment: datetime) -> int:
    return (moment.replace(tzinfo=None) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
