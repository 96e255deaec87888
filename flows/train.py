"""The training flow: take the table in, fit, look at the held-out block, log and register."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from prefect import flow
from prefect.states import Cancelled, Failed, State

from flows import console
from flows.console import Screen
from flows.stages import RunCancelled, retried, run_name, say_what_to_do, show_on_server, stage, stop_if_cancelled
from flows.telling import lineage
from pipeline.detector.artefact import Detector
from pipeline.detector.family import build_model, parameters_of
from pipeline.detector.parts import CALIBRATION, Parts, split
from pipeline.errors import AssayError
from pipeline.evaluation.injection import inject_into
from pipeline.evaluation.measured import Measured, calibration_block, measure_rows
from pipeline.inference.giveaways import refuse_giveaways
from pipeline.intake import TakenIn, take_in
from pipeline.pages import charts
from pipeline.pages.report import render
from pipeline.pages.runs import count_rows, training_report
from pipeline.pages.validation import data_docs
from pipeline.scoring.maps import Map, MapRows, make_maps
from pipeline.scoring.score import Scored, score_table
from pipeline.scoring.suspects import write_suspects
from pipeline.selection.recovery import recover
from pipeline.selection.registration import registering
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.batch import Batch
from pipeline.tables.period import Period
from pipeline.tables.writing import write_text
from pipeline.tracking.store import Dataset, Registered, log_training
from pipeline.tracking.words import words_for
from pipeline.workspace.draft import drafting
from pipeline.workspace.ledger import lock
from pipeline.workspace.lineage import JobRun
from pipeline.workspace.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE_ROWS = 5


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came of a training.

    Parameters
    ----------
    folder : Path
        Where its outputs lie.
    version : str
        Number of the registered version.
    period : str
        First and last day trained on.
    counts : mapping of str to int
        Rows, in the words that people read.
    ui : str
        The command that shows the run in MLflow.
    screen : Screen
    """

    folder: Path
    version: str
    period: str
    counts: Mapping[str, int]
    ui: str
    screen: Screen


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What the Detector makes of the calibration block, whose rows took no part in fitting."""

    scored: Scored
    measured: Measured
    maps: list[Map]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted Detector.

    Parameters
    ----------
    detector : Detector
    parts : Parts
        Which rows it was fitted on, and which are held out.
    seconds : float
        That fitting took.
    notes : tuple of str
        Which rows were taken for normal for want of a label; where it went on from, if a training was killed.
    """

    detector: Detector
    parts: Parts
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Anew:
    """What a version that is trained on the history takes over from the champion.

    Parameters
    ----------
    why : str
        Why it is trained, kept with its run in MLflow as the tag ``trained_because``.
    types : mapping of str to str
        What each column of the table held when the champion was trained: the history has those of the contract alone,
        and the watch would take all others for new.
    """

    why: str = ""
    types: Mapping[str, str] = field(default_factory=dict)

    def known_to(self, detector: Detector) -> Detector:
        """Return a detector that knows these columns, too."""
        types = {**self.types, **detector.reference.types}
        return replace(detector, reference=replace(detector.reference, types=types))


FIRST = Anew()
"""A training on a table of somebody's own: nothing is taken over."""


@flow(name="assay-train", flow_run_name=run_name("train"), on_failure=[say_what_to_do])
def train(
    config_path: str,
    *,
    table: str = "",
    first: date | None = None,
    last: date | None = None,
    as_of: datetime | None = None,
) -> TrainingResult | State:
    """Train on a table's normal rows of a period, and register the Detector in MLflow.

    Parameters
    ----------
    config_path : str
        The table's assay.toml.
    table : str
        File or folder; the configuration's ``table.path`` when empty.
    first, last : date, optional
        Period to train on, both days inclusive; rows before it serve as history.
    as_of : datetime, optional
        Moment (UTC) as of which labels are known; by default when the last label is that the table or review
        gives, or now.
    """
    try:
        config = read_config(config_path)
        with lock(config):
            period = Period.of_days(first, last, config.table.time_zone)
            return train_version(config, config_path, table=table or config.table.path, period=period, as_of=as_of)
    except RunCancelled as error:
        return Cancelled(message=str(error))
    except AssayError as error:
        return Failed(message=str(error))


