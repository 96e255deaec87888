"""Decisions of the analysts' desk as labels: one file of all that hold, made anew when there are newer ones."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipeline.errors import ConfigError
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.settings.config import Config
from pipeline.tables.scratch import hidden
from pipeline.tables.writing import flush
from pipeline.workspace.database import answering, connect, database_url
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_DECISIONS

KEPT = timedelta(days=7)
"""How long a file stays once a newer one is there: whoever reads it is done by then."""
FINAL = {"fraud": 1, "not_fraud": 0}
"""Labels of decisions, and what they are among labels from review; "unsure" is none."""


class DecisionLabels:
    """Labels that the desk's decisions are: ``folder/NUMBER.parquet``, of the last event that they go back to.

    A decision counts from its own moment. One that was taken back never was; one that another superseded counts until
    then; an alert whose decision is "unsure" has no label.

    Parameters
    ----------
    folder : Path
    config : Config
    asks : bool
        Whether the database is asked for newer decisions; else the files say what there is.
    """

    def __init__(self, folder: Path, config: Config, *, asks: bool = True) -> None:
        self.folder, self.config, self._asks = Path(folder), config, asks

    def files(self) -> list[Path]:
        """Return the one file with all labels, as a list; empty without any.

        Raises
        ------
        ConfigError
            When the database can't be asked, or ids of decisions can't be those of the contract any more.
        """
        if self.config.contract.label is None:
            return []
        if not self._asks or not self._is_there():
            return sorted(self.folder.glob("*.parquet"))[-1:]
        engine = connect(self.config)
        with answering(engine), engine.connect() as connection:
            last = _last(connection, self.config.name)
            if not last:
                return []
            file = self.folder / f"{last:012}.parquet"
            if not file.is_file():
                self._write(_labels(connection, self.config), file)
        return [file]

    def _is_there(self) -> bool:
        """Whether there is a database: asking for labels makes none."""
        url = database_url(self.config)
        return url.get_backend_name() != "sqlite" or Path(str(url.database)).is_file()

    def _write(self, table: pa.Table, file: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with hidden(self.folder, "decisions") as scratch:
            pq.write_table(table, scratch / file.name)
            flush(scratch / file.name)
            (scratch / file.name).replace(file)
        flush(self.folder)
        oldest = datetime.now(UTC).timestamp() - KEPT.total_seconds()
        for other in self.folder.glob("*.parquet"):
            if other.name < file.name and other.stat().st_mtime < oldest:
                other.unlink(missing_ok=True)


def _last(connection: sa.Connection, name: str) -> int:
    """Return the number of the last event that made a decision or took one back; 0 without any."""
    columns = sa.func.max(REVIEW_DECISIONS.c.number), sa.func.max(REVIEW_DECISIONS.c.undone_by)
    numbers = connection.execute(sa.select(*columns).where(REVIEW_DECISIONS.c.model_name == name)).one()
    return max(number or 0 for number in numbers)


def _labels(connection: sa.Connection, config: Config) -> pa.Table:
    """Return the labels that decisions are, in the schema of labels from review."""
    decisions, alerts = REVIEW_DECISIONS.c, REVIEW_ALERTS.c
    here = sa.and_(alerts.model_name == decisions.model_name, alerts.key == decisions.key)
    query = (
        sa.select(decisions.id, decisions.label, decisions.at)
        .select_from(REVIEW_DECISIONS.join(REVIEW_ALERTS, here))
        .where(
            decisions.model_name == config.name,
            decisions.kind.in_(("decide", "supersede")),
            decisions.undone_by.is_(None),
            decisions.label.in_(FINAL),
            alerts.label.in_(FINAL),
        )
        .order_by(decisions.number)
    )
    rows: list[Any] = list(connection.execute(query))
    schema = ReviewedLabels(Path(), config).schema
    ids = pa.array([row.id for row in rows], pa.string())
    try:
        ids = ids.cast(schema.field("id").type)
    except pa.ArrowInvalid:
        raise ConfigError(
            f"decisions of {config.name!r} are of ids that are text, and the contract now says "
            f"{schema.field('id').type}; put contract.types back"
        ) from None
    labels = pa.array([FINAL[row.label] for row in rows], pa.int8())
    return pa.table([ids, labels, pa.array([row.at for row in rows], schema.field("labelled_at").type)], schema=schema)
