"""Taking back what a command logged and registered that failed, or was killed on the way."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.settings.config import Config
from pipeline.tracking.aliases import find_aliases
from pipeline.tracking.client import find_runs, mark_runs, start, store_answering

if TYPE_CHECKING:
    from mlflow import MlflowClient

INTENT = "assay.intent"
"""The tag of a run that says which intent it was made under, so that the next command finds it."""


def withdraw(config: Config, token: str) -> None:
    """Take back the versions and models registered under an intent, and end its runs, and those under them, as killed.

    Raises
    ------
    StoreError
        When the store does not answer; it may be called again.
    """
    client = start(config)
    with store_answering(config):
        for run in find_runs(client, config, f"tags.`{INTENT}` = '{token}'"):
            run_id = run.info.run_id
            withdraw_run(client, config.name, run_id)
            for child in find_runs(client, config, f"tags.`mlflow.parentRunId` = '{run_id}'"):
                if child.info.status == "RUNNING":
                    client.set_terminated(child.info.run_id, "KILLED")
            if run.info.status != "FAILED":
                client.set_terminated(run_id, "KILLED")


def withdraw_run(client: "MlflowClient", name: str, run_id: str) -> None:
    """Take back what a run registered, even where the store's answer to it was lost."""
    for version in client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        client.delete_model_version(name, version.version)
    experiment = client.get_run(run_id).info.experiment_id
    # Not by the run's outputs: a model that was not uploaded whole is not among them.
    for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        client.delete_logged_model(model.model_id)


def put_back(config: Config, aliases: Mapping[str, tuple[str | None, str | None]]) -> None:
    """Give aliases back, and take the notes away that their new versions got.

    Parameters
    ----------
    config : Config
    aliases : mapping of alias to (version or None, version or None)
        Who had it before, and who was to get it; None = nobody. One that somebody else has got since stays there.

    Raises
    ------
    StoreError
        When the store does not answer; it may be called again.
    """
    now, client = find_aliases(config), start(config)
    with store_answering(config):
        for alias, (before, version) in aliases.items():
            if version is not None:
                with _gone_already():
                    client.delete_model_version_tag(config.name, version, f"assay.{alias}")
            if now.get(alias) != version or before == version:
                continue
            with _gone_already():
                if before is None:
                    client.delete_registered_model_alias(config.name, alias)
                else:
                    client.set_registered_model_alias(config.name, alias, before)
        if now:
            mark_runs(client, config, [version for pair in aliases.values() for version in pair])


@contextmanager
def _gone_already() -> Iterator[None]:
    """Let a version be gone that somebody has deleted meanwhile."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
