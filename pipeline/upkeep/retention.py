"""What is past its time in a work folder, and removing it: never what a version with an alias or an open alert needs.

Batches are as old as their scoring, runs as their beginning, history as its rows. A batch is marked in the ledger
before its results go, a day of the history and a folder of results are renamed into a hidden folder first, and a run
leaves MLflow last: wherever a removal is killed, nothing is half there, and the next one goes on.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import sqlalchemy as sa

from pipeline.labels.known import AUDIT
from pipeline.review.publication import ALERTS_FILE, OPEN
from pipeline.scoring.adapted_cut import CUT
from pipeline.selection.records import AliasRecords
from pipeline.settings.config import Config
from pipeline.tables.scratch import LOCK, hidden, in_use, sweep
from pipeline.tables.writing import flush
from pipeline.tracking.removal import OldRun, old_runs, reach_days, remove_run
from pipeline.workspace.database import answering, connect
from pipeline.workspace.ledger import UNSCORED, Entry
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_BATCHES
from pipeline.workspace.workspace import Workspace

LASTING = (ALERTS_FILE, AUDIT, CUT)
"""What stays of a batch: the desk's queue and its labels are made again from the first, labels weigh by the second, and
the last says which cut it had."""
CHAMPIONS = 3
"""The champion, the one that `assay rollback` goes back to, and the one that is then the previous."""
STAMP = re.compile(r"\d{8}T\d{6}(?=-)")
STAMP_FORMAT = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, kw_only=True)
class Due:
    """What is past its time. Made by `find_due`.

    Attributes
    ----------
    batches : tuple of Entry
        Whose results go, all but their alerts and audit slices; those that an earlier removal was killed at, too.
    runs : tuple of OldRun
    days : tuple of date
        Of the history.
    folders : mapping of str to tuple of Path
        Folders that go as a whole, by kind.
    spared : mapping of str to str
        What stays although it is old enough, by kind, and why.
    """

    batches: tuple[Entry, ...]
    runs: tuple[OldRun, ...]
    days: tuple[date, ...]
    folders: Mapping[str, tuple[Path, ...]]
    spared: Mapping[str, str]


def find_due(config: Config, keep: timedelta, now: datetime | None = None) -> Due:
    """Return what is past its time; nothing is changed.

    Parameters
    ----------
    config : Config
    keep : timedelta
        How long everything is kept.
    now : datetime, optional
        UTC, without a zone.

    Raises
    ------
    AssayError
        When what is needed can't be known: the settings of a version with an alias, the ledger or MLflow's store.
    """
    now = now or datetime.now(UTC).replace(tzinfo=None)
    workspace, before = Workspace(config), now - keep
    entries = workspace.ledger.entries()
    waiting, oldest_alert = _open_alerts(config)
    stored = workspace.history.days()
    latest = [entry.last_timestamp for entry in entries if entry.last_timestamp]
    latest += [datetime.combine(stored[-1], time.min)] if stored else []
    # A row that is dated far ahead by mistake shall not make all others old.
    next_rows, reach = min(now, max(latest, default=now)), timedelta(days=reach_days(config))
    needed_since = min(next_rows, oldest_alert or next_rows) - reach
    champions = AliasRecords(config).champions()[-CHAMPIONS:]
    runs, needed_runs = old_runs(config, before, champions)
    batches, spared = _old_batches(workspace, entries, before, needed_since=next_rows - reach, waiting=waiting)
    days = [day for day in stored if day < before.date()]
    needed_days = [day for day in days if day >= needed_since.date()]
    if needed_runs:
        spared["MLflow runs"] = f"{len(needed_runs):,} of versions that have an alias, or that a rollback leads to"
    if needed_days:
        spared["days of history"] = f"{len(needed_days):,} that features or open alerts look back to"
    return Due(
        batches=tuple(batches),
        runs=tuple(runs),
        days=tuple(day for day in days if day < needed_since.date()),
        folders=_old_folders(workspace, runs, before),
        spared=spared,
    )


def remove(due: Due, config: Config, now: datetime | None = None) -> None:
    """Remove what is due.

    The caller holds the run lock (`pipeline.workspace.ledger.lock`) and that of the registry (`Intents.alone`), from
    before `find_due` on.
    """
    now = now or datetime.now(UTC).replace(tzinfo=None)
    workspace = Workspace(config)
    workspace.ledger.mark_removed([entry for entry in due.batches if entry.removed_at is None], now)
    for entry in due.batches:
        for path in results(entry, workspace):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    workspace.history.drop(due.days)
    for folders in due.folders.values():
        for folder in folders:
            _discard(folder)
    for run in due.runs:  # after the folders of their results, which are found by them
        remove_run(config, run)


def results(entry: Entry, workspace: Workspace) -> list[Path]:
    """Return what lies in a batch's folder and goes with its age."""
    folder = Path(entry.folder)
    folder = folder if entry.status == "scored" else workspace.folder.replaced / folder.name
    return sorted(path for path in folder.glob("*") if path.name not in LASTING)


def sizes(due: Due, config: Config) -> dict[str, tuple[int, int]]:
    """Return by kind how many things are due, and the bytes of their files."""
    workspace = Workspace(config)
    files = {"results of batches": [path for entry in due.batches for path in results(entry, workspace)]}
    files["MLflow runs"] = [place for run in due.runs for place in run.places]
    files["days of history"] = [workspace.history.folder / f"date={day}" for day in due.days]
    counts = {"results of batches": len(due.batches), "MLflow runs": len(due.runs), "days of history": len(due.days)}
    kinds = {kind: (count, sum(map(_bytes, files[kind]))) for kind, count in counts.items()}
    return kinds | {kind: (len(paths), sum(map(_bytes, paths))) for kind, paths in due.folders.items()}


