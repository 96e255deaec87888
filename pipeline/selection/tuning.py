"""A search over families of models and their sizes, with Optuna: judged on a validation block, never on the test block.

A search is known by its table, its blocks and its settings. It is kept in the work folder's database, so that one that
was stopped goes on. One command runs it at a time, in as many processes as ``tuning.jobs`` says.
"""

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from sqlalchemy.exc import OperationalError

from pipeline.detector.artefact import CHECKED_ROWS
from pipeline.detector.family import build_model
from pipeline.errors import AssayError, TrainingError
from pipeline.evaluation.metrics import average_precision
from pipeline.selection.search_space import settings_of, suggest
from pipeline.selection.tuning_data import Blocks, Material
from pipeline.settings.config import Config, ModelConfig
from pipeline.workspace.database import answering, connect, database_url
from pipeline.workspace.folder import WorkFolder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

WATCHED_ROWS = 20_000
"""Validation rows that are looked at after each epoch, all frauds among them."""
WARM_UP_TRIALS, WARM_UP_EPOCHS = 8, 3
"""No trial is stopped before so many have ended, and none before its third epoch."""


@dataclass(frozen=True)
class Best:
    """The best trial of a search.

    Parameters
    ----------
    number : int
    value : float
    metric : str
    model : ModelConfig
    """

    number: int
    value: float
    metric: str
    model: ModelConfig


def metric_of(config: Config, material: Material) -> str:
    """Return what is searched for.

    Raises
    ------
    TrainingError
        When average precision is asked for, and no fraud or no normal row of the validation block is known.
    """
    labelled = bool((material.labels == 1).any() and (material.labels == 0).any())
    if config.tuning.metric == "average_precision" and not labelled:
        raise TrainingError(
            "tuning.metric is average_precision, and the block to judge on has no labelled fraud beside normal rows; "
            'tune on another period, or set tuning.metric = "injected_recall"'
        )
    if config.tuning.metric != "auto":
        return config.tuning.metric
    return "average_precision" if labelled else "injected_recall"


def search_name(config: Config, digest: str, blocks: Blocks) -> str:
    """Return the name of a search: the same table, blocks and settings go on with the same search."""
    parts = {
        "digest": digest,
        "blocks": [str(day) for day in (blocks.fit, blocks.validation, blocks.test)],
        "settings": config.model_dump(mode="json", include={"contract", "features", "encoding", "model", "training"}),
        "tuning": config.tuning.model_dump(mode="json", exclude={"trials", "seconds", "jobs"}),
        "rate": config.threshold.false_alert_rate,
    }
    return f"{config.name}-{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]}"


def open_study(config: Config, name: str, seed: int | None = None) -> "Study":
    """Return the search of a name from the work folder's database; it is made when it is missing."""
    import optuna
    from sqlalchemy import NullPool

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = database_url(config)
    Path(config.work_dir).mkdir(parents=True, exist_ok=True)
    waits = {"connect_args": {"timeout": 60}} if url.get_backend_name() == "sqlite" else {}
    engine = {"poolclass": NullPool, **waits}  # nobody can close what a study leaves open
    return optuna.create_study(
        study_name=name,
        storage=optuna.storages.RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine),
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(WARM_UP_TRIALS, WARM_UP_EPOCHS, n_min_trials=3),
        direction="maximize",
        load_if_exists=True,
    )


def finished(study: "Study") -> "list[FrozenTrial]":
    """Return the trials that ended, pruned ones included; not those that were stopped half way."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


@contextmanager
def searching(config: Config, name: str) -> Iterator[None]:
    """Hold a search inside the block; the system gives it back when the process ends, however.

    Raises
    ------
    AssayError
        When another command runs this search.
    ConfigError
        When the database that keeps it fails.
    """
    from optuna.exceptions import StorageInternalError

    work = WorkFolder(config)
    work.make(work.searches)
    lock = FileLock(work.searches / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AssayError(
            f"another command runs this search, {name}: wait for its end, which this one then goes on from, or stop "
            "it; --jobs lets one command use more cores"
        ) from None
    try:
        with answering(connect(config)):
            yield
    except StorageInternalError as error:
        with answering(connect(config)):
            raise OperationalError("", None, getattr(error.__cause__, "orig", error)) from None
    finally:
        lock.release()


def search(config: Config, name: str, *, folder: Path, metric: str, on_trial: "Callable[[FrozenTrial], None]") -> Best:
    """Run the trials that a search still lacks, for as long as ``tuning.seconds`` allows, and return the best of all.

    The caller holds the search (`searching`).

    Parameters
    ----------
    config : Config
    name : str
    folder : Path
        With the material.
    metric : {"average_precision", "injected_recall"}
    on_trial : callable
        Called in this process with every trial that has ended, those of earlier commands included.

    Raises
    ------
    TrainingError
        When no trial ended well.
    """
    from optuna.trial import TrialState

    study = open_study(config, name)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # of a command that was killed
    numbers: set[int] = set()

    def tell() -> None:
        for trial in finished(study):
            if trial.number not in numbers:
                numbers.add(trial.number)
                on_trial(trial)

    tell()
    rest, jobs = max(0, config.tuning.trials - len(numbers)), config.tuning.jobs
    deadline = monotonic() + config.tuning.seconds
    seed = config.model.seed + 1000 * len(study.get_trials(deepcopy=False))
    if jobs == 1:
        run_trials(
            config,
            name,
            folder=folder,
            metric=metric,
            trials=rest,
            seed=seed,
            seconds=config.tuning.seconds,
            on_end=tell,
        )
    else:
        shares = [rest // jobs + (place < rest % jobs) for place in range(jobs)]
        _run_in_processes(
            config, name, folder=folder, metric=metric, shares=shares, seed=seed, deadline=deadline, on_wait=tell
        )
    tell()
    return best_of(study, config, metric)


def _run_in_processes(
    config: Config,
    name: str,
    *,
    folder: Path,
    metric: str,
    shares: Sequence[int],
    seed: int,
    deadline: float,
    on_wait: Callable[[], None],
) -> None:
    """Run each share of the trials in a process of its own, until ``monotonic()`` says that it is the deadline."""
    with ProcessPoolExecutor(len(shares), multiprocessing.get_context("spawn")) as pool:
        with _interrupts_ignored():  # by the processes that start here, for as long as they live
            futures = {
                pool.submit(
                    run_trials,
                    config,
                    name,
                    folder=folder,
                    metric=metric,
                    trials=share,
                    seed=seed + place,
                    seconds=deadline - monotonic(),
                )
                for place, share in enumerate(shares)
                if share
            }
        try:
            while futures:
                ready, futures = wait(futures, timeout=1)
                on_wait()
                for future in ready:
                    future.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let Ctrl-C be this process's to answer: one that is started meanwhile would end in a traceback of its own."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def best_of(study: "Study", config: Config, metric: str) -> Best:
    """Return the best trial; of equally good ones the first."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not trials:
        failures = [trial.user_attrs["failure"] for trial in finished(study) if "failure" in trial.user_attrs]
        cause = f"; the last one: {failures[-1]}" if failures else ""
        raise TrainingError(f"no trial ended well{cause}; look at [tuning], or raise tuning.trials and tuning.seconds")
    best = max(trials, key=lambda trial: (trial.value, -trial.number))
    return Best(best.number, float(best.value or 0.0), metric, settings_of(best, config))


