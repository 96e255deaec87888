"""Schedules against a real Prefect server: the served flow scores, and prefect.yaml deploys the same flows."""

import os
import re
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.states import Cancelling, Running, Scheduled

from flows.deployments import drop_late, end_dead_runs, make_up
from flows.score import score_incoming
from pipeline.settings.config import Config
from pipeline.workspace.ledger import lock
from tests.processes import SECONDS, run, running

ROOT = Path(__file__).parents[2]


def test_the_served_schedule_scores_what_came_in(home: Path, assay: Path) -> None:
    from prefect.deployments import run_deployment

    incoming = home / "incoming"
    incoming.mkdir()
    rows = pq.read_table(home / "transactions.parquet")
    on_day = pc.equal(pc.strftime(rows["TX_DATETIME"], "%Y-%m-%d"), "2025-03-01")
    pq.write_table(rows.filter(on_day), incoming / "day.parquet")
    words = [str(assay), "schedule", "--config", "assay.toml", "--score", "0 2 * * *", "--train", "0 3 * * 0"]
    words += ["--retrain", "0 4 * * *"]
    # The served flow starts `python` by its name.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with running(*words, cwd=home, env=environment) as process:
        process.wait_for("nightly")
        scored = run_deployment("assay-score-incoming/nightly-transactions-home", timeout=SECONDS, poll_interval=1)
        looked = run_deployment("assay-retrain/when-due-transactions-home", timeout=SECONDS, poll_interval=1)
        with get_client(sync_client=True) as client:
            when_due = client.read_deployment_by_name("assay-retrain/when-due-transactions-home")
    assert scored.state.is_completed(), scored.state.message
    assert [each.schedule.cron for each in when_due.schedules] == ["0 4 * * *"]
    assert looked.state.is_failed()  # the versions of this folder are another's, which have no record here
    assert "has no champion to train anew" in looked.state.message
    assert re.fullmatch(r"score-incoming-transactions-home-\d{4}-\d\d-\d\dT\d\d:\d\d", scored.name)
    assert "transactions" in scored.tags
    (folder,) = (home / "assay-data" / "batches").iterdir()
    assert pq.read_metadata(folder / "scores.parquet").num_rows > 0


def test_tables_of_one_name_have_schedules_of_their_own(prefect_server: str, assay: Path, tmp_path: Path) -> None:
    words = [str(assay), "schedule", "--config"]
    folders = [tmp_path / name for name in ("cards", "transfers", "again/cards")]
    for folder in folders:
        folder.mkdir(parents=True)
        contract = '[contract]\nid = "tx"\ntimestamp = "at"\namount = "eur"\n'
        (folder / "assay.toml").write_text(f'name = "cards"\n{contract}')
    first, second, third = (str(folder / "assay.toml") for folder in folders)
    with running(*words, first) as one, running(*words, second) as other:
        one.wait_for("nightly-cards")
        other.wait_for("nightly-cards-transfers")
        refused = run(*words, third)
        assert refused.status == 1
        assert f"assay-score-incoming/nightly-cards on the Prefect server at {prefect_server} is" in refused.errors
        assert f"is the schedule of {first}, and this configuration is {third}; give it a name" in refused.errors
        with get_client(sync_client=True) as client:
            for name, path in (("nightly-cards", first), ("nightly-cards-transfers", second)):
                deployment = client.read_deployment_by_name(f"assay-score-incoming/{name}")
                assert deployment.parameters == {"config_path": path}
                assert not deployment.paused


@pytest.fixture
def nightly(prefect_server: str, tmp_path: Path) -> DeploymentResponse:
    """A nightly deployment that nobody serves, of a configuration with that work folder."""
    flow = score_incoming.to_deployment(
        f"nightly-{tmp_path.name}", schedule=Cron("0 2 * * *"), parameters={"config_path": "assay.toml"}
    )
    assert isinstance(flow, RunnerDeployment)
    identity = flow.apply()
    with get_client(sync_client=True) as client:
        return client.read_deployment(identity)


def runs_of(deployment: DeploymentResponse) -> list[FlowRun]:
    only = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
    with get_client(sync_client=True) as client:
        return [run for run in client.read_flow_runs(flow_run_filter=only) if not run.auto_scheduled]


