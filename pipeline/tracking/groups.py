"""A run in MLflow with runs under it: one a version that is compared, one a trial of a search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import time

from pipeline.config import Config
from pipeline.tracking.content import key
from pipeline.tracking.store import _answering, _experiment_id, _log_in_batches, _log_plot, start


@dataclass(frozen=True)
class Child:
    """What a run under another one holds.

    Parameters
    ----------
    name : str
    params, tags : mapping
    metrics : mapping of str to float
    series : mapping of str to sequence of (step, value)
        Metrics that MLflow draws as lines.
    pictures : mapping of str to Path
        Image files by the name that they are shown under; the same name in several runs is shown side by side.
    model_id : str
        Of the model that the metrics are of; they are logged to it, too.
    is_failed : bool
    """

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)
    model_id: str = ""
    is_failed: bool = False


def open_group(config: Config, name: str, tags: Mapping[str, str]) -> str:
    """Begin a run and return its id.

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    client = start(config)
    with _answering(config):
        made = client.create_run(
            _experiment_id(client, config), run_name=name, tags={**tags, "model_name": config.name}
        )
        return str(made.info.run_id)


def children(config: Config, group: str, tag: str) -> set[str]:
    """Return the values of a tag that the runs under a run have."""
    client = start(config)
    with _answering(config):
        within = f"tags.`mlflow.parentRunId` = '{group}'"
        found, token = [], None
        while True:
            page = client.search_runs([_experiment_id(client, config)], within, page_token=token)
            found += [run.data.tags[tag] for run in page if tag in run.data.tags]
            token = page.token
            if not token:
                return set(found)


def log_child(config: Config, group: str, child: Child) -> str:
    """Log a run under another one, and return its id."""
    client = start(config)
    import mlflow
    from mlflow.entities import Metric

    now = round(time() * 1000)
    with _answering(config):
        tags = {**child.tags, "mlflow.parentRunId": group, "model_name": config.name}
        run = client.create_run(_experiment_id(client, config), run_name=child.name, tags=tags)
        run_id = str(run.info.run_id)
        points = [Metric(key(name), value, now, step) for name, line in child.series.items() for step, value in line]
        _log_in_batches(client, run_id, {key(name): value for name, value in child.params.items()}, points)
        numbers = {key(name): float(value) for name, value in child.metrics.items()}
        if numbers and child.model_id:
            mlflow.log_metrics(numbers, run_id=run_id, model_id=child.model_id)
        elif numbers:
            client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in numbers.items()])
        for name, picture in child.pictures.items():
            _log_plot(client, run_id, name, picture)
        client.set_terminated(run_id, "FAILED" if child.is_failed else "FINISHED")
    return run_id


def close_group(
    config: Config,
    group: str,
    *,
    artefacts: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """End a run with what it came to; it may be opened again by logging more runs under it."""
    client = start(config)
    with _answering(config):
        for path in artefacts:
            client.log_artifact(group, str(path))
        for name, value in (metrics or {}).items():
            client.log_metric(group, key(name), value)
        for name, text in (tags or {}).items():
            client.set_tag(group, name, text)
        client.set_terminated(group, "FINISHED")