def train_version(
    config: Config, config_path: str, *, table: str, period: Period, as_of: datetime | None = None, anew: Anew = FIRST
) -> TrainingResult:
    """Train on a table's normal rows of a period, and register the Detector. The caller holds the run lock.

    Parameters
    ----------
    config : Config
    config_path : str
        Where it lies, for the commands that people may run next.
    table : str
        File or folder.
    period : Period
    as_of : datetime, optional
        As `train` takes it.
    anew : Anew
        What it takes over where it is trained on the history, in the place of a champion.

    Raises
    ------
    AssayError
        When the table can't be read or learned from, the store does not answer, or somebody cancels the run.
    """
    build_model(config.model)  # a wrong name or option shall not wait for the features
    for sentence in recover(config):  # nor a ledger that can't record what is registered
        console.warning(sentence)
    with console.step("read"):
        batch = Batch.of(table, config, period)
    with lineage(config, "train", batch.path) as run:
        return _train(batch, Workspace(config), as_of, config_path, run=run, anew=anew)


def _train(
    batch: Batch, workspace: Workspace, as_of: datetime | None, config_path: str, *, run: JobRun, anew: Anew
) -> TrainingResult:
    work, config = workspace.folder, workspace.config
    final = work.runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{batch.id}"
    with drafting(workspace, final) as draft:
        folder = draft.results
        intake = take_in_table(batch, draft.workspace, folder)
        run.take_in(intake.validated.accepted)
        training = fit_detector(
            intake, config, as_of or intake.labels.latest_moment(intake.last), _checkpoint(workspace, batch)
        )
        training = replace(training, detector=anew.known_to(training.detector))
        shutil.rmtree(work.checkpoints, ignore_errors=True)
        training.detector.save(folder / "detector")
        suspects = audit(intake, training, folder)
        block = held_out(intake, training, folder, batch.id)
        _write_page(folder, batch, intake=intake, training=training, block=block, suspects=suspects)
        stop_if_cancelled()
        with registering(config, final) as registration:
            tags = {**registration.tags, **({"trained_because": anew.why} if anew.why else {})}
            registered = register(batch, intake, training, block=block, folder=folder, workspace=workspace, tags=tags)
            draft.publish()
            registration.record(registered)
        draft.complete()
    run.model_version, run.outputs = registered.version, [final / "quarantine.parquet"]
    counts = count_rows(intake.validated)
    screen = _screen(
        final, config_path, intake=intake, training=training, measured=block.measured, registered=registered
    )
    show_on_server("assay-train", config, screen)
    summary = training.detector.summary
    return TrainingResult(
        folder=final,
        version=registered.version,
        period=f"{summary['first_timestamp']:.10} to {summary['last_timestamp']:.10}",
        counts=counts,
        ui=registered.ui_command,
        screen=screen,
    )


def _checkpoint(workspace: Workspace, batch: Batch) -> Path:
    """Return the folder that a killed training goes on from: that of this batch and configuration."""
    settings = hashlib.sha256(workspace.config.model_dump_json(exclude={"columns"}).encode()).hexdigest()
    return workspace.folder.checkpoints / f"{batch.id}-{settings[:12]}"


@stage("take in")
def take_in_table(batch: Batch, workspace: Workspace, folder: Path) -> TakenIn:
    """Validate the table, refuse a column that gives the label away, remember the rows, and compute their features."""
    return take_in(
        batch,
        workspace,
        folder,
        remember=True,
        check=lambda accepted: refuse_giveaways(accepted, workspace.config),
        docs=data_docs(batch, workspace.config, folder / "data-docs"),
        step=console.step,
    )


@stage("fit")
def fit_detector(intake: TakenIn, config: Config, as_of: datetime, checkpoint: Path) -> Fit:
    """Fit encoder, model, calibration and threshold."""
    epochs: list[int] = []
    most = parameters_of(build_model(config.model)).get("max_epochs")
    start = perf_counter()
    with console.step("train", total=most, unit="epochs") as on_epochs:

        def on_epoch(epoch: int, max_epochs: int, losses: dict[str, float]) -> None:
            on_epochs(1 if epochs else epoch)
            epochs.append(epoch)

        parts = split(intake.features, config, intake.labels, as_of)
        detector = Detector.fit_parts(intake.features, config, parts, on_epoch=on_epoch, checkpoint=checkpoint)
    notes = parts.notes
    if epochs and epochs[0] > 1:
        notes += (f"The training went on from epoch {epochs[0] - 1}, after which an earlier run of it was stopped.",)
    return Fit(detector=detector, parts=parts, seconds=perf_counter() - start, notes=notes)


@stage("audit the fit rows")
def audit(intake: TakenIn, training: Fit, folder: Path) -> Path:
    """Write the most suspect of the rows that were fitted on as normal."""
    with console.step("audit the rows fitted on"):
        return write_suspects(intake.features, training.detector, training.parts, folder / "suspects.parquet")


