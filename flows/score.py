"""The scoring flows: one batch, and every new file of the incoming folder."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.states import Completed, Failed

from flows import console
from flows.missed import draw, missed_text
from flows.stages import features, forget, gap, refuse_gap, retried, say_what_to_do, stage, validate
from pipeline.detector.artefact import Detector
from pipeline.errors import AssayError, BatchRefused, InputError
from pipeline.evaluation.measured import Measured, measure
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.pages.report import render
from pipeline.pages.runs import batch_report, count_rows, outcome
from pipeline.scoring.maps import Map, make_maps
from pipeline.scoring.promise import held_against
from pipeline.scoring.score import Scored, score_table
from pipeline.scoring.shadow import Candidate, Shadow, load_candidate, score_in_shadow
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.batch import batch_id
from pipeline.tables.parquet import span
from pipeline.tables.period import Period
from pipeline.tables.reading import content_digest, open_table
from pipeline.tables.writing import write_text
from pipeline.tracking.store import load_detector
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.ledger import Entry, Ledger, lock


@flow(name="assay-score", flow_run_name="score-{config_path}", on_failure=[say_what_to_do])
def score(
    config_path: str,
    table: str = "",
    first: date | None = None,
    last: date | None = None,
    version: str = "champion",
    force: bool = False,
) -> Any:
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
        Score a batch again, in place, although this version has scored it.
    """
    try:
        config = read_config(config_path)
        candidate = load_candidate(config, version)
        detector, version, config = load(config, version)
        with lock(config.work_dir):
            return _score(config, detector, version, table or config.table.path, first, last, force, candidate)
    except AssayError as error:
        return Failed(message=str(error))


@flow(name="assay-score-incoming", flow_run_name="score-incoming-{config_path}", on_failure=[say_what_to_do])
def score_incoming(config_path: str, version: str = "champion") -> Any:
    """Score every new file of the incoming folder, and no old one.

    A file that is refused doesn't keep the others from being scored; the run then ends as failed, once: a refused
    file is old until its content changes.
    """
    try:
        config = read_config(config_path)
        results, refused = [], []
        with lock(config.work_dir):
            new = _new_tables(config)
            if not new:
                text = f"no new file in {config.table.incoming}"
                return Completed(message=text, data={"say": [text]})
            candidate = load_candidate(config, version)
            detector, version, config = load(config, version)
            for path in new:
                try:
                    results.append(_score(config, detector, version, str(path), None, None, False, candidate))
                except InputError as error:
                    refused.append(str(error))
    except AssayError as error:
        return Failed(message=str(error))
    if refused:
        return Failed(message=f"{len(refused)} of {len(new)} new files refused: " + " | ".join(refused))
    by_file = {path.name: result for path, result in zip(new, results, strict=True)}
    shadows = [f"{name}: {result['shadow']}" for name, result in by_file.items() if result.get("shadow")]
    return {
        "say": [f"{len(new)} new {'file' if len(new) == 1 else 'files'} scored", *shadows],
        "tables": {name: result["tables"]["Rows"] for name, result in by_file.items()},
    }


def _new_tables(config: Config) -> list[Path]:
    """Return the tables in the incoming folder that the ledger has not settled, by name."""
    incoming = Path(config.table.incoming)
    if not incoming.is_dir():
        raise InputError(
            f"the incoming folder {incoming} does not exist; make it, or name another one as table.incoming"
        )
    ledger, whole = Ledger(config), Period(None, None)
    found = (path for path in sorted(incoming.iterdir()) if not path.name.startswith((".", "_")))
    return [path for path in found if ledger.handled(path, _digest(path, config), whole) is None]


def _digest(path: Path, config: Config) -> str:
    """Return a file's digest; of one that can't be read, the digest of the reason, so that it is refused once."""
    try:
        return content_digest(path, config.table)
    except InputError as error:
        return hashlib.sha256(str(error).encode()).hexdigest()


@retried(name="load the Detector")
def load(config: Config, version: str) -> tuple[Detector, str, Config]:
    """Load a registered Detector by version or alias; return it, its version, and the settings to score with."""
    with console.step("load the Detector"):
        detector, version = load_detector(config, version)
        config = detector.settle(config)
        return replace(detector, config=config), version, config


def _score(
    config: Config,
    detector: Detector,
    version: str,
    path: str,
    first: date | None,
    last: date | None,
    force: bool,
    candidate: Candidate | None = None,
) -> dict[str, Any]:
    """Score one batch and publish it, or record why it was refused."""
    ledger = Ledger(config)
    period = Period.of_days(first, last, config.table.time_zone)
    with console.step("read"):
        digest = _digest(Path(path), config)
    entry = Entry(
        batch_id=batch_id(digest, period, config.contract),
        source=path,
        digest=digest,
        period_start=period.start,
        period_end=period.end,
        model_name=config.name,
        model_version=version,
        threshold=detector.threshold,
        scored_at=datetime.now(UTC),
    )
    done = ledger.find(entry.batch_id, version)
    if done and not force and Path(done.folder).is_dir():
        return _scored_before(done)
    try:
        return _publish(config, detector, ledger, entry, period, candidate)
    except InputError as error:
        read = error.read if isinstance(error, BatchRefused) else 0
        refused = replace(entry, status="refused", message=str(error), read=read, refused=read)
        ledger.record(refused)
        raise


