"""The store of accepted rows that features look back into: one folder a day, one file a batch."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock

from pipeline.settings.config import Config
from pipeline.tables.parquet import read_batches
from pipeline.tables.scratch import hidden
from pipeline.tables.sql import database, quote

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

    def append(self, rows: Path, batch_id: str) -> None:
        """Add the rows of a Parquet file, except those whose id the store already has on their day.

        Of a row that is there already, a label that comes with this delivery is taken over.
        """
        contract = self.config.contract
        schema = pq.read_schema(rows)
        names = [name for name in schema.names if name in contract.columns]
        columns = ", ".join(quote(name) for name in names)
        day_ = quote("".join(names) + " day")  # longer than any of the columns' names
        key, at = quote(contract.id), quote(contract.timestamp)
        with (
            self._locked(),
            hidden(self.folder, "append") as scratch,
            database(self.config.features.memory_limit, scratch) as connection,
        ):
            # Not as a dataset, of which Arrow would read gigabytes ahead.
            incoming = pa.RecordBatchReader.from_batches(
                pa.schema([schema.field(name) for name in names]), read_batches(rows, names)
            )
            connection.register("incoming", incoming)
            connection.execute(
                f"CREATE TEMP TABLE accepted AS SELECT {columns}, CAST({at} AS DATE) AS {day_} FROM incoming"
            )
            for (day,) in connection.sql(f"SELECT DISTINCT {day_} FROM accepted ORDER BY 1").fetchall():
                folder = self._partition(day)
                folder.mkdir(exist_ok=True)
                stored = sorted(folder.glob("*.parquet"))
                fresh = f"SELECT {columns} FROM accepted WHERE {day_} = DATE '{day}'"
                if stored:
                    if contract.label in names:
                        for file in stored:
                            self._take_labels(connection, file, names)
                    connection.register("stored", ds.dataset(stored))
                    fresh += f" AND NOT EXISTS (SELECT 1 FROM stored WHERE stored.{key} = accepted.{key})"
                rows_of_day = connection.sql(fresh).to_arrow_table()
                if rows_of_day.num_rows:
                    _replace(rows_of_day, folder / f"{batch_id}.parquet", scratch)

    def remove(self, batch_id: str) -> None:
        """Take a batch's rows out again; a batch that is not there changes nothing."""
        with self._locked():
            for file in self.folder.glob(f"date=*/{batch_id}.parquet"):
                file.unlink()
                if not any(file.parent.iterdir()):
                    shutil.rmtree(file.parent)

    def files(self, start: datetime | None, end: datetime | None) -> list[Path]:
        """Return the files of every day that the half-open interval touches, in order; None = open."""
        first = start.date() if start else date.min
        last = (end - timedelta(microseconds=1)).date() if end else date.max
        return [
            file
            for file in sorted(self.folder.glob("date=*/*.parquet"))
            if first <= date.fromisoformat(file.parent.name.removeprefix("date=")) <= last
        ]

    def behind(self, first: datetime, last: datetime) -> list[Path]:
        """Return the files that features of rows from one moment to another look back into, in order.

        Parameters
        ----------
        first, last : datetime
            Of the rows, UTC; both included.
        """
        reach = min(timedelta(days=self.config.features.max_window_days), first - datetime.min)
        return self.files(first - reach, last + timedelta(microseconds=1))

    def _take_labels(self, connection: "duckdb.DuckDBPyConnection", file: Path, names: list[str]) -> None:
        """Give the rows of a stored file the labels that their copies among the accepted rows have."""
        contract = self.config.contract
        key, label = quote(contract.id), quote(contract.label or "")
        table = pq.read_table(file)
        connection.register("stored", table)
        columns = [name for name in (contract.label, contract.labelled_at) if name in names]
        labels = connection.sql(
            f"SELECT {key}, {', '.join(quote(name or '') for name in columns)} FROM accepted "
            f"WHERE {label} IS NOT NULL AND {key} IN (SELECT {key} FROM stored)"
        ).to_arrow_table()
        if not labels.num_rows:
            return
        positions = pc.index_in(table[contract.id], labels[contract.id])
        updated = table
        for name in columns:
            values = labels[name].take(positions)
            if name in table.column_names:
                stored_values = table[name].cast(values.type)
                values = pc.if_else(pc.is_valid(positions), values, stored_values)
                updated = updated.drop_columns([name])
            updated = updated.append_column(name, values)
        if not updated.equals(table.select([name for name in updated.column_names if name in table.column_names])):
            with hidden(self.folder, "labels") as scratch:
                _replace(updated, file, scratch)

    def missing_days(self, start: datetime, end: datetime) -> list[date]:
        """Return the days of the half-open interval of which the store holds no row, in order."""
        stored = {folder.name for folder in self.folder.glob("date=*")}
        days = (start.date() + timedelta(days=n) for n in range((end - start).days + 1))
        return [day for day in days if day < end.date() and f"date={day}" not in stored]

    def _partition(self, day: date) -> Path:
        return self.folder / f"date={day}"

    def _locked(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")


def _replace(table: pa.Table, file: Path, scratch: Path) -> None:
    """Write a file whole or not at all; `scratch` lies on the same disk."""
    staged = scratch / file.name
    pq.write_table(table, staged)
    staged.replace(file)
