"""How a table's pipeline stands, from what lies in the work folder: nothing is written, loaded or asked of a server."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import sqlalchemy as sa

from pipeline.errors import AssayError
from pipeline.settings.config import Config
from pipeline.settings.stores import is_address
from pipeline.tables.batch import Batch, rules_digest
from pipeline.tables.files import parquet_file
from pipeline.workspace.database import answering, connect, is_up_to_date, loss
from pipeline.workspace.deliveries import look
from pipeline.workspace.ledger import Entry, Handled, Ledger
from pipeline.workspace.nightly import LastRun, Nightly, Schedule
from pipeline.workspace.retraining import LastRetraining, Outlook, last_retraining, outlook
from pipeline.workspace.schema import ALIAS_CHANGES
from pipeline.workspace.store import Store
from pipeline.workspace.watch import WatchEvent, WatchEvents

State = Literal["fine", "attention", "stopped"]
STATES: tuple[State, ...] = ("fine", "attention", "stopped")
"""From the best to the worst; the place of each is the exit status of ``assay status``."""
READ_BYTES = 1 << 28
"""How much of files that may be new is read to know them by their content; what lies beyond counts as new."""
GRACE = timedelta(minutes=10)
"""How late a run may be before it is missed."""
LONG = timedelta(days=1)
"""How long a new file may wait, where no schedule says when it is scored."""
RHYTHM = 4
"""Deliveries from which on it can be said when the next one comes."""
CATCH_UP = {
    "all": "one run makes up for them, and scores every file that came",
    "latest": "one run makes up for the last of them; score earlier files, if they shall be, with: assay score FILE",
    "skip": "no run makes up for them; score what came meanwhile, if it shall be, with: assay score FILE",
}
"""What becomes of missed runs, by ``schedule.catch_up``."""
UNUSUAL = 0.01
"""The p-value of a row that scores above 99 % of the training's normal rows."""
DRIFT = 0.05
"""Share of such rows in a batch from which on it is told; 0.01 is what the training had."""
DRIFT_ROWS = 100
"""Rows below which a batch says nothing of drift."""
COUNTED = ("read", "accepted", "quarantined", "scored", "flagged")
"""The counts of a batch that add up over batches."""
FREE_BYTES = 1e9
"""Free disk below which it is told."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a person should know of.

    Parameters
    ----------
    state : {"attention", "stopped"}
    text : str
        One sentence, with what to do.
    brief : str
        The same for those who are not at the machine: a sentence that holds nothing of any row.
    """

    state: State
    text: str
    brief: str


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """The incoming folder. Moments are UTC.

    Attributes
    ----------
    folder : str
    last, last_at : str and datetime, or None
        The file that was scored last, and when.
    every : timedelta or None
        The usual time between two files; None where there were too few to know.
    waiting : tuple of str
        Names of files that are not scored yet.
    oldest_at : datetime or None
        When the first of these came.
    skipped : int
        Names that are not looked at.
    refused : mapping of str to str
        By name of a file that is there, why it was refused.
    left_out : int
        Files that are there and came during a downtime, which ``schedule.catch_up`` leaves out.
    schedule : Schedule or None
    """

    folder: str
    last: str | None = None
    last_at: datetime | None = None
    every: timedelta | None = None
    waiting: tuple[str, ...] = ()
    oldest_at: datetime | None = None
    skipped: int = 0
    refused: Mapping[str, str]
    left_out: int = 0
    schedule: Schedule | None = None


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of the model.

    Attributes
    ----------
    number : str
    aliases : tuple of str
    since : datetime or None
        When the version got the first of its aliases, UTC.
    batches : int
        That it has scored.
    threshold : float or None
        The anomaly score above which rows of its last batch were flagged.
    """

    number: str
    aliases: tuple[str, ...]
    since: datetime | None
    batches: int
    threshold: float | None


@dataclass(frozen=True, kw_only=True)
class BatchDrift:
    """How unlike the training the last batch is.

    Attributes
    ----------
    state : {"ok", "warn", "unknown"}
    share : float or None
        Of its rows that score above 99 % of the normal rows of the training: 0.01 where nothing has changed.
    """

    state: Literal["ok", "warn", "unknown"]
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a table's pipeline stands. Made by `standing`.

    Attributes
    ----------
    name, work_dir : str
    at : datetime
        UTC.
    incoming : Incoming
    last_batch, last_refused : Entry or None
    exploring : int or None
        Rows of the last batch that are in the queue to explore; None where its alerts cannot be read.
    totals : mapping of str to int
        Over all batches that were ever scored, replaced ones included: batches, and rows read, accepted, quarantined,
        scored and flagged. ``refused`` counts the files.
    last_run : LastRun or None
    versions : tuple of Version
        Those that have an alias or have scored the last batch, the champion first.
    strategy : str
        Of the threshold, as the configuration has it.
    drift : BatchDrift
    watch : tuple of WatchEvent
        The last change of each check of the watch that ever changed; the others are ok.
    outlook : Outlook or None
        Whether a training is due; None where ``[retrain]`` asks for none, or nobody is champion.
    last_retraining : LastRetraining or None
    used : mapping of str to int
        Bytes, by folder or database of the work folder, the largest first.
    free : int
        Bytes on its disk.
    findings : tuple of Finding
        The worst first.
    """

    name: str
    work_dir: str
    at: datetime
    incoming: Incoming
    last_batch: Entry | None
    last_refused: Entry | None
    last_run: LastRun | None
    versions: tuple[Version, ...]
    strategy: str
    drift: BatchDrift
    watch: tuple[WatchEvent, ...]
    used: Mapping[str, int]
    free: int
    exploring: int | None = None
    outlook: Outlook | None = None
    last_retraining: LastRetraining | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def state(self) -> State:
        """The worst of the findings; fine without any."""
        return max((finding.state for finding in self.findings), key=STATES.index, default="fine")


