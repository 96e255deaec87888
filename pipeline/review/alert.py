"""One alert with everything that its page shows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.review.cells import shown_cells
from pipeline.review.events import Event, events
from pipeline.review.listing import Line, blind, hidden_columns, lines, selected
from pipeline.review.people import COLLEAGUE, Person, decider
from pipeline.review.publication import folder_of
from pipeline.review.state import DECIDES
from pipeline.review.store import Reading
from pipeline.review.work import rows_of
from pipeline.selection.records import run_of
from pipeline.settings.config import Config
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.titles import title, with_unit
from pipeline.workspace.schema import BATCHES, REVIEW_ALERTS, REVIEW_EVENTS, REVIEW_ROWS, REVIEW_VALUES

OF_A_CASE = 200
"""Alerts of a case that are shown."""
LATEST = 3
"""Confirmed frauds of an entity that are shown."""


@dataclass(frozen=True)
class Cell:
    """One cell of an alert's row.

    Attributes
    ----------
    column, title : str
        Its name, and what people read in place of it.
    role : {"id", "timestamp", "amount", "entity", "category", "number", "label", "other"}
    text : str
        Ready to show.
    is_hidden : bool
        Whether the text stands for a value that the person may not see.
    """

    column: str
    title: str
    role: str
    text: str
    is_hidden: bool


@dataclass(frozen=True)
class Relative:
    """An entity of an alert, and what else is in the desk of it.

    Attributes
    ----------
    column, title, value : str
        ``title`` is what people read for the column, ``value`` what the person may see; `View` takes column and value.
    alerts, frauds : int
        Alerts with it, this one among them, and those confirmed as fraud.
    latest : tuple of Line
        The last of its other confirmed frauds, newest first.
    """

    column: str
    title: str
    value: str
    alerts: int
    frauds: int
    latest: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class AlertView:
    """One alert, with what a person may see of it.

    Attributes
    ----------
    line : Line
        As the list has it.
    cells : tuple of Cell
        Of the row, in the table's order.
    comment : str
        Of the decision.
    threshold : float or None
        The score above which rows were flagged.
    like_frauds : int
        Known frauds that it is like.
    case : tuple of Line
        The open alerts that are one case with it, this one not among them; best first.
    relatives : tuple of Relative
    events : tuple of Event
        What was done to it, oldest first.
    held_until : datetime or None
        UTC; until when the person holds it.
    folder : str
        Where the results of its batch lie, with its report.
    source : str
        The file that it came in.
    run : str
        The id of the run in MLflow that made the model version; "" where no record says.
    effects : str
        What a decision changes, in a sentence.
    """

    line: Line
    cells: tuple[Cell, ...]
    comment: str
    threshold: float | None
    like_frauds: int
    case: tuple[Line, ...]
    relatives: tuple[Relative, ...]
    events: tuple[Event, ...]
    held_until: datetime | None
    folder: str
    source: str
    run: str
    effects: str


def alert_view(reading: Reading, key: str, who: Person) -> AlertView:
    """Return one alert with everything that its page shows.

    Raises
    ------
    Missing
        When it is not in the queue.
    """
    row = rows_of(reading, [key])[key]
    content = content_of(reading, key)
    is_mine = row["holder"] == who.name and row["held_until"] > reading.at
    is_blind = bool(is_mine and row["again"])
    place = [BATCHES.c[name] == row[name] for name in ("model_name", "batch_id", "model_version")]
    batch = reading.connection.execute(sa.select(BATCHES.c.folder, BATCHES.c.source).where(*place)).first()
    folder = folder_of(reading.config, batch.folder) if batch else None
    return AlertView(
        line=lines(reading, [row], who)[0],
        cells=_cells(content, reading, who),
        comment=blind(row, who, reading.at)["comment"],
        threshold=content["threshold"],
        like_frauds=content["like_frauds"],
        case=lines(reading, case_rows(reading, row), who),
        relatives=_relatives(reading, key, who, is_blind=is_blind),
        events=() if is_blind else of_alert(reading, key, who),
        held_until=row["held_until"] if is_mine else None,
        folder=str(folder or ""),
        source=Path(batch.source).name if batch else "",
        run=run_of(reading.connection, reading.name, row["model_version"]),
        effects=effects(reading.config, row, reading.at),
    )


def content_of(reading: Reading, key: str) -> dict[str, Any]:
    """Return the cells and reasons of an alert, in clear."""
    query = sa.select(REVIEW_ROWS.c.content).where(REVIEW_ROWS.c.model_name == reading.name, REVIEW_ROWS.c.key == key)
    content: dict[str, Any] = json.loads(reading.connection.scalar(query) or "{}")
    return content


def _cells(content: Mapping[str, Any], reading: Reading, who: Person) -> tuple[Cell, ...]:
    hidden, contract = hidden_columns(reading, who), reading.config.contract
    texts = shown_cells(content["cells"], reading.config, hidden, Pseudonyms(reading.config.work_dir))
    order = [name for name in contract.columns if name in texts]
    order += [name for name in texts if name not in order]
    config = reading.config
    texts = {name: with_unit(text, name, config) for name, text in texts.items()}
    return tuple(
        Cell(name, title(name, config), _role(name, config), texts[name], is_hidden=name in hidden) for name in order
    )


def _role(name: str, config: Config) -> str:
    contract = config.contract
    roles = {contract.id: "id", contract.timestamp: "timestamp", contract.amount: "amount"}
    roles |= dict.fromkeys(contract.entities, "entity") | dict.fromkeys(contract.categorical, "category")
    roles |= dict.fromkeys(contract.numeric, "number") | dict.fromkeys([contract.label or ""], "label")
    return roles.get(name, "other")


def case_rows(reading: Reading, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the other open alerts of a case: of the entity, in the same batch or within `review.case_days`."""
    if not row["entity"]:
        return []
    alerts, reach = REVIEW_ALERTS.c, timedelta(days=reading.config.review.case_days)
    near = sa.or_(alerts.batch_id == row["batch_id"], alerts.at.between(row["at"] - reach, row["at"] + reach))
    where = (alerts.model_name == reading.name, alerts.entity == row["entity"], near)
    query = selected([*where, alerts.key != row["key"], alerts.state.in_(("open", "snoozed", "escalated"))])
    query = query.order_by(alerts.score.desc(), alerts.key).limit(OF_A_CASE)
    return [row._asdict() for row in reading.connection.execute(query)]


