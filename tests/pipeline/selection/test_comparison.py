"""A comparison of real detectors: what each makes of the same rows."""

import numpy as np
import pytest


def test_both_score_the_same_rows_each_with_its_own_features(small_comparison):
    comparison, detectors, _ = small_comparison
    assert len(comparison.labels) == 1200
    assert np.array_equal(comparison.outcomes[0].labels, comparison.outcomes[1].labels, equal_nan=True)
    assert len(detectors[0].features) > len(detectors[1].features)
    for outcome, detector in zip(comparison.outcomes, detectors, strict=True):
        assert np.array_equal(outcome.flagged, outcome.scores > detector.threshold)
    assert [figure.name for figure in comparison.figures][:2] == ["average_precision", "card_precision_at_100"]
    assert comparison.settings["features.families"] == ['["amount", "calendar", "columns", "change"]', '["amount"]']
    assert comparison.settings["model.code_size"] == ["6", "2"]
    assert not any(name.startswith(("promotion.", "tuning.", "tracking.")) for name in comparison.settings)


def test_the_metrics_of_the_second_one_have_differences(small_comparison):
    comparison, _, _ = small_comparison
    one, two = comparison.metrics_of(0), comparison.metrics_of(1)
    assert one["fit_seconds"] == 2.5
    assert "fit_seconds" not in two
    assert "average_precision_less_baseline" not in one
    less = two["average_precision"] - one["average_precision"]
    assert two["average_precision_less_baseline"] == pytest.approx(less)
    assert two["alerts_enter"] == comparison.changes[0].enter
    assert two["queue_overlap"] == comparison.changes[0].overlap
    assert comparison.contenders[1].cost["Seconds to fit"] == "not measured"
    assert comparison.contenders[0].cost["Trained on"] == "2025-03-01 to 2025-03-30"


def test_drift_is_between_the_training_periods_in_the_first_ones_features(small_comparison):
    comparison, detectors, _ = small_comparison
    (found,) = comparison.drifts
    assert {drift.feature for drift in found} == {feature.name for feature in detectors[0].features}
    assert max(drift.index for drift in found) < 0.5
    assert comparison.notes == []
