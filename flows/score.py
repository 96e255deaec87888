"""The scoring flows: one batch, and every new file of the incoming folder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Cancelled, Completed, Failed, State

from flows import console
from flows.console import Screen
from flows.incoming import NewFiles, at_hand, note_run
from flows.results import BatchResult, IncomingResult
from flows.stages import RunCancelled, retried, run_name, say_what_to_do, show_on_server, stage, stop_if_cancelled
from flows.telling import emit, lineage, tell
from pipeline.calibration.threshold import Fulfilment
from pipeline.detector.artefact import Detector
from pipeline.detector.reference import refuse_unusual
from pipeline.errors import AssayError, BatchRefused, HistoryGap, InputError, plain
from pipeline.evaluation.measured import Measured, measure_batch
from pipeline.evaluation.missed import MissedFraud, missed_fraud
from pipeline.intake import TakenIn, take_in
from pipeline.monitoring.checks import Check, Seen
from pipeline.monitoring.profile import Days, Profiler
from pipeline.monitoring.watch import WINDOW, changes_of, earlier, refuse_stopped, schema_of, states, watch
from pipeline.pages.report import render
from pipeline.pages.runs import batch_report, count_rows, outcome
from pipeline.pages.validation import data_docs
from pipeline.scoring.adapted_cut import LAST_CUT_WITHIN, CutRecord, adapted_cut
from pipeline.scoring.audit import write_audit
from pipeline.scoring.maps import Map, MapRows, make_maps
from pipeline.scoring.promise import held_against
from pipeline.scoring.score import Scored, score_table
from pipeline.scoring.shadow import Candidate, Shadow, load_candidate, score_in_shadow
from pipeline.selection import recovery
from pipeline.selection.records import current_user
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.settings.stores import is_address
from pipeline.tables.batch import Batch
from pipeline.tables.files import printable
from pipeline.tables.parquet import span
from pipeline.tables.period import Period
from pipeline.tables.writing import write_text
from pipeline.tracking.store import load_detector
from pipeline.workspace.deliveries import source_of
from pipeline.workspace.draft import drafting, settle_draft
from pipeline.workspace.ledger import AtWork, Entry, lock
from pipeline.workspace.lineage import JobRun, LineageLog
from pipeline.workspace.store import Store
from pipeline.workspace.watch import WatchEvents
from pipeline.workspace.workspace import Workspace

WAIT = 3600
"""Seconds that a run waits for another one to end."""


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that scores.

    Parameters
    ----------
    detector : Detector
        With the settings to score with.
    version : str
    workspace : Workspace
        Of the same settings.
    candidate : Candidate or None
        The version that scores in its shadow.
    is_strict : bool
        Whether a batch that is unlike the training is refused.
    lineage : LineageLog or None
        Where events on its batches go.
    """

    detector: Detector
    version: str
    workspace: Workspace
    candidate: Candidate | None
    is_strict: bool = True
    lineage: LineageLog | None = None


@dataclass(frozen=True, kw_only=True)
class BatchScores:
    """What the champion makes of a batch, and what is known of it by now."""

    scored: Scored
    days: Days
    measured: Measured
    maps: list[Map]
    promise: Fulfilment
    audit: Path | None
    missed: MissedFraud | None


@flow(name="assay-score", flow_run_name=run_name("score"), on_failure=[say_what_to_do])
def score(
    config_path: str,
    *,
    table: str = "",
    first: date | None = None,
    last: date | None = None,
    version: str = "champion",
    force: bool = False,
) -> BatchResult | State:
    """Score a table, or a period of it; a batch that was scored before gives a message and no second alert.

    Parameters
    ----------
    config_path : str
        The table's assay.toml.
    table : str
        File or folder; the configuration's ``table.path`` when empty.
    first, last : date, optional
        Period to score, both days inclusive; rows before it serve as history.
    version : str
        Version or alias of the registered Detector.
    force : bool
        Score a batch again, in place, although this version has scored it, or one that is unlike the training.
    """
    try:
        config = read_config(config_path)
        period = Period.of_days(first, last, config.table.time_zone)
    except AssayError as error:
        return Failed(message=str(error))
    try:
        return _score_table(
            config, config_path, table=table or config.table.path, period=period, version=version, force=force
        )
    finally:
        tell(config)


