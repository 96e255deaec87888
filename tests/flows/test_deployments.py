"""Schedules against a real Prefect server: the served flow scores, and prefect.yaml deploys the same two."""

import os
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect.client.orchestration import get_client

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
    # The served flow starts `python` by its name.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with running(*words, cwd=home, env=environment) as process:
        process.wait_for("nightly")
        scored = run_deployment("assay-score-incoming/nightly-transactions-home", timeout=SECONDS, poll_interval=1)
    assert scored.state.is_completed(), scored.state.message
    assert scored.name == "score-incoming-transactions-home"
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


def test_a_server_that_does_not_answer_is_named(home: Path, assay: Path) -> None:
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    process = run(assay, "schedule", "--config", home / "assay.toml", env=environment)
    assert process.status == 1
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in process.errors


def test_a_schedule_that_is_no_cron_line_is_refused(home: Path, assay: Path) -> None:
    process = run(assay, "schedule", "--config", home / "assay.toml", "--score", "nightly")
    assert process.status == 1
    assert "0 2 * * *" in process.errors


def test_prefect_yaml_deploys_both_flows_to_a_work_pool(prefect_server: str) -> None:
    prefect = Path(sys.executable).parent / "prefect"
    for words in (
        ["work-pool", "create", "assay", "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all"],
    ):
        process = run(prefect, *words, cwd=ROOT)
        assert process.status == 0, process
    for name in ("assay-score-incoming/nightly-assay", "assay-train/retrain-assay"):
        process = run(prefect, "deployment", "inspect", name)  # a list of them is cut at the terminal's width
        assert process.status == 0, process
