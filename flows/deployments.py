"""Serving the flows on a schedule, against a Prefect server."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from prefect import serve
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL

from flows.score import score_incoming
from flows.train import train
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


def schedule(config_path: str, score_cron: str, train_cron: str | None, time_zone: str) -> None:
    """Serve scoring and training until interrupted; prefect.yaml deploys the same two to a work pool.

    Parameters
    ----------
    config_path : str
    score_cron : str
        When every new file of the incoming folder is scored.
    train_cron : str or None
        When a candidate is trained on the configured table; None = only when somebody starts it.
    time_zone : str
        Zone of both.

    Raises
    ------
    ConfigError
        When no Prefect server is configured, or a cron line is none.
    """
    if not PREFECT_API_URL.value():
        raise ConfigError(
            "a schedule needs a Prefect server and none is configured; start one with `prefect server start --host "
            "127.0.0.1` and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    parameters = {"config_path": str(Path(config_path).resolve())}
    try:
        crons = [Cron(cron, timezone=time_zone) if cron else None for cron in (score_cron, train_cron)]
    except ValueError as error:
        raise ConfigError(f"{error}; write a cron line such as '0 2 * * *', every night at two") from None
    deployments = [
        flow.to_deployment(name=name, schedule=cron, parameters=parameters, concurrency_limit=1)
        for flow, name, cron in ((score_incoming, "nightly", crons[0]), (train, "retrain", crons[1]))
    ]
    serve(*cast("list[RunnerDeployment]", deployments))