def _score_table(
    config: Config, config_path: str, *, table: str, period: Period, version: str, force: bool
) -> BatchResult | State:
    try:
        champion = load_champion(config, version)
        with lock(config):
            settle_draft(champion.workspace)
            store = Store(config) if is_address(table) else None
            place = Path(store.find(table) if store else table)
            with at_hand(place, champion.workspace.config, period, store=store) as batch:
                return score_batch(batch, replace(champion, is_strict=not force), config_path, force=force)
    except RunCancelled as error:
        return Cancelled(message=str(error))
    except AssayError as error:
        return Failed(message=str(error))


@flow(name="assay-score-incoming", flow_run_name=run_name("score-incoming"), on_failure=[say_what_to_do])
def score_incoming(config_path: str, version: str = "champion") -> IncomingResult | State:
    """Score every new file of the incoming folder, and no old one.

    Whatever is wrong with a file keeps no other from being scored; the run then ends as failed. For a refused file it
    does so once: the file is old until its content or the settings that it was judged by change. A file that was not
    scored for a reason outside of it is tried again by every run.
    """
    try:
        config = read_config(config_path)
    except AssayError as error:
        return Failed(message=str(error))
    return note_run(config, lambda: _score_new_files(config, config_path, version))


def _score_new_files(config: Config, config_path: str, version: str) -> IncomingResult | State:
    try:
        with lock(config, timeout=0 if config.schedule.overlap == "skip" else WAIT):
            settle_draft(Workspace(config))
            files = NewFiles.of(config)
            if not files.paths and not files.refused and not files.failed:
                texts = [f"no new file in {config.table.incoming}", *files.not_looked_at]
                return Completed(message=texts[0], data=IncomingResult(screen=Screen(sentences=texts)))
            if files.paths:
                champion = load_champion(config, version)
            for path in files.paths:
                with files.concerning(path):
                    with files.new_batch(path, champion.workspace.config) as batch:
                        if batch:
                            files.results[path.name] = score_batch(batch, champion, config_path)
                    if batch:
                        files.put_away(path, config)
            show_on_server("assay-score-incoming", config, files.page)
            return files.outcome
    except AtWork as error:
        if config.schedule.overlap == "wait":
            return Failed(message=str(error))
        text = 'another run is at work, and schedule.overlap = "skip" leaves this one out; nothing was done'
        return Completed(message=text, data=IncomingResult(screen=Screen(sentences=[text])))
    except RunCancelled as error:
        return Cancelled(message=str(error))
    except AssayError as error:
        return Failed(message=str(error))


@retried("load the Detector")
def load_champion(config: Config, version: str, *, with_candidate: bool = True) -> Champion:
    """Load a registered Detector by version or alias, with the settings to score with, and its candidate if asked."""
    for sentence in recovery.recover(config):  # a promotion that was killed may have moved the alias
        console.warning(sentence)
    candidate = load_candidate(config, version) if with_candidate else None
    with console.step("load the Detector"):
        detector, number = load_detector(config, version)
        config = detector.settle(config)
        detector = replace(detector, config=config)
        return Champion(
            detector=detector,
            version=number,
            workspace=Workspace(config),
            candidate=candidate,
            lineage=LineageLog(config),
        )


def score_batch(batch: Batch, champion: Champion, config_path: str, *, force: bool = False) -> BatchResult:
    """Score one batch and publish it, or record why it was refused.

    The caller holds the run lock (`pipeline.workspace.ledger.lock`), with no draft left.

    Parameters
    ----------
    batch : Batch
    champion : Champion
    config_path : str
        The table's assay.toml, for the commands that are told.
    force : bool
        Score it again, in place, although this version has scored it.

    Raises
    ------
    InputError
        When the batch is refused, which is recorded.
    """
    ledger = champion.workspace.ledger
    entry = Entry(
        batch_id=batch.id,
        source=batch.source or str(source_of(batch.path, champion.workspace.config)),
        digest=batch.digest,
        period_start=batch.period.start,
        period_end=batch.period.end,
        model_name=champion.workspace.config.name,
        model_version=champion.version,
        threshold=champion.detector.threshold,
        scored_at=datetime.now(UTC),
        rules=batch.rules,
    )
    done = ledger.find(batch.id, champion.version)
    if done and not force and (done.removed_at or Path(done.folder).is_dir()):
        return _scored_before(batch, done)
    try:
        with lineage(champion.workspace.config, "score", entry.source, champion.lineage) as run:
            run.model_version = champion.version
            return _publish(batch, champion, entry, config_path, run=run, done=done)
    except InputError as error:
        error.args = (batch.named(str(error)),)
        read = error.read if isinstance(error, BatchRefused) else 0
        rules = "" if isinstance(error, HistoryGap) else batch.rules  # the days may be there tomorrow
        ledger.record(replace(entry, status="refused", message=str(error), read=read, refused=read, rules=rules))
        emit("refused", champion.workspace.config, file=_file(entry), version=champion.version, read=read)
        raise


