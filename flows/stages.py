"""What makes a function a stage of a flow, when a failed one is tried again, and what a failed flow says."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from pipeline.errors import AssayError
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


def say_what_to_do(flow: Any, flow_run: Any, state: Any) -> None:
    """Log, when a flow has failed, what it left behind and what to do next."""
    get_logger("assay").error(
        "%s failed: %s Nothing was published and nothing is half written. Mend what the message names and run it "
        "again: the same command is safe to repeat.",
        flow.name,
        (state.message or "").strip(),
    )
