"""Runs under a run in a real MLflow store: what its compare page reads."""

from pathlib import Path

from pipeline.tracking.client import experiment_id, start
from pipeline.tracking.groups import Child, children, close_group, log_child, log_group, open_group, reopen_group
from tests.pipeline.tracking.small_training import Trained


def test_children_carry_the_same_metrics_series_and_pictures(trained: Trained, tmp_path: Path) -> None:
    config = trained.named("grouped")
    made = trained.log(config)
    model_id = start(config).get_run(made.run_id).outputs.model_outputs[0].model_id
    (tmp_path / "page.html").write_text("<p>page</p>")
    group = open_group(config, "compare 1, 2", {"kind": "comparison"})
    runs = [
        log_child(
            config,
            group,
            Child(
                name=f"version {number}",
                params={f"setting.{place}": place for place in range(120)},
                tags={"version": str(number)},
                metrics={"card_precision@100": number / 10},
                series={"alerts_on_day": [(1, 5.0), (2, 7.0)]},
                pictures={"scores": "<svg/>"},
                model_id=model_id if number == 1 else "",
            ),
        )
        for number in (1, 2)
    ]
    log_group(config, group, artefacts=[tmp_path / "page.html"], metrics={"gate": 1.0}, tags={"verdict": "yes"})
    close_group(config, group)
    client = start(config)
    for number, run_id in enumerate(runs, 1):
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == group
        assert run.data.metrics["card_precision_at_100"] == number / 10
        assert [(m.step, m.value) for m in client.get_metric_history(run_id, "alerts_on_day")] == [(1, 5.0), (2, 7.0)]
        assert len(run.data.params) == 120
        assert [file.path for file in client.list_artifacts(run_id, "plots")] == ["plots/scores.svg"]
    metrics = {metric.key: metric.value for metric in client.get_logged_model(model_id).metrics}
    assert metrics["card_precision_at_100"] == 0.1
    parent = client.get_run(group)
    assert (parent.info.status, parent.data.tags["verdict"], parent.data.metrics["gate"]) == ("FINISHED", "yes", 1.0)
    assert [file.path for file in client.list_artifacts(group)] == ["page.html"]
    assert children(config, group, "version") == {"1", "2"}
    assert children(config, group, "trial") == set()
    reopen_group(config, group, {"verdict": "not yet"})
    tags = {"version": "3", "mlflow.parentRunId": group}
    killed = client.create_run(experiment_id(client, config), tags=tags).info.run_id
    client.set_terminated(killed, "KILLED")
    parent = client.get_run(group)
    assert (parent.info.status, parent.data.tags["verdict"]) == ("RUNNING", "not yet")
    assert children(config, group, "version") == {"1", "2"}