def _scored_before(batch: Batch, entry: Entry) -> BatchResult:
    same = batch.path.name == Path(entry.source).name
    file = entry.source if same else f"{batch.source or batch.path} holds the same as {entry.source}, which"
    text = (
        f"{file} was scored before by {entry.model_name} version {entry.model_version} "
        f"({entry.scored_at:%Y-%m-%d %H:%M} UTC, {entry.flagged:,} alerts); nothing was done, --force scores it again "
        "in place"
    )
    if entry.removed_at:
        return BatchResult(
            folder=Path(entry.folder),
            screen=Screen(sentences=[text, f"Its results were removed on {entry.removed_at:%Y-%m-%d} for their age."]),
        )
    tables = {"Where": {"report": f"{entry.folder}/report.html"}}
    return BatchResult(folder=Path(entry.folder), screen=Screen(sentences=[text], tables=tables))


def _publish(
    batch: Batch, champion: Champion, entry: Entry, config_path: str, *, run: JobRun, done: Entry | None
) -> BatchResult:
    """Validate, remember, compute features, score, report: everything appears at once, or nothing does."""
    replaced = champion.workspace.ledger.replaced_by(batch)
    final = champion.workspace.folder.batches / f"{batch.id}-v{champion.version}"
    with drafting(champion.workspace, final) as draft:
        champion, folder = replace(champion, workspace=draft.workspace), draft.results
        intake = take_in_batch(batch, champion, replaced, folder, entry=entry)
        run.take_in(intake.validated.accepted)
        outdated = draft.outdated([batch.id, *(old.batch_id for old in replaced)])
        cut = settle_cut(intake, champion, batch=batch, replaced=replaced, done=done)
        moved = cut.why if cut else ""
        intake = replace(intake, notes=(*intake.notes, *filter(None, [outdated.sentence, moved])))
        version, champion = champion, with_cut(champion, cut, folder)
        result = score_intake(intake, champion, entry, folder)
        seen = watch_batch(intake, version, result, batch=batch, entry=entry, replaced=replaced)
        shadow = None
        if champion.candidate is not None:
            shadow = in_shadow(champion.candidate, champion, result=result, intake=intake, folder=folder)
        _write_page(folder, entry, champion, intake=intake, result=result, shadow=shadow, seen=seen)
        stop_if_cancelled()
        totals: dict[str, Any] = {"scored": result.scored.scored, "flagged": result.scored.flagged}
        settled = replace(
            entry,
            **{**asdict(intake.validated.counts), **totals},
            threshold=result.scored.threshold,
            message=moved,
            first_timestamp=intake.first,
            last_timestamp=intake.last,
            folder=str(final),
        )
        draft.publish(settled, replaced)
    run.outputs += [final / name for name in ("scores.parquet", "alerts.parquet", "quarantine.parquet")]
    if seen:
        note_checks(seen.checks, champion, entry, seen.days[-1])
    emit("scored", champion.workspace.config, file=_file(entry), version=champion.version, **_rows(settled))
    counts = {**count_rows(intake.validated), **totals}
    of_batch = _result(final, counts, champion, intake=intake, result=result, shadow=shadow, seen=seen)
    screen = replace(of_batch.screen, commands=outdated.commands(config_path))
    of_batch = replace(of_batch, screen=screen, outdated=outdated.sentence)
    show_on_server("assay-score", champion.workspace.config, of_batch.screen)
    return of_batch


def _file(entry: Entry) -> str:
    return plain(printable(Path(Path(entry.source).name)))


