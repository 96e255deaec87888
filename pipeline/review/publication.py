"""How the alerts and audit slices of scored batches get into the queue, and those of replaced ones out of it.

The ledger's row of a batch is the publication: who scores knows nothing of the desk. An audited row comes in like an
alert, with the score of an alert of its batch in the place of its own, so that the list does not tell the two apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipeline.errors import AssayError
from pipeline.review.deliveries import labels_of
from pipeline.review.events import Event, canonical
from pipeline.review.keys import key_of
from pipeline.settings.config import Config
from pipeline.settings.output import ALERTS, name_within
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.tables.period import local_days
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.schema import (
    BATCHES,
    REVIEW_ALERTS,
    REVIEW_BATCHES,
    REVIEW_ROWS,
    REVIEW_VALUES,
)

ALERTS_FILE, AUDIT_FILE = "alerts.parquet", "audit.parquet"
ADDED = {*ALERTS, "inclusion_probability"}
ROWS = 5_000
"""Rows taken in at a time."""
LONGEST = 255
"""Of a value that alerts are looked for by: what is longer is cut."""
OPEN = ("open", "snoozed", "escalated")
"""States of alerts that wait for a decision."""


def entity_column(config: Config) -> str:
    """Return the column whose alerts are one case; empty where the table has no entity."""
    return config.review.entity or next(iter(config.contract.entities), "")


def news(connection: sa.Connection, config: Config) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the ledger's rows that the queue lacks, oldest first, and the batches in it that were replaced."""
    same = sa.and_(
        BATCHES.c.batch_id == REVIEW_BATCHES.c.batch_id,
        BATCHES.c.model_version == REVIEW_BATCHES.c.model_version,
        BATCHES.c.model_name == REVIEW_BATCHES.c.model_name,
    )
    scored = sa.and_(BATCHES.c.status == "scored", BATCHES.c.model_name == config.name)
    fresh = sa.or_(REVIEW_BATCHES.c.scored_at.is_(None), REVIEW_BATCHES.c.scored_at != BATCHES.c.scored_at)
    columns = [BATCHES.c[name] for name in ("batch_id", "model_version", "scored_at", "folder")]
    new = sa.select(*columns).select_from(BATCHES.outerjoin(REVIEW_BATCHES, same)).where(scored, fresh)
    rows = connection.execute(new.order_by(BATCHES.c.scored_at, BATCHES.c.batch_id))
    old = (
        sa.select(REVIEW_BATCHES.c.batch_id, REVIEW_BATCHES.c.model_version)
        .select_from(REVIEW_BATCHES.outerjoin(BATCHES, sa.and_(same, BATCHES.c.status == "scored")))
        .where(
            REVIEW_BATCHES.c.model_name == config.name,
            REVIEW_BATCHES.c.status == "published",
            BATCHES.c.batch_id.is_(None),
        )
    )
    arrived = [row._asdict() for row in rows if folder_of(config, row.folder) is not None]
    return arrived, [row._asdict() for row in connection.execute(old)]


def folder_of(config: Config, folder: str) -> Path | None:
    """Return where a batch's results lie by now; None while they are on their way to their place."""
    places = (Path(folder), WorkFolder(config).replaced / Path(folder).name)
    return next((place for place in places if (place / ALERTS_FILE).is_file()), None)


def take_in(connection: sa.Connection, config: Config, event: Event) -> None:
    """Take the rows of a batch into the queue; those of an older version that this one leaves out are withdrawn."""
    batch = event.after
    folder = folder_of(config, batch["folder"])
    if folder is None:
        raise AssayError(
            f"the alerts of batch {batch['batch_id']} are neither in {batch['folder']} nor among the replaced results; "
            "bring the folder back"
        )
    scores: list[tuple[float, float]] = []
    for file, kind in ((folder / ALERTS_FILE, "alert"), (folder / AUDIT_FILE, "audit")):
        if not file.is_file():
            continue
        for part in pq.ParquetFile(file).iter_batches(ROWS):
            rows = _rows(pa.Table.from_batches([part]), kind, config=config, event=event)
            if kind == "alert":
                scores += [(row["score"], row["p_value"]) for row, _ in rows]
            elif scores:
                for row, _ in rows:
                    row["score"], row["p_value"] = scores[int(row["key"], 16) % len(scores)]
            for row, _ in rows:
                row["risk"] = risk(row, batch["shares"])
                _put_due(row, event.at, config)
            _write(connection, config, rows)
    mine = REVIEW_ALERTS.c.model_name == config.name
    older = sa.and_(
        REVIEW_ALERTS.c.batch_id == batch["batch_id"], REVIEW_ALERTS.c.model_version != batch["model_version"]
    )
    why = f"version {batch['model_version']} does not flag it"
    connection.execute(
        sa.update(REVIEW_ALERTS)
        .where(mine, older, REVIEW_ALERTS.c.state.in_(OPEN))
        .values(state="withdrawn", why=why, event=event.number)
    )
    _weigh(connection, config, batch["shares"])
    mark_batch(connection, config, batch, "published")