def standing(config: Config, now: datetime | None = None) -> Standing:
    """Return how the pipeline of a configuration stands.

    Parameters
    ----------
    config : Config
    now : datetime, optional
        UTC, without a zone.
    """
    now = now or datetime.now(UTC).replace(tzinfo=None)
    entries, aliases, faults = _of_database(config)
    incoming, fault = _incoming(config, entries)
    scored = [entry for entry in entries if entry.status == "scored"]
    refused = [entry for entry in entries if entry.status == "refused"]
    work = Path(config.work_dir)
    there = next(folder for folder in (work, *work.parents) if folder.is_dir())
    result = Standing(
        name=config.name,
        work_dir=config.work_dir,
        at=now,
        incoming=incoming,
        last_batch=scored[-1] if scored else None,
        last_refused=refused[-1] if refused else None,
        last_run=Nightly(config).last_run,
        versions=_versions(aliases, scored),
        strategy=config.threshold.strategy,
        drift=_drift(scored[-1]) if scored else BatchDrift(state="unknown"),
        watch=() if faults else _watch(config),
        used=_used(work),
        free=shutil.disk_usage(there).free,
        exploring=_exploring(scored[-1]) if scored else None,
        outlook=None if faults else _outlook(config, now),
        last_retraining=last_retraining(config),
        totals=_totals(entries),
    )
    findings = [
        *faults,
        *fault,
        *_of_model(result, config),
        *_of_runs(result, config),
        *_of_files(result),
        *_of_watch(result),
        *_of_retraining(result),
        *_of_rest(result),
    ]
    return replace(result, findings=tuple(sorted(findings, key=lambda finding: -STATES.index(finding.state))))


def _of_database(config: Config) -> tuple[list[Entry], dict[str, tuple[str, datetime]], list[Finding]]:
    """Return the ledger's entries, and the version of each alias with the moment since which it has it."""
    try:
        current = is_up_to_date(config)
        if current:
            return Ledger(config).entries(), _aliases(config), []
    except AssayError as error:
        return [], {}, [_stopped(str(error), "The ledger cannot be used.")]
    if current is False:
        text = "the ledger is of another version of Assay; the next run brings it up to date, or says what to do"
        return [], {}, [_attention(text, "The ledger is of another version of Assay.")]
    text = loss(config)
    return [], {}, [_stopped(text, "The ledger is missing beside scored batches.")] if text else []


