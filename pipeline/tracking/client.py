"""The MLflow store itself: where it is, how it is reached, and what every file of this room asks of it.

The default store is a SQLite database in the work folder with its artefacts beside it; ``tracking.uri`` names another.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import sqlalchemy as sa
from filelock import FileLock

from pipeline.errors import AssayError, ConfigError, plain
from pipeline.settings.config import Config
from pipeline.settings.sensitive import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run


CHAMPION, CANDIDATE, PREVIOUS = "champion", "candidate", "previous"
ALIAS = "alias"
"""The tag of a run that says which aliases its version has."""
OWNER = "assay.owner"
"""The tag of a registered model, and of an experiment, that says whose name it is on a shared store."""


class StoreError(AssayError):
    """The MLflow store cannot be used or does not answer; a server's may when it is tried again."""


def start(config: Config) -> "MlflowClient":
    """Point MLflow at the configured store and return a client; store and experiment are made when missing.

    Raises
    ------
    ConfigError
        When the store is shared, and the table's name is another owner's there.
    StoreError
        When the store does not answer.
    """
    # MLflow reads these when it is first imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # of 7, which take four minutes
    import mlflow

    uri = store_uri(config)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    work_dir = Path(config.work_dir).absolute()
    with store_answering(config):
        work_dir.mkdir(parents=True, exist_ok=True)
        # Processes that make a database at the same time break each other.
        with FileLock(work_dir / "mlflow.lock"):
            client = mlflow.MlflowClient(uri, uri)
            _refuse_other_owner(client, config)
            # MLflow's own default for a database would be a folder wherever the command runs.
            artefacts = None if is_server(config) else (work_dir / "mlflow-artifacts").as_uri()
            _make_experiment(client, config, artefacts)
    return client


def owner(config: Config) -> str:
    """Return whose the table's name is on a store that several tables share.

    Examples
    --------
    >>> config = {"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}, "work_dir": "/srv/cards/assay-data"}
    >>> owner(Config.model_validate(config))
    '/srv/cards/assay-data'
    """
    return config.tracking.owner or str(Path(config.work_dir).absolute())


def experiment_name(config: Config) -> str:
    """Return the experiment that the table's runs are logged to: its own, unless the configuration names another."""
    return config.tracking.experiment or config.name


def claim_name(client: "MlflowClient", config: Config) -> None:
    """Mark the registered model as this table's, where the store is shared and it is nobody's yet."""
    if config.tracking.uri and OWNER not in client.get_registered_model(config.name).tags:
        client.set_registered_model_tag(config.name, OWNER, owner(config))


def _refuse_other_owner(client: "MlflowClient", config: Config) -> None:
    """Refuse a name that another owner has on a shared store: versions and aliases of two tables would mix."""
    from mlflow.exceptions import MlflowException

    if not config.tracking.uri:
        return
    owners = []
    if not config.tracking.experiment:
        experiment = client.get_experiment_by_name(experiment_name(config))
        owners += [experiment.tags.get(OWNER)] if experiment else []
    try:
        owners.append(client.get_registered_model(config.name).tags.get(OWNER))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    other = next((name for name in owners if name and name != owner(config)), None)
    if other:
        raise ConfigError(
            f"the name {config.name!r} is in use on the MLflow store at {without_password(store_uri(config))} by the "
            f"configuration of {other}, and this one is of {owner(config)}; give it a name of its own, or, if "
            f"it is the same table in another place, set [tracking] owner = {json.dumps(other)}"
        )


def store_uri(config: Config) -> str:
    """Return where the store lies, a password in it and all: for MLflow, not for people."""
    path = Path(config.work_dir).absolute() / "mlflow.db"
    return config.tracking.uri or sa.URL.create("sqlite", database=str(path)).render_as_string()


def is_server(config: Config) -> bool:
    """Return whether the store is a server, which keeps the artefacts too, and no database."""
    return urlsplit(config.tracking.uri).scheme in ("http", "https")