def mark_batch(connection: sa.Connection, config: Config, batch: Mapping[str, Any], status: str) -> None:
    """Note that a batch is in the queue, or was withdrawn."""
    here = {"model_name": config.name, "batch_id": batch["batch_id"], "model_version": batch["model_version"]}
    conditions = [REVIEW_BATCHES.c[name] == value for name, value in here.items()]
    if status == "published":
        connection.execute(sa.delete(REVIEW_BATCHES).where(*conditions))
        at = datetime.fromisoformat(batch["scored_at"])
        connection.execute(sa.insert(REVIEW_BATCHES).values(**here, scored_at=at, status=status))
    else:
        connection.execute(sa.update(REVIEW_BATCHES).where(*conditions).values(status=status))


def withdraw(connection: sa.Connection, config: Config, event: Event) -> None:
    """Take the open rows of a replaced batch out of the queue; decided ones stay."""
    batch = event.after
    connection.execute(
        sa.update(REVIEW_ALERTS)
        .where(
            REVIEW_ALERTS.c.model_name == config.name,
            REVIEW_ALERTS.c.batch_id == batch["batch_id"],
            REVIEW_ALERTS.c.model_version == batch["model_version"],
            REVIEW_ALERTS.c.state.in_(OPEN),
        )
        .values(state="withdrawn", why=batch["why"], event=event.number)
    )
    mark_batch(connection, config, batch, "withdrawn")


def _rows(table: pa.Table, kind: str, *, config: Config, event: Event) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return what the queue has of rows of an alerts table or audit slice, each with its content."""
    contract, names = config.contract, table.column_names
    id_column = name_within(contract.id, names)
    days = local_days(table.column(name_within(contract.timestamp, names)), config.table.time_zone).tolist()
    shared = {"model_name": config.name, "kind": kind, "event": event.number}
    shared |= {name: event.after[name] for name in ("batch_id", "model_version")}
    shared |= dict.fromkeys(("label", "code", "comment", "assignee", "who", "why"), "")
    shared |= dict.fromkeys(("second", "second_label", "second_by"), "")
    shared |= {"state": "open", "decided_at": None, "snoozed_until": None}
    make = partial(_row, shared=shared, config=config, labels=labels_of(config, table.column(id_column)))
    return [make(row, day) for row, day in zip(table.to_pylist(), days, strict=True)]


def _row(
    row: Mapping[str, Any], day: Any, *, shared: Mapping[str, Any], config: Config, labels: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    contract = config.contract
    cells = {name.removesuffix(" (input)"): value for name, value in row.items() if name not in ADDED}
    reasons = row.get("reasons") or []
    entity = cells.get(entity_column(config))
    amount = cells.get(contract.amount)
    content = {"cells": cells, "reasons": reasons, "like_frauds": row.get("like_frauds") or 0}
    content["unflagged_at"] = row.get("unflagged_at") or []
    content |= {name: row.get(name) for name in ("anomaly_score", "p_value", "threshold", "picked")}
    return {
        **shared,
        "key": key_of(config.name, cells[contract.id]),
        "id": str(cells[contract.id]),
        "at": cells[contract.timestamp],
        "day": day,
        "rank": row["rank"],
        "score": row["anomaly_score"],
        "p_value": row["p_value"],
        "amount": None if amount is None else float(amount),
        "entity": "" if entity is None else str(entity)[:LONGEST],
        "reason": reasons[0]["column"][:LONGEST] if reasons else "",
        "chance": row.get("inclusion_probability"),
        "delivered": labels.get(str(cells[contract.id]), ""),
    }, content


def _put_due(row: dict[str, Any], at: datetime, config: Config) -> None:
    """Say how soon an alert that arrived at a moment is to be decided: sooner with much money at risk."""
    settings = config.review
    is_urgent = 0 < settings.urgent_risk <= row["risk"]
    row["priority"] = "urgent" if is_urgent else "normal"
    row["due"] = at + timedelta(hours=settings.due_hours_urgent if is_urgent else settings.due_hours)


def _write(connection: sa.Connection, config: Config, rows: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Put rows into the queue; of one that is there already and waits, the newer takes over, decided ones stay."""
    mine, keys = REVIEW_ALERTS.c.model_name == config.name, [row["key"] for row, _ in rows]
    present = connection.execute(
        sa.select(REVIEW_ALERTS.c.key, REVIEW_ALERTS.c.state).where(mine, REVIEW_ALERTS.c.key.in_(keys))
    )
    states = {row.key: row.state for row in present}
    fresh = [row for row, _ in rows if row["key"] not in states]
    open_again = [row for row, _ in rows if states.get(row["key"], "decided") != "decided"]
    if fresh:
        connection.execute(sa.insert(REVIEW_ALERTS), fresh)
    for row in open_again:
        lasting = ("assignee", "snoozed_until", "label", "code", "comment", "who", "decided_at")
        fields = {name: value for name, value in row.items() if name not in lasting}
        if states[row["key"]] != "withdrawn":
            of_waiting = ("state", "why", "due", "priority")
            fields = {name: value for name, value in fields.items() if name not in of_waiting}
        connection.execute(sa.update(REVIEW_ALERTS).where(mine, REVIEW_ALERTS.c.key == row["key"]).values(fields))
    wanting = {row["key"] for row in (*fresh, *open_again)}
    for table in (REVIEW_ROWS, REVIEW_VALUES):
        gone = [row["key"] for row in open_again]
        if gone:
            connection.execute(sa.delete(table).where(table.c.model_name == config.name, table.c.key.in_(gone)))
    here = [(row, content) for row, content in rows if row["key"] in wanting]
    contents = [{"model_name": config.name, "key": row["key"], "content": canonical(content)} for row, content in here]
    values = list(_values(here, config))
    if contents:
        connection.execute(sa.insert(REVIEW_ROWS), contents)
    if values:
        connection.execute(sa.insert(REVIEW_VALUES), values)


