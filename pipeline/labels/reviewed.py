"""The store of labels that arrive later, from review: one file a delivery, none of them ever changed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock

from pipeline.errors import ConfigError, InputError
from pipeline.numbers import minute
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.sensitive import mask
from pipeline.settings.titles import second_header
from pipeline.tables.cells import as_text, describe_cells
from pipeline.tables.files import DELIMITERS, encoding_of, list_files, readable
from pipeline.tables.headers import header_line
from pipeline.tables.label_words import describe_words, read_labels
from pipeline.tables.packed import is_csv
from pipeline.tables.parsing import RULES, check_columns, parse_column
from pipeline.tables.period import DAY_US, TIMESTAMP, Period
from pipeline.tables.reading import Table, open_table
from pipeline.tables.scratch import hidden
from pipeline.tables.sql import database, quote
from pipeline.tables.writing import ParquetWriter, flush, read_back

_SHOWN = 5  # words of a meaning that are told
NUMBERS = ("anomaly_score", "p_value", "rank")
"""Columns of Assay's own in alerts.csv and in what the desk exports, whose cells are numbers in every row."""


@dataclass(frozen=True)
class Taken:
    """What came of a delivery.

    Attributes
    ----------
    file : Path
        Where its labels are kept.
    rows, frauds : int
        Labels in it, and those that say fraud.
    blank : int
        Rows of the delivery that say nothing yet, and are not kept.
    unknown : int
        Different ids in it that no row of the history has. Their labels are kept: a row may come after its label.
    words : str
        The cells that say something, with their rows, and what they were understood to say.
    is_new : bool
        Whether this delivery brought them, or the very same one before it.
    """

    file: Path
    rows: int
    frauds: int
    blank: int
    unknown: int
    words: str
    is_new: bool


