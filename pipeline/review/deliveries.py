"""Labels that were delivered for the rows of the queue: what analysts are held against, and golden rows are made of."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from pipeline.review.keys import key_of
from pipeline.settings.config import Config
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_EVENTS
from pipeline.workspace.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

WORDS = ("not_fraud", "fraud")
AT_ONCE = 5_000
"""Rows of a delivery that the queue is asked for at a time."""


def new_deliveries(connection: sa.Connection, config: Config, names: Collection[str]) -> list[str]:
    """Return which deliveries, by the names of their files, the queue lacks."""
    events = REVIEW_EVENTS.c
    here = (events.model_name == config.name, events.subject.in_(sorted(names)), events.kind == "deliver")
    old = set(connection.scalars(sa.select(events.subject).where(*here))) if names else set()
    return sorted({*names} - old)


def delivery_names(config: Config) -> set[str]:
    """Return the names of the deliveries that there are: one directory is listed, no file is opened."""
    return {file.name for file in Workspace(config).reviewed.folder.glob("*.parquet")}


def labels_of(config: Config, ids: "Iterable[object] | pa.ChunkedArray") -> dict[str, str]:
    """Return the last label delivered for each of some rows: "fraud" or "not_fraud", by the id as text.

    Of several, that with the latest moment counts, and among those a fraud.
    """
    files = Workspace(config).reviewed.files()
    if not files:
        return {}
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    column = ids if isinstance(ids, pa.ChunkedArray) else pa.array([str(row_id) for row_id in ids], pa.string())
    texts = pc.cast(column, pa.string())
    is_here = pc.is_in(pc.field("id").cast(pa.string()), value_set=pa.array(texts.to_pylist(), pa.string()))
    labels = ds.dataset(files).to_table(filter=is_here)
    labels = labels.sort_by([("labelled_at", "ascending"), ("label", "ascending")])
    return {
        str(row_id): WORDS[label]
        for row_id, label in zip(labels["id"].to_pylist(), labels["label"].to_pylist(), strict=True)
    }


def note(connection: sa.Connection, config: Config, name: str) -> None:
    """Note the labels of a delivery with the rows of the queue that it has; one whose file is gone says nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = Workspace(config).reviewed.folder / name
    if not file.is_file():
        return
    alerts, keys, mine = REVIEW_ALERTS.c, dict[str, str](), REVIEW_ALERTS.c.model_name == config.name
    with pq.ParquetFile(file) as reader:
        for batch in reader.iter_batches(AT_ONCE, columns=["id"]):
            some = {key_of(config.name, row_id) for row_id in pc.cast(batch.column(0), pa.string()).to_pylist()}
            query = sa.select(alerts.id, alerts.key).where(mine, alerts.key.in_(some))
            keys |= {row.id: row.key for row in connection.execute(query)}
    changes = [{"row": keys[row_id], "word": word} for row_id, word in labels_of(config, keys).items()]
    if changes:
        here = sa.update(REVIEW_ALERTS).where(mine, alerts.key == sa.bindparam("row"))
        connection.execute(here.values(delivered=sa.bindparam("word")), changes)
