"""Serving the flows on a schedule, against a Prefect server."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
from prefect import serve
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL

from flows.score import score_incoming
from flows.stages import name_on_server
from flows.train import train
from pipeline.errors import ConfigError
from pipeline.settings.file import read_config

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


def schedule(config_path: str, score_cron: str, train_cron: str | None) -> None:
    """Serve scoring and training until interrupted; prefect.yaml deploys the same two to a work pool.

    Parameters
    ----------
    config_path : str
        Its table's name is part of what the deployments are called; cron lines are in its table's time zone.
    score_cron : str
        When every new file of the incoming folder is scored.
    train_cron : str or None
        When a candidate is trained on the configured table; None = only when somebody starts it.

    Raises
    ------
    ConfigError
        When no Prefect server is configured or answers, a cron line is none, or another configuration has the name.
    """
    if not PREFECT_API_URL.value():
        raise ConfigError(
            "a schedule needs a Prefect server and none is configured; start one with `prefect server start --host "
            "127.0.0.1` and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    path = str(Path(config_path).resolve())
    config = read_config(path)
    try:
        crons = [Cron(cron, timezone=config.table.time_zone) if cron else None for cron in (score_cron, train_cron)]
    except ValueError as error:
        raise ConfigError(f"{error}; write a cron line such as '0 2 * * *', every night at two") from None
    table = name_on_server(config, path)
    deployments = [
        flow.to_deployment(
            name=f"{action}-{table}",
            schedule=cron,
            parameters={"config_path": path},
            concurrency_limit=1,
            description=f"{text} of {path}.",
            tags=[config.name],
        )
        for flow, action, cron, text in (
            (score_incoming, "nightly", crons[0], "Score every new file of the incoming folder"),
            (train, "retrain", crons[1], "Train a candidate on the configured table"),
        )
    ]
    _refuse_other_table(cast("list[RunnerDeployment]", deployments), path)
    serve(*cast("list[RunnerDeployment]", deployments))


def _refuse_other_table(deployments: "list[RunnerDeployment]", path: str) -> None:
    """Refuse a deployment's name that another configuration has on the server, whose table nobody would score then."""
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            name = f"{deployment.flow_name}/{deployment.name}"
            try:
                other = client.read_deployment_by_name(name).parameters.get("config_path")
            except ObjectNotFound:
                continue
            except httpx.HTTPError as error:
                raise ConfigError(
                    f"the Prefect server at {PREFECT_API_URL.value()} does not answer ({error}); start it with "
                    "`prefect server start --host 127.0.0.1`, or set PREFECT_API_URL to one that runs"
                ) from None
            if other != path:
                raise ConfigError(
                    f"{name} on the Prefect server at {PREFECT_API_URL.value()} is the schedule of {other}, and this "
                    f"configuration is {path}; give it a name of its own (name = ...), or, if {other} is scheduled no "
                    f"longer, run: prefect deployment delete {name}"
                )
