"""The training flow: validate, remember, features, fit, look at the held-out block, log and register."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow.parquet as pq
from prefect import flow
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.states import Failed

from flows import console
from flows.stages import features, gap, retried, say_what_to_do, stage, validate
from pipeline.detector.artefact import Detector
from pipeline.detector.family import build_model, parameters_of
from pipeline.errors import AssayError
from pipeline.evaluation.injection import inject_into
from pipeline.evaluation.measured import Measured, calibration_block, measure
from pipeline.inference.giveaways import refuse_giveaways
from pipeline.labels.known import latest_moment
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.pages.charts import save_losses, save_score_distribution
from pipeline.pages.report import render
from pipeline.pages.runs import count_rows, training_report
from pipeline.scoring.maps import Map, make_maps
from pipeline.scoring.score import Scored, score_table
from pipeline.scoring.suspects import write_suspects
from pipeline.selection.promotion import record_registered
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.batch import batch_id
from pipeline.tables.parquet import span
from pipeline.tables.period import Period
from pipeline.tables.reading import open_table
from pipeline.tables.writing import write_text
from pipeline.tracking.store import Dataset, Registered, log_training
from pipeline.validation.validate import Validated
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.ledger import lock

EXAMPLE_ROWS = 5


@flow(name="assay-train", flow_run_name="train-{config_path}", on_failure=[say_what_to_do])
def train(
    config_path: str,
    table: str = "",
    first: date | None = None,
    last: date | None = None,
    as_of: datetime | None = None,
) -> Any:
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
        with lock(config.work_dir):
            return _train(config, config_path, table or config.table.path, first, last, as_of)
    except AssayError as error:
        return Failed(message=str(error))


def _train(
    config: Config, config_path: str, path: str, first: date | None, last: date | None, as_of: datetime | None
) -> dict[str, Any]:
    build_model(config.model)  # a wrong name or option shall not wait for the features
    work, period = WorkFolder(config), Period.of_days(first, last, config.table.time_zone)
    with console.step("read"):
        table = open_table(path, config.table)
        digest = table.digest()
    batch = batch_id(digest, period, config.contract)
    reviewed = ReviewedLabels(work.labels, config).files()
    final = work.runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{batch}"
    with work.staged(final) as folder:
        validated = validate(table, config, folder, batch, period)
        refuse_giveaways(validated.accepted, config)
        notes = gap(validated, config)
        rows = features(validated, config, folder, batch, reviewed)
        moment = as_of or latest_moment(span(validated.accepted, config.contract.timestamp)[1], config, reviewed)
        began = perf_counter()
        detector, went_on = fit(rows, config, moment, reviewed, _checkpoint(work, config, batch))
        cost = {"fit_seconds": perf_counter() - began}
        notes += went_on
        shutil.rmtree(work.checkpoints, ignore_errors=True)
        detector.save(folder / "detector")
        suspects = audit(rows, detector, folder, reviewed)
        scored, measured, maps = held_out(rows, detector, folder, batch, reviewed)
        facts = {"Table": str(table.path), "SHA-256 of the table": digest, "Batch": batch}
        told = {"source": table.path, "facts": facts, "notes": notes, "maps": maps, "suspects": suspects}
        page = training_report(detector, validated, scored, measured, **told)
        write_text(folder / "report.html", render(page))
        dataset = Dataset(str(table.path.resolve()), digest, count_rows(validated))
        registered = register(detector, dataset, measured, validated.accepted, folder, batch, cost)
    record_registered(config, registered)
    create_link_artifact(
        key="assay-training-report", link=(final / "report.html").as_uri(), link_text="training report"
    )
    result = {"say": notes, **_result(final, config_path, detector, validated, measured, registered)}
    create_table_artifact([count_rows(validated)], key="assay-training", description=f"{registered.model_uri}")
    return result


def _checkpoint(work: WorkFolder, config: Config, batch: str) -> Path:
    """Return the folder that a killed training goes on from: that of this batch and configuration."""
    settings = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return work.checkpoints / f"{batch}-{settings[:12]}"


@stage(name="fit")
def fit(
    rows: Path, config: Config, as_of: datetime, reviewed: Sequence[Path], checkpoint: Path
) -> tuple[Detector, list[str]]:
    """Fit encoder, model, calibration and threshold; say where it went on from, if a training was killed."""
    seen: list[int] = []
    most = parameters_of(build_model(config.model)).get("max_epochs")
    with console.step("train", total=most, unit="epochs") as on_epochs:

        def on_epoch(epoch: int, max_epochs: int, losses: dict[str, float]) -> None:
            on_epochs(1 if seen else epoch)
            seen.append(epoch)

        detector = Detector.fit(rows, config, as_of, on_epoch, reviewed, checkpoint)
    if not seen or seen[0] == 1:
        return detector, []
    return detector, [f"The training went on from epoch {seen[0] - 1}, after which an earlier run of it was stopped."]


@stage(name="audit the fit rows")
def audit(rows: Path, detector: Detector, folder: Path, reviewed: Sequence[Path]) -> Path:
    """Write the most suspect of the rows that were fitted on as normal."""
    with console.step("audit the rows fitted on"):
        return write_suspects(rows, detector, folder / "suspects.parquet", reviewed)


@stage(name="held-out block")
def held_out(
    rows: Path, detector: Detector, folder: Path, batch: str, reviewed: Sequence[Path]
) -> tuple[Scored, Measured, list[Map]]:
    """Score the calibration block, whose rows took no part in fitting, as a batch would be, and map it."""
    with console.step("score the held-out block") as on_rows:
        block = calibration_block(rows, detector, folder / ".calibration.parquet")
        scored = score_table(
            block,
            detector,
            folder / "calibration",
            batch_id=batch,
            model_version="",
            scored_at=datetime.now(UTC),
            on_rows=on_rows,
        )
        maps = make_maps(block, scored, detector, detector.config.report.tsne)
        measured = measure(block, scored, detector.config, detector.as_of, reviewed)
        return scored, replace(measured, injected=inject_into(block, detector, reviewed)), maps


@retried(name="log and register")
def register(
    detector: Detector,
    dataset: Dataset,
    measured: Measured,
    accepted: Path,
    folder: Path,
    batch: str,
    cost: dict[str, float],
) -> Registered:
    """Log the run to MLflow and register the Detector."""
    config = detector.config
    numbers = {name: value for name, value in detector.summary.items() if not isinstance(value, str)}
    made = {f"fitted.{name}": value for name, value in parameters_of(detector.model).items()}
    with console.step("log and register in MLflow"):
        plots = {"scores": folder / ".scores.png"}
        if detector.epochs:
            plots["losses"] = folder / ".losses.png"
            save_losses(plots["losses"], detector.epochs)
        save_score_distribution(folder / ".scores.png", measured.scores, detector.threshold, measured.labels)
        return log_training(
            config,
            detector_folder=folder / "detector",
            dataset=dataset,
            epochs=detector.epochs,
            metrics={
                **measured.figures,
                **measured.bounds,
                "threshold": detector.threshold,
                "expected_alerts_per_day": detector.cut.alerts_per_day,
                **numbers,
                **cost,
            },
            params={"as_of": detector.as_of.isoformat(), "promise": detector.promise, **made},
            plots=plots,
            report=folder / "report.html",
            tags={"batch_id": batch},
            input_example=pq.ParquetFile(accepted).read_row_group(0).slice(0, EXAMPLE_ROWS).to_pandas(),
            history=str(WorkFolder(config).history),
        )


def _result(
    final: Path, config_path: str, detector: Detector, validated: Validated, measured: Measured, registered: Registered
) -> dict[str, Any]:
    """Return what the terminal shows, and what other flows read."""
    return {
        "counts": count_rows(validated),
        "period": f"{detector.summary['first_timestamp']:.10} to {detector.summary['last_timestamp']:.10}",
        "version": registered.version,
        "folder": str(final),
        "ui": registered.ui_command,
        "tables": {
            "Rows": count_rows(validated),
            "Model": {
                "registered": f"{registered.name} version {registered.version}, alias {registered.alias}",
                "family": detector.summary["model"],
                "fitted on": f"{detector.summary['fit_rows']:,} normal rows",
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
        "next": [
            f"assay score NEW_TABLE --config {config_path} --version {registered.version}",
            registered.ui_command,
        ],
    }
