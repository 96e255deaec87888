"""Training runs and models in MLflow: one run a training, one registered version a run that ended well.

A version is registered last and its aliases are set after that, so a training that fails on the way leaves a run marked
FAILED and no version, however often it is tried again.
"""

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipeline.errors import ResourceError
from pipeline.settings.config import Config
from pipeline.settings.sensitive import without_password
from pipeline.tracking.client import (
    CANDIDATE,
    CHAMPION,
    PREVIOUS,
    claim_name,
    experiment_id,
    is_server,
    log_in_batches,
    mark_runs,
    resolve_version,
    start,
    store_answering,
    store_uri,
)
from pipeline.tracking.content import (
    Dataset,
    dataset_input,
    epoch_metrics,
    example,
    key,
    notable,
    signature,
    without_passwords,
)
from pipeline.tracking.withdrawal import withdraw_run
from pipeline.tracking.words import MAIN_METRICS, Words

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from pipeline.detector.artefact import Detector


# What model_code.py needs to run; the code itself travels with the model.
_REQUIREMENTS = (
    "mlflow", "numpy", "pandas", "pyarrow", "torch", "scikit-learn", "scipy", "duckdb", "pydantic",
    "safetensors", "tomlkit", "tzdata", "filelock",
)  # fmt: skip


@dataclass(frozen=True)
class Registered:
    """A version in the model registry.

    Attributes
    ----------
    run_id, name, version : str
    alias : {"champion", "candidate"}
    model_uri : str
        What ``mlflow models serve -m`` and ``mlflow.pyfunc.load_model`` take.
    ui_command : str
        Command that shows the run in a browser; the server's address when ``tracking.uri`` names one.
    """

    run_id: str
    name: str
    version: str
    alias: str
    model_uri: str
    ui_command: str


def log_training(
    config: Config,
    *,
    words: Words,
    detector_folder: Path,
    dataset: Dataset | None,
    epochs: Sequence[Mapping[str, float]],
    metrics: Mapping[str, float],
    params: Mapping[str, object],
    plots: Mapping[str, str],
    report: Path,
    tags: Mapping[str, str],
    input_example: "pd.DataFrame",
    history: str,
) -> Registered:
    """Log one training as an MLflow run and register its Detector.

    Parameters
    ----------
    config : Config
        Logged whole as config.json, without passwords in URLs; what differs from the defaults as parameters, too.
    words : Words
        What run and version are called, described and tagged with.
    detector_folder : Path
        Where ``Detector.save`` wrote it.
    dataset : Dataset or None
        None for a version that is derived from another one, without a training.
    epochs : sequence of mappings
        ``{"epoch": 1, "train_loss": ..., "held_out_loss": ...}``; each loss becomes a metric with steps.
    metrics : mapping of str to float
        Logged whole as measures.json; those of `MAIN_METRICS` as metrics, too.
    params : mapping
        Parameters that are not in the config, such as the threshold and the number of rows fitted on.
    plots : mapping of str to str
        SVG files' text by the name they are shown under.
    report : Path
        The self-contained HTML page.
    tags : mapping of str to str
        ``weights_of`` and ``data_digest``, where they are there, become tags of the version, too.
    input_example : pandas.DataFrame
        A few rows in the contract's columns; other columns are left out and sensitive ones masked.
    history : str
        Folder of the history store, for those who serve the model and want entities to have a past.

    Returns
    -------
    Registered
        Alias ``champion`` when the name has none yet, else ``candidate``.

    Raises
    ------
    StoreError
        When the store does not answer. Nothing is registered then, and the training may be logged again.
    """
    client = start(config)
    import mlflow

    public_config = without_passwords(config)
    every_tag = {**words.tags, **tags, "model_name": config.name, "history": history, "mlflow.note.content": words.text}
    every_tag |= {"data_digest": dataset.digest} if dataset else {}
    every_param = {key(name): value for name, value in {**notable(public_config), **params}.items()}
    by_key = {key(name): value for name, value in metrics.items()}
    main = {name: by_key[name] for name in MAIN_METRICS if name in by_key}
    with (
        store_answering(config),
        mlflow.start_run(experiment_id=experiment_id(client, config), run_name=words.title, tags=every_tag) as run,
        ExitStack() as undo,
    ):
        run_id = run.info.run_id
        undo.callback(withdraw_run, client, config.name, run_id)
        log_in_batches(client, run_id, every_param, epoch_metrics(epochs, round(time() * 1000)))
        client.log_dict(run_id, public_config.model_dump(mode="json"), "config.json")
        client.log_dict(run_id, by_key, "measures.json")
        if dataset:
            client.log_inputs(run_id, [dataset_input(dataset, config.contract)])
        for name, plot in plots.items():
            client.log_text(run_id, plot, f"plots/{name}.svg")
        client.log_artifact(run_id, str(report))
        model = _log_model(config, detector_folder, input_example, title=words.title)
        mlflow.log_metrics(main, model_id=model.model_id)
        shared: dict[str, str] = {name: every_tag[name] for name in ("weights_of", "data_digest") if name in every_tag}
        registered = _register(client, config, run_id, model_id=model.model_id, words=words, tags=shared)
        undo.pop_all()
    return registered


