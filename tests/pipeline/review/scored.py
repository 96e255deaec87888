"""Scored batches as the desk finds them: a ledger row, and files of alerts and audited rows made by hand."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.review.people import Person
from pipeline.scoring.nearest import NEAREST_TYPE
from pipeline.scoring.reasons import REASONS_TYPE
from pipeline.settings.config import Config
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.workspace import Workspace

ANN, BOB, EVE = Person("ann", "analyst", "127.0.0.1"), Person("bob", "analyst", "127.0.0.2"), Person("eve", "viewer")
LEA, ADA = Person("lea", "lead", "127.0.0.3"), Person("ada", "admin")
MONDAY = datetime(2025, 3, 3, 9)


def desk_config(
    folder: Path,
    url: str = "",
    *,
    sensitive: Sequence[str] = (),
    numeric: Sequence[str] = (),
    columns: Mapping[str, Any] | None = None,
    **review: Any,
) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card", "shop"], "label": "fraud"}
    contract |= {"categorical": ["channel"], "types": {"tx": "integer"}, "sensitive": list(sensitive)}
    contract |= {"numeric": list(numeric)}
    tracking = {"ledger_url": url}
    settings = {"contract": contract, "name": "cards", "work_dir": str(folder / "work"), "review": review}
    return Config.model_validate(settings | {"tracking": tracking, "columns": columns or {}})


class Clock:
    """A clock that tests set."""

    def __init__(self, now: datetime = MONDAY) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def ahead(self, **parts: float) -> None:
        self.now += timedelta(**parts)


def rows(ids: Sequence[int], score: float = 100.0, *, cards: int = 3, day: datetime = MONDAY) -> dict[str, Any]:
    """Columns that alerts and audited rows have alike; the first id has the highest score."""
    count = len(ids)
    return {
        "tx": list(ids),
        "at": [day - timedelta(days=1, minutes=place) for place in range(count)],
        "eur": [10.0 * (place + 1) for place in range(count)],
        "card": [f"card-{number % cards}" for number in ids],
        "shop": [f"shop-{number % 2}" for number in ids],
        "channel": ["web" if number % 2 else "pos" for number in ids],
        "device": [f"device {number}" for number in ids],
        "anomaly_score": [score - place for place in range(count)],
        "p_value": [0.001 * (place + 1) for place in range(count)],
        "rank": list(range(1, count + 1)),
    }


def score_batch(
    config: Config,
    ids: Sequence[int],
    *,
    batch: str = "b1",
    version: str = "1",
    audited: Sequence[int] = (),
    score: float = 100.0,
    scored_at: datetime = MONDAY - timedelta(hours=6),
    cards: int = 3,
    replaces: Sequence[str] = (),
) -> Path:
    """Leave a batch as `assay score` does: its results, and its row in the ledger."""
    ledger = Ledger(config)  # before the folder: a ledger that is missing beside batches is a loss
    folder = Path(config.work_dir) / "batches" / f"{batch}-v{version}"
    folder.mkdir(parents=True, exist_ok=True)
    alerts = pa.table(rows(ids, score, cards=cards))
    reason = [{"column": "eur", "actual": "10.00", "expected": "2.00", "share": 0.75, "text": "eur 10.00, not 2.00"}]
    added = {"threshold": [5.0] * len(ids), "like_frauds": [0] * len(ids), "picked": ["score"] * len(ids)}
    for name, values in added.items():
        alerts = alerts.append_column(name, pa.array(values))
    alerts = alerts.append_column("reasons", pa.array([reason] * len(ids), REASONS_TYPE))
    nearest = [{"column": "eur", "value": "9.50"}]
    alerts = alerts.append_column("unflagged_at", pa.array([nearest] * len(ids), NEAREST_TYPE))
    pq.write_table(alerts, folder / "alerts.parquet")
    if audited:
        audit = pa.table(rows(audited, 1.0, cards=cards))
        audit = audit.append_column("inclusion_probability", pa.array([0.01] * len(audited)))
        pq.write_table(audit, folder / "audit.parquet")
    entry = Entry(
        batch_id=batch,
        source=f"/data/{batch}.parquet",
        digest=batch,
        period_start=None,
        period_end=None,
        model_name=config.name,
        model_version=version,
        scored_at=scored_at,
        folder=str(folder),
        flagged=len(ids),
        scored=1000,
    )
    ledger.record(entry, replaces=replaces)
    return folder


def deliver(config: Config, *cells: str) -> None:
    """Take in labels: an id, 0 or 1, and hours after Monday, as ``"4,1,2"``."""
    rows = (cell.split(",") for cell in cells)
    lines = [f"{tx},{label},{(MONDAY + timedelta(hours=float(hours))).isoformat()}" for tx, label, hours in rows]
    file = Path(config.work_dir) / "labels.csv"
    file.write_text("\n".join(["tx,fraud,labelled_at", *lines]))
    Workspace(config).reviewed.append(file, now=MONDAY + timedelta(days=2))
