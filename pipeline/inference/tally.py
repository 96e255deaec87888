"""What every row of a table says to a configuration: the cells that its rules would reject, counted."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.settings.config import Config
from pipeline.tables.cells import as_text
from pipeline.tables.parsing import parse, parse_column
from pipeline.tables.period import DAY_US, Period
from pipeline.tables.reading import Table

_BATCH_ROWS = 65_536
_START, _END = datetime(1950, 1, 1), datetime(2100, 1, 1)
_ZERO_IN_FRONT = r"^\s*[+-]?0+\d"


@dataclass
class Tally:
    """A tally: how often a table is not what a configuration says of it. Made by :meth:`of`.

    Attributes
    ----------
    rows : int
        Rows of the table, lines included that could not be cut into cells.
    broken_lines : int
        Those lines.
    missing, unfit : Counter of str
        For each column of the contract its empty cells, and the cells that are there and not of its type.
    examples : dict of str to str
        For each column with unfit cells the first of them, as it came.
    fractions : Counter of str
        For each column of whole numbers the unfit cells that are other numbers, such as 1.28.
    zeros : Counter of str
        For each column of whole numbers the cells with a zero in front, such as 00123.
    infinite : Counter of str
        For each column of numbers the infinite ones.
    unusable : int
        Rows without an id, a moment or a finite amount.
    negative : int
        Amounts below zero.
    beyond : int
        Amounts further from zero than ``validation.max_amount``.
    largest : float
        The finite amount furthest from zero, without its sign.
    far : int
        Moments that nobody means: before 1950, or from 2100 on.
    early, late : int
        The other moments before ``validation.earliest``, and more than ``validation.latest_days_ahead`` after now.
    first, last : datetime or None
        The first and the last moment but for those far ones, UTC.
    """

    rows: int = 0
    broken_lines: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    unfit: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    fractions: Counter[str] = field(default_factory=Counter)
    zeros: Counter[str] = field(default_factory=Counter)
    infinite: Counter[str] = field(default_factory=Counter)
    unusable: int = 0
    negative: int = 0
    beyond: int = 0
    largest: float = 0.0
    far: int = 0
    early: int = 0
    late: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def of(cls, table: Table, config: Config, now: datetime) -> "Tally":
        """Return the tally of a table, which is read once, batch by batch.

        Parameters
        ----------
        table : Table
        config : Config
        now : datetime
            UTC without a zone.
        """
        tally = cls()
        for batch in table.batches(_BATCH_ROWS):
            tally.rows += batch.num_rows
            typed, failures = parse(batch, config)
            for rule, mask in failures.items():
                tally._add_failures(batch.column(rule.rpartition(": ")[0]), rule.rpartition(": ")[0], mask, config)
            for name in config.contract.columns:
                if name in typed.schema.names:
                    tally.missing[name] += typed.column(name).null_count
            tally._add_keys(batch, config)
            tally._add_numbers(typed, config)
            tally._add_moments(typed, config, now)
        tally.missing -= tally.unfit
        tally.broken_lines = len(table.broken)
        tally.rows += tally.broken_lines
        return tally

    def _add_failures(self, cells: pa.Array, name: str, mask: np.ndarray, config: Config) -> None:
        self.unfit[name] += int(mask.sum())
        self.examples.setdefault(name, str(as_text(cells)[int(np.argmax(mask))].as_py()))
        if config.contract.type_of(name) == "integer":
            numbers, _ = parse_column(cells, "number", config.table)
            self.fractions[name] += int(pc.sum(pc.is_finite(numbers.filter(pa.array(mask)))).as_py() or 0)

    def _add_keys(self, batch: pa.RecordBatch, config: Config) -> None:
        for name in config.contract.key_columns:
            cells = batch.column(name)
            if config.contract.type_of(name) == "integer" and pa.types.is_string(cells.type):
                self.zeros[name] += pc.sum(pc.match_substring_regex(cells, _ZERO_IN_FRONT)).as_py() or 0

    def _add_numbers(self, typed: pa.RecordBatch, config: Config) -> None:
        contract = config.contract
        for name in contract.numbers:
            self.infinite[name] += pc.sum(pc.is_inf(typed.column(name))).as_py() or 0
        amounts = typed.column(contract.amount)
        usable = pc.is_finite(amounts).fill_null(fill_value=False)
        for name in (contract.id, contract.timestamp):
            usable = pc.and_(usable, typed.column(name).is_valid())
        self.unusable += typed.num_rows - (pc.sum(usable).as_py() or 0)
        amounts = amounts.filter(pc.is_finite(amounts)).to_numpy(zero_copy_only=False)
        self.negative += int((amounts < 0).sum())
        self.beyond += int((np.abs(amounts) > config.validation.max_amount).sum())
        self.largest = max(self.largest, float(np.abs(amounts).max(initial=0.0)))

    def _add_moments(self, typed: pa.RecordBatch, config: Config, now: datetime) -> None:
        counts = typed.column(config.contract.timestamp).drop_null().cast(pa.int64()).to_numpy()
        is_far = (counts < _count(_START)) | (counts >= _count(_END))
        self.far += int(is_far.sum())
        counts = counts[~is_far]
        if not len(counts):
            return
        limits = config.validation
        start = Period.of_days(limits.earliest, None, config.table.time_zone).start or datetime.min
        end = _count(now) + limits.latest_days_ahead * DAY_US
        self.early += int((counts < _count(start)).sum())
        self.late += int((counts > end).sum())
        least, most = (datetime(1970, 1, 1) + timedelta(microseconds=int(end)) for end in (counts.min(), counts.max()))
        self.first, self.last = min(least, self.first or least), max(most, self.last or most)


def _count(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