def _rows(entry: Entry) -> dict[str, int]:
    names = ("read", "accepted", "quarantined", "scored", "flagged")
    return {name: getattr(entry, name) for name in names}


@stage("take in")
def take_in_batch(batch: Batch, champion: Champion, replaced: list[Entry], folder: Path, *, entry: Entry) -> TakenIn:
    """Validate the batch, remember its rows in the place of those that it replaces, and compute their features."""
    workspace, free = champion.workspace, {batch.id, *(old.batch_id for old in replaced)}
    reach = timedelta(days=workspace.config.features.max_window_days)
    start, end = batch.period.start or datetime.min, batch.period.end or datetime.max
    notes: list[str] = []

    def check(rows: Path) -> None:
        if changes := changes_of(rows, batch, champion.detector):
            check = schema_of(changes, champion.detector)
            console.warning(check.text)
            if champion.is_strict and check.state == "stop":
                note_checks([check], champion, entry, span(rows, workspace.config.contract.timestamp)[1].date())
                refuse_stopped([check], entry.source, 0)
        if champion.is_strict:
            notes.extend(champion.detector.reference.check(rows, batch, workspace.config, champion.detector.encoder))

    intake = take_in(
        batch,
        workspace,
        folder,
        remember=True,
        elsewhere=[Path(near.folder) / "scores.parquet" for near in workspace.ledger.near(start, end, reach, free)],
        replaced=[old.batch_id for old in replaced],
        refuse_gap=True,
        check=check,
        docs=data_docs(batch, workspace.config, folder / "data-docs"),
        step=console.step,
    )
    return replace(intake, notes=(*intake.notes, *notes))


def settle_cut(
    intake: TakenIn, champion: Champion, *, batch: Batch, replaced: list[Entry], done: Entry | None
) -> CutRecord | None:
    """Return the cut that the days before a batch make; None where the version's own holds.

    A batch that was scored before has the cut that it had then.
    """
    if done is not None:
        return CutRecord.read(Path(done.folder))
    if not champion.detector.config.threshold.adapt:
        return None
    return follow_days(intake, champion, {batch.id, *(old.batch_id for old in replaced)})


@stage("settle the cut")
def follow_days(intake: TakenIn, champion: Champion, free: set[str]) -> CutRecord:
    """Solve the cut of a batch on the days before it, without the batches that are free: itself and those replaced."""
    entries = champion.workspace.ledger.near(intake.first, intake.first, LAST_CUT_WITHIN, free)
    own = [entry for entry in entries if entry.model_version == champion.version]
    with console.step("settle the cut"):
        return adapted_cut(own, champion.detector, champion.workspace, first=intake.first, who=current_user())


def with_cut(champion: Champion, cut: CutRecord | None, folder: Path) -> Champion:
    """Return the champion with a batch's cut, which is written beside its scores."""
    if cut is None:
        return champion
    cut.write(folder)
    return replace(champion, detector=replace(champion.detector, cut=cut.threshold))


@stage("score")
def score_intake(intake: TakenIn, champion: Champion, entry: Entry, folder: Path) -> BatchScores:
    """Score the features, write scores, alerts and audit slice, measure and map them."""
    detector, rows = champion.detector, intake.features
    profiler, map_rows = Profiler(rows, detector), MapRows(detector)

    def on_part(*part: Any) -> None:
        profiler.add(*part)
        map_rows.add(*part)

    with console.step("score") as on_rows:
        scored = score_table(
            rows,
            detector,
            folder,
            batch_id=entry.batch_id,
            model_version=entry.model_version,
            scored_at=entry.scored_at,
            on_part=on_part,
            on_rows=on_rows,
        )
        if champion.is_strict:
            read = intake.validated.counts.read
            refuse_unusual(scored.unusual, scored.scored, source=entry.source, config=detector.config, read=read)
        maps = make_maps(map_rows.rows(), scored, detector, tsne=detector.config.report.tsne)
        measured = measure_batch(rows, scored, intake.labels)
        audit = write_audit(rows, scored, detector, folder)
        now = datetime.now(UTC).replace(tzinfo=None)
        return BatchScores(
            scored=scored,
            days=profiler.days,
            measured=measured,
            maps=maps,
            promise=held_against(rows, scored, detector, measured.labels),
            audit=audit,
            missed=missed_fraud([folder], intake.labels, now) if audit else None,
        )


