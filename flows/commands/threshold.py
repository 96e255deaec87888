"""Set another threshold: a new version of the Detector that shares its weights, and what it does to the alerts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from flows import console
from flows.commands.compare import say_recovered
from pipeline.calibration.strategies.choice import cut_curve
from pipeline.detector.artefact import Detector
from pipeline.errors import ConfigError
from pipeline.pages import charts
from pipeline.pages.report import Report, render
from pipeline.scoring.promise import Moved, moved
from pipeline.selection.registration import registering
from pipeline.settings.config import Config, ThresholdConfig
from pipeline.settings.file import first_fault, read_config
from pipeline.tables.writing import write_text
from pipeline.tracking.derived import WEIGHTS_OF, Origin, origin
from pipeline.tracking.store import Registered, load_detector, log_training
from pipeline.tracking.words import words_for
from pipeline.workspace.workspace import Workspace

# What each option of the command sets: the strategy, and the setting that takes its value.
OPTIONS = {
    "capacity": ("capacity", "alerts_per_day"),
    "customers": ("capacity", "alerts_per_day"),
    "false_alert_rate": ("false_alert_rate", "false_alert_rate"),
    "tail": ("tail", "false_alert_rate"),
    "fdr": ("fdr", "false_discovery_rate"),
    "cost": ("cost", "review_cost"),
    "f_beta": ("f_beta", "beta"),
    "precision": ("precision_at_least", "min_precision"),
    "recall": ("recall_at_least", "min_recall"),
}


def set_threshold(
    config_path: Path,
    version: str,
    asked: Mapping[str, float | None],
    *,
    recovered: float | None = None,
    segment: str | None = None,
) -> Registered:
    """Register a version of the Detector with another threshold; nothing is fitted and no row is scored.

    Parameters
    ----------
    config_path : Path
    version : str
        Version or alias to derive from.
    asked : mapping of str to float or None
        By option, at most one of them given; without one, the configuration's strategy.
    recovered : float, optional
        Share of the amount that is recovered, for the strategy ``cost``.
    segment : str, optional
        Column whose values get a cut each; "" for none.

    Raises
    ------
    AssayError
        When the threshold cannot be kept, or the store does not answer.
    """
    config = read_config(config_path)
    say_recovered(config)
    with console.live(), console.step("load the Detector"):
        detector, number = load_detector(config, version)
        source = origin(config, number)
    detector.settle(config)
    changed = detector.with_threshold(_settings(config, detector, asked, recovered=recovered, segment=segment))
    workspace = Workspace(config)
    work, latest = workspace.folder, workspace.ledger.latest(source.sharing)
    moves = moved(latest, changed, workspace.history) if latest else None
    final = work.runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-threshold-of-v{number}"
    with console.live(), console.step("log and register in MLflow"), registering(config, final) as registration:
        with work.staged(final) as folder:
            registered = _register(config, changed, source, moves=moves, folder=folder, tags=registration.tags)
        registration.record(registered)
    console.table(
        f"{registered.name} version {registered.version}, alias {registered.alias}",
        {
            "derived from": f"version {number}, with the same weights",
            "before": f"{detector.cut.strategy}: {detector.promise}",
            "now": f"{changed.cut.strategy}: {changed.promise}",
            "alerts": moves.text if moves else "No batch was scored with these weights yet, so none come or go.",
            "report": final / "report.html",
        },
    )
    console.commands(
        "Next", [f"assay score NEW_TABLE --config {config_path} --version {registered.version}", registered.ui_command]
    )
    return registered


def _settings(
    config: Config,
    detector: Detector,
    asked: Mapping[str, float | None],
    *,
    recovered: float | None,
    segment: str | None,
) -> ThresholdConfig:
    options = {name: value for name, value in asked.items() if value is not None}
    if len(options) > 1:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in options)
        raise ConfigError(f"{names} are several strategies, and a threshold has one; give one of them")
    changes: dict[str, object] = {}
    for name, value in options.items():
        named, setting = OPTIONS[name]
        changes = {"strategy": named, setting: value}
        if named == "capacity":
            changes["unit"] = "customers" if name == "customers" else "alerts"
    changes |= {} if recovered is None else {"recovered_share": recovered}
    strategy = str(changes.get("strategy", config.threshold.strategy))
    if recovered is not None and strategy != "cost":
        raise ConfigError(
            f"--recovered {recovered:g} belongs to the strategy cost, and {strategy} does not use it; give --cost, too"
        )
    changes |= {} if segment is None else {"segment": segment}
    whole = {**detector.config.model_dump(), "threshold": {**config.threshold.model_dump(), **changes}}
    try:
        return Config.model_validate(whole).threshold
    except ValidationError as error:
        raise ConfigError(first_fault(error)) from None


def _register(
    config: Config,
    detector: Detector,
    source: Origin,
    *,
    moves: Moved | None,
    folder: Path,
    tags: Mapping[str, str],
) -> Registered:
    """Write the Detector and its page, log both to MLflow and register the version."""
    detector.save(folder / "detector")
    write_text(folder / "report.html", render(_report(detector, source, moves)))
    scores = charts.score_distribution(detector.held_out.scores, detector.threshold, detector.held_out.labels)
    counts = {"stay": moves.stay, "come": moves.come, "go": moves.go} if moves else {}
    current = detector.config.model_copy(update={"work_dir": config.work_dir, "tracking": config.tracking})
    return log_training(
        current,
        words=words_for(detector, {"alerts": moves.text} if moves else {}),
        detector_folder=folder / "detector",
        dataset=None,
        epochs=(),
        metrics={
            "threshold": detector.threshold,
            "expected_alerts_per_day": detector.cut.alerts_per_day,
            **{f"alerts_that_{name}": count for name, count in counts.items()},
        },
        params={"as_of": detector.as_of.isoformat(), "promise": detector.promise, "derived_from": source.version},
        plots={"scores": charts.standalone(scores, charts.SCORES_LEGEND)},
        report=folder / "report.html",
        tags={
            "derived_from": source.version,
            "derived_from_run": source.run_id,
            WEIGHTS_OF: source.weights_of,
            "data_digest": source.data_digest,
            **tags,
        },
        input_example=source.input_example,
        history=source.history,
    )


def _report(detector: Detector, source: Origin, moves: Moved | None) -> Report:
    config, rows = detector.config, detector.held_out
    return Report(
        kind="threshold",
        title=f"{config.name}: another threshold",
        subtitle=f"derived from version {source.version}, with the same weights",
        counts={"scored": len(rows), "flagged": round(detector.cut.alert_share * len(rows))},
        promise=detector.promise,
        outcome=moves.text if moves else "",
        histogram=charts.count_scores(rows.scores, detector.threshold, rows.labels),
        scores_of=f"the {len(rows):,} rows held out for calibration",
        threshold=detector.threshold,
        curve=cut_curve(detector.cut, rows),
        facts={
            "Strategy": ", ".join([detector.cut.strategy, *(f"{k} = {v}" for k, v in detector.cut.settings.items())]),
            "Derived from": f"version {source.version}, MLflow run {source.run_id}",
            "Weights of": f"version {source.weights_of}",
            "Labels known as of": f"{detector.as_of:%Y-%m-%d %H:%M} UTC",
            **{f"Cut of {config.threshold.segment} {k}": f"{v.value:.6g}" for k, v in detector.cut.parts.items()},
        },
    )