@contextmanager
def store_answering(config: Config) -> Iterator[None]:
    """Turn what a store that cannot be used raises into one sentence."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, sa.exc.SQLAlchemyError, OSError, ImportError) as error:
        where = without_password(store_uri(config))
        cause = str(error).strip().splitlines()[0].replace(store_uri(config), where)
        raise StoreError(
            f"the MLflow store at {where} cannot be used: {cause}; mend it there, or name another in tracking.uri"
        ) from error


def _make_experiment(client: "MlflowClient", config: Config, location: str | None) -> None:
    from mlflow.exceptions import MlflowException

    if client.get_experiment_by_name(experiment_name(config)) is not None:
        return
    is_own = config.tracking.uri and not config.tracking.experiment
    # MLflow's pages show what belongs to a training, and this measure first.
    tags = {"mlflow.experimentKind": "custom_model_development"}
    if config.contract.label:
        tags["mlflow.experiment.primaryMetric.name"] = "average_precision"
    if is_own:
        tags[OWNER] = owner(config)
    try:
        client.create_experiment(experiment_name(config), artifact_location=location, tags=tags)
    except MlflowException as error:
        # On a server, another process may have made it since the look.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def experiment_id(client: "MlflowClient", config: Config) -> str:
    """Return the id of the configured experiment.

    Raises
    ------
    StoreError
        When somebody has deleted the experiment.
    """
    experiment = client.get_experiment_by_name(experiment_name(config))
    if experiment is None or experiment.lifecycle_stage != "active":
        raise StoreError(
            f"the MLflow experiment {experiment_name(config)!r} was deleted; restore it there, or name "
            "another in tracking.experiment"
        )
    return experiment.experiment_id


def find_runs(client: "MlflowClient", config: Config, condition: str, *, with_deleted: bool = False) -> "list[Run]":
    """Return every run of the configured experiment that meets a condition of MLflow's search, page after page."""
    from mlflow.entities import ViewType

    view = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id(client, config)], condition, run_view_type=view, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def log_in_batches(
    client: "MlflowClient", run_id: str, params: Mapping[str, object], metrics: "Sequence[Metric]"
) -> None:
    """Log parameters, as text, and metrics of a run, as many at a time as MLflow takes."""
    from mlflow.entities import Param

    entries = [Param(name, plain(str(value))) for name, value in params.items()]
    for begin in range(0, len(entries), 100):  # MLflow takes 100 at a time, and 1000 metrics
        client.log_batch(run_id, params=entries[begin : begin + 100])
    for begin in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[begin : begin + 1000])


def mark_runs(client: "MlflowClient", config: Config, versions: Iterable[str | None]) -> None:
    """Tag the runs of some versions with the aliases that these have now, so that the table of runs shows them."""
    from mlflow.exceptions import MlflowException

    aliases = client.get_registered_model(config.name).aliases
    for version in dict.fromkeys(filter(None, versions)):
        names = sorted(alias for alias, holder in aliases.items() if str(holder) == version)
        # A run or version that somebody deleted shows nothing; what is true stands in the registry.
        with suppress(MlflowException):
            run_id = client.get_model_version(config.name, version).run_id or ""
            if names:
                client.set_tag(run_id, ALIAS, ", ".join(names))
            else:
                client.delete_tag(run_id, ALIAS)


def resolve_version(client: "MlflowClient", config: Config, version: str) -> str:
    """Return the number of a version given by number, alias or the id of the run that made it."""
    entries = client.search_model_versions(f"name = '{config.name}'")
    numbers = {str(entry.version) for entry in entries}
    if not numbers:
        raise AssayError(f"no model is registered as {config.name!r} yet; run assay train first")
    aliases = {alias: str(number) for alias, number in client.get_registered_model(config.name).aliases.items()}
    by_run = {entry.run_id: str(entry.version) for entry in entries if entry.run_id}
    number = aliases.get(version) or by_run.get(version, version)
    if number not in numbers:
        raise AssayError(
            f"model {config.name!r} has no version or alias {version!r}; there are "
            f"{', '.join(sorted(numbers, key=int))} and {', '.join(sorted(aliases)) or 'no alias'}; name one of them"
            + (f", or make one the {CHAMPION} with: assay promote VERSION" if version == CHAMPION else "")
        )
    return number
