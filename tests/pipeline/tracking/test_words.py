"""What people see of a run on MLflow's pages."""

from dataclasses import replace

import pytest

from pipeline.calibration.threshold import Threshold
from pipeline.settings.config import ThresholdConfig
from pipeline.tracking.store import Dataset
from pipeline.tracking.words import threshold_in_words, words_for
from tests.pipeline.tracking.small_training import Trained


@pytest.mark.parametrize(
    ("strategy", "settings", "words"),
    [
        ("false_alert_rate", {"false_alert_rate": 0.001}, "false alert rate 0.001"),
        ("capacity", {"alerts_per_day": 80.0, "unit": "alerts"}, "capacity 80 alerts a day"),
        ("cost", {"review_cost": 12.5, "recovered_share": 0.5}, "cost 12.5"),
        ("fdr", {}, "fdr"),
    ],
)
def test_a_threshold_is_called_by_what_it_is_set_to(strategy: str, settings: dict, words: str) -> None:
    assert threshold_in_words(Threshold(1.0, strategy, 1.0, 0.1, "", settings)) == words


def test_every_threshold_of_a_real_detector_has_words(trained: Trained) -> None:
    changed = trained.detector.with_threshold(ThresholdConfig(strategy="capacity", alerts_per_day=2, unit="customers"))
    assert threshold_in_words(changed.cut) == "capacity 1.8 customers a day, beside rows that explore"
    assert threshold_in_words(replace(changed.cut, explore=None)) == "capacity 1.8 customers a day"


def test_a_description_begins_with_the_promise_and_has_a_line_a_measure(trained: Trained) -> None:
    dataset = Dataset("/data/monday.parquet", "ab", {})
    words = words_for(trained.detector, {"recall": "0.5 (0.4 to 0.6)", "auroc": "0.9"}, dataset)
    assert words.title == "denoising, 2025-01-01 to 2025-01-20, false alert rate 0.01"
    lines = words.text.splitlines()
    assert lines[0] == trained.detector.promise
    assert lines[-2:] == ["| recall | 0.5 (0.4 to 0.6) |", "| auroc | 0.9 |"]
    rows = trained.detector.summary["fit_rows"]
    assert lines[2] == f"Fitted on {rows} normal rows of 2025-01-01 to 2025-01-20."
    assert words.tags["table"] == "monday.parquet"
    assert "|" not in words_for(trained.detector, {}).text


def test_a_description_says_what_known_frauds_add(trained: Trained) -> None:
    plain = {name: value for name, value in trained.detector.summary.items() if name != "feedback"}
    texts = [
        words_for(replace(trained.detector, summary=summary), {}).text
        for summary in (plain, plain | {"feedback": "12 known frauds; trees count nothing"})
    ]
    assert texts[1] == texts[0] + "\n\nLabels: 12 known frauds; trees count nothing."


def test_what_looks_like_markup_in_a_name_is_none(trained: Trained) -> None:
    words = words_for(trained.detector, {"alerts": "of day|\x1b[2J<b>.csv [x](y)"}, Dataset("/a/\x9b2J.csv", "ab", {}))
    assert words.text.splitlines()[-1] == r"| alerts | of day\|\\x1b\[2J&lt;b&gt;.csv \[x\](y) |"
    assert words.tags["table"] == r"\x9b2J.csv"
