"""What makes a function a stage of a flow, what it is called on a server, and what a failed one does and says."""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from zoneinfo import ZoneInfo

import httpx
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging import get_logger, get_run_logger
from prefect.runtime import flow_run

from flows.console import Screen
from pipeline.errors import AssayError, plain
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tracking.client import StoreError

P = ParamSpec("P")
R = TypeVar("R")


def stage(name: str, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that makes a function a Prefect task of that name; outside of a flow run it is the function.

    Parameters
    ----------
    name : str
        What Prefect's pages call the stage.
    **options
        As `prefect.task` has them.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        decorator = task(name=name, cache_policy=NO_CACHE, persist_result=False, **options)
        through_engine = cast("Callable[P, R]", decorator(function))

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            return (through_engine if FlowRunContext.get() else function)(*args, **kwargs)

        return run

    return decorate


def retried(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator as `stage` does, of a task that is tried three times where that may help."""
    return stage(
        name, retries=2, retry_delay_seconds=[2, 10], retry_jitter_factor=0.5, retry_condition_fn=worth_a_retry
    )


class RunCancelled(AssayError):
    """Somebody cancelled the run on the Prefect server."""


def stop_if_cancelled() -> None:
    """Stop a run that somebody has cancelled, before it publishes anything.

    Prefect ends a run's process when it hears of it, and does not hear of it where the server was away for a while.

    Raises
    ------
    RunCancelled
        When the server says so; one that does not answer keeps no run from going on.
    """
    if not (context := FlowRunContext.get()) or context.flow_run is None:
        return
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        state = client.read_flow_run(context.flow_run.id).state
        if state and (state.is_cancelling() or state.is_cancelled()):
            raise RunCancelled("the run was cancelled before it published anything; the next one does its work")


def worth_a_retry(task: Any, run: Any, state: Any) -> bool:
    """Return whether a failed task may do better the next time: bad input stays bad."""
    try:
        state.result()
    except StoreError:
        return True
    except AssayError:
        return False
    except Exception:  # noqa: BLE001 - whatever else failed (a server, a network disk) may have recovered
        return True
    return False


def name_on_server(config: Config, config_path: str | Path) -> str:
    """Return what a table is called on a Prefect server: its name, and its folder's where that is another.

    Examples
    --------
    >>> config = Config.model_validate({"name": "t", "contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> name_on_server(config, "/srv/cards/assay.toml"), name_on_server(config, "/srv/t/assay.toml")
    ('t-cards', 't')
    """
    folder = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(config_path).resolve().parent.name).strip("-")
    return config.name if folder in ("", config.name) else f"{config.name}-{folder}"


def run_name(action: str) -> Callable[[], str]:
    """Return what names a flow's runs: action, table and moment, such as "score-incoming-cards-2025-03-01T02:00"."""

    def name() -> str:
        path, start = flow_run.parameters["config_path"], flow_run.scheduled_start_time
        try:
            config = read_config(path)
        except AssayError:  # the run itself says what is wrong
            return plain(f"{action}-{path}")
        moment = start.astimezone(ZoneInfo(config.table.time_zone))
        return f"{action}-{name_on_server(config, path)}-{moment:%Y-%m-%dT%H:%M}"

    return name


def show_on_server(name: str, config: Config, screen: Screen) -> None:
    """Show a result in the page and the log of its run on the Prefect server; outside of a flow run, nowhere.

    Parameters
    ----------
    name : str
        What it is the result of, the first part of the artifact's key; the second is the table's name.
    config : Config
    screen : Screen
        As the terminal shows it.
    """
    if not FlowRunContext.get():
        return
    text = screen.text.replace(
        "`", "\N{MODIFIER LETTER GRAVE ACCENT}"
    )  # names of files are in it, and must not end the block
    create_markdown_artifact(f"```\n{text}\n```", key=artifact_key(name, config))
    get_run_logger().info(text)


def artifact_key(name: str, config: Config) -> str:
    """Return the key of a table's artifacts on a Prefect server, which takes small letters, digits and dashes.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> artifact_key("assay-score", Config.model_validate({"name": "EU_cards", "contract": contract}))
    'assay-score-eu-cards'
    """
    return f"{name}-{re.sub('[^a-z0-9]+', '-', config.name.lower()).strip('-')}"


def say_what_to_do(flow: Any, flow_run: Any, state: Any) -> None:
    """Log, when a flow has failed, what it left behind and what to do next."""
    get_logger("assay").error(
        "%s failed: %s What had not ended well was not published, and nothing is half written. Mend what the message "
        "names and run it again: the same command is safe to repeat.",
        flow.name,
        plain((state.message or "").strip()),
    )