def load_detector(config: Config, version: str = CHAMPION) -> tuple["Detector", str]:
    """Load a registered Detector.

    Parameters
    ----------
    config : Config
    version : str
        A version ("3"), an alias ("champion", "candidate", "previous"), or the id of a training's run.

    Returns
    -------
    detector : Detector
    version : str
        The version that was loaded.

    Raises
    ------
    AssayError
        When nothing is registered under the name, or not that version or alias.
    ResourceError
        When its files are gone, damaged, or of another version of Assay.
    StoreError
        When the store does not answer.
    """
    client = start(config)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from pipeline.detector.artefact import Detector

    with store_answering(config):
        number = resolve_version(client, config, version)
    title = f"version {number} of model {config.name!r}"
    with TemporaryDirectory() as folder:
        try:
            model = Path(download_artifacts(artifact_uri=f"models:/{config.name}/{number}", dst_path=folder))
            artefact = model / "artifacts" / "detector"
            artefact.stat()  # MLflow downloads nothing of a folder that is gone, without a word
        except (MlflowException, OSError) as error:
            cause = "they are gone" if isinstance(error, FileNotFoundError) else str(error).strip().splitlines()[0]
            raise ResourceError(
                f"{title} is registered, but its files cannot be read ({cause}); bring them back, or train a new "
                "version with: assay train"
            ) from None
        try:
            return Detector.load(artefact), number
        except ResourceError as error:
            # Not the folder that they were copied to for a moment, but where they are kept.
            source = unquote(client.get_model_version_download_uri(config.name, number).removeprefix("file://"))
            text = str(error).replace(str(artefact), f"{source}/artifacts/detector")
            raise ResourceError(f"{title} cannot be used: {text}") from None


def _log_model(config: Config, detector_folder: Path, input_example: "pd.DataFrame", *, title: str) -> Any:
    import mlflow

    here = Path(__file__).resolve().parent
    with TemporaryDirectory() as folder:
        code = [Path(folder) / package for package in ("pipeline", "models")]
        for copy in code:
            shutil.copytree(here.parents[1] / copy.name, copy, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        return mlflow.pyfunc.log_model(
            name=re.sub(r"""[/:.%"']""", "_", title),  # MLflow takes none of these
            python_model=str(here / "model_code.py"),
            artifacts={"detector": str(detector_folder)},
            code_paths=[str(copy) for copy in code],
            signature=signature(config),
            input_example=(example(input_example, config), {"history": ""}),
            pip_requirements=[f"{name}=={metadata.version(name).split('+')[0]}" for name in _REQUIREMENTS],
        )


def _register(
    client: "MlflowClient", config: Config, run_id: str, *, model_id: str, words: Words, tags: Mapping[str, str]
) -> Registered:
    from mlflow.exceptions import MlflowException

    what = (
        f"Versions of the table {config.name!r}. The {CHAMPION} scores; a {CANDIDATE} waits for assay promote; "
        f"the one that assay rollback goes back to is {PREVIOUS}."
    )
    try:
        client.create_registered_model(config.name, description=what)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    claim_name(client, config)
    created = client.create_model_version(
        config.name,
        f"models:/{model_id}",
        run_id,
        tags={**words.tags, **tags},
        description=f"**{words.title}**\n\n{words.text}",
        model_id=model_id,
    )
    aliases = client.get_registered_model(config.name).aliases
    alias = CANDIDATE if CHAMPION in aliases else CHAMPION
    client.set_registered_model_alias(config.name, alias, created.version)
    mark_runs(client, config, [str(created.version), str(aliases.get(alias, ""))])
    command = f"mlflow ui --backend-store-uri {shlex.quote(without_password(store_uri(config)))}"
    return Registered(
        run_id=run_id,
        name=config.name,
        version=str(created.version),
        alias=alias,
        model_uri=f"models:/{config.name}/{created.version}",
        ui_command=without_password(config.tracking.uri) if is_server(config) else command,
    )