def _aliases(config: Config) -> dict[str, tuple[str, datetime]]:
    columns, mine = ALIAS_CHANGES.c, ALIAS_CHANGES.c.model_name == config.name
    query = sa.select(columns.alias, columns.version, columns.at).where(mine).order_by(columns.number)
    engine = connect(config)
    with answering(engine), engine.connect() as connection:
        changes = {row.alias: (row.version, row.at) for row in connection.execute(query)}
    return {alias: (version, at) for alias, (version, at) in changes.items() if version is not None}


def _versions(aliases: Mapping[str, tuple[str, datetime]], scored: Sequence[Entry]) -> tuple[Version, ...]:
    order = ["champion", "candidate", "previous", *aliases]
    numbers = [aliases[alias][0] for alias in order if alias in aliases]
    numbers += [entry.model_version for entry in scored[-1:]]
    versions = []
    for number in dict.fromkeys(numbers):
        names = tuple(alias for alias in order[:3] if alias in aliases and aliases[alias][0] == number)
        own_batches = [entry for entry in scored if entry.model_version == number]
        versions.append(
            Version(
                number=number,
                aliases=names,
                since=min((aliases[alias][1] for alias in names), default=None),
                batches=len(own_batches),
                threshold=own_batches[-1].threshold if own_batches else None,
            )
        )
    return tuple(versions)


def _incoming(config: Config, entries: Sequence[Entry]) -> tuple[Incoming, list[Finding]]:
    folder, nightly = config.table.incoming, Nightly(config)
    place = folder if is_address(folder) else str(Path(folder).resolve())
    here = [entry for entry in entries if os.path.dirname(entry.source) == place]  # noqa: PTH120 - of 10,000, in time
    scored = [entry for entry in here if entry.status == "scored"]
    result = Incoming(
        folder=folder,
        last=Path(scored[-1].source).name if scored else None,
        last_at=scored[-1].scored_at if scored else None,
        every=_rhythm(here),
        refused={},
        schedule=nightly.schedule,
    )
    try:
        store = Store(config) if is_address(folder) else None
        deliveries = store.look() if store else look(config)
    except AssayError as error:  # of no concern where files are scored by name
        is_used = result.schedule or result.last or nightly.last_run
        brief = (
            "The store that files come in does not answer." if is_address(folder) else "There is no incoming folder."
        )
        return result, [_stopped(str(error), brief)] if is_used else []
    handled = Handled([entry for entry in entries if entry.status != "replaced"])
    waiting = dict(
        store.waiting(deliveries.ready, handled) if store else _waiting(config, deliveries.ready, here, handled)
    )

    def is_there(source: str) -> bool:
        return store.has(Path(source).name) if store else Path(source).exists()

    names = {path.name for path in waiting}
    last_of_source = {entry.source: entry for entry in here}
    refused = {
        Path(source).name: entry.message
        for source, entry in last_of_source.items()
        if entry.status == "refused" and is_there(source) and (not entry.rules or Path(source).name not in names)
    }
    new = {path.name: at for path, at in waiting.items() if path.name not in refused}
    left_out = sum(entry.status == "skipped" and is_there(source) for source, entry in last_of_source.items())
    skipped, oldest = deliveries.skipped + len(deliveries.unfinished), min(new.values(), default=None)
    return replace(
        result, waiting=tuple(new), oldest_at=oldest, skipped=skipped, refused=refused, left_out=left_out
    ), []


def _rhythm(here: Sequence[Entry]) -> timedelta | None:
    """Return the usual time between two files, each counted when it was scored first."""
    first = {entry.digest: entry.scored_at for entry in reversed(here) if entry.status != "refused"}
    gaps = [(later - moment).total_seconds() for moment, later in pairwise(sorted(first.values()))]
    return timedelta(seconds=round(median(gaps))) if len(first) >= RHYTHM else None


