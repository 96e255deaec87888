"""Runs in MLflow that are past their time: which they are, and removing them with their models and versions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from pipeline.errors import AssayError
from pipeline.settings.config import Config, FeaturesConfig
from pipeline.tracking.aliases import find_aliases
from pipeline.tracking.client import find_runs, start, store_answering, store_uri
from pipeline.tracking.derived import WEIGHTS_OF
from pipeline.tracking.withdrawal import withdraw_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"
NAMED_AFTER = ("batch_id", "derived_from")
"""Tags of a run that the folder of its results is called after."""


@dataclass(frozen=True)
class OldRun:
    """A run that is past its time.

    Attributes
    ----------
    run_id : str
    at : datetime
        When it began, UTC.
    tags : mapping of str to str
    places : tuple of Path
        Where its files and those of its models lie, as far as that is on this machine.
    """

    run_id: str
    at: datetime
    tags: Mapping[str, str]
    places: tuple[Path, ...]

    @property
    def endings(self) -> tuple[str, ...]:
        """How the name of the folder of its results may end."""
        batch, source = (self.tags.get(name, "") for name in NAMED_AFTER)
        return tuple(filter(None, [batch and f"-{batch}", source and f"-threshold-of-v{source}"]))


def reach_days(config: Config) -> int:
    """Return how far any version that has an alias looks back, or the configuration, label delay included.

    Raises
    ------
    AssayError
        When the settings of such a version can't be read, so that nobody knows what it needs.
    StoreError
        When the store does not answer.
    """
    from mlflow.artifacts import load_dict

    days = [config.features.max_window_days]
    client = start(config)
    for alias, version in find_aliases(config).items():
        with store_answering(config):
            run_id = client.get_model_version(config.name, version).run_id
            raw: dict[str, Any] = load_dict(f"runs:/{run_id}/config.json")
        try:
            days.append(FeaturesConfig.model_validate(raw.get("features", {})).max_window_days)
        except ValidationError:
            raise AssayError(
                f"the settings of version {version} ({alias}) of model {config.name!r} are of another version of "
                "Assay, so how much history it needs is not known and nothing was removed; train anew, or use that "
                "Assay"
            ) from None
    return max(days)


def old_runs(config: Config, before: datetime, keep: Collection[str]) -> tuple[list[OldRun], list[str]]:
    """Return the runs of a table that are past their time, and those that versions need although they are.

    A run and those under it go together, once the last of them has begun long enough ago; one that is at work stays.

    Parameters
    ----------
    config : Config
    before : datetime
        UTC; runs that began earlier are past their time.
    keep : collection of str
        Versions that are needed, besides those that have an alias and those whose weights they have.

    Returns
    -------
    list of OldRun
        Those under another one before it.
    list of str
        Ids of needed runs.
    """
    client, kept = start(config), set(keep) | set(find_aliases(config).values())
    with store_answering(config):
        # In a store of its own, those that are marked as deleted lie on its disk, too.
        runs = find_runs(client, config, f"tags.model_name = '{config.name}'", with_deleted=not config.tracking.uri)
        versions = client.search_model_versions(f"name = '{config.name}'")
        kept |= {
            entry.tags[WEIGHTS_OF] for entry in versions if str(entry.version) in kept and WEIGHTS_OF in entry.tags
        }
        needed = {entry.run_id for entry in versions if str(entry.version) in kept}
        due, protected = [], []
        for root, group in _groups(runs).items():
            if any(_began(run) >= before or run.info.status == "RUNNING" for run in group):
                continue
            ids = {run.info.run_id for run in group} & needed
            protected += sorted(ids)
            due += [] if ids else sorted(group, key=lambda run: run.info.run_id == root)
        old = [OldRun(run.info.run_id, _began(run), dict(run.data.tags), _places(client, run)) for run in due]
    return old, protected


def remove_run(config: Config, run: OldRun) -> None:
    """Remove a run with its versions, models and files; done again after it was killed, it goes on.

    Of a store that is a server, run and models are only marked as deleted there: `mlflow gc` frees the disk.

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    client = start(config)
    with store_answering(config):
        withdraw_run(client, config.name, run.run_id)
        if client.get_run(run.run_id).info.lifecycle_stage == "active":
            client.delete_run(run.run_id)
        if config.tracking.uri:
            return
        _delete_for_good(client, config, run.run_id)


def _groups(runs: Sequence[Any]) -> dict[str, list[Any]]:
    """Return runs by the id of the one that they are under, or their own, those that began first before others."""
    above = {run.info.run_id: run.data.tags.get(PARENT, "") for run in runs}
    groups: dict[str, list[Any]] = {}
    for run in sorted(runs, key=_began):
        root = run.info.run_id
        while above.get(root):
            root = above[root]
        groups.setdefault(root, []).append(run)
    return groups


def _began(run: Any) -> datetime:
    return datetime(1970, 1, 1) + timedelta(milliseconds=run.info.start_time)


def _places(client: "MlflowClient", run: Any) -> tuple[Path, ...]:
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    uris = [run.info.artifact_uri, *(model.artifact_location for model in models)]
    return tuple(Path(unquote(urlsplit(uri).path)) for uri in uris if urlsplit(uri).scheme in ("", "file"))


def _delete_for_good(client: "MlflowClient", config: Config, run_id: str) -> None:
    """Free what a deleted run takes, as `mlflow gc` does, which would take other deleted things along."""
    from mlflow.tracking._tracking_service.utils import _get_store

    store: Any = _get_store(store_uri(config))
    for model_id in store._get_deleted_logged_models():  # noqa: SLF001 - the client has no word for it
        model = store.get_logged_model(model_id, allow_deleted=True)
        if model.source_run_id == run_id:
            _delete_files(model.artifact_location)
            store._hard_delete_logged_model(model_id)  # noqa: SLF001
    _delete_files(client.get_run(run_id).info.artifact_uri)
    store._hard_delete_run(run_id)  # noqa: SLF001


def _delete_files(uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(uri).delete_artifacts()
