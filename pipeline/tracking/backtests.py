"""Backtests in MLflow: a run a backtest and, inside it, a run a block."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.settings.config import Config
from pipeline.tracking.content import notable, without_passwords
from pipeline.tracking.groups import Child, close_group, log_child, log_group, open_group


@dataclass(frozen=True)
class BacktestRun:
    """A backtest run: the open run of a backtest. Made by :func:`backtest_run`."""

    config: Config
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
        child = log_child(self.config, self.run_id, Child(name, params=params, metrics=metrics))
        log_group(
            self.config, self.run_id, series={f"block_{name}": [(number, value)] for name, value in metrics.items()}
        )
        return child

    def log_result(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """Log what all blocks come to, and files."""
        log_group(self.config, self.run_id, artefacts=files, metrics=metrics)


@contextmanager
def backtest_run(config: Config, params: Mapping[str, object], tags: Mapping[str, str]) -> Iterator[BacktestRun]:
    """Open a run for a backtest; it ends as FINISHED, or as FAILED when the block raises.

    Parameters
    ----------
    config : Config
        What differs from the defaults is logged.
    params : mapping
        The days and settings of the backtest.
    tags : mapping of str to str

    Raises
    ------
    StoreError
        When the store does not answer.
    """
    run_id = open_group(config, f"backtest of {config.name}", tags, {**notable(without_passwords(config)), **params})
    is_failed = True
    try:
        yield BacktestRun(config, run_id)
        is_failed = False
    finally:
        close_group(config, run_id, is_failed=is_failed)
