"""What an entity has been doing: its rows of the history, from a copy that is sorted by entity.

The history has a file a day and batch; to open thousands of them for one customer takes seconds. The copy has the
columns that a timeline needs, and the numbers whose past is told, in one file a column of entities, and is made anew
when the history has changed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pipeline.review.listing import hidden_columns
from pipeline.review.peers import Standing, shares_below
from pipeline.review.people import Person
from pipeline.review.publication import entity_column
from pipeline.review.store import Reading
from pipeline.settings.config import Config
from pipeline.tables.scratch import hidden
from pipeline.tables.sql import database, quote
from pipeline.workspace.schema import REVIEW_ALERTS
from pipeline.workspace.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 20_000
"""Rows of the copy that are read for an entity, at least."""
MOST = 5_000
"""Points of a timeline: the last ones."""


@dataclass(frozen=True)
class Point:
    """One row of an entity.

    Attributes
    ----------
    at : datetime
        UTC.
    amount : float or None
        None where it is missing, or hidden from the person.
    label : str
        "fraud", "not_fraud", or "" where it is not known.
    key : str
        Of its alert; "" where there is none in the desk.
    is_this : bool
        Whether it is the row of the alert that was asked about.
    """

    at: datetime
    amount: float | None
    label: str
    key: str
    is_this: bool


@dataclass(frozen=True)
class Timeline:
    """The rows of an entity, oldest first.

    Attributes
    ----------
    column : str
        Of the entity; "" where the table has none.
    points : tuple of Point
        The alert's own row is among them, also where the history no longer has it.
    standings : mapping of str to Standing
        How numbers of the alert's row stand, by column: the amount, and those that are a reason. Hidden ones are not
        there.
    """

    column: str
    points: tuple[Point, ...]
    standings: Mapping[str, Standing]


def copy_history(workspace: Workspace) -> Path | None:
    """Make the sorted copy of the history, where it is not as the history is now; return it, None for no history."""
    config, column = workspace.config, entity_column(workspace.config)
    files = workspace.history.files(None, None)
    if not files or not column:
        return None
    folder = workspace.folder.root / "timelines" / config.name
    copy = folder / f"{_digest(files, config)}.parquet"
    if copy.is_file():
        return copy
    folder.mkdir(parents=True, exist_ok=True)
    contract = config.contract
    names = ", ".join(quote(name) for name in _columns(config))
    with hidden(folder, "timelines") as scratch, database(config.features.memory_limit, scratch) as connection:
        connection.register("history", _dataset(files, config))
        connection.execute(
            f"COPY (SELECT {names} FROM history WHERE {quote(column)} IS NOT NULL ORDER BY {quote(column)}, "
            f"{quote(contract.timestamp)}) TO '{scratch / copy.name}' (FORMAT parquet, ROW_GROUP_SIZE {GROUP})"
        )
        (scratch / copy.name).replace(copy)
    for other in folder.glob("*.parquet"):
        if other != copy:
            other.unlink(missing_ok=True)
    return copy


def _columns(config: Config) -> list[str]:
    contract = config.contract
    names = [contract.id, contract.timestamp, *contract.numbers, entity_column(config)]
    return list(dict.fromkeys(names + [name for name in (contract.label, contract.labelled_at) if name]))


def _dataset(files: list[Path], config: Config) -> Any:
    """Return the history as a dataset with the columns of the copy; a file may lack those of labels."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(file) for file in (files[0], files[-1])]
    fields = {field.name: field for schema in schemas for field in schema}
    contract = config.contract
    types = {contract.label: pa.int8(), contract.labelled_at: pa.timestamp("us")}
    types |= dict.fromkeys(contract.numbers, pa.float64())
    return ds.dataset(
        files,
        schema=pa.schema([fields.get(name, pa.field(name, types.get(name, pa.string()))) for name in _columns(config)]),
    )


def _digest(files: list[Path], config: Config) -> str:
    stats = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return hashlib.sha256(repr((stats, _columns(config))).encode()).hexdigest()[:16]


