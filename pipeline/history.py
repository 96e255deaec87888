"""The store of accepted rows that features look back into: one folder a day, one file a batch."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock

from pipeline.config import Config
from pipeline.labels import quote


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
        """Add the rows of a Parquet file, except those whose id the store already has on their day."""
        import duckdb

        contract = self.config.contract
        names = [name for name in pq.read_schema(rows).names if name in contract.columns]
        columns = ", ".join(quote(name) for name in names)
        key, at = quote(contract.id), quote(contract.timestamp)
        with self._locked(), TemporaryDirectory(prefix=".append-", dir=self.folder) as scratch:
            with duckdb.connect(config={"memory_limit": self.config.features.memory_limit}) as connection:
                connection.execute("SET temp_directory = ?", [scratch])
                connection.register("incoming", ds.dataset(rows))
                connection.execute(f"CREATE TEMP TABLE accepted AS SELECT {columns} FROM incoming")
                days = connection.sql(f"SELECT DISTINCT CAST({at} AS DATE) FROM accepted ORDER BY 1").fetchall()
                for (day,) in days:
                    fresh = f"SELECT {columns} FROM accepted WHERE CAST({at} AS DATE) = DATE '{day}'"
                    stored = sorted(self._partition(day).glob("*.parquet"))
                    if stored:
                        connection.register("stored", ds.dataset(stored))
                        fresh += f" AND {key} NOT IN (SELECT {key} FROM stored)"
                    found = connection.sql(fresh).to_arrow_table()
                    if found.num_rows:
                        staged = Path(scratch) / f"{day}.parquet"
                        pq.write_table(found, staged)
                        self._partition(day).mkdir(exist_ok=True)
                        staged.replace(self._partition(day) / f"{batch_id}.parquet")

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

    def _partition(self, day: date) -> Path:
        return self.folder / f"date={day}"

    def _locked(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")