def _scored_before(entry: Entry) -> dict[str, Any]:
    text = (
        f"{entry.source} was scored before by {entry.model_name} version {entry.model_version} "
        f"({entry.scored_at:%Y-%m-%d %H:%M} UTC, {entry.flagged:,} alerts); nothing was done, --force scores it again "
        "in place"
    )
    return {"say": [text], "folder": entry.folder, "tables": {"Where": {"report": f"{entry.folder}/report.html"}}}


def _publish(
    config: Config, detector: Detector, ledger: Ledger, entry: Entry, period: Period, candidate: Candidate | None
) -> dict[str, Any]:
    """Validate, remember, compute features, score, report: everything appears at once, or nothing does."""
    work, batch, version, source = WorkFolder(config), entry.batch_id, entry.model_version, Path(entry.source)
    replaced = ledger.replaced_by(source, period, batch)
    free = {batch, *(old.batch_id for old in replaced)}
    reach = timedelta(days=config.features.max_window_days)
    others = ledger.near(period.start or datetime.min, period.end or datetime.max, reach, free)
    reviewed = ReviewedLabels(work.labels, config).files()
    final = work.batches / f"{batch}-v{version}"
    with work.staged(final) as folder:
        elsewhere = [Path(other.folder) / "scores.parquet" for other in others]
        validated = validate(open_table(source, config.table), config, folder, batch, period, elsewhere)
        notes = gap(validated, config)
        refuse_gap(notes, validated, config)
        for old in replaced:
            forget(config, old.batch_id)
        first, last = span(validated.accepted, config.contract.timestamp)
        rows = features(validated, config, folder, batch, reviewed)
        scored, measured, maps = score_rows(rows, detector, folder, entry, reviewed)
        got = held_against(rows, scored, detector, measured.labels)
        shadow = None
        if candidate is not None:
            shadow = in_shadow(candidate, detector, scored, measured, validated.accepted, rows, folder, reviewed)
        facts = {"Table": entry.source, "SHA-256 of the table": entry.digest, "Batch": batch}
        facts |= {"Model": f"{config.name} version {version}", "Scored at": f"{entry.scored_at:%Y-%m-%d %H:%M} UTC"}
        audited, missed = draw(rows, scored, detector, folder, reviewed)
        told = {"source": source, "facts": facts, "notes": notes, "maps": maps, "got": got, "shadow": shadow}
        told |= {"audited": audited, "missed": missed}
        page = batch_report(detector, validated, scored, measured, **told)
        write_text(folder / "report.html", render(page))
    results = {"scored": scored.scored, "flagged": scored.flagged}
    settled = replace(
        entry,
        **asdict(validated.counts),
        **results,
        threshold=scored.threshold,
        first_timestamp=first,
        last_timestamp=last,
        folder=str(final),
    )
    ledger.record(settled, replaces=sorted(free - {batch}))
    for old in replaced:
        work.retire(Path(old.folder))
    create_link_artifact(key="assay-report", link=(final / "report.html").as_uri(), link_text="report of the batch")
    rows_shown = {**count_rows(validated), **results}
    create_table_artifact([rows_shown], key="assay-score", description=f"{source.name}, model version {version}")
    return {
        "say": [*notes, *([shadow.sentence] if shadow else [])],
        "shadow": shadow.sentence if shadow else "",
        "counts": rows_shown,
        "folder": str(final),
        "tables": {
            "Rows": rows_shown,
            "Alerts": {
                "expected": detector.promise,
                "got": outcome(scored, got),
                **measured.texts,
                **missed_text(missed),
            },
            "Where": {
                "report": str(final / "report.html"),
                "alerts": str(final / "alerts.csv"),
                **({"random audit": str(final / "audit.csv")} if audited else {}),
                "all scores": str(final / "scores.parquet"),
                "quarantine": str(final / "quarantine.parquet"),
            },
        },
    }


@stage(name="score")
def score_rows(
    rows: Path, detector: Detector, folder: Path, entry: Entry, reviewed: Sequence[Path]
) -> tuple[Scored, Measured, list[Map]]:
    """Score a feature table, write scores and alerts, measure them where labels are known by now, and map them."""
    with console.step("score") as on_rows:
        scored = score_table(
            rows,
            detector,
            folder,
            batch_id=entry.batch_id,
            model_version=entry.model_version,
            scored_at=entry.scored_at,
            on_rows=on_rows,
        )
        maps = make_maps(rows, scored, detector, detector.config.report.tsne)
        return scored, measure(rows, scored, detector.config, reviewed=reviewed), maps


@stage(name="score in the champion's shadow")
def in_shadow(
    candidate: Candidate,
    champion: Detector,
    scored: Scored,
    measured: Measured,
    accepted: Path,
    rows: Path,
    folder: Path,
    reviewed: Sequence[Path],
) -> Shadow:
    """Let the candidate score the same batch; only the differences are kept, and a failure is one of them."""
    with console.step("score in the champion's shadow") as on_rows:
        return score_in_shadow(
            candidate,
            champion,
            scored,
            accepted,
            rows,
            folder,
            labels=measured.labels,
            reviewed=reviewed,
            on_rows=on_rows,
        )
