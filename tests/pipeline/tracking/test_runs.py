"""What a real MLflow store keeps of a version's run, its comparisons and backtests, read back."""

import json
import platform
from importlib import metadata
from pathlib import Path

from pipeline.tracking.backtests import backtest_run
from pipeline.tracking.content import notable
from pipeline.tracking.groups import Child, close_group, log_child, open_group
from pipeline.tracking.runs import Run, backtest_like, comparison_of, run_of
from tests.pipeline.tracking.small_training import COUNTS, Trained


def test_what_was_logged_of_a_version_is_read_back(trained: Trained) -> None:
    config = trained.named("read-back")
    made = trained.log(config)
    run = run_of(config, "1")
    assert run.run_id == made.run_id
    assert run.measures == {"average_precision": 0.25, "card_precision_at_100": 0.5}
    assert run.tags["batch_id"] == "0123"
    assert run.params["model.name"] == "denoising"
    assert run.table["uri"] == str(trained.folder / "rows.parquet")
    assert run.table["sha256"] == "ab" * 32
    assert COUNTS.items() <= run.table.items()
    assert f"scipy=={metadata.version('scipy')}" in run.packages
    assert run.python == platform.python_version()
    assert run_of(config, "9") == Run("")


def test_the_comparison_is_the_latest_with_a_version_before(trained: Trained) -> None:
    config = trained.named("compared")
    assert comparison_of(config, "2") is None
    for number, versions in enumerate(("1-2", "1-2", "2-3")):
        group = open_group(
            config, "compare", {"kind": "comparison", "versions": versions, "verdict": f"verdict {number}"}
        )
        tags = {"kind": "compared version", "version": "2"}
        log_child(config, group, Child("version 2", tags=tags, metrics={"recall": number / 10}))
        close_group(config, group)
    found = comparison_of(config, "2")
    assert found is not None
    assert (found.versions, found.verdict, found.measures["recall"]) == (["1", "2"], "verdict 1", 0.1)
    assert comparison_of(config, "1") is None


def test_a_backtest_is_of_the_runs_settings_and_one_by_segment_comes_first(trained: Trained, tmp_path: Path) -> None:
    config = trained.named("tested")
    run = Run("r", params={name: str(value) for name, value in notable(config).items()})
    assert backtest_like(config, run) == {}
    other = config.model_copy(update={"model": config.model.model_copy(update={"seed": 5})})
    for settings, segment in ((config, "channel"), (config, ""), (other, "channel")):
        path = tmp_path / "backtest.json"
        path.write_text(json.dumps({"seed": settings.model.seed, "segment": segment}))
        with backtest_run(settings, {"train_days": 7, "segment": segment}, {}) as tracked:
            tracked.log_result({}, [path])
    found = backtest_like(config, run)
    assert (found["seed"], found["segment"]) == (config.model.seed, "channel")
