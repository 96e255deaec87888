"""Where a decision of the desk and a label that was delivered say different things of one row."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pipeline.review.keys import key_of
from pipeline.review.listing import hidden_columns
from pipeline.review.people import Person, decider
from pipeline.review.store import Reading
from pipeline.settings.sensitive import MASK
from pipeline.workspace.schema import REVIEW_ALERTS
from pipeline.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One row with two labels; the later one holds.

    Attributes
    ----------
    key, id : str
        Of the alert.
    decision, decided_by : str
        ``decided_by`` is "" where the person may not know it.
    decided_at : datetime
    delivered : str
        "fraud" or "not_fraud".
    delivered_at : datetime
    """

    key: str
    id: str
    decision: str
    decided_by: str
    decided_at: datetime
    delivered: str
    delivered_at: datetime

    @property
    def holds(self) -> str:
        """The label that holds; of equally late ones, fraud."""
        if self.decided_at == self.delivered_at:
            return "fraud"
        return self.decision if self.decided_at > self.delivered_at else self.delivered


def disagreements(reading: Reading, who: Person) -> list[Disagreement]:
    """Return the rows whose decision is another label than the last one delivered for them, latest decision first."""
    import pyarrow.dataset as ds

    files = Workspace(reading.config).reviewed.files()
    alerts = REVIEW_ALERTS.c
    query = sa.select(alerts.key, alerts.id, alerts.label, alerts.who, alerts.decided_at).where(
        alerts.model_name == reading.name, alerts.label.in_(("fraud", "not_fraud"))
    )
    rows = reading.connection.execute(query.order_by(alerts.decided_at.desc(), alerts.key)).all() if files else []
    if not rows:
        return []
    deliveries = ds.dataset(files).to_table().sort_by([("labelled_at", "ascending"), ("label", "ascending")])
    latest = {
        key_of(reading.name, row["id"]): (("not_fraud", "fraud")[row["label"]], row["labelled_at"])
        for row in deliveries.to_pylist()
    }
    is_hidden = reading.config.contract.id in hidden_columns(reading, who)
    return [
        Disagreement(
            key=row.key,
            id=MASK if is_hidden else row.id,
            decision=row.label,
            decided_by=decider(row.who, who),
            decided_at=row.decided_at,
            delivered=latest[row.key][0],
            delivered_at=latest[row.key][1],
        )
        for row in rows
        if row.key in latest and latest[row.key][0] != row.label
    ]