def _waiting(
    config: Config, ready: Sequence[Path], here: Sequence[Entry], handled: Handled
) -> Iterator[tuple[Path, datetime]]:
    """Yield the files that the next run looks at, with the moment since which they are there.

    A file that has not changed since its batch was settled is not read again.
    """
    latest = {entry.source: entry for entry in here if entry.status != "replaced"}
    rules, room = rules_digest(config), READ_BYTES
    place = Path(config.table.incoming).resolve()
    for path in ready:
        try:
            stats = [file.stat() for file in (path, *(path.rglob("*") if path.is_dir() else ()))]
            at = datetime.fromtimestamp(max(max(each.st_mtime, each.st_ctime) for each in stats), UTC)
            changed_at, bulk = at.replace(tzinfo=None), sum(each.st_size for each in stats)
            entry = latest.get(str(path.resolve()) if path.is_symlink() else f"{place}/{path.name}")
            if entry and changed_at < entry.scored_at and (entry.status == "scored" or entry.rules == rules):
                continue
            room -= bulk
            if room >= 0 and handled.entry_of(Batch.of(path, config)) is not None:
                continue
        except (AssayError, OSError):  # the run will say what is wrong with it
            changed_at = datetime.now(UTC).replace(tzinfo=None)
        yield path, changed_at


def _drift(entry: Entry) -> BatchDrift:
    rows = count = 0
    try:
        with parquet_file(Path(entry.folder) / "scores.parquet") as file:
            for batch in file.iter_batches(columns=["p_value"]):
                # By DLPack, for by any other way Arrow loads pandas, which takes a second.
                p_values = np.from_dlpack(batch.column("p_value"))
                rows += len(p_values)
                count += int(np.count_nonzero(p_values <= UNUSUAL))
    except (OSError, KeyError, ValueError):
        return BatchDrift(state="unknown")
    if rows < DRIFT_ROWS:
        return BatchDrift(state="unknown")
    share = count / rows
    return BatchDrift(state="warn" if share > DRIFT else "ok", share=share)


def _exploring(entry: Entry) -> int | None:
    """Return how many rows explore: the alerts that no score flagged."""
    try:
        with parquet_file(Path(entry.folder) / "alerts.parquet") as file:
            return int(file.metadata.num_rows) - entry.flagged
    except (OSError, ValueError):
        return None


def _totals(entries: Sequence[Entry]) -> dict[str, int]:
    done = [entry for entry in entries if entry.status in ("scored", "replaced")]
    rows = {name: sum(getattr(entry, name) for entry in done) for name in COUNTED}
    return {"batches": len(done), "refused": sum(entry.status == "refused" for entry in entries), **rows}


def _watch(config: Config) -> tuple[WatchEvent, ...]:
    return tuple(WatchEvents(config).latest().values()) if is_up_to_date(config) else ()


def _outlook(config: Config, now: datetime) -> Outlook | None:
    return outlook(config, now=now) if config.retrain.is_set and is_up_to_date(config) else None


def _used(work: Path) -> dict[str, int]:
    def walk(folder: Path) -> int:
        try:
            with os.scandir(folder) as scan:
                entries = list(scan)
            return sum(
                walk(Path(entry)) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
                for entry in entries
            )
        except OSError:  # gone since, or not to be looked into
            return 0

    if not work.is_dir():
        return {}
    sizes = {path.name: walk(path) if path.is_dir() else path.stat().st_size for path in work.iterdir()}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _of_model(result: Standing, config: Config) -> Iterator[Finding]:
    has_champion = any("champion" in version.aliases for version in result.versions)
    if not has_champion and not result.versions and not config.tracking.uri and not loss(config):
        text = f"no version of {config.name!r} is the champion yet, so nothing can be scored"
        yield _stopped(f"{text}; train one with: assay train", "There is no champion.")


