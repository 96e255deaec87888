"""A run in MLflow with runs under it: one a version that is compared, a trial of a search, a block of a backtest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from pipeline.settings.config import Config
from pipeline.tracking.client import experiment_id, find_runs, log_in_batches, start, store_answering
from pipeline.tracking.content import key

if TYPE_CHECKING:
    from mlflow.entities import Metric

Series = Mapping[str, Sequence[tuple[int, float]]]
"""By the name of a metric, its (step, value): MLflow draws them as lines."""


@dataclass(frozen=True)
class Child:
    """A child run: what a run under another one holds.

    Parameters
    ----------
    name : str
    params, tags : mapping
    metrics : mapping of str to float
    series : Series
    pictures : mapping of str to str
        SVG files' text by the name that they are shown under; the same name in several runs is shown side by side.
    model_id : str
        Of the model that the metrics are of; they are logged to it, too.
    """

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Series = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    model_id: str = ""


def open_group(config: Config, name: str, tags: Mapping[str, str], params: Mapping[str, object] | None = None) -> str:
    """Begin a run and return its id.

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    client = start(config)
    with store_answering(config):
        run = client.create_run(experiment_id(client, config), run_name=name, tags={**tags, "model_name": config.name})
        run_id = str(run.info.run_id)
        log_in_batches(client, run_id, {key(name): value for name, value in (params or {}).items()}, [])
        return run_id


def reopen_group(config: Config, group: str, tags: Mapping[str, str]) -> None:
    """Let a run that has ended go on, with tags of now."""
    client = start(config)
    with store_answering(config):
        for name, text in tags.items():
            client.set_tag(group, name, text)
        client.update_run(group, "RUNNING")


def children(config: Config, group: str, tag: str) -> set[str]:
    """Return the values of a tag that the runs under a run have; those that were killed while logged are none."""
    client = start(config)
    with store_answering(config):
        within = f"tags.`mlflow.parentRunId` = '{group}'"
        runs = find_runs(client, config, within)
        return {run.data.tags[tag] for run in runs if tag in run.data.tags and run.info.status == "FINISHED"}


def log_child(config: Config, group: str, child: Child) -> str:
    """Log a run under another one, and return its id."""
    client = start(config)
    import mlflow

    with store_answering(config):
        tags = {**child.tags, "mlflow.parentRunId": group, "model_name": config.name}
        run = client.create_run(experiment_id(client, config), run_name=child.name, tags=tags)
        run_id = str(run.info.run_id)
        metrics = {} if child.model_id else child.metrics
        log_in_batches(
            client, run_id, {key(name): value for name, value in child.params.items()}, _points(metrics, child.series)
        )
        if child.metrics and child.model_id:
            numbers = {key(name): float(value) for name, value in child.metrics.items()}
            mlflow.log_metrics(numbers, run_id=run_id, model_id=child.model_id)
        for name, picture in child.pictures.items():
            client.log_text(run_id, picture, f"plots/{name}.svg")
        client.set_terminated(run_id, "FINISHED")
    return run_id


def log_group(
    config: Config,
    group: str,
    *,
    artefacts: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    series: Series | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log to a run that has others under it."""
    client = start(config)
    with store_answering(config):
        for path in artefacts:
            client.log_artifact(group, str(path))
        log_in_batches(client, group, {}, _points(metrics or {}, series or {}))
        for name, text in (tags or {}).items():
            client.set_tag(group, name, text)


def close_group(config: Config, group: str, *, is_failed: bool = False) -> None:
    """End a run; `reopen_group` lets it go on."""
    client = start(config)
    with store_answering(config):
        client.set_terminated(group, "FAILED" if is_failed else "FINISHED")


def _points(metrics: Mapping[str, float], series: Series) -> "list[Metric]":
    from mlflow.entities import Metric

    lines = {**{name: [(0, value)] for name, value in metrics.items()}, **series}
    now = round(time() * 1000)
    return [Metric(key(name), float(value), now, step) for name, line in lines.items() for step, value in line]