@stage("held-out block")
def held_out(intake: TakenIn, training: Fit, folder: Path, batch_id: str) -> HeldOut:
    """Take the calibration block for a batch, with the scores that the threshold was solved on, and map it."""
    detector, parts = training.detector, training.parts
    labels = parts.labels[parts.role == CALIBRATION]
    rows, places, map_rows = detector.held_out, parts.places(CALIBRATION), MapRows(detector)
    with console.step("score the held-out block") as on_rows:
        block = calibration_block(intake.features, parts, folder / ".calibration.parquet")
        scored = score_table(
            block,
            detector,
            folder / "calibration",
            batch_id=batch_id,
            model_version="",
            scored_at=datetime.now(UTC),
            known_scores=(rows.scores[places], rows.one_class[places]),
            on_part=map_rows.add,
            on_rows=on_rows,
        )
        maps = make_maps(map_rows.rows(), scored, detector, tsne=detector.config.report.tsne)
        measured = measure_rows(block, scored, labels, detector.config)
        measured = replace(measured, injected=inject_into(block, detector, scored.column("anomaly_score"), labels))
        return HeldOut(scored=scored, measured=measured, maps=maps)


def _write_page(folder: Path, batch: Batch, *, intake: TakenIn, training: Fit, block: HeldOut, suspects: Path) -> None:
    page = training_report(
        training.detector,
        intake.validated,
        block.scored,
        block.measured,
        source=batch.path,
        facts={"Table": str(batch.path), "SHA-256 of the table": batch.digest, "Batch": batch.id},
        notes=[*intake.notes, *training.notes],
        maps=block.maps,
        suspects=suspects,
    )
    write_text(folder / "report.html", render(page))


@retried("log and register")
def register(
    batch: Batch,
    intake: TakenIn,
    training: Fit,
    *,
    block: HeldOut,
    folder: Path,
    workspace: Workspace,
    tags: Mapping[str, str],
) -> Registered:
    """Log the run to MLflow and register the Detector."""
    detector, measured = training.detector, block.measured
    numbers = {name: value for name, value in detector.summary.items() if not isinstance(value, str)}
    parameters = {f"fitted.{name}": value for name, value in parameters_of(detector.model).items()}
    dataset = Dataset(str(batch.path.resolve()), batch.digest, count_rows(intake.validated))
    with console.step("log and register in MLflow"):
        scores = charts.score_distribution(block.scored.column("anomaly_score"), detector.threshold, measured.labels)
        plots = {"scores": charts.standalone(scores, charts.SCORES_LEGEND)}
        if detector.epochs:
            plots["losses"] = charts.standalone(charts.losses(detector.epochs), charts.LOSSES_LEGEND)
        return log_training(
            detector.config,
            words=words_for(detector, measured.texts, dataset),
            detector_folder=folder / "detector",
            dataset=dataset,
            epochs=detector.epochs,
            metrics={
                **measured.figures,
                **measured.bounds,
                "threshold": detector.threshold,
                "expected_alerts_per_day": detector.cut.alerts_per_day,
                **numbers,
                "fit_seconds": training.seconds,
            },
            params={"as_of": detector.as_of.isoformat(), "promise": detector.promise, **parameters},
            plots=plots,
            report=folder / "report.html",
            tags={"batch_id": batch.id, **tags},
            input_example=_example(intake.validated.accepted),
            history=str(workspace.folder.history),
        )


def _example(accepted: Path) -> "pd.DataFrame":
    return pq.ParquetFile(accepted).read_row_group(0).slice(0, EXAMPLE_ROWS).to_pandas()


def _screen(
    final: Path, config_path: str, *, intake: TakenIn, training: Fit, measured: Measured, registered: Registered
) -> Screen:
    """Return what the terminal shows."""
    detector = training.detector
    return Screen(
        sentences=[*intake.notes, *training.notes],
        tables={
            "Rows": count_rows(intake.validated),
            "Model": {
                "registered": f"{registered.name} version {registered.version}, alias {registered.alias}",
                "family": detector.summary["model"],
                "fitted on": f"{detector.summary['fit_rows']:,} normal rows",
                **({"labels": detector.summary["feedback"]} if "feedback" in detector.summary else {}),
                "expect": detector.promise,
                **measured.texts,
            },
            "Where": {
                "report": str(final / "report.html"),
                "quarantine": str(final / "quarantine.parquet"),
                "most suspect fit rows": str(final / "suspects.parquet"),
                "MLflow run": registered.run_id,
            },
        },
        commands=[
            f"assay score NEW_TABLE --config {config_path} --version {registered.version}",
            registered.ui_command,
        ],
    )