def _of_runs(result: Standing, config: Config) -> Iterator[Finding]:
    run, schedule = result.last_run, result.incoming.schedule
    if run and run.outcome == "stopped":
        yield _stopped(f"the last run over the incoming folder: {run.message}", "The last run came to nothing.")
    if run and run.outcome == "failed":
        text = f"the last run over the incoming folder: {run.message}"
        yield _attention(text, "The last run could not score every file, and the next one tries again.")
    if schedule and schedule.due + GRACE < result.at:
        then = "" if config.schedule.catch_up == "skip" else ", which makes up for it"
        text = (
            f"a run was due at {schedule.due:%Y-%m-%d %H:%M} UTC ({schedule.cron}, {schedule.time_zone}) and has not "
            f"ended; start assay schedule again{then}"
        )
        yield _attention(text, f"A run that was due at {schedule.due:%Y-%m-%d %H:%M} UTC has not ended.")

    if schedule and schedule.missed:
        runs = "1 run was" if schedule.missed == 1 else f"{schedule.missed:,} runs were"
        since = f"{schedule.missed_since:%Y-%m-%d %H:%M} UTC" if schedule.missed_since else "the last one"
        text = f"{runs} missed since {since}, while nobody served the schedule; {CATCH_UP[config.schedule.catch_up]}"
        yield _attention(text, f"{runs} missed since {since}.")


def _of_files(result: Standing) -> Iterator[Finding]:
    incoming, now = result.incoming, result.at
    for name, message in incoming.refused.items():
        yield _attention(f"{name} was refused: {message}", f"{name} was refused.")
    if incoming.waiting and incoming.oldest_at and not incoming.schedule and now - incoming.oldest_at > LONG:
        files = "1 new file waits" if len(incoming.waiting) == 1 else f"{len(incoming.waiting):,} new files wait"
        text = f"{files} since {incoming.oldest_at:%Y-%m-%d %H:%M} UTC at the latest"
        yield _attention(f"{text}; score them with: assay score --incoming", "New files have waited for over a day.")
    if incoming.every and incoming.last_at and now - incoming.last_at > 2 * max(incoming.every, LONG):
        hours = incoming.every / timedelta(hours=1)
        text = f"no file was scored since {incoming.last_at:%Y-%m-%d %H:%M} UTC, and one usually comes every"
        yield _attention(f"{text} {hours:.0f} hours; ask whoever delivers them", "The usual file has not come.")


def _of_watch(result: Standing) -> Iterator[Finding]:
    for event in result.watch:
        if event.state == "stop":
            text = f"the watch has kept alerts back since {event.day} ({event.check}): {event.reason}"
            yield _stopped(text, f"The watch keeps alerts back ({event.check}).")
        elif event.state == "warn":
            since = f"of more since {event.day}" if event.is_worse else f"since {event.day}"
            brief = f"{since} ({event.check})" if event.is_worse else f"({event.check})"
            yield _attention(f"the watch warns {since} ({event.check}): {event.reason}", f"The watch warns {brief}.")


def _of_retraining(result: Standing) -> Iterator[Finding]:
    last = result.last_retraining
    if last is None:
        return
    if last.outcome == "failed" and not any(version.since and version.since > last.at for version in result.versions):
        text = f"the last retraining, due for {'; '.join(last.reasons)}, failed: {last.message}"
        yield _attention(text, "The last retraining failed.")
    is_candidate = any(last.version == version.number and "candidate" in version.aliases for version in result.versions)
    if last.outcome == "waits" and is_candidate:
        text = (
            f"version {last.version} was trained on {last.at:%Y-%m-%d} for {'; '.join(last.reasons)}, and waits: "
            f"{last.message}; look at its comparison, and make it champion with: assay promote {last.version}"
        )
        yield _attention(text, f"Version {last.version} was trained and waits for promotion.")


def _of_rest(result: Standing) -> Iterator[Finding]:
    if result.drift.state == "warn" and result.drift.share is not None and result.last_batch:
        name, share = Path(result.last_batch.source).name, 100 * result.drift.share
        text = (
            f"{share:.3g} % of the rows of {name} score above 99 % of the training's normal rows, "
            "where 1 % is usual; look at its report, and train anew if the data has changed"
        )
        yield _attention(text, f"{name} is unlike the training.")
    if result.free < FREE_BYTES:
        text = f"{result.free / 1e6:.0f} MB are free on the disk of {result.work_dir}; make room before the next run"
        yield _attention(text, "The disk is nearly full.")


def _attention(text: str, brief: str) -> Finding:
    return Finding(state="attention", text=text, brief=brief)


def _stopped(text: str, brief: str) -> Finding:
    return Finding(state="stopped", text=text, brief=brief)
