"""What makes a function a stage of a flow, what it is called on a server, and what a failed one does and says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger
from prefect.runtime import flow_run

from pipeline.errors import AssayError
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tracking.client import StoreError

P = ParamSpec("P")
R = TypeVar("R")


def stage(name: str, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that makes a function a Prefect task of that name; types stay as they are.

    Parameters
    ----------
    name : str
        What Prefect's pages call the stage.
    **options
        As `prefect.task` has them.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        decorator = task(name=name, cache_policy=NO_CACHE, persist_result=False, **options)
        return cast("Callable[P, R]", decorator(function))

    return decorate


def retried(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator as `stage` does, of a task that is tried three times where that may help."""
    return stage(
        name, retries=2, retry_delay_seconds=[2, 10], retry_jitter_factor=0.5, retry_condition_fn=worth_a_retry
    )


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
    """Return what names a flow's runs: the action and the table, such as "score-incoming-cards"."""

    def name() -> str:
        path = flow_run.parameters["config_path"]
        try:
            return f"{action}-{name_on_server(read_config(path), path)}"
        except AssayError:  # the run itself says what is wrong
            return f"{action}-{path}"

    return name


def artifact_key(name: str, config: Config) -> str:
    """Return the key of a table's artifacts on a Prefect server, which takes small letters, digits and dashes.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> artifact_key("assay-report", Config.model_validate({"name": "EU_cards", "contract": contract}))
    'assay-report-eu-cards'
    """
    return f"{name}-{re.sub('[^a-z0-9]+', '-', config.name.lower()).strip('-')}"


def say_what_to_do(flow: Any, flow_run: Any, state: Any) -> None:
    """Log, when a flow has failed, what it left behind and what to do next."""
    get_logger("assay").error(
        "%s failed: %s What had not ended well was not published, and nothing is half written. Mend what the message "
        "names and run it again: the same command is safe to repeat.",
        flow.name,
        (state.message or "").strip(),
    )