def _values(rows: Sequence[tuple[dict[str, Any], dict[str, Any]]], config: Config) -> Iterator[dict[str, Any]]:
    """Yield what rows are looked for by: entities and categories, and the pseudonyms of sensitive entities."""
    contract, pseudonyms = config.contract, Pseudonyms(config.work_dir)
    for row, content in rows:
        for name in (*contract.entities, *contract.categorical):
            value = content["cells"].get(name)
            if value is None:
                continue
            place = {"model_name": config.name, "name": name[:LONGEST], "key": row["key"]}
            yield {**place, "value": str(value)[:LONGEST], "secret": name in contract.sensitive}
            if name in contract.sensitive and name in contract.entities:
                yield {**place, "value": pseudonyms.of(value), "secret": False}


def shares(connection: sa.Connection, config: Config) -> list[tuple[float, float]]:
    """Return what share of the decided alerts was fraud, by tenths of their scores; nothing for fewer than 50.

    Returns
    -------
    list of (float, float)
        The least score of each tenth, falling, and the share: (frauds + 1) / (alerts + 2).
    """
    rows = connection.execute(
        sa.select(REVIEW_ALERTS.c.score, REVIEW_ALERTS.c.label)
        .where(
            REVIEW_ALERTS.c.model_name == config.name,
            REVIEW_ALERTS.c.kind == "alert",
            REVIEW_ALERTS.c.label.in_(("fraud", "not_fraud")),
        )
        .order_by(REVIEW_ALERTS.c.score.desc(), REVIEW_ALERTS.c.key)
    ).all()
    if len(rows) < 50:
        return []
    tenths = [rows[len(rows) * part // 10 : len(rows) * (part + 1) // 10] for part in range(10)]
    return [
        (float(tenth[-1].score), (sum(row.label == "fraud" for row in tenth) + 1) / (len(tenth) + 2))
        for tenth in tenths
    ]


def risk(row: Mapping[str, Any], parts: Sequence[Sequence[float]]) -> float:
    """Return the money at risk of an alert: its amount, times how likely alerts of like score were fraud.

    Examples
    --------
    >>> row = {"amount": -100.0, "score": 3.0, "p_value": 0.25}
    >>> risk(row, []), risk(row, [(5.0, 0.5), (2.0, 0.125), (1.0, 0.0)])
    (75.0, 12.5)
    """
    amount = abs(row["amount"] or 0.0)
    if not parts:
        return amount * (1 - row["p_value"])
    return amount * next((share for least, share in parts if row["score"] >= least), parts[-1][1])


def _weigh(connection: sa.Connection, config: Config, parts: Sequence[Sequence[float]]) -> None:
    """Work out the money at risk of the open alerts again, by what was learned of scores since."""
    if not parts:
        return
    amount = sa.func.abs(sa.func.coalesce(REVIEW_ALERTS.c.amount, 0.0))
    share = sa.case(*((REVIEW_ALERTS.c.score >= least, share) for least, share in parts), else_=parts[-1][1])
    connection.execute(
        sa.update(REVIEW_ALERTS)
        .where(REVIEW_ALERTS.c.model_name == config.name, REVIEW_ALERTS.c.state.in_(OPEN))
        .values(risk=amount * share)
    )