def test_a_night_that_nobody_served_is_made_up_for_once(
    nightly: DeploymentResponse, capsys: pytest.CaptureFixture[str]
) -> None:
    make_up([nightly], "all")
    assert not runs_of(nightly)  # made after the last night
    old = nightly.model_copy(update={"created": datetime.now(UTC) - timedelta(days=2)})
    make_up([old.model_copy(update={"paused": True})], "all")
    assert not runs_of(nightly)
    make_up([old], "skip")
    assert not runs_of(nightly)
    make_up([old], "all")
    (run,) = runs_of(nightly)
    assert run.state is not None
    assert run.state.is_scheduled()
    assert run.expected_start_time is not None
    assert run.expected_start_time <= datetime.now(UTC)
    assert f"{nightly.name} was due on" in " ".join(capsys.readouterr().err.split())
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Running(), force=True)
    make_up([old], "all")
    assert [each.id for each in runs_of(nightly)] == [run.id]


def test_runs_that_were_planned_and_nobody_began_are_cancelled_and_started_ones_are_not(
    nightly: DeploymentResponse,
) -> None:
    planned = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[nightly.id]))
    deadline = time.monotonic() + SECONDS
    with get_client(sync_client=True) as client:
        while not (runs := [run for run in client.read_flow_runs(flow_run_filter=planned) if run.auto_scheduled]):
            assert time.monotonic() < deadline, "the server planned nothing"
        first, second, *_ = sorted(runs, key=lambda run: str(run.expected_start_time))
        client.set_flow_run_state(
            first.id, Scheduled(scheduled_time=datetime.now(UTC) - timedelta(hours=1)), force=True
        )
        by_hand = client.create_flow_run_from_deployment(nightly.id)
        drop_late([nightly])
        states = [client.read_flow_run(run.id).state_type for run in (first, second, by_hand)]
    assert [state.value for state in states if state] == ["CANCELLED", "SCHEDULED", "SCHEDULED"]


def test_a_run_whose_process_died_is_ended_and_one_that_works_is_not(
    nightly: DeploymentResponse, tmp_path: Path
) -> None:
    config = Config.model_validate(
        {"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}, "work_dir": str(tmp_path / "work")}
    )
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(nightly.id)
        for state in (Running(), Cancelling()):
            client.set_flow_run_state(run.id, state, force=True)
            with lock(config):
                end_dead_runs([nightly], config)
            assert client.read_flow_run(run.id).state_type == state.type
            end_dead_runs([nightly], config)
            ended = client.read_flow_run(run.id).state
            assert ended is not None
            assert ended.is_crashed()
            assert ended.message == "Its process ended without a word; what it had not published, the next run scores."


def test_a_stop_pauses_nothing_and_a_second_schedule_of_a_table_is_refused(
    prefect_server: str, assay: Path, tmp_path: Path
) -> None:
    (tmp_path / "assay.toml").write_text('name = "once"\n[contract]\nid = "tx"\ntimestamp = "at"\namount = "eur"\n')
    words = [assay, "schedule", "--config", tmp_path / "assay.toml"]
    with running(*words) as first:
        first.wait_for("nightly-once")
        second = run(*words)
        assert second.status == 1
        assert f"another assay schedule serves once in {tmp_path}/assay-data already" in second.errors
        first.send(signal.SIGTERM)
        first.wait()
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"assay-score-incoming/nightly-once-{tmp_path.name}")
    assert not deployment.paused
    assert all(schedule.active for schedule in deployment.schedules)


def test_a_server_that_does_not_answer_is_named(home: Path, assay: Path) -> None:
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    process = run(assay, "schedule", "--config", home / "assay.toml", env=environment)
    assert process.status == 1
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in process.errors


def test_a_schedule_that_is_no_cron_line_is_refused(home: Path, assay: Path) -> None:
    process = run(assay, "schedule", "--config", home / "assay.toml", "--score", "nightly")
    assert process.status == 1
    assert "0 2 * * *" in process.errors


def test_prefect_yaml_deploys_every_flow_to_a_work_pool_from_anywhere(prefect_server: str, tmp_path: Path) -> None:
    prefect = Path(sys.executable).parent / "prefect"
    for words in (
        ["work-pool", "create", "assay", "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", ROOT / "prefect.yaml"],
    ):
        process = run(prefect, *words, cwd=tmp_path)
        assert process.status == 0, process
    for name in ("assay-score-incoming/nightly-assay", "assay-train/retrain-assay", "assay-retrain/when-due-assay"):
        process = run(prefect, "deployment", "inspect", name)  # a list of them is cut at the terminal's width
        assert process.status == 0, process
