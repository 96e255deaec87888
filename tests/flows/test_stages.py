"""Stages inside of a flow run and outside of one."""

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Cancelled, Cancelling, State

from flows.stages import RunCancelled, stage, stop_if_cancelled


@stage("double")
def double(number: int) -> tuple[int, bool]:
    return 2 * number, TaskRunContext.get() is not None


@flow
def inside(*, cancel: bool = False) -> tuple[int, bool] | State:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    if cancel:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(context.flow_run.id, Cancelling(), force=True)
    try:
        stop_if_cancelled()
    except RunCancelled as error:
        return Cancelled(message=str(error))
    return double(21)


def test_a_stage_is_a_task_in_a_run_and_a_function_outside(prefect_server: str) -> None:
    assert inside() == (42, True)
    assert double(21) == (42, False)
    assert double.__name__ == "double"
    stop_if_cancelled()


def test_a_run_that_was_cancelled_stops(prefect_server: str) -> None:
    state: State = inside(cancel=True, return_state=True)
    assert state.is_cancelled()
    assert state.message == "the run was cancelled before it published anything; the next one does its work"
