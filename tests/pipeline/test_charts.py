"""pipeline/charts.py: what is drawn, and where."""

from datetime import date

import numpy as np
import pytest

from pipeline import charts


@pytest.mark.parametrize("seed", range(5))
def test_bars_beyond_the_threshold_count_exactly_the_flagged_rows(seed):
    rng = np.random.default_rng(seed)
    scores = rng.lognormal(0, seed / 2 + 0.1, 3000)
    threshold = float(np.sort(scores)[-37])  # the threshold itself is not flagged
    labels = (rng.random(3000) < 0.1).astype(float)
    histogram = charts.count_scores(scores, threshold, labels)
    beyond = histogram.edges[:-1] >= threshold * (1 - 1e-9)
    assert histogram.counts[beyond].sum() == (scores > threshold).sum() == 36
    assert histogram.frauds[beyond].sum() == ((scores > threshold) & (labels == 1)).sum()
    assert histogram.counts.sum() == 3000


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 7), (-3, 2), (0.21, 0.94), (0, 123456), (5e-7, 6e-7)])
def test_ticks_are_a_few_round_values_inside(low, high):
    ticks = charts.Axis(low, high, 0, 100).ticks()
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-12 <= tick <= high * (1 + 1e-6) for tick in ticks)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])
    logarithmic = charts.Axis(1e-3, 5e4, 0, 100, True)
    assert all(1e-3 <= tick <= 5e4 and np.log10(tick) % 1 == 0 for tick in logarithmic.ticks())
    assert logarithmic(1e-3) == 0
    assert logarithmic(5e4) == 100


def test_days_without_an_alert_have_their_place():
    svg = charts.alerts_a_day({date(2025, 3, 1): 4, date(2025, 3, 3): 1}, expected=2.5)
    assert svg.count("<rect") == 2
    assert "01 March 2025: 4 alerts" in svg
    assert "03 March 2025: 1 alert<" in svg
    assert all(f">{day} Mar<" in svg for day in (1, 2, 3))


def test_plots_are_written_as_png(tmp_path):
    scores = np.random.default_rng(0).gamma(2, 1, 500)
    charts.save_score_distribution(tmp_path / "scores.png", scores, 5.0, (scores > 6).astype(float))
    charts.save_losses(tmp_path / "losses.png", [{"epoch": 1, "train_loss": 0.5, "held_out_loss": 0.6}])
    for name in ("scores.png", "losses.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
