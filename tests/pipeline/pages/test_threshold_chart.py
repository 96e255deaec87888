import re

import numpy as np
import pytest

from pipeline.calibration.strategies.choice import cut_curve
from pipeline.calibration.threshold import CutCurve
from pipeline.pages.report import Report, render
from pipeline.pages.threshold_chart import threshold_curve
from pipeline.settings.config import ThresholdConfig
from tests.pipeline.fitted import config, detector_of, feature_table, transactions


def points_of(svg, kind):
    (found,) = re.findall(rf'<polyline class="line {kind}" points="([^"]+)"', svg)
    return np.array([tuple(map(float, pair.split(","))) for pair in found.split()])


@pytest.mark.parametrize("is_log", [(False, False), (True, False), (False, True), (True, True)])
def test_the_dot_lies_on_the_line_at_the_threshold_whatever_the_scales(is_log):
    x = np.linspace(1, 100, 50)
    line = list(zip(x.tolist(), (1 / x).tolist(), strict=True))
    svg = threshold_curve(CutCurve("t", "", "x <b>", [("curve", "", line)], line[20], is_log))
    drawn = points_of(svg, "curve")
    dot = re.search(r'<circle class="best" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert [float(place) for place in dot.groups()] == drawn[20].tolist()
    assert (np.diff(drawn[:, 0]) > 0).all()
    assert (np.diff(drawn[:, 1]) >= 0).all()  # down the page
    assert "x &lt;b&gt;" in svg
    if is_log == (True, True):  # a power law is straight there
        slopes = np.diff(drawn[:, 1]) / np.diff(drawn[:, 0])
        assert slopes[:5] == pytest.approx(slopes.mean(), rel=0.1)


def test_a_report_shows_it_with_its_legend(tmp_path):
    features = feature_table(tmp_path, transactions(), config())
    detector = detector_of(features, config())
    for strategy, shown in [("cost", "Money saved by the number of alerts"), ("f_beta", "F-1 by the number of alerts")]:
        changed = detector.with_threshold(ThresholdConfig(strategy=strategy))
        page = render(Report(kind="threshold", title="t", curve=cut_curve(changed.cut, changed.held_out)))
        assert f"<h2>{shown}</h2>" in page
        assert 'class="line curve"' in page
    assert cut_curve(detector.cut, detector.held_out) is None
    two = CutCurve(
        "t", "why", "x", [("curve", "the law", [(0, 1), (1, 2)]), ("train", "the rest", [(0, 2), (1, 3)])], (0, 1)
    )
    page = render(Report(kind="threshold", title="t", curve=two))
    assert '<span class="key line curve"></span>the law' in page
    assert '<span class="key line train"></span>the rest' in page
