"""The store of accepted rows that features look back into: one folder a day, one file a batch.

The rows of a run enter the store when a record owns them (pipeline/workspace/draft.py). Until then they lie beside it,
and `NextHistory` is the store as it will be with them.
"""

import copy
import shutil
from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock

from pipeline.settings.config import Config
from pipeline.tables.parquet import read_batches, span
from pipeline.tables.scratch import hidden
from pipeline.tables.sql import database, quote
from pipeline.tables.writing import ParquetWriter, flush, place_file

if TYPE_CHECKING:
    import duckdb


class History:
    """Accepted rows by UTC day: ``folder/date=YYYY-MM-DD/<batch_id>.parquet``, the contract's columns only.

    A file appears whole or not at all, and one process writes at a time. Appending the same batch again adds
    nothing; so does an append after one that was interrupted, except for what was still missing.

    Parameters
    ----------
    folder : Path
        Made when it does not exist.
    config : Config
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = Path(folder)
        self.config = config

    @property
    def buckets(self) -> Path:
        """Where tasks of Spark keep its days in buckets: made of the days' files, and gone with them."""
        return self.folder / ".buckets"

    def under(self, config: Config) -> Self:
        """Return the same store for another configuration, whose features may look back further."""
        other = copy.copy(self)
        other.config = config
        return other

    def append(self, rows: Path, batch_id: str, *, may_link: bool = False) -> None:
        """Add the rows of a Parquet file, except those whose id the store already has on their day.

        Of a row that is there already, a label that comes with this delivery is taken over.

        Parameters
        ----------
        rows : Path
        batch_id : str
        may_link : bool
            Whether a file of one day that holds just what the store keeps may become the store's own, by a second name:
            nobody may write into it afterwards, though it may be replaced or removed.
        """
        days, in_order = self._days_of(rows)
        if not days:
            return
        with self._locked(), hidden(self._place(""), "append") as scratch:
            stored = [day for day in days if self._files(f"date={day}")]
            fresh = [day for day in days if day not in stored] if in_order else []
            self._add_fresh(rows, fresh, batch_id, scratch=scratch, may_link=may_link)
            others = [day for day in days if day not in fresh]
            if others:
                self._add_others(rows, others, batch_id, scratch)

    def _days_of(self, rows: Path) -> tuple[list[date], bool]:
        """Return the days of the rows of a file, ascending, and whether the rows come in the order of their days."""
        days, last, in_order = set[date](), date.min, True
        for batch in read_batches(rows, [self.config.contract.timestamp]):
            day = batch.column(0).cast(pa.date32())
            found = pc.unique(day).to_pylist()
            numbers = day.cast(pa.int32()).to_numpy()
            in_order = in_order and found[0] >= last and bool((numbers[1:] >= numbers[:-1]).all())
            last = found[-1]
            days.update(found)
        return sorted(days), in_order

    def _columns(self, schema: pa.Schema) -> list[str]:
        return [name for name in schema.names if name in self.config.contract.columns]

    def _add_fresh(self, rows: Path, days: list[date], batch_id: str, *, scratch: Path, may_link: bool) -> None:
        """Add the rows of days of which the store has none, from a file in the order of its days."""
        schema = pq.read_schema(rows)
        names = self._columns(schema)
        if not days:
            return
        first, last = span(rows, self.config.contract.timestamp)
        if may_link and first.date() == last.date() and names == schema.names:
            name = f"date={days[0]}/{batch_id}.parquet"
            place_file(rows, self._place(name), scratch)
            self._note(name, first, last)
            return
        kept = pa.schema([schema.field(name) for name in names])
        parts = self._by_day(read_batches(rows, names), set(days))
        for day, batches in groupby(parts, key=lambda part: part[0]):
            name, staged = f"date={day}/{batch_id}.parquet", scratch / f"{day}.parquet"
            with ParquetWriter(staged, kept) as writer:
                for _, batch in batches:
                    writer.write(batch)
            first, last = span(staged, self.config.contract.timestamp)
            self._place(name).parent.mkdir(exist_ok=True)
            staged.replace(self._place(name))
            self._note(name, first, last)

    def _by_day(
        self, batches: Iterator[pa.RecordBatch], days: Collection[date]
    ) -> Iterator[tuple[date, pa.RecordBatch]]:
        """Yield the rows of some days, from batches in the order of their days, a day at a time."""
        for batch in batches:
            day = batch.column(self.config.contract.timestamp).cast(pa.date32())
            for each in pc.unique(day).to_pylist():
                if each in days:
                    yield each, batch.filter(pc.equal(day, each))

    def _add_others(self, rows: Path, days: list[date], batch_id: str, scratch: Path) -> None:
        """Add the rows of some days of a file in any order, as far as the store does not have them."""
        contract, schema = self.config.contract, pq.read_schema(rows)
        names = self._columns(schema)
        columns = ", ".join(quote(name) for name in names)
        day_ = quote("".join(names) + " day")  # longer than any of the columns' names
        key, at = quote(contract.id), quote(contract.timestamp)
        wanted = ", ".join(f"DATE '{day}'" for day in days)
        with database(self.config.features.memory_limit, scratch) as connection:
            # Not as a dataset, of which Arrow would read gigabytes ahead.
            incoming = pa.RecordBatchReader.from_batches(
                pa.schema([schema.field(name) for name in names]), read_batches(rows, names)
            )
            connection.register("incoming", incoming)
            connection.execute(
                f"CREATE TEMP TABLE accepted AS SELECT {columns}, CAST({at} AS DATE) AS {day_} FROM incoming "
                f"WHERE CAST({at} AS DATE) IN ({wanted})"
            )
            for day in days:
                stored = self._files(f"date={day}")
                fresh = f"SELECT {columns} FROM accepted WHERE {day_} = DATE '{day}'"
                if stored:
                    if contract.label in names:
                        for name, file in sorted(stored.items()):
                            self._take_labels(connection, pq.read_table(file), name, names)
                        stored = self._files(f"date={day}")
                    connection.register("stored", ds.dataset(sorted(stored.values())))
                    fresh += f" AND NOT EXISTS (SELECT 1 FROM stored WHERE stored.{key} = accepted.{key})"
                rows_of_day = connection.sql(fresh).to_arrow_table()
                if rows_of_day.num_rows:
                    self._add(rows_of_day, f"date={day}/{batch_id}.parquet", scratch)

    def remove(self, batch_id: str) -> None:
        """Take a batch's rows out again; a batch that is not there changes nothing."""
        with self._locked():
            for name in [name for name in self._files() if Path(name).stem == batch_id]:
                self._take_out(name)

    def drop(self, days: Collection[date]) -> None:
        """Remove days: each whole, or not at all."""
        with self._locked():
            with hidden(self.folder, "old") as old:
                for number, folder in enumerate(self._folders_of(days)):
                    folder.rename(old / f"{number}")
            flush(self.folder)

    def _folders_of(self, days: Collection[date]) -> list[Path]:
        """Return the folders that rows of days lie in; the days' own last."""
        names = [f"date={day}" for day in sorted(days)]
        in_buckets = [folder for name in names for folder in self.buckets.glob(f"*/{name}")]
        return [*in_buckets, *(self.folder / name for name in names if (self.folder / name).is_dir())]

    def days(self) -> list[date]:
        """Return the days of which the store holds rows, in order."""
        return sorted({_day(name) for name in self._files()})

    def take_over(self, folder: Path, gone: Collection[str]) -> None:
        """Make the store what a `NextHistory` is; what an interrupted call did already is not done again.

        Parameters
        ----------
        folder : Path
            Where the files of the `NextHistory` lie.
        gone : collection of str
            Its `NextHistory.gone`.
        """
        with self._locked():
            days = {self._place(str(day.relative_to(folder))) for day in folder.glob("date=*")}
            for file in sorted(folder.glob("date=*/*.parquet")):
                place = self._place(str(file.relative_to(folder)))
                place.parent.mkdir(exist_ok=True)
                file.replace(place)
            for name in gone:
                self._take_out(name)
                days.add(self._place(name).parent)
            flush(self.folder, *sorted(day for day in days if day.is_dir()))

    def files(self, start: datetime | None, end: datetime | None) -> list[Path]:
        """Return the files of every day that the half-open interval touches, in order; None = open."""
        first = start.date() if start else date.min
        last = (end - timedelta(microseconds=1)).date() if end else date.max
        return [file for name, file in sorted(self._files().items()) if first <= _day(name) <= last]

    def behind(self, first: datetime, last: datetime) -> list[Path]:
        """Return the files that features of rows from one moment to another look back into, in order.

        Parameters
        ----------
        first, last : datetime
            Of the rows, UTC; both included.
        """
        reach = min(timedelta(days=self.config.features.max_window_days), first - datetime.min)
        return self.files(first - reach, last + timedelta(microseconds=1))

    def _take_labels(
        self, connection: "duckdb.DuckDBPyConnection", table: pa.Table, name: str, names: list[str]
    ) -> None:
        """Give the rows of a stored file the labels that their copies among the accepted rows have."""
        contract = self.config.contract
        key, label = quote(contract.id), quote(contract.label or "")
        connection.register("stored", table)
        columns = [column for column in (contract.label, contract.labelled_at) if column in names]
        labels = connection.sql(
            f"SELECT {key}, {', '.join(quote(column or '') for column in columns)} FROM accepted "
            f"WHERE {label} IS NOT NULL AND {key} IN (SELECT {key} FROM stored)"
        ).to_arrow_table()
        if not labels.num_rows:
            return
        positions = pc.index_in(table[contract.id], labels[contract.id])
        updated = table
        for column in columns:
            values = labels[column].take(positions)
            if column in table.column_names:
                stored_values = table[column].cast(values.type)
                values = pc.if_else(pc.is_valid(positions), values, stored_values)
                updated = updated.drop_columns([column])
            updated = updated.append_column(column, values)
        if not updated.equals(table.select([each for each in updated.column_names if each in table.column_names])):
            with hidden(self._place(""), "labels") as scratch:
                _replace(updated, self._place(name), scratch)

    def missing_days(self, start: datetime, end: datetime) -> list[date]:
        """Return the days of the half-open interval of which the store holds no row, in order."""
        stored = {_day(name) for name in self._files()}
        days = (start.date() + timedelta(days=n) for n in range((end - start).days + 1))
        return [day for day in days if day < end.date() and day not in stored]

    def _files(self, days: str = "date=*") -> dict[str, Path]:
        """Return where the files of folders of such a name lie, by their names in the store."""
        return {str(file.relative_to(self.folder)): file for file in self.folder.glob(f"{days}/*.parquet")}

    def _place(self, name: str) -> Path:
        """Return where a file of that name is written."""
        return self.folder / name

    def _add(self, rows: pa.Table, name: str, scratch: Path) -> None:
        """Add rows to a file, which may be there already with others."""
        stored = self._files(str(Path(name).parent)).get(name)
        if stored:
            rows = pa.concat_tables([pq.read_table(stored), rows], promote_options="default")
        _replace(rows, self._place(name), scratch)

    def _note(self, name: str, first: datetime, last: datetime) -> None:
        """Take note of a file of new rows, from one moment to another; nothing by default."""

    def _take_out(self, name: str) -> None:
        file = self._place(name)
        file.unlink(missing_ok=True)
        if file.parent.is_dir() and not any(file.parent.iterdir()):
            shutil.rmtree(file.parent)

    def _locked(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")


class NextHistory(History):
    """A store as it will be: what is appended lies beside it, and what is removed is only noted.

    Parameters
    ----------
    history : History
        Stays as it is until `History.take_over`.
    beside : Path
        A folder that exists and is empty.

    Attributes
    ----------
    gone : set of str
        Names of files that leave the store.
    moments : list of datetime
        First and last timestamps (UTC) of rows that enter it or leave it; rows that only get a label are not among
        them.
    """

    def __init__(self, history: History, beside: Path) -> None:
        super().__init__(history.folder, history.config)
        self.beside = beside
        self.gone: set[str] = set()
        self.moments: list[datetime] = []

    def _files(self, days: str = "date=*") -> dict[str, Path]:
        stored = {name: file for name, file in super()._files(days).items() if name not in self.gone}
        return stored | {str(file.relative_to(self.beside)): file for file in self.beside.glob(f"{days}/*.parquet")}

    def _place(self, name: str) -> Path:
        return self.beside / name

    def _add(self, rows: pa.Table, name: str, scratch: Path) -> None:
        first, last = pc.min_max(rows[self.config.contract.timestamp]).as_py().values()
        super()._add(rows, name, scratch)
        self._note(name, first, last)

    def _note(self, name: str, first: datetime, last: datetime) -> None:
        self.moments += first, last
        self.gone.discard(name)

    def _take_out(self, name: str) -> None:
        self.moments += span(self._files(str(Path(name).parent))[name], self.config.contract.timestamp)
        super()._take_out(name)
        if (self.folder / name).exists():
            self.gone.add(name)


def _day(name: str) -> date:
    """Return the day of a file by its name in the store."""
    return date.fromisoformat(Path(name).parent.name.removeprefix("date="))


def _replace(table: pa.Table, file: Path, scratch: Path) -> None:
    """Write a file whole or not at all; `scratch` lies on the same disk."""
    staged = scratch / file.name
    pq.write_table(table, staged)
    file.parent.mkdir(exist_ok=True)
    staged.replace(file)
