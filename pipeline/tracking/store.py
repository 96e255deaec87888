"""Training runs and models in MLflow: one run a training, one registered version a run that ended well.

A version is registered last and its aliases are set after that, so a training that fails on the way leaves a run marked
FAILED and no version, however often it is tried again.
"""

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

from pipeline.errors import AssayError
from pipeline.settings.config import Config
from pipeline.tracking.client import (
    CANDIDATE,
    CHAMPION,
    claim_name,
    experiment_id,
    is_server,
    log_in_batches,
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
    flatten,
    key,
    signature,
    without_password,
    without_passwords,
)

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
        Logged whole: one parameter a setting, and as config.json. Passwords in URLs are left out.
    detector_folder : Path
        Where ``Detector.save`` wrote it.
    dataset : Dataset or None
        None for a version that is derived from another one, without a training.
    epochs : sequence of mappings
        ``{"epoch": 1, "train_loss": ..., "held_out_loss": ...}``; each loss becomes a metric with steps.
    metrics : mapping of str to float
    params : mapping
        Parameters that are not in the config, such as the threshold and the number of rows fitted on.
    plots : mapping of str to str
        SVG files' text by the name they are shown under.
    report : Path
        The self-contained HTML page.
    tags : mapping of str to str
        ``weights_of``, where it is there, becomes a tag of the version, too.
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
    every_tag = {**tags, "model_name": config.name, "history": history}
    every_tag |= {"data_digest": dataset.digest} if dataset else {}
    every_param = {key(name): value for name, value in {**flatten(public_config), **params}.items()}
    with (
        store_answering(config),
        mlflow.start_run(experiment_id=experiment_id(client, config), tags=every_tag) as run,
        ExitStack() as undo,
    ):
        run_id = run.info.run_id
        undo.callback(_withdraw, client, config.name, run_id)
        log_in_batches(client, run_id, every_param, epoch_metrics(epochs, round(time() * 1000)))
        client.log_dict(run_id, public_config.model_dump(mode="json"), "config.json")
        if dataset:
            client.log_inputs(run_id, [dataset_input(dataset, config.contract)])
        for name, plot in plots.items():
            client.log_text(run_id, plot, f"plots/{name}.svg")
        client.log_artifact(run_id, str(report))
        model = _log_model(config, detector_folder, input_example)
        mlflow.log_metrics({key(name): value for name, value in metrics.items()}, model_id=model.model_id)
        registered = _register(client, config, run_id, model.model_id)
        if "weights_of" in tags:
            client.set_model_version_tag(config.name, registered.version, "weights_of", tags["weights_of"])
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
        When nothing is registered under the name, or not that version or alias, or its files are gone.
    StoreError
        When the store does not answer.
    """
    client = start(config)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    from pipeline.detector.artefact import Detector

    with store_answering(config):
        number = resolve_version(client, config, version)
    with TemporaryDirectory() as folder:
        try:
            model = download_artifacts(artifact_uri=f"models:/{config.name}/{number}", dst_path=folder)
            flavor = Model.load(model).flavors["python_function"]
            return Detector.load(Path(model) / flavor["artifacts"]["detector"]["path"]), number
        except (MlflowException, OSError) as error:
            cause = str(error).strip().splitlines()[0]
            raise AssayError(
                f"version {number} of model {config.name!r} is registered, but its files cannot be read "
                f"({cause}); bring them back, or train a new version with: assay train"
            ) from None


def _log_model(config: Config, detector_folder: Path, input_example: "pd.DataFrame") -> Any:
    import mlflow

    here = Path(__file__).resolve().parent
    with TemporaryDirectory() as folder:
        code = [Path(folder) / package for package in ("pipeline", "models")]
        for copy in code:
            shutil.copytree(here.parents[1] / copy.name, copy, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        return mlflow.pyfunc.log_model(
            name="detector",
            python_model=str(here / "model_code.py"),
            artifacts={"detector": str(detector_folder)},
            code_paths=[str(copy) for copy in code],
            signature=signature(config),
            input_example=(example(input_example, config), {"history": ""}),
            pip_requirements=[f"{name}=={metadata.version(name).split('+')[0]}" for name in _REQUIREMENTS],
        )


def _register(client: "MlflowClient", config: Config, run_id: str, model_id: str) -> Registered:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(config.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    claim_name(client, config)
    created = client.create_model_version(config.name, f"models:/{model_id}", run_id, model_id=model_id)
    aliases = client.get_registered_model(config.name).aliases
    alias = CANDIDATE if CHAMPION in aliases else CHAMPION
    client.set_registered_model_alias(config.name, alias, created.version)
    command = f"mlflow ui --backend-store-uri {shlex.quote(without_password(store_uri(config)))}"
    return Registered(
        run_id=run_id,
        name=config.name,
        version=str(created.version),
        alias=alias,
        model_uri=f"models:/{config.name}/{created.version}",
        ui_command=without_password(config.tracking.uri) if is_server(config) else command,
    )


def _withdraw(client: "MlflowClient", name: str, run_id: str) -> None:
    """Take back what a failed run registered, even where the store's answer to it was lost."""
    for version in client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        client.delete_model_version(name, version.version)
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else ():
        client.delete_logged_model(output.model_id)