class ReviewedLabels:
    """Labels from review: ``folder/<digest of the delivery>.parquet`` with the columns id, label and labelled_at.

    A file appears whole or not at all, and one process writes at a time. Which label holds at a moment is said by
    `pipeline.labels.known.Labels.known`.

    Parameters
    ----------
    folder : Path
        Made when it does not exist.
    config : Config

    Attributes
    ----------
    schema : pyarrow.Schema
        Of every file: ``id`` (int64 or string, as the contract says), ``label`` (int8, 1 = fraud) and
        ``labelled_at`` (timestamp[us], UTC without a zone).
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = Path(folder)
        self.config = config
        key = pa.int64() if config.contract.type_of(config.contract.id) == "integer" else pa.string()
        self.schema = pa.schema({"id": key, "label": pa.int8(), "labelled_at": TIMESTAMP})

    def append(self, path: str | Path, history: Sequence[Path] = (), now: datetime | None = None) -> Taken:
        """Take a table of labels in, as a whole or not at all; the same content again changes nothing.

        Cells are read as those of transaction tables are (pipeline/tables/parsing.py), but for what a spreadsheet makes
        of a file: cells may be cut at another sign, and text that is not of the table's encoding is latin-1. An empty
        label is one that review has not given yet, whatever it means in the table. Other columns are not looked at.

        Parameters
        ----------
        path : str or Path
            CSV or Parquet with the contract's id and label columns and, if it is there, the contract's
            ``labelled_at`` column or one called "labelled_at". Where that is missing or empty, a label counts from
            the moment it is taken in.
        history : sequence of Path
            Parquet: the rows known so far, to count the ids that none of them has.
        now : datetime, optional
            The moment of taking in; UTC where it names no zone.

        Raises
        ------
        ConfigError
            When the contract names no label, or another type of id than the labels taken in so far have.
        InputError
            With one sentence: a column is missing or of the wrong type, a cell is not understood or a moment that is
            not plausible, no row has a label, or one id has two labels at the same moment.
        """
        contract = self.config.contract
        if contract.label is None:
            raise ConfigError(
                f"the contract of {self.config.name!r} names no label, so there is nothing that {path} could say; add "
                "label to [contract] and train again"
            )
        at = now or datetime.now(UTC)
        at = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
        table = open_table(path, self._reading(Path(path)))
        columns = self._columns(table)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            file = self.folder / f"{table.digest()[:16]}.parquet"
            is_new, blank = file not in self.files(), 0
            if is_new:
                with hidden(self.folder, "delivery") as scratch:
                    blank = self._write(table, columns, at, scratch / file.name)
                    flush(scratch / file.name)
                    (scratch / file.name).replace(file)
                flush(self.folder)
            labels = pq.read_table(file, columns=["label"])["label"]
            frauds, unknown = pc.sum(labels).as_py(), self._unknown(file, history)
            words = self._words(table, columns["label"])
            rows = len(labels)
            return Taken(file=file, rows=rows, frauds=frauds, blank=blank, unknown=unknown, words=words, is_new=is_new)

    def _reading(self, path: Path) -> TableConfig:
        """Return how a delivery is read: the table's settings, but for the signs and letters of a spreadsheet's CSV."""
        settings, contract = self.config.table, self.config.contract
        # What an empty cell of the table means is not what one that nobody has filled in means.
        settings = settings.model_copy(update={"label_normal": tuple(word for word in settings.label_normal if word)})
        with readable(path, settings):
            file = next(iter(list_files(path)), path) if path.is_dir() else path
            if not file.is_file() or not is_csv(file):
                return settings
            settings = settings.model_copy(update={"encoding": encoding_of(file, settings)})
        header = header_line(file, settings)
        for sign in (settings.delimiter, *DELIMITERS):
            names = [name.strip().strip('"') for name in header.split(sign)]
            if {contract.id, contract.label} <= set(names):
                return settings.model_copy(update={"delimiter": sign, "columns": ()})
        return settings

    def _write(self, table: Table, columns: dict[str, str], now: datetime, file: Path) -> int:
        """Write the labels of a delivery; return how many of its rows have none."""
        rows = labels = 0
        with ParquetWriter(file, self.schema) as writer:
            for batch, read in self._typed(table, columns, now):
                writer.write(batch)
                rows, labels = rows + read, labels + batch.num_rows
        if not labels:
            raise InputError(
                f"{table.path} has no label in any of its {rows:,} rows; fill in the column {columns['label']!r} and "
                "deliver the table again"
            )
        self._refuse_contradictions(table, file)
        return rows - labels

    def _words(self, table: Table, column: str) -> str:
        """Return which cells say something, with their rows, and what they say."""
        counts: Counter[str] = Counter()
        for batch, _ in self._rows(table):
            values = pc.utf8_trim_whitespace(as_text(batch.column(column)).drop_null())
            for item in pc.value_counts(values).to_pylist():
                counts[item["values"]] += item["counts"]
        labels = read_labels(pa.array(list(counts), pa.string()), table.settings)[0].to_pylist()
        parts = []
        for meaning, text in ((1, "for fraud"), (0, "for none")):
            words = [word for word, label in zip(counts, labels, strict=True) if label == meaning]
            cells = [f"{mask(repr(word), self.config.contract, column)} ({counts[word]:,})" for word in words[:_SHOWN]]
            if words:
                parts.append(f"{', '.join(cells)}{' and others' if len(words) > _SHOWN else ''} {text}")
        return "; ".join(parts)

    def _refuse_contradictions(self, table: Table, file: Path) -> None:
        """Refuse a delivery that says fraud and not fraud of one id at the same moment."""
        contract = self.config.contract
        with (
            hidden(self.folder, "contradictions") as scratch,
            database(self.config.features.memory_limit, scratch) as connection,
        ):
            connection.register("labels", ds.dataset(file))
            query = "SELECT id FROM labels GROUP BY id, labelled_at HAVING count(DISTINCT label) > 1"
            pairs = connection.sql(f"SELECT min(id), count(*) FROM ({query})").fetchall()
        example, count = pairs[0]
        if count:
            raise InputError(
                f"{table.path} says fraud and not fraud at the same moment of {count:,} {contract.id!r}, such as "
                f"{mask(repr(example), contract, contract.id)}; keep one of the two, or give each its labelled_at, "
                "and deliver the table again, for nothing of it was taken in"
            )

    def files(self) -> list[Path]:
        """Return every file, in the order of their names.

        Raises
        ------
        ConfigError
            When a file's ids are of another type than the contract's id is now.
        """
        files = sorted(self.folder.glob("*.parquet"))
        for file in files:
            schema = pq.read_schema(file)
            if not schema.equals(self.schema):
                raise ConfigError(
                    f"{file} has labels of ids of type {schema.field('id').type}, and the contract of "
                    f"{self.config.name!r} now says {self.schema.field('id').type}; put contract.types back, or move "
                    "the file away and take its labels in again"
                )
        return files

    def _columns(self, table: Table) -> dict[str, str]:
        """Return the table's name of each column of the store that it has."""
        contract = self.config.contract
        names = {"id": contract.id, "label": str(contract.label)}
        missing = [
            f"{name!r} (the contract's {role})" for role, name in names.items() if name not in table.schema.names
        ]
        if missing:
            raise InputError(
                f"{table.path} lacks {' and '.join(missing)} and has {', '.join(table.schema.names)}; name its columns "
                "as the contract does"
            )
        moment = next((name for name in (contract.labelled_at, "labelled_at") if name in table.schema.names), None)
        # The type is checked as that of a table of transactions would be, all of whose other columns are empty.
        others = [pa.field(name, pa.null()) for name in contract.required if name != contract.id]
        schema = pa.schema([*(table.schema.field(name) for name in (*names.values(), moment) if name), *others])
        roles = contract.model_copy(update={"labelled_at": moment})
        check_columns(schema, self.config.model_copy(update={"contract": roles}), str(table.path))
        return names | ({"labelled_at": moment} if moment else {})

    def _typed(self, table: Table, columns: dict[str, str], now: datetime) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield the rows of the store, and of how many of the table; a cell that cannot be one's refuses the table."""
        kinds = {"id": self.config.contract.type_of(self.config.contract.id), "label": "label"}
        kinds["labelled_at"] = "timestamp"
        limits = self.config.validation
        first = Period.of_days(limits.earliest, None, self.config.table.time_zone).start or datetime.min
        last = (now - datetime(1970, 1, 1)).total_seconds() * 1e6 + limits.latest_days_ahead * DAY_US
        start = 0
        words = f"{describe_words(table.settings)}, or a word of label_fraud, label_normal or label_unknown in [table]"
        for batch, count in self._rows(table):
            typed = {}
            for name, column in columns.items():
                typed[name], failed = parse_column(batch.column(column), kinds[name], table.settings)
                rule = f"is {words}," if name == "label" else RULES.get(kinds[name], "")
                self._check(table, column, start, broken=failed, rule=rule)
            if kinds["id"] == "text":
                typed["id"] = read_back(typed["id"])
            is_labelled = typed["label"].is_valid()
            missing = pc.and_(is_labelled, typed["id"].is_null()).to_numpy(zero_copy_only=False)
            self._check(table, columns["id"], start, broken=missing, rule="is needed")
            moments = typed.get("labelled_at", pa.nulls(batch.num_rows, TIMESTAMP))
            moments = pc.coalesce(moments, pa.scalar(now, TIMESTAMP))
            if "labelled_at" in columns:
                early = pc.less(moments, pa.scalar(first, TIMESTAMP)).to_numpy(zero_copy_only=False)
                rule = f"is not before validation.earliest = {limits.earliest}"
                self._check(table, columns["labelled_at"], start, broken=early, rule=rule)
                late = moments.cast(pa.int64()).to_numpy() > last
                rule = (
                    f"lies at most validation.latest_days_ahead = {limits.latest_days_ahead:g} days after now, "
                    f"{minute(now)} UTC"
                )
                self._check(table, columns["labelled_at"], start, broken=late, rule=rule)
            rows = pa.record_batch([typed["id"], typed["label"], moments], schema=self.schema)
            yield rows.filter(is_labelled), count
            start += batch.num_rows
        if table.broken:
            line = table.broken[0]
            raise InputError(
                f"{table.path} has another number of cells than its header in {line.source_file}, source_row "
                f"{line.source_row}; mend the row and deliver the table again, for nothing of it was taken in"
            )

    def _rows(self, table: Table) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield the rows of a delivery and how many they are, without the second header row, whose cells are empty."""
        for batch in table.batches(self.config.validation.batch_rows):
            titles, cells = self._titles(table, batch), batch.columns
            if titles.any():
                cells = [pc.if_else(pa.array(titles), pa.scalar(None, column.type), column) for column in cells]
            yield pa.RecordBatch.from_arrays(cells, schema=batch.schema), batch.num_rows - int(titles.sum())

    def _titles(self, table: Table, batch: pa.RecordBatch) -> np.ndarray:
        """Return which rows of a batch are the second header row of a CSV file, by today's titles or earlier ones.

        That of earlier titles is told by columns of Assay's own that stand there by name, where only numbers may.
        """
        contract = self.config.contract
        is_first = batch.column("source_row").to_numpy() == 0
        if table.format != "csv" or not is_first.any():
            return np.zeros(batch.num_rows, dtype=bool)
        names = [name for name in NUMBERS if name in batch.schema.names]
        by_name = [_trimmed(batch.column(name)) == name for name in names]
        keys = [name for name in (contract.id, contract.label) if name]
        cells = [second_header([name], self.config) for name in keys]
        by_title = [_trimmed(batch.column(name)) == cell[0] for name, cell in zip(keys, cells, strict=True) if cell]
        return is_first & (_all(by_name, batch.num_rows) | _all(by_title, batch.num_rows))

    def _check(self, table: Table, column: str, start: int, *, broken: np.ndarray, rule: str) -> None:
        """Refuse a table with a cell that breaks a rule; the batch's rows begin at ``start``."""
        if not broken.any():
            return
        cell = (column, start + int(np.argmax(broken)))
        value, place = describe_cells(table, [cell], self.config.validation.batch_rows)[cell]
        value = mask(value, self.config.contract, column)
        raise InputError(
            f"{table.path}: column {column!r} holds {value} in {place}, and it {rule} in every row; mend the cell and "
            "deliver the table again, for nothing of it was taken in"
        )

    def _unknown(self, file: Path, history: Sequence[Path]) -> int:
        """Return how many different ids of a file no row of the history has."""
        key = self.config.contract.id
        with (
            hidden(self.folder, "unknown") as scratch,
            database(self.config.features.memory_limit, scratch) as connection,
        ):
            connection.register("given", ds.dataset(file))
            rows = ds.dataset(list(history), schema=pa.schema({key: self.schema.field("id").type}))
            connection.register("history", rows)
            query = f"SELECT count(DISTINCT id) FROM given ANTI JOIN history ON given.id = history.{quote(key)}"
            return int(connection.sql(query).fetchall()[0][0])


def _trimmed(column: pa.Array) -> np.ndarray:
    """Return a column of text as it was before it was written for a spreadsheet."""
    return read_back(pc.utf8_trim_whitespace(as_text(column))).to_numpy(zero_copy_only=False)


def _all(parts: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """Return where all of some conditions hold; nowhere without any."""
    return np.logical_and.reduce(parts) if parts else np.zeros(rows, dtype=bool)