def timeline(reading: Reading, row: Mapping[str, Any], content: Mapping[str, Any], who: Person) -> Timeline:
    """Return the rows of an alert's entity, as a person may see them.

    Parameters
    ----------
    reading : Reading
    row : mapping
        The alert in the queue.
    content : mapping
        Its cells, in clear.
    who : Person
    """
    config, column = reading.config, entity_column(reading.config)
    contract, hidden_ones = config.contract, hidden_columns(reading, who)
    workspace = Workspace(config)
    told = {contract.amount, *(reason["column"] for reason in content["reasons"])}
    numbers = [name for name in contract.numbers if name in told and name not in hidden_ones]
    value = content["cells"].get(column)
    table = _rows_of(workspace, column, value, numbers) if value is not None else None
    points = _points(reading, table, workspace, row) if table is not None and table.num_rows else []
    if not any(point.is_this for point in points):
        points = sorted(
            [*points, Point(row["at"], row["amount"], "", row["key"], is_this=True)], key=lambda point: point.at
        )
    if contract.amount in hidden_ones:
        points = [Point(point.at, None, point.label, point.key, point.is_this) for point in points]
    values = {name: content["cells"].get(name) for name in numbers}
    values = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    return Timeline(column, tuple(points[-MOST:]), _standings(workspace, table, values, row["at"]))


def _standings(
    workspace: Workspace, table: "pa.Table | None", values: Mapping[str, float], at: datetime
) -> dict[str, Standing]:
    """Return how numbers of a row of a moment stand among its entity's rows before that, and among everybody's."""
    import numpy as np
    import pyarrow.compute as pc

    everybody = shares_below(workspace, values)
    if table is not None:
        table = table.filter(pc.less(table[workspace.config.contract.timestamp].cast("timestamp[us]"), at))
    standings = {}
    for name, value in values.items():
        is_there = table is not None and name in table.column_names
        earlier = table[name].to_numpy().astype(np.float64) if table is not None and is_there else np.array([])
        earlier = earlier[np.isfinite(earlier)]
        own = float((earlier < value).mean()) if len(earlier) else None
        standings[name] = Standing(own, len(earlier), everybody.get(name))
    return standings


def _rows_of(workspace: Workspace, column: str, value: Any, numbers: Sequence[str]) -> "pa.Table | None":
    """Return an entity's rows of the copy; of the newest there is, so that nobody waits for another."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = workspace.folder.root / "timelines" / workspace.config.name
    copies = sorted(folder.glob("*.parquet"), key=lambda file: file.stat().st_mtime)
    copy = copies[-1] if copies else copy_history(workspace)
    if copy is None:
        return None
    schema, contract = pq.read_schema(copy), workspace.config.contract
    try:
        wanted_value = pa.scalar(value).cast(schema.field(column).type).as_py()
    except pa.ArrowInvalid:
        return None
    names = {contract.id, contract.timestamp, contract.amount, column, contract.label, contract.labelled_at, *numbers}
    some = [name for name in schema.names if name in names]
    table = pq.read_table(copy, columns=some, filters=[(column, "=", wanted_value)])
    return table.slice(max(0, table.num_rows - MOST))


def _points(reading: Reading, table: "pa.Table", workspace: Workspace, row: Mapping[str, Any]) -> list[Point]:
    """Return the points of the rows of an alert's entity, with what is known of them now and their alerts."""
    import numpy as np
    import pyarrow as pa

    contract = reading.config.contract
    labels = workspace.labels.known(table, reading.at)
    # The entity's few alerts are asked for, not which of its thousands of rows have one.
    mine = sa.select(REVIEW_ALERTS.c.id, REVIEW_ALERTS.c.key).where(
        REVIEW_ALERTS.c.model_name == reading.name,
        REVIEW_ALERTS.c.entity == row["entity"],
        sa.or_(REVIEW_ALERTS.c.state != "withdrawn", REVIEW_ALERTS.c.key == row["key"]),
    )
    alerts = {alert.id: alert.key for alert in reading.connection.execute(mine)}
    keys = [alerts.get(str(row_id), "") for row_id in table[contract.id].to_pylist()]
    words = np.where(np.isnan(labels), "", np.where(labels == 1, "fraud", "not_fraud")).tolist()
    moments = table[contract.timestamp].cast(pa.timestamp("us")).to_pylist()
    amounts = table[contract.amount].to_pylist()
    return [
        Point(at, amount, label, key, is_this=key == row["key"])
        for at, amount, label, key in zip(moments, amounts, words, keys, strict=True)
    ]
