"""Schedules against a real Prefect server: the served flow scores, and prefect.yaml deploys the same two."""

import os
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

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
        scored = run_deployment("assay-score-incoming/nightly", timeout=SECONDS, poll_interval=1)
    assert scored.state.is_completed(), scored.state.message
    (folder,) = (home / "assay-data" / "batches").iterdir()
    assert pq.read_metadata(folder / "scores.parquet").num_rows > 0


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
    deployments = run(prefect, "deployment", "ls").output
    assert "assay-score-incoming/nightly" in deployments
    assert "assay-train/retrain" in deployments
