"""How far two scores agree, against plain NumPy; and fits of another seed or of halves."""

import math
from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

from pipeline.evaluation.agreement import agreement, scores_and_flags, stability
from pipeline.labels.known import Labels
from pipeline.scoring.score import score_table
from pipeline.settings.config import ThresholdConfig


def test_is_what_plain_numpy_says():
    rng = np.random.default_rng(0)
    first = np.round(rng.normal(size=900), 1)
    second = first + rng.normal(size=900)
    days = rng.integers(0, 3, 900)
    found = agreement(first, second, days=days, k=30, flagged=(first > 1, second > 1.5))
    assert found.rank_correlation == pytest.approx(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
    common = 0
    for day in range(3):
        own = np.flatnonzero(days == day)
        tops = [set(own[np.lexsort((own, -scores[own]))[:30]]) for scores in (first, second)]
        common += len(tops[0] & tops[1])
    assert found.overlap == pytest.approx(common / 90)
    assert (found.both, found.only_first, found.only_second) == (
        ((first > 1) & (second > 1.5)).sum(),
        ((first > 1) & (second <= 1.5)).sum(),
        ((first <= 1) & (second > 1.5)).sum(),
    )
    assert set(found.figures) == {"rank_correlation", "overlap_at_30", "flagged_by_both"}
    assert f"of the 30 highest rows a day {100 * found.overlap:.3g} % are the same" in str(found)


def test_scores_of_nothing_in_common_overlap_by_chance():
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(40), 200)
    found = agreement(rng.random(8000), rng.random(8000), days=days, k=50)
    assert found.chance == pytest.approx(0.25)
    assert found.overlap == pytest.approx(0.25, abs=0.03)
    assert abs(found.rank_correlation) < 0.04


def test_is_undefined_where_a_score_never_varies_or_there_are_no_rows():
    assert math.isnan(agreement(np.ones(5), np.arange(5.0), days=np.zeros(5)).rank_correlation)
    empty = agreement(np.empty(0), np.empty(0), days=np.empty(0))
    assert empty.figures == {}


@pytest.mark.parametrize("halves", [False, True])
def test_two_fits_of_one_model_agree_far_better_than_by_chance(fitted, halves):
    features, detector, block, scored = fitted
    before = set(features.parent.iterdir())
    found = stability(detector, features, block, Labels(detector.config), k=3, halves=halves)
    assert 0.7 < found.rank_correlation < 1
    assert found.overlap > 2 * found.chance
    assert set(features.parent.iterdir()) == before
    expected = pq.read_table(scored.scores)["anomaly_score"].to_numpy()
    np.testing.assert_array_equal(scores_and_flags(detector, block)[0], expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"segment": "channel", "min_segment_rows": 20, "false_alert_rate": 0.1},
        {"strategy": "fdr", "false_discovery_rate": 0.3},
    ],
)
def test_flags_are_those_of_a_scored_batch_whatever_the_cuts(fitted, settings, tmp_path):
    _, detector, block, _ = fitted
    changed = detector.with_threshold(ThresholdConfig(**settings))
    scored = score_table(block, changed, tmp_path, batch_id="b", model_version="1", scored_at=datetime(2025, 5, 1))
    expected = pq.read_table(scored.scores)["is_flagged"].to_numpy()
    scores, flags = scores_and_flags(changed, block)
    np.testing.assert_array_equal(flags, expected)
    assert not np.array_equal(flags, scores > changed.threshold)  # the common cut is another line