def _relatives(reading: Reading, key: str, who: Person, *, is_blind: bool) -> tuple[Relative, ...]:
    """Return the entities of an alert; of one that is hidden, its pseudonym.

    To whoever decides it unawares, its own decision does not count.
    """
    contract, hidden = reading.config.contract, hidden_columns(reading, who)
    values = REVIEW_VALUES.c
    query = sa.select(values.name, values.value, values.secret).where(
        values.model_name == reading.name, values.key == key
    )
    entities = {name[:255] for name in contract.entities}
    relatives = []
    for name, value, is_secret in sorted(reading.connection.execute(query).all()):
        if name not in entities or is_secret is not (name in contract.sensitive and name not in hidden):
            continue
        others = sa.select(values.key).where(
            values.model_name == reading.name, values.name == name, values.value == value, values.secret == is_secret
        )
        others_alone = [REVIEW_ALERTS.c.key != key] if is_blind else []
        is_fraud = sa.and_(REVIEW_ALERTS.c.label == "fraud", *others_alone)
        frauds = sa.func.sum(sa.case((is_fraud, 1), else_=0))
        counts = reading.connection.execute(
            sa.select(sa.func.count(), frauds).where(
                REVIEW_ALERTS.c.model_name == reading.name, REVIEW_ALERTS.c.key.in_(others)
            )
        ).one()
        latest = _frauds(reading, key, others, who) if counts[1] else ()
        heading = title(name, reading.config)
        relatives.append(Relative(name, heading, value, alerts=counts[0], frauds=counts[1] or 0, latest=latest))
    return tuple(relatives)


def _frauds(reading: Reading, key: str, keys: sa.Select[Any], who: Person) -> tuple[Line, ...]:
    """Return the last confirmed frauds among some alerts, but for one."""
    alerts = REVIEW_ALERTS.c
    where = (alerts.model_name == reading.name, alerts.label == "fraud", alerts.key.in_(keys), alerts.key != key)
    query = selected(where).order_by(alerts.at.desc(), alerts.key).limit(LATEST)
    return lines(reading, [row._asdict() for row in reading.connection.execute(query)], who)


def of_alert(reading: Reading, key: str, who: Person) -> tuple[Event, ...]:
    """Return what was done to an alert; who checks the quality of reviews sees those for that, and who decided, too."""
    hidden = () if who.may("lead") else ("second", "golden")
    here = (REVIEW_EVENTS.c.subject == key, REVIEW_EVENTS.c.kind.not_in(hidden))
    return tuple(_unnamed(event, who) for event in events(reading.connection, reading.name, *here))


def _unnamed(event: Event, who: Person) -> Event:
    """Return an event as a person may see it: without the name of a colleague who decided, or took that back."""
    parts = [
        {name: decider(text, who) if name in ("who", "second_by") else text for name, text in part.items()}
        for part in (event.before, event.after)
    ]
    is_decision = event.kind in (*DECIDES, "undo")
    name = (decider(event.who, who) or COLLEAGUE) if is_decision else event.who
    address = event.address if name == event.who else ""
    return replace(event, who=name, address=address, before=parts[0], after=parts[1])


def effects(config: Config, row: Mapping[str, Any], at: datetime) -> str:
    """Return what a decision at a moment changes."""
    if config.contract.label is None:
        return "The contract names no label, so that decisions are kept and teach nothing."
    moment = max(at, row["at"])
    return (
        f"Counts as known from {moment:%Y-%m-%d %H:%M} UTC: for features of rows after that, and for the next training "
        "whose period holds this row."
    )
