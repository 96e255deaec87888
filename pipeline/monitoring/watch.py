"""The watch: a scored batch beside the days before it, by the same version, held against that version's training."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.detector.usual import type_in_words
from pipeline.errors import UnlikeTraining
from pipeline.monitoring.checks import Check, Seen, VersionBefore, look_at, schema_check, stopped
from pipeline.monitoring.columns import schema_changes
from pipeline.monitoring.profile import Days, read_profile, together, write_profile
from pipeline.scoring.score import Scored
from pipeline.tables.batch import Batch
from pipeline.workspace.ledger import Entry
from pipeline.workspace.watch import Stand

WINDOW = timedelta(days=60)
"""How far the watch looks back from a batch: far enough for what comes slowly."""


@dataclass(frozen=True)
class Earlier:
    """What earlier batches were like, by the version that scores.

    Attributes
    ----------
    days : mapping of date to DayProfile
    before : mapping of str to Any
        The marks of the last batch of the version before it; empty where no other version has scored of late.
    """

    days: Days
    before: Mapping[str, Any] = field(default_factory=dict)


def earlier(entries: Sequence[Entry], version: str) -> Earlier:
    """Return what earlier batches were like.

    Parameters
    ----------
    entries : sequence of Entry
        Scored ones, as `Ledger.near` returns them.
    version : str
        Only batches of this version are looked at.
    """
    own, before = [], dict[str, Any]()
    for entry in entries:
        stored = read_profile(Path(entry.folder))
        if stored is None:
            continue
        days, marks = stored
        if entry.model_version == version:
            own.append(days)
        else:
            before = marks
    return Earlier(together(own), {} if len(own) > NEW_BATCHES else before)


NEW_BATCHES = 7
"""Batches from which on a version is no longer new, so that nothing is held against the one before it."""


def watch(days: Days, scored: Scored, detector: Detector, *, past: Earlier, changes: Sequence[str] = ()) -> Seen | None:
    """Hold a scored batch against the training, and write what its days were like beside its scores.

    Parameters
    ----------
    days : Days
        What a `Profiler` made of the rows that were scored.
    scored : Scored
    detector : Detector
        What scored them, with today's settings.
    past : Earlier
    changes : sequence of str
        What is another in the table's columns, from `changes_of`.

    Returns
    -------
    Seen or None
        None for a batch without rows, or where the watch is off.
    """
    if not detector.config.monitor.enabled or not scored.scored:
        return None
    marks: dict[str, Any] = {
        "version": scored.marks["model_version"],
        "alerts_per_day": detector.cut.alerts_per_day,
        "model": sha256(detector.held_out.scores.tobytes()).hexdigest()[:16],
        "changes": list(changes),
    }
    write_profile(scored.scores.parent, days, marks)
    before = None
    if past.before.get("alerts_per_day"):
        before = VersionBefore(past.before["alerts_per_day"], past.before["model"] == marks["model"])
    return look_at(together([past.days, days]), detector, changes, before=before)


def changes_of(rows: Path, batch: Batch, detector: Detector) -> list[str]:
    """Return what is another in the columns of a batch's table than in those of the training, a few words each.

    Parameters
    ----------
    rows : Path
        Parquet: the accepted rows of the batch.
    batch : Batch
    detector : Detector
    """
    if not detector.config.monitor.enabled:
        return []
    now = {field.name: type_in_words(field.type) for field in pq.read_schema(rows)}
    return schema_changes(detector.reference.types, now, has_types=batch.open().format != "csv")


def schema_of(changes: Sequence[str], detector: Detector) -> Check:
    """Return how the check of a table's columns stands, before anything of it is scored."""
    return stopped([schema_check(changes)], detector.config.monitor)[0]


def refuse_stopped(checks: Collection[Check], source: str, read: int) -> None:
    """Refuse to publish a batch that a check of ``monitor.stop_on`` stops.

    Parameters
    ----------
    checks : collection of Check
    source : str
        The table's path, for the message.
    read : int
        Rows read from the batch.

    Raises
    ------
    UnlikeTraining
    """
    stops = [check for check in checks if check.state == "stop"]
    if stops:
        text = " ".join(check.text for check in stops)
        raise UnlikeTraining(
            f"{source}: the watch keeps its alerts back ({', '.join(check.name for check in stops)}). {text} To have "
            "them all the same, score it with --force, or take the check out of [monitor] stop_on",
            read,
        )


def states(checks: Collection[Check]) -> list[Stand]:
    """Return how checks stand, as `WatchEvents.note` takes it."""
    return [Stand(check.name, check.state, check.text, check.degree) for check in checks]


def all_days(entries: Sequence[Entry], version: str) -> tuple[Days, Mapping[str, Any]]:
    """Return all days that a version has scored, and the marks of its last batch."""
    parts, last = [], dict[str, Any]()
    for entry in entries:
        stored = read_profile(Path(entry.folder)) if entry.model_version == version else None
        if stored is not None:
            parts.append(stored[0])
            last = stored[1]
    return together(parts), last