@stage("watch")
def watch_batch(
    intake: TakenIn,
    champion: Champion,
    result: BatchScores,
    *,
    batch: Batch,
    entry: Entry,
    replaced: list[Entry],
) -> Seen | None:
    """Hold the batch, beside the days before it, against the training; what a check stops is not published."""
    ledger, free = champion.workspace.ledger, {batch.id, *(old.batch_id for old in replaced)}
    with console.step("watch"):
        seen = watch(
            result.days,
            result.scored,
            champion.detector,
            past=earlier(ledger.near(intake.first, intake.last, WINDOW, free), champion.version),
            changes=changes_of(intake.validated.accepted, batch, champion.detector),
        )
    if seen and champion.is_strict and any(check.state == "stop" for check in seen.checks):
        note_checks(seen.checks, champion, entry, seen.days[-1])
        refuse_stopped(seen.checks, entry.source, intake.validated.counts.read)
    return seen


def note_checks(checks: Sequence[Check], champion: Champion, entry: Entry, day: date) -> None:
    """Write down which checks stand otherwise than before, and say so where one is worse.

    A database that fails here keeps nothing from its place: the next run writes down what has changed by then.
    """
    try:
        events = WatchEvents(champion.workspace.config)
        noted = events.note(states(checks), day=day, batch_id=entry.batch_id, model_version=champion.version)
    except AssayError as error:
        console.warning(f"how the watch stands was not written down: {error}")
        return
    for event in noted:
        if event.state != "ok":
            change = "worse" if event.is_worse else f"was {event.previous}"
            console.warning(f"{event.check}: {event.state} ({change}): {event.reason}")


@stage("score in the champion's shadow")
def in_shadow(
    candidate: Candidate, champion: Champion, *, result: BatchScores, intake: TakenIn, folder: Path
) -> Shadow:
    """Let the candidate score the same batch; only the differences are kept, and a failure is one of them."""
    with console.step("score in the champion's shadow") as on_rows:
        return score_in_shadow(
            candidate,
            champion.detector,
            result.scored,
            intake,
            folder=folder,
            known=result.measured.labels,
            on_rows=on_rows,
        )


def _write_page(
    folder: Path,
    entry: Entry,
    champion: Champion,
    *,
    intake: TakenIn,
    result: BatchScores,
    shadow: Shadow | None,
    seen: Seen | None,
) -> None:
    page = batch_report(
        champion.detector,
        intake.validated,
        result.scored,
        result.measured,
        source=Path(entry.source),
        facts={
            "Table": entry.source,
            "SHA-256 of the table": entry.digest,
            "Batch": entry.batch_id,
            "Model": f"{entry.model_name} version {entry.model_version}",
            "Scored at": f"{entry.scored_at:%Y-%m-%d %H:%M} UTC",
        },
        notes=list(intake.notes),
        maps=result.maps,
        got=result.promise,
        shadow=shadow,
        audited=result.audit,
        missed=result.missed,
        seen=seen,
    )
    write_text(folder / "report.html", render(page))


def _result(
    final: Path,
    counts: dict[str, int],
    champion: Champion,
    *,
    intake: TakenIn,
    result: BatchScores,
    shadow: Shadow | None,
    seen: Seen | None,
) -> BatchResult:
    """Return what the terminal shows, and what other flows read."""
    alerts: dict[str, Any] = {
        "expected": champion.detector.promise,
        "got": outcome(result.scored, result.promise),
        **result.measured.texts,
        **({"missed": str(result.missed)} if result.missed else {}),
        **({"watch": ", ".join(f"{check.name} {check.state}" for check in seen.checks)} if seen else {}),
    }
    files = {"report": "report.html", "alerts": "alerts.csv", "random audit": "audit.csv"}
    files |= {"all scores": "scores.parquet", "quarantine": "quarantine.parquet"}
    where = {title: str(final / name) for title, name in files.items() if title != "random audit" or result.audit}
    sentence = shadow.sentence if shadow else ""
    screen = Screen(
        sentences=[*intake.notes, *filter(None, [sentence])],
        tables={"Rows": counts, "Alerts": alerts, "Where": where},
    )
    return BatchResult(folder=final, screen=screen, counts=counts, shadow=sentence)
