"""Schedules against a real Prefect server: the served flow scores, and prefect.yaml deploys the same two."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]


@contextmanager
def served(*words: str, cwd: Path) -> Iterator[subprocess.Popen]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def test_the_served_schedule_scores_what_came_in(home: Path, assay: Path) -> None:
    from prefect.deployments import run_deployment

    incoming = home / "incoming"
    incoming.mkdir()
    rows = pq.read_table(home / "transactions.parquet")
    on_day = pc.equal(pc.strftime(rows["TX_DATETIME"], "%Y-%m-%d"), "2025-03-01")
    pq.write_table(rows.filter(on_day), incoming / "day.parquet")
    words = [str(assay), "schedule", "--config", "assay.toml", "--score", "0 2 * * *", "--train", "0 3 * * 0"]
    with served(*words, cwd=home) as process:
        for line in process.stdout or ():
            if "nightly" in line:
                break
        run = run_deployment("assay-score-incoming/nightly", timeout=120, poll_interval=1)
    assert run.state.is_completed(), run.state.message
    (folder,) = (home / "assay-data" / "batches").iterdir()
    assert pq.read_metadata(folder / "scores.parquet").num_rows > 0


def test_a_schedule_that_is_no_cron_line_is_refused(home: Path, assay: Path) -> None:
    done = subprocess.run(
        [assay, "schedule", "--config", home / "assay.toml", "--score", "nightly"], capture_output=True
    )
    assert done.returncode == 1
    assert b"0 2 * * *" in done.stderr


def test_prefect_yaml_deploys_both_flows_to_a_work_pool(prefect_server: str) -> None:
    prefect = Path(sys.executable).parent / "prefect"
    for words in (
        ["work-pool", "create", "assay", "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all"],
    ):
        done = subprocess.run([prefect, *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([prefect, "deployment", "ls"], capture_output=True, text=True)
    assert "assay-score-incoming/nightly" in done.stdout
    assert "assay-train/retrain" in done.stdout
