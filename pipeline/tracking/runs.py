"""What the store keeps of a version's run, of its comparisons and of backtests with its settings, read back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.settings.config import Config
from pipeline.tracking.client import experiment_id, start, store_answering

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Logged

LEARNED = ("model.", "features.", "encoding.", "training.", "feedback.")
"""Settings by which models differ; two runs that have them alike differ in their rows alone."""


@dataclass(frozen=True)
class Run:
    """A training run, or one that set another threshold.

    Attributes
    ----------
    run_id : str
    params, tags : mapping of str to str
    measures : mapping of str to float
        Of the rows held out, by name, the ends of intervals with ``_low`` and ``_high`` behind.
    table : mapping of str to Any
        Of the table that was read: ``uri``, ``sha256`` and counts of rows; empty where none was.
    packages : sequence of str
        With their versions, as ``pip`` takes them; empty where the model's files do not say.
    python : str
        Version; "" where the model's files do not say.
    """

    run_id: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)
    packages: Sequence[str] = ()
    python: str = ""


@dataclass(frozen=True)
class Compared:
    """What a comparison came to for a version.

    Attributes
    ----------
    at : datetime
        UTC.
    versions : sequence of str
        The first is the one that differences are to.
    verdict : str
        What came of it where it was for a promotion; "" where it was not.
    measures : mapping of str to float
        Of the version, on rows that none of them learned from; differences end with ``_less_baseline``.
    """

    at: datetime
    versions: Sequence[str]
    verdict: str
    measures: Mapping[str, float]


def run_of(config: Config, version: str) -> Run:
    """Return what the store keeps of a version's run; empty where its files or its run are gone.

    Parameters
    ----------
    config : Config
    version : str
        A number.

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    client = start(config)
    with store_answering(config):
        run_id = _run_id(client, config, version)
        logged = _run(client, run_id)
        if logged is None:
            return Run(run_id)
        table: dict[str, Any] = {}
        for each in logged.inputs.dataset_inputs if logged.inputs else ():
            table = {**json.loads(each.dataset.source), **json.loads(each.dataset.profile or "{}")}
        packages, python = _environment(config, version)
        return Run(
            run_id=run_id,
            params=logged.data.params,
            tags=logged.data.tags,
            measures=json.loads(_text(client, run_id, "measures.json") or "{}"),
            table=table,
            packages=packages,
            python=python,
        )


def comparison_of(config: Config, version: str) -> Compared | None:
    """Return the latest comparison that a version took part in as a contender, not as the one compared with.

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    client = start(config)
    with store_answering(config):
        within = f"tags.kind = 'compared version' and tags.version = '{version}' and tags.model_name = '{config.name}'"
        for child in client.search_runs(
            [experiment_id(client, config)], within, order_by=["attributes.start_time DESC"]
        ):
            group = _run(client, child.data.tags.get("mlflow.parentRunId", ""))
            versions = group.data.tags.get("versions", "").split("-") if group else []
            if group and version in versions[1:]:
                at = datetime.fromtimestamp(group.info.start_time / 1000, UTC).replace(tzinfo=None)
                return Compared(at, versions, group.data.tags.get("verdict", ""), child.data.metrics)
    return None


def backtest_like(config: Config, run: Run) -> Mapping[str, Any]:
    """Return the latest backtest with the settings of a run, one by segment before others; empty without one.

    Parameters
    ----------
    config : Config
    run : Run
        Of a version.

    Returns
    -------
    mapping
        As `pipeline.evaluation.results.Result.to_json` writes it, and ``run_id``.

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    client, own = start(config), _learned(run.params)
    with store_answering(config):
        found = client.search_runs(
            [experiment_id(client, config)],
            f"tags.model_name = '{config.name}' and params.train_days != '' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
        )
        alike = [each for each in found if _learned(each.data.params) == own]
        for each in sorted(alike, key=lambda each: not each.data.params.get("segment")):
            text = _text(client, each.info.run_id, "backtest.json")
            if text:
                return {**json.loads(text), "run_id": each.info.run_id}
    return {}


def _learned(params: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if name.startswith(LEARNED)}


def _run_id(client: "MlflowClient", config: Config, version: str) -> str:
    """Return the id of a version's run; "" where somebody has removed the version."""
    with _gone():
        return client.get_model_version(config.name, version).run_id or ""
    return ""


def _run(client: "MlflowClient", run_id: str) -> "Logged | None":
    """Return a run; None where somebody has removed it."""
    if run_id:
        with _gone():
            return client.get_run(run_id)
    return None


@contextmanager
def _gone() -> Iterator[None]:
    """Let what is read be gone."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _text(client: "MlflowClient", run_id: str, path: str) -> str:
    """Return a file of a run; "" where it is gone."""
    if path not in {each.path for each in client.list_artifacts(run_id)}:
        return ""
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")


def _environment(config: Config, version: str) -> tuple[list[str], str]:
    """Return the packages that a version's model asks for, and the version of Python."""
    from mlflow.artifacts import download_artifacts, list_artifacts

    model = f"models:/{config.name}/{version}"
    there = {Path(each.path).name for each in list_artifacts(artifact_uri=model)}
    if not {"requirements.txt", "python_env.yaml"} <= there:
        return [], ""
    with TemporaryDirectory() as folder:
        texts = [
            Path(download_artifacts(artifact_uri=f"{model}/{name}", dst_path=folder)).read_text(encoding="utf-8")
            for name in ("requirements.txt", "python_env.yaml")
        ]
    python = next((line.partition(":")[2] for line in texts[1].splitlines() if line.startswith("python:")), "")
    return [line for line in texts[0].splitlines() if line], python.strip(" '\"")
