"""assay threshold on real parts: an MLflow store, the ledger, and the scores of a batch."""

from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.run import run_flow
from pipeline.settings.file import read_config
from pipeline.tracking.client import start
from pipeline.tracking.store import load_detector

DAY = date(2025, 3, 1)


def score(home: Path, **more: Any) -> Path:
    found = run_flow(home / "assay.toml", "flows.score:score", table="", first=DAY, last=DAY, **more)
    return Path(found.folder)


def threshold(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["threshold", "--config", str(home / "assay.toml"), *words])


def latest(home: Path) -> Any:
    config = read_config(home / "assay.toml")
    return max(start(config).search_model_versions(f"name = '{config.name}'"), key=lambda each: int(each.version))


def test_a_capacity_gives_a_version_with_the_same_weights_and_says_which_alerts_come_and_go(home: Path) -> None:
    folder = score(home)
    done = threshold(home, "--capacity", "8")
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    version, config = latest(home), read_config(home / "assay.toml")
    old, number = load_detector(config)
    new, made = load_detector(config, str(version.version))
    assert made != number
    assert (new.cut.strategy, new.config.threshold.alerts_per_day) == ("capacity", 8)
    run = start(config).get_run(version.run_id)
    assert run.data.params["derived_from"] == run.data.tags["derived_from"] == number
    assert run.data.tags["weights_of"] == version.tags["weights_of"] == number
    assert (
        run.data.tags["data_digest"]
        == start(config).get_run(start(config).get_model_version(config.name, number).run_id).data.tags["data_digest"]
    )
    assert run.data.params["threshold.strategy"] == "capacity"
    assert run.data.params["promise"] == new.promise
    assert start(config).get_model_version_by_alias(config.name, "champion").version == int(number)
    assert start(config).get_model_version_by_alias(config.name, "candidate").version == version.version

    scores = pq.read_table(folder / "scores.parquet")
    before = scores["is_flagged"].to_numpy(zero_copy_only=False)
    after = scores["anomaly_score"].to_numpy() > new.threshold
    assert before.sum() > 0
    assert f"{(before & after).sum()} stay, {(before & ~after).sum()} go and {(after & ~before).sum()} come" in words
    assert run.data.metrics["alerts_that_go"] == (before & ~after).sum()

    again = score(home, version=str(version.version))
    rescored = pq.read_table(again / "scores.parquet")
    assert rescored["anomaly_score"].equals(scores["anomaly_score"])
    assert rescored["is_flagged"].to_numpy(zero_copy_only=False).tolist() == after.tolist()
    report = (again / "report.html").read_text()
    assert "The queue of" in report
    assert "were predicted for the day" in report
    table = pq.read_table(next((home / "assay-data" / "runs").iterdir()) / "detector" / "calibration.parquet")
    assert table.num_rows == len(old.held_out)

    # A version derived from a derived one, compared with the latest batch that any of them has scored.
    third = threshold(home, "--recall", "0.3", "--version", str(version.version))
    assert third.exit_code == 0, third.output
    assert f"scored by version {version.version})" in " ".join(third.output.split())
    assert latest(home).tags["weights_of"] == number


def test_without_an_option_the_configuration_is_taken_and_a_segment_has_its_own_cut(home: Path) -> None:
    text = (home / "assay.toml").read_text()
    column = read_config(home / "assay.toml").contract.categorical
    if not column:
        pytest.fail("the simulated table has no categorical column")
    text = text.replace("false_alert_rate = 0.01", "false_alert_rate = 0.05")
    (home / "assay.toml").write_text(text.replace("min_segment_rows = 1000", "min_segment_rows = 200"))
    folder = score(home)
    done = threshold(home, "--segment", column[0])
    assert done.exit_code == 0, done.output
    config = read_config(home / "assay.toml")
    new, _ = load_detector(config, str(latest(home).version))
    # A tenth of the budget explores, or two where the precision of the queue fell.
    assert new.cut.settings["rate"] in (pytest.approx(0.045), pytest.approx(0.04))
    assert new.cut.parts
    scores = pq.read_table(folder / "scores.parquet")
    rows = pq.read_table(home / "transactions.parquet")
    place = pc.index_in(scores["TRANSACTION_ID"], rows["TRANSACTION_ID"].combine_chunks())
    cuts = new.cut.fixed_cuts(rows[column[0]].take(place))
    after = scores["anomaly_score"].to_numpy() > cuts
    before = scores["is_flagged"].to_numpy(zero_copy_only=False)
    assert f"{(after & ~before).sum()} come" in " ".join(done.output.split())
    assert len(np.unique(cuts)) > 1
    alerts = pq.read_table(score(home, version=str(latest(home).version)) / "alerts.parquet")
    rescored = alerts.filter(pc.field("picked") == "score")
    assert rescored.num_rows == after.sum()
    assert (rescored["anomaly_score"].to_numpy() > rescored["threshold"].to_numpy()).all()
    assert set(rescored["threshold"].to_pylist()) <= set(cuts.tolist())


def test_fdr_draws_the_line_for_a_batch_and_cannot_be_served(home: Path) -> None:
    done = threshold(home, "--fdr", "0.2")
    assert done.exit_code == 0, done.output
    assert "No batch was scored with these weights yet" in " ".join(done.output.split())
    version = latest(home)
    folder = score(home, version=str(version.version))
    assert "No group of fewer than" in (folder / "report.html").read_text()
    with pytest.raises(Exception, match="draws the line for a batch as a whole"):
        mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")


def test_mistakes_end_in_one_sentence_and_register_nothing(home: Path) -> None:
    before = latest(home).version
    for words, message in {
        ("--capacity", "1e9"): "every row would be flagged; lower threshold.alerts_per_day",
        ("--capacity", "5", "--fdr", "0.1"): "--capacity, --fdr are several strategies",
        (
            "--capacity",
            "5",
            "--recovered",
            "0.5",
        ): "--recovered 0.5 belongs to the strategy cost, and capacity does not",
        ("--capacity", "inf"): "threshold.alerts_per_day = inf: input should be a finite number",
        ("--false-alert-rate", "2"): "threshold.false_alert_rate = 2.0: input should be less than 1",
        ("--false-alert-rate", "0.0000001"): "needs at least 9,999,999 normal rows",
        ("--segment", "TX_AMOUNT"): "threshold.segment is 'TX_AMOUNT'",
        ("--capacity", "5", "--version", "nine"): "has no version or alias 'nine'",
    }.items():
        done = threshold(home, *words)
        assert done.exit_code == 1, done.output
        assert message in " ".join(done.output.split())
        assert "Traceback" not in done.output
    assert latest(home).version == before
    assert not [path for path in (home / "assay-data").glob("runs/*") if path.is_dir()]
