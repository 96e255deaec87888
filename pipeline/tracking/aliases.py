"""Versions and aliases in MLflow's registry, and the gates that MLflow's validation holds a version against."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.settings.config import Config
from pipeline.tracking.client import mark_runs, resolve_version, start, store_answering

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes
    ----------
    number, run_id : str
    aliases : tuple of str
    created : datetime
        UTC.
    model_id : str
        Of the model in MLflow's store, "" where the registry does not say.
    figures : mapping of str to float
        What its training logged: metrics, and ``fit_seconds`` where it was measured.
    """

    number: str
    run_id: str
    aliases: tuple[str, ...]
    created: datetime
    model_id: str
    figures: Mapping[str, float]

    @property
    def title(self) -> str:
        """How people call it: "version 3 (champion)"."""
        return f"version {self.number}" + (f" ({', '.join(self.aliases)})" if self.aliases else "")


def find_version(config: Config, version: str) -> Version:
    """Return a version by its number, an alias, or the id of the run that made it.

    Raises
    ------
    AssayError
        When it is not there.
    StoreError
        When the store does not answer.
    """
    client = start(config)
    with store_answering(config):
        number = resolve_version(client, config, version)
        entry = client.get_model_version(config.name, number)
        aliases = tuple(sorted(alias for alias, other in _aliases(client, config).items() if other == number))
        figures: Mapping[str, float] = {}
        if entry.run_id:
            figures = client.get_run(entry.run_id).data.metrics
        created = datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC).replace(tzinfo=None)
        # The registry leaves model_id empty, but names the model as the source.
        model_id = entry.model_id or str(entry.source).removeprefix("models:/")
        return Version(number, entry.run_id or "", aliases, created, model_id, figures)


def find_aliases(config: Config) -> dict[str, str]:
    """Return the version of every alias; nothing where no model is registered yet."""
    from mlflow.exceptions import MlflowException

    client = start(config)
    with store_answering(config):
        try:
            return _aliases(client, config)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise


def registered(config: Config) -> set[str]:
    """Return every version that there is."""
    client = start(config)
    with store_answering(config):
        return {str(entry.version) for entry in client.search_model_versions(f"name = '{config.name}'")}


def move_aliases(config: Config, changes: Mapping[str, str | None], note: Mapping[str, object]) -> None:
    """Give aliases to other versions, in the order given, and tag each version with what was noted.

    Parameters
    ----------
    config : Config
    changes : mapping of alias to version
        None takes the alias away.
    note : mapping
        Who, when, why; kept as JSON in the version's tag ``assay.<alias>``.

    Raises
    ------
    StoreError
        When the store does not answer, or does not take it: then every alias is where it was.
    """
    client = start(config)
    from mlflow.exceptions import MlflowException

    def give(alias: str, version: str | None) -> None:
        if version is not None:
            client.set_registered_model_alias(config.name, alias, version)
            return
        with suppress(MlflowException):  # it is gone already
            client.delete_registered_model_alias(config.name, alias)

    with store_answering(config):
        # The notes first: one that the store does not take shall not leave an alias moved.
        for alias, version in changes.items():
            if version is not None:
                client.set_model_version_tag(config.name, version, f"assay.{alias}", json.dumps(dict(note)))
        before = _aliases(client, config)
        try:
            for alias, version in changes.items():
                give(alias, version)
        except BaseException:
            for alias in changes:
                give(alias, before.get(alias))
            raise
        mark_runs(
            client, config, [version or "" for alias in changes for version in (changes[alias], before.get(alias))]
        )


def passes(name: str, value: float, limit: float, *, at_least: bool) -> bool:
    """Return whether MLflow's validation lets a metric through: at least the limit, or at most.

    Parameters
    ----------
    name : str
    value : float
        nan does not pass.
    limit : float
    at_least : bool

    Examples
    --------
    >>> passes("recall", 0.5, 0.4, at_least=True), passes("recall", float("nan"), 0.4, at_least=True)
    (True, False)
    >>> passes("alerts", 0.5, 0.4, at_least=False)
    False
    """
    import mlflow
    from mlflow.models import EvaluationResult, MetricThreshold
    from mlflow.models.evaluation.validation import ModelValidationFailedException

    threshold = MetricThreshold(threshold=float(limit), greater_is_better=at_least)
    try:
        mlflow.validate_evaluation_results({name: threshold}, EvaluationResult({name: float(value)}, {}))
    except ModelValidationFailedException:
        return False
    return True


def _aliases(client: "MlflowClient", config: Config) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(config.name).aliases.items()}