def run_trials(
    config: Config,
    name: str,
    *,
    folder: Path,
    metric: str,
    trials: int,
    seed: int,
    seconds: float,
    on_end: Callable[[], None] = lambda: None,
) -> None:
    """Run some trials of a search in this process."""
    if not trials or seconds <= 0:
        return
    material = Material.load(folder)
    study = open_study(config, name, seed)

    def objective(trial: "Trial") -> float:
        return _try(trial, config, material, metric)

    study.optimize(objective, n_trials=trials, timeout=seconds, callbacks=[lambda study, trial: on_end()])


def _try(trial: "Trial", config: Config, material: Material, metric: str) -> float:
    """Fit one model and return what it comes to on the validation block; one that cannot be fitted counts as bad."""
    import optuna

    from models.audit import check_not_degenerate
    from models.capabilities import WithEarlyStopping, WithProgress

    began = monotonic()
    settings = suggest(trial, config)
    model = build_model(settings, material.column_groups, views=material.views)
    if isinstance(model, WithProgress):
        model.set_params(
            on_epoch=_watch(trial, model, material=material, metric=metric, rate=config.threshold.false_alert_rate)
        )
    held_out = {"X_held_out": material.held_out} if isinstance(model, WithEarlyStopping) else {}
    try:
        model.fit(material.fit, **held_out)
        normal = material.validation[material.labels != 1]
        check_not_degenerate(model, normal[:: -(-len(normal) // CHECKED_ROWS) or 1])
        value = judge(
            model.anomaly_score, material.validation, labels=material.labels, injected=material.injected, metric=metric,
            rate=config.threshold.false_alert_rate,
        )  # fmt: skip
    except ValueError as error:
        trial.set_user_attr("failure", str(error).strip().splitlines()[0])
        raise optuna.TrialPruned from None
    finally:
        trial.set_user_attr("fit_seconds", monotonic() - began)
    return value


def judge(
    score: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    *,
    labels: np.ndarray,
    injected: np.ndarray,
    metric: str,
    rate: float,
) -> float:
    """Return what scores come to: average precision, or the share of injected anomalies above the threshold.

    The threshold is the score that a share ``rate`` of the rows that are not known to be fraud lies above.

    Parameters
    ----------
    score : callable
        Maps rows to scores.
    rows : array of shape (n_rows, n_columns)
    labels : array of shape (n_rows,)
        1 fraud, 0 normal, nan not known.
    injected : array of shape (n_injected_rows, n_columns)
    metric : {"average_precision", "injected_recall"}
    rate : float
    """
    scores, is_labelled = score(rows), ~np.isnan(labels)
    if metric == "average_precision":
        return average_precision(scores[is_labelled], labels[is_labelled] == 1)
    return float((score(injected) > np.quantile(scores[labels != 1], 1 - rate)).mean())


def _watch(trial: "Trial", model: Any, *, material: Material, metric: str, rate: float) -> Callable[..., None]:
    """Report each epoch, and stop a trial that is worse than most were at the same epoch.

    Losses of different families are not on one scale, so what is reported is the metric itself, of scores that every
    autoencoder has on the way: the rows' mean squared residuals.
    """
    import optuna

    from models.networks import NetworkAutoencoder

    labels = material.labels
    others = np.flatnonzero(labels != 1)
    some = np.sort(np.concatenate([np.flatnonzero(labels == 1), others[:: -(-len(others) // WATCHED_ROWS) or 1]]))
    rows, row_labels = material.validation[some], labels[some]

    def on_epoch(epoch: int, max_epochs: int, losses: dict[str, float]) -> None:
        if not isinstance(model, NetworkAutoencoder) or next(model.network_.parameters()).device.type != "cpu":
            return
        trial.report(
            judge(lambda part: (model.residuals(part).astype(np.float64) ** 2).mean(axis=1), rows, labels=row_labels,
                  injected=material.injected, metric=metric, rate=rate),
            epoch,
        )  # fmt: skip
        if trial.should_prune():
            raise optuna.TrialPruned

    return on_epoch
