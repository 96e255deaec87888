"""What is told of runs to people and machines beside their results; what cannot be told is no run's failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.logging import get_logger

from flows import console
from flows.stages import RunCancelled
from pipeline.errors import plain, sentence
from pipeline.settings.config import Config
from pipeline.workspace.lineage import EventType, Job, JobRun, LineageLog, Parent
from pipeline.workspace.metrics import write_metrics
from pipeline.workspace.nightly import Nightly
from pipeline.workspace.notices import notify
from pipeline.workspace.standing import Standing, standing


def tell(config: Config, *, people: bool = False) -> None:
    """Tell machines how scoring stands at the end of a run, and people where that is asked for.

    Parameters
    ----------
    config : Config
    people : bool
        Whether those whom `[notify]` names are told, too.
    """
    faults: list[str] = []
    try:
        now = standing(config)
        faults += filter(None, [write_metrics(config, now)])
        _emit_change(config, now)
        faults += notify(config, now) if people else ()
    except Exception as error:  # noqa: BLE001 - whatever a chat's or a pager's plugin raises
        faults.append(f"how scoring stands was not told to everybody: {sentence(error)}")
    for text in faults:
        warn(text)


def warn(text: str) -> None:
    """Say what could not be told, in the terminal and in the log."""
    console.warning(text)
    get_logger("assay").warning(plain(text))


def emit(event: str, config: Config, **facts: Any) -> None:
    """Emit an event of Prefect, such as "scored", whose resource is the table; without Prefect's engine, none.

    Parameters
    ----------
    event : str
        Its name is "assay." and this.
    config : Config
    **facts
        The payload: names and counts, nothing that a row holds.
    """
    if not FlowRunContext.get():
        return
    resource = {"prefect.resource.id": config.name, "prefect.resource.name": config.name}
    try:
        emit_event(f"assay.{event}", resource=resource, payload=facts)
    except Exception as error:  # noqa: BLE001 - an event that is lost has lost nothing else
        warn(f"the event assay.{event} was not emitted: {sentence(error)}")


@contextmanager
def lineage(config: Config, job: Job, source: Path | str, log: LineageLog | None = None) -> Iterator[JobRun]:
    """Tell that a run begins, and how it ends, as events of OpenLineage.

    Parameters
    ----------
    config : Config
    job : {"train", "score"}
    source : Path or str
        The table that it reads, or its address in a store.
    log : LineageLog, optional
        That of several runs, one after the other.

    Yields
    ------
    JobRun
        To be told what the run reads and writes.
    """
    log, run = log or LineageLog(config), JobRun(config=config, job=job, source=source, parent=_parent())
    _put(log, run, "START")
    try:
        yield run
    except BaseException as error:
        is_failure = isinstance(error, Exception) and not isinstance(error, RunCancelled)
        _put(log, run, "FAIL" if is_failure else "ABORT", error)
        raise
    _put(log, run, "COMPLETE")


def _put(log: LineageLog, run: JobRun, kind: EventType, error: BaseException | None = None) -> None:
    if not log.is_on:
        return
    try:
        faults = log.put(run.event(kind, error))
    except Exception as fault:  # noqa: BLE001 - an event that is lost has lost nothing else
        faults = [f"an event of lineage was not written: {sentence(fault)}"]
    for text in faults:
        warn(text)


def _parent() -> Parent | None:
    """Return the run of Prefect that is at work; None without its engine."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow is None:
        return None
    return Parent(run_id=str(context.flow_run.id), job=context.flow.name, due=context.flow_run.expected_start_time)


def _emit_change(config: Config, now: Standing) -> None:
    """Emit how scoring stands where that is not as it was when an event last said so."""
    nightly = Nightly(config)
    if FlowRunContext.get() and now.state != nightly.state:
        emit(now.state, config, previous=nightly.state, findings=[finding.brief for finding in now.findings])
        nightly.stand(now.state)