def _open_alerts(config: Config) -> tuple[set[tuple[str, str]], datetime | None]:
    """Return the batches and versions with open alerts, and the moment of the oldest one's row."""
    columns, mine = REVIEW_ALERTS.c, REVIEW_ALERTS.c.model_name == config.name
    is_open = sa.and_(mine, columns.state.in_(OPEN))
    engine = connect(config)
    with answering(engine), engine.connect() as connection:
        rows = connection.execute(sa.select(columns.batch_id, columns.model_version).where(is_open).distinct())
        return {(row.batch_id, row.model_version) for row in rows}, connection.scalar(
            sa.select(sa.func.min(columns.at)).where(is_open)
        )


def _old_batches(
    workspace: Workspace,
    entries: Sequence[Entry],
    before: datetime,
    *,
    needed_since: datetime,
    waiting: set[tuple[str, str]],
) -> tuple[list[Entry], dict[str, str]]:
    latest = {entry.model_version: entry for entry in entries if entry.status == "scored" and not entry.removed_at}
    lasts = {(entry.batch_id, entry.model_version) for entry in latest.values()}
    untaken = _not_in_the_queue(workspace.config, entries)
    old, with_alerts, others = [], 0, 0
    for entry in entries:
        place = entry.batch_id, entry.model_version
        if entry.removed_at is not None:
            old += [entry] if results(entry, workspace) else []  # a removal that was killed goes on
        elif entry.status in UNSCORED or entry.scored_at >= before or not results(entry, workspace):
            continue
        elif place in waiting or place in untaken:
            with_alerts += 1
        elif entry.status == "scored" and (
            place in lasts or (entry.last_timestamp is not None and entry.last_timestamp >= needed_since)
        ):
            others += 1
        else:
            old.append(entry)
    parts = [f"{with_alerts:,} with open alerts"] if with_alerts else []
    parts += [f"{others:,} that the next batch is held against, or the last of their version"] if others else []
    return old, {"results of batches": "; ".join(parts)} if parts else {}


def _not_in_the_queue(config: Config, entries: Sequence[Entry]) -> set[tuple[str, str]]:
    """Return the batches with alerts that the desk has yet to take in; none where nobody uses it."""
    columns = REVIEW_BATCHES.c
    engine = connect(config)
    with answering(engine), engine.connect() as connection:
        query = sa.select(columns.batch_id, columns.model_version).where(columns.model_name == config.name)
        taken = {(row.batch_id, row.model_version) for row in connection.execute(query)}
    places = {(each.batch_id, each.model_version) for each in entries if each.status == "scored" and each.flagged}
    return places - taken if taken else set()


def _old_folders(workspace: Workspace, runs: Sequence[OldRun], before: datetime) -> dict[str, tuple[Path, ...]]:
    work, name = workspace.folder, workspace.config.name
    kinds = {"results of trainings": work.runs, "results of backtests": work.backtests}
    folders = {kind: tuple(_of_runs(parent, runs)) for kind, parent in kinds.items()}
    compared = (path for path in work.comparisons.glob(f"*-{name}-*") if (at := _stamp(path)) and at < before)
    folders["results of comparisons"] = tuple(sorted(compared))
    days = (path for path in work.backfills.glob("v*/*") if _changed(path) < before)
    folders["days of backfills"] = tuple(sorted(days))
    folders["scratch"] = tuple(_scratch(workspace, before))
    return folders


def _of_runs(parent: Path, runs: Sequence[OldRun]) -> Iterator[Path]:
    """Yield the folders of results of runs: each the last that was begun before its run, and is called after it."""
    stamped = [(path, at) for path in sorted(parent.glob("*")) if (at := _stamp(path))]
    for run in runs:
        mine = [path for path, at in stamped if run.endings and path.name.endswith(run.endings) and at <= run.at]
        yield from mine[-1:]


def _scratch(workspace: Workspace, before: datetime) -> Iterator[Path]:
    """Yield what killed runs left: hidden folders that nobody is at work in, and trainings that nobody went on with."""
    work = workspace.folder
    parents = (work.root, work.batches, work.runs, work.backtests, work.comparisons, work.backfills, work.history)
    for lock in sorted(lock for parent in parents for lock in parent.glob(f".*{LOCK}")):
        folder = lock.with_name(lock.name.removesuffix(LOCK))
        if _changed(lock) < before and not in_use(folder):
            yield folder
    yield from (path for path in sorted(work.checkpoints.glob("*")) if _changed(path) < before)


def _stamp(path: Path) -> datetime | None:
    match = STAMP.match(path.name)
    return datetime.strptime(match[0], STAMP_FORMAT) if match else None  # noqa: DTZ007 - UTC, as everywhere inside


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)


def _discard(folder: Path) -> None:
    """Remove a folder, whole or not at all."""
    if folder.with_name(folder.name + LOCK).exists():
        sweep(folder.parent)
        return
    if folder.exists():
        with hidden(folder.parent, "old") as old:
            folder.rename(old / "results")
        flush(folder.parent)


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.lstat().st_size for file in files)
