"""Backtests in MLflow: a run a backtest and, inside it, a run a block."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.tracking import store
from pipeline.tracking.content import flatten, key, without_passwords

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class BacktestRun:
    """An open run of a backtest. Made by :func:`backtest_run`."""

    client: "MlflowClient"
    config: Config
    experiment: str
    run_id: str

    def log_block(self, number: int, name: str, metrics: Mapping[str, float], params: Mapping[str, object]) -> str:
        """Log a block as a child run, and its metrics as a step of the backtest's own; return the child's id.

        Parameters
        ----------
        number : int
            The step.
        name : str
            What the child is called.
        metrics, params : mapping
        """
        with store._answering(self.config):
            tags = {"mlflow.parentRunId": self.run_id, "mlflow.runName": name}
            child = self.client.create_run(self.experiment, tags=tags).info.run_id
            store._log_in_batches(self.client, child, {key(k): v for k, v in params.items()}, _metrics(metrics, 0))
            steps = {f"block_{name}": value for name, value in metrics.items()}
            store._log_in_batches(self.client, self.run_id, {}, _metrics(steps, number))
            self.client.set_terminated(child)
        return child

    def log_result(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """Log what all blocks come to, and files."""
        with store._answering(self.config):
            store._log_in_batches(self.client, self.run_id, {}, _metrics(metrics, 0))
            for file in files:
                self.client.log_artifact(self.run_id, str(file))


@contextmanager
def backtest_run(config: Config, params: Mapping[str, object], tags: Mapping[str, str]) -> Iterator[BacktestRun]:
    """Open a run for a backtest; it ends as FINISHED, or as FAILED when the block raises.

    Parameters
    ----------
    config : Config
        Logged whole, as that of a training is.
    params : mapping
        The days and settings of the backtest.
    tags : mapping of str to str

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    client = store.start(config)
    with store._answering(config):
        experiment = store._experiment_id(client, config)
        every_tag = {**tags, "mlflow.runName": f"backtest of {config.name}", "model_name": config.name}
        run_id = client.create_run(experiment, tags=every_tag).info.run_id
        shown = without_passwords(config)
        every_param = {key(name): value for name, value in {**flatten(shown), **params}.items()}
        store._log_in_batches(client, run_id, every_param, [])
    status = "FAILED"
    try:
        yield BacktestRun(client, config, experiment, run_id)
        status = "FINISHED"
    finally:
        with store._answering(config):
            client.set_terminated(run_id, status)


def _metrics(values: Mapping[str, float], step: int) -> list:
    from mlflow.entities import Metric

    return [Metric(key(name), value, round(time() * 1000), step) for name, value in values.items()]
