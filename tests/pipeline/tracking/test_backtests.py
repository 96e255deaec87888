"""A backtest in a real MLflow store: a run, a child a block, and what a failure leaves."""

import pytest

from pipeline.tracking.backtests import backtest_run
from pipeline.tracking.client import start
from tests.pipeline.tracking.small_training import Trained


def test_a_backtest_is_a_run_with_a_child_a_block_and_steps(trained: Trained, tmp_path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<html>")
    with backtest_run(trained.config, {"train_days": 7}, {"batch_id": "b"}) as tracked:
        for number in (1, 2):
            tracked.log_block(number, f"week {number}", {"auroc": number / 4, "flagged": 3}, {"test": "days"})
        tracked.log_result({"auroc": 0.815}, [page])
    client = start(trained.config)
    run = client.get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["auroc"] == 0.815
    assert run.data.params["train_days"] == "7"
    assert run.data.params["model.name"] == trained.config.model.name
    steps = client.get_metric_history(tracked.run_id, "block_auroc")
    assert [(point.step, point.value) for point in steps] == [(1, 0.25), (2, 0.5)]
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{tracked.run_id}'")
    assert {child.info.run_name: child.data.metrics["auroc"] for child in children} == {"week 1": 0.25, "week 2": 0.5}
    assert {child.info.status for child in children} == {"FINISHED"}
    assert [file.path for file in client.list_artifacts(tracked.run_id)] == ["report.html"]


def test_one_that_fails_is_marked_as_failed(trained: Trained) -> None:
    with pytest.raises(ZeroDivisionError), backtest_run(trained.config, {}, {}) as tracked:
        raise ZeroDivisionError
    assert start(trained.config).get_run(tracked.run_id).info.status == "FAILED"
