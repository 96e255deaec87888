"""Serving the flows on a schedule, against a Prefect server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
from filelock import FileLock, Timeout
from prefect import serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed, State

from flows import console
from flows.due import begin, moment_after
from flows.retrain import retrain
from flows.score import score_incoming
from flows.stages import name_on_server
from flows.train import train
from pipeline.errors import AssayError, ConfigError
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.settings.schedule import CatchUp
from pipeline.workspace.ledger import lock

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.deployments.runner import RunnerDeployment


OVERLAP = {"wait": ConcurrencyLimitStrategy.ENQUEUE, "skip": ConcurrencyLimitStrategy.CANCEL_NEW}
"""What becomes of a run that is due while another is at work, by ``schedule.overlap``."""


def schedule(config_path: str, score_cron: str, train_cron: str | None, retrain_cron: str | None = None) -> None:
    """Serve scoring and training until interrupted; prefect.yaml deploys the same to a work pool.

    Parameters
    ----------
    config_path : str
        Its table's name is part of what the deployments are called; cron lines are in its table's time zone.
    score_cron : str
        When every new file of the incoming folder is scored.
    train_cron : str or None
        When a candidate is trained on the configured table; None = only when somebody starts it.
    retrain_cron : str or None
        When it is looked whether a training is due by ``[retrain]``, and done if so; None as above.

    Raises
    ------
    ConfigError
        When no Prefect server is configured or answers, a cron line is none, another configuration has the name, or
        the table is served already.
    """
    if not PREFECT_API_URL.value():
        raise ConfigError(
            "a schedule needs a Prefect server and none is configured; start one with `prefect server start --host "
            "127.0.0.1` and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    path = str(Path(config_path).resolve())
    config = read_config(path)
    try:
        lines = (score_cron, train_cron, retrain_cron)
        crons = [Cron(cron, timezone=config.table.time_zone) if cron else None for cron in lines]
    except ValueError as error:
        raise ConfigError(f"{error}; write a cron line such as '0 2 * * *', every night at two") from None
    table = name_on_server(config, path)
    deployments = [
        flow.to_deployment(
            name=f"{action}-{table}",
            schedule=cron,
            parameters={"config_path": path},
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=OVERLAP[config.schedule.overlap]),
            description=f"{text} of {path}.",
            tags=[config.name],
        )
        for flow, action, cron, text in (
            (score_incoming, "nightly", crons[0], "Score every new file of the incoming folder"),
            (train, "retrain", crons[1], "Train a candidate on the configured table"),
            (retrain, "when-due", crons[2], "Train a candidate on the latest days where [retrain] makes it due"),
        )
    ]
    with _only_schedule(config):
        before = _registered(cast("list[RunnerDeployment]", deployments), path)
        end_dead_runs(before, config)
        drop_late(before)
        make_up(before, config.schedule.catch_up)
        begin(config, score_cron)
        # A planned stop shall not lose a night either: paused, nothing would be due, and nothing made up for.
        serve(*cast("list[RunnerDeployment]", deployments), pause_on_shutdown=False)


def end_dead_runs(deployments: "Sequence[DeploymentResponse]", config: Config) -> None:
    """Set runs of deployments to crashed that no process is working at: one would keep the next from starting.

    A run holds the lock of the work folder; where somebody has it, nothing is done.
    """
    alive = {"type": {"any_": [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]}}
    with get_client(sync_client=True) as client, suppress(AssayError), lock(config, timeout=0):
        for run in _runs(client, deployments, FlowRunFilter.model_validate({"state": alive})):
            dead: State = Crashed(
                message="Its process ended without a word; what it had not published, the next run scores."
            )
            client.set_flow_run_state(run.id, dead, force=True)
            console.warning(f"{run.name} was {run.state_name} without a process, and is set to crashed")


def drop_late(deployments: "Sequence[DeploymentResponse]") -> None:
    """Cancel the runs that the server planned and nobody began in time: one run stands for all of them, or none."""
    late = FlowRunFilter.model_validate(
        {
            "state": {"type": {"any_": [StateType.SCHEDULED]}},
            "next_scheduled_start_time": {"before_": datetime.now(UTC)},
        }
    )
    with get_client(sync_client=True) as client:
        while runs := [run for run in _runs(client, deployments, late) if run.auto_scheduled]:
            for run in runs:
                state: State = Cancelled(message="It was due while nobody served the schedule.")
                client.set_flow_run_state(run.id, state, force=True)


def make_up(deployments: "Sequence[DeploymentResponse]", catch_up: CatchUp) -> None:
    """Start a run of each deployment whose last moment went by while nobody served it, and say so.

    Parameters
    ----------
    deployments : sequence of DeploymentResponse
    catch_up : {"all", "latest", "skip"}
        ``schedule.catch_up``: one run stands for all that were missed, or none.
    """
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            for each in deployment.schedules:
                begun = FlowRunFilter.model_validate({"start_time": {"is_null_": False}})
                moments = [run.expected_start_time for run in _runs(client, [deployment], begun, limit=1)]
                since = max(filter(None, [deployment.created, *moments]))
                if (moment := first_moment(each.schedule, since)) and each.active and not deployment.paused:
                    if catch_up != "skip":
                        client.create_flow_run_from_deployment(deployment.id)
                    then = 'schedule.catch_up = "skip" makes up for nothing' if catch_up == "skip" else "it runs now"
                    console.warning(f"{deployment.name} was due on {moment:%Y-%m-%d %H:%M %Z} and did not run; {then}")


def first_moment(schedule: Any, since: datetime) -> datetime | None:
    """Return the first moment of a cron line after another moment, if it lies in the past.

    Examples
    --------
    >>> from prefect.schedules import Cron
    >>> nightly = Cron("0 2 * * *", timezone="Europe/Berlin")
    >>> str(first_moment(nightly, datetime(2025, 3, 3, 12, tzinfo=UTC)))
    '2025-03-04 02:00:00+01:00'
    >>> first_moment(nightly, datetime.now(UTC))
    """
    moment = moment_after(schedule.cron, schedule.timezone or "UTC", since)
    return moment if moment <= datetime.now(UTC) else None


@contextmanager
def _only_schedule(config: Config) -> Iterator[None]:
    """Hold the lock of the table's schedule: of two, each would take the other's runs for dead."""
    path = Path(config.work_dir) / "schedule.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise ConfigError(
            f"another assay schedule serves {config.name} in {path.parent} already; end that one first, or schedule "
            "this table there"
        ) from None


def _runs(
    client: "SyncPrefectClient", deployments: "Sequence[DeploymentResponse]", only: FlowRunFilter, limit: int = 200
) -> "list[FlowRun]":
    """Return runs of deployments, those that were due last first."""
    ids = FlowRunFilterDeploymentId(any_=[deployment.id for deployment in deployments])
    return client.read_flow_runs(
        flow_run_filter=only.model_copy(update={"deployment_id": ids}),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )


def _registered(deployments: "list[RunnerDeployment]", path: str) -> "list[DeploymentResponse]":
    """Return what of the deployments is on the server already.

    A name is refused that another configuration has there, whose table nobody would score then.
    """
    registered = []
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            name = f"{deployment.flow_name}/{deployment.name}"
            try:
                there = client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
            except httpx.HTTPError as error:
                raise ConfigError(
                    f"the Prefect server at {PREFECT_API_URL.value()} does not answer ({error}); start it with "
                    "`prefect server start --host 127.0.0.1`, or set PREFECT_API_URL to one that runs"
                ) from None
            if (other := there.parameters.get("config_path")) != path:
                raise ConfigError(
                    f"{name} on the Prefect server at {PREFECT_API_URL.value()} is the schedule of {other}, and this "
                    f"configuration is {path}; give it a name of its own (name = ...), or, if {other} is scheduled no "
                    f"longer, run: prefect deployment delete {name}"
                )
            registered.append(there)
    return registered
