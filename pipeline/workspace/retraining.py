"""Whether another training is due and why, and what the last retraining came to."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from pipeline.settings.config import Config
from pipeline.tables.writing import write_text
from pipeline.workspace.database import answering, connect
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.ledger import Ledger
from pipeline.workspace.schema import ALIAS_CHANGES
from pipeline.workspace.watch import WatchEvent, WatchEvents

if TYPE_CHECKING:
    from pipeline.labels.known import Labels

Outcome = Literal["promoted", "waits", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Whether a training is due. Made by `outlook`.

    Attributes
    ----------
    champion : str
        The version that scores.
    trained_at : datetime
        When a version was registered last, UTC.
    reasons : tuple of str
        Why a training is due, in words that hold nothing of any row; empty where none is.
    text : str
        A sentence of all that was looked at, where none is due.
    """

    champion: str
    trained_at: datetime
    reasons: tuple[str, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class LastRetraining:
    """What the last retraining came to.

    Attributes
    ----------
    outcome : {"promoted", "waits", "failed"}
        ``waits``: its version is the candidate, for a person to promote.
    reasons : tuple of str
        Why it was done.
    version : str
        What it registered; "" where it failed before that.
    message : str
        What became of the gates; of one that failed, the fault with its remedy.
    at : datetime
        When it ended, UTC.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    version: str = ""
    message: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(tzinfo=None))


def outlook(config: Config, labels: "Labels | None" = None, now: datetime | None = None) -> Outlook | None:
    """Return whether another training is due by ``[retrain]``, and why; None where nobody is champion yet.

    Whatever was trained last counts, be it by hand: a second look on one day finds nothing new, unless the watch has
    come into another state since, or as many labels have come again.

    Parameters
    ----------
    config : Config
    labels : Labels, optional
        What is known of rows; `labels_at_hand` when left out.
    now : datetime, optional
        UTC, without a zone.
    """
    now = now or datetime.now(UTC).replace(tzinfo=None)
    versions = _versions(config)
    if versions is None:
        return None
    champion, trained_at = versions
    reasons, others = list[str](), list[str]()
    for text, is_due in _looked_at(config, labels, champion=champion, trained_at=trained_at, now=now):
        (reasons if is_due else others).append(text)
    text = f"version {champion} is the champion, and {'; '.join(others)}" if others else "[retrain] asks for nothing"
    return Outlook(champion=champion, trained_at=trained_at, reasons=tuple(reasons), text=text)


def labels_at_hand(config: Config) -> "Labels":
    """Return what is known of rows without bringing decisions of the desk up to date: nothing is written."""
    from pipeline.labels.known import Labels  # late, for Arrow's datasets load pandas, and few ask for them
    from pipeline.labels.reviewed import ReviewedLabels
    from pipeline.workspace.decisions import DecisionLabels

    work = WorkFolder(config)
    decisions = DecisionLabels(work.decisions, config, asks=False)
    return Labels(config, (*ReviewedLabels(work.labels, config).files(), *decisions.files()))


def last_retraining(config: Config) -> LastRetraining | None:
    """Return what the last retraining came to; None where there was none."""
    try:
        raw: dict[str, Any] = json.loads(_memory(config).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return LastRetraining(**{**raw, "reasons": tuple(raw["reasons"]), "at": datetime.fromisoformat(raw["at"])})


def note_retraining(config: Config, result: LastRetraining) -> None:
    """Note what a retraining came to, for `assay status`: nothing but what people are told depends on it."""
    with suppress(OSError):  # a full disk, which the training itself says
        write_text(_memory(config), json.dumps(asdict(result), default=str))


def _memory(config: Config) -> Path:
    return WorkFolder(config).nightly / "retraining.json"


def _versions(config: Config) -> tuple[str, datetime] | None:
    """Return the champion, and when a version was registered last: where no record says, when it became champion."""
    changes = ALIAS_CHANGES.c
    query = sa.select(changes.alias, changes.version, changes.action, changes.at).order_by(changes.number)
    engine = connect(config)
    with answering(engine), engine.connect() as connection:
        rows = list(connection.execute(query.where(changes.model_name == config.name)))
    champions = [row for row in rows if row.alias == "champion"]
    if not champions or champions[-1].version is None:
        return None
    registered = [row.at for row in rows if row.action == "register"]
    return str(champions[-1].version), max(registered, default=champions[-1].at)


def _looked_at(
    config: Config, labels: "Labels | None", *, champion: str, trained_at: datetime, now: datetime
) -> Iterator[tuple[str, bool]]:
    """Yield what was looked at, and whether it makes a training due."""
    settings, age = config.retrain, now - trained_at
    if settings.every_days:
        text = f"the last training was {_days(age)} ago, with every_days = {settings.every_days:g}"
        yield text, age >= timedelta(days=settings.every_days)
    if settings.when:
        is_late, states = age >= timedelta(days=settings.again_days), WatchEvents(config).latest().values()
        for event in (odd := [event for event in states if _counts(event, config, champion)]):
            was = "" if event.at > trained_at else f", and the last training was {_days(age)} ago"
            text = f"the watch says {event.state} of {event.check} since {event.day}{was}"
            yield text, event.at > trained_at or is_late
        if not odd:
            yield f"the watch does not say {' or '.join(settings.when)} of its days", False
    if settings.new_labels:
        count = (labels or labels_at_hand(config)).given_since(trained_at, now)
        text = f"review has given {count:,} {'row' if count == 1 else 'rows'} a label since the last training"
        yield f"{text}, with new_labels = {settings.new_labels:,}", count >= settings.new_labels


def _counts(event: WatchEvent, config: Config, champion: str) -> bool:
    """Return whether a state makes a training due: that of days of the champion's, and not of their columns' names.

    Only changes of a state are written down: one from before the champion lasts if the champion has scored since. A
    table whose columns are others is not mended by a training on the history, which holds those of the contract.
    """
    if event.check == "schema" or event.state not in config.retrain.when:
        return False
    last = Ledger(config).latest([champion])
    return event.model_version == champion or (last is not None and last.scored_at > event.at)


def _days(age: timedelta) -> str:
    """Write how long ago something was.

    Examples
    --------
    >>> [_days(timedelta(hours=hours)) for hours in (3, 30, 50)]
    ['less than a day', '1 day', '2 days']
    """
    return "less than a day" if age.days < 1 else "1 day" if age.days == 1 else f"{age.days:,} days"
