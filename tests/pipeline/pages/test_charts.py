"""pipeline/pages/charts.py: what is drawn, and where."""

import re
from datetime import date, datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pipeline.calibration.strategies.choice import cut_curve
from pipeline.calibration.threshold import CutCurve
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.curves import Curve
from pipeline.evaluation.metrics import precision_recall_points
from pipeline.pages import charts
from pipeline.pages.charts import banded, over_blocks
from pipeline.pages.report import Report, render
from pipeline.settings.config import ThresholdConfig
from tests.pipeline.fitted import config, detector_of, feature_table, transactions


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
    logarithmic = charts.Axis(1e-3, 5e4, 0, 100, is_log=True)
    assert all(1e-3 <= tick <= 5e4 and np.log10(tick) % 1 == 0 for tick in logarithmic.ticks())
    assert logarithmic(1e-3) == 0
    assert logarithmic(5e4) == 100


def test_days_without_an_alert_have_their_place():
    svg = charts.alerts_a_day({date(2025, 3, 1): 4, date(2025, 3, 3): 1}, expected=2.5)
    assert svg.count("<rect") == 2
    assert "01 March 2025: 4 alerts" in svg
    assert "03 March 2025: 1 alert<" in svg
    assert all(f">{day} Mar<" in svg for day in (1, 2, 3))


def test_a_chart_that_stands_alone_is_the_pages_with_its_colours_and_a_legend_of_what_it_draws():
    scores = np.random.default_rng(0).gamma(2, 1, 500)
    chart = charts.score_distribution(scores, 5.0)
    file = charts.standalone(chart, charts.SCORES_LEGEND)
    root = ET.fromstring(file)  # noqa: S314 - our own text
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    inner = [node for node in root if node.tag.endswith("}svg")]
    assert len(inner) == 1
    assert len([*inner[0]]) == chart.count("<rect") + chart.count("<line") + chart.count("<text")
    texts = [node.text for node in root if node.tag.endswith("}text")]
    assert texts == ["rows", "beyond the threshold"]  # no fraud is known
    assert "rect.flagged { fill: var(--flagged); }" in file
    assert "prefers-color-scheme: dark" in file
    assert "<b>" not in charts.standalone(chart, {"normal": "<b>"})


EPOCHS = [{"epoch": n, "train_loss": 1 / n, "held_out_loss": 2 / n} for n in (1, 2)]


@pytest.mark.parametrize(
    ("chart", "legend"),
    [
        (
            charts.losses([{"epoch": n, "train_loss": 1 / n, "held_out_loss": 2 / n} for n in (1, 2)]),
            charts.LOSSES_LEGEND,
        ),
        (
            charts.precision_recall(precision_recall_points(np.arange(9.0), np.arange(9) > 5), (0.5, 0.5)),
            charts.PRECISION_LEGEND,
        ),
        (charts.score_distribution(np.arange(9.0), 3.0, np.arange(9) % 2), charts.SCORES_LEGEND),
    ],
)
def test_the_legend_of_a_chart_names_what_is_drawn_in_it(chart, legend):
    root = ET.fromstring(charts.standalone(chart, legend))  # noqa: S314 - our own text
    assert [node.text for node in root if node.tag.endswith("}text")] == [*legend.values()]


def test_every_row_is_a_point_inside_the_plane_and_far_alerts_are_on_its_edge():
    points = np.random.default_rng(0).normal(size=(500, 2))
    points[-2:] = [[1e6, 0], [0, -1e6]]
    ranks = np.zeros(500, dtype=int)
    ranks[-3:] = [2, 1, 3]
    svg = str(charts.scatter(points, ranks, "Map <of> rows"))
    assert "Map &lt;of&gt; rows" in svg
    places = np.array(re.findall(r"M([\d.]+) ([\d.]+)h", svg), dtype=float)
    assert len(places) == 497
    assert (places > 0).all()
    assert (places < [charts.WIDTH, charts.SQUARE]).all()
    assert np.corrcoef(places[:, 0], points[:497, 0])[0, 1] > 0.99
    assert np.corrcoef(places[:, 1], points[:497, 1])[0, 1] < -0.99
    alerts = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="4.5"><title>alert #(\d)<', svg)
    assert [rank for _, _, rank in alerts] == ["3", "2", "1"]  # the first alert on top
    assert float(alerts[2][0]) == charts.WIDTH - 10
    assert float(alerts[0][1]) == charts.SQUARE - 10


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.array([[0, 1e300]] * 5), np.ones((5, 2)) * [1, 0]])
def test_rows_that_are_all_alike_still_make_a_map(points):
    svg = str(charts.scatter(points, np.array([0, 0, 0, 0, 1]), "Map"))
    assert not re.search(r"\b(nan|inf)\b", svg)
    assert "alert #1" in svg


def test_a_measure_over_blocks_has_a_dot_and_a_bar_a_block_and_leaves_undefined_ones_out():
    values = [Interval(0.5, 0.4, 0.6), Interval(float("nan"), float("nan"), float("nan")), Interval(0.7, 0.65, 0.8)]
    drawn = over_blocks(["1 Jul", "8 Jul", "<15> Jul"], values, "AUROC")
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle class="curve" cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    bars = [tuple(map(float, ends)) for ends in re.findall(r'class="error".*? y1="([\d.]+)" y2="([\d.]+)"', drawn)]
    assert len(dots) == len(bars) == 2
    assert dots[0][0] < dots[1][0]
    assert all(high < y < low for (_, y), (low, high) in zip(dots, bars, strict=True))
    # 0.5 and 0.7 lie on one linear scale with the ends 0.4 and 0.8.
    assert (dots[0][1] - dots[1][1]) / (bars[0][0] - bars[1][1]) == pytest.approx(0.5, abs=0.01)
    assert "&lt;15&gt; Jul" in drawn
    assert "<svg" in over_blocks(["1 Jul"], values[1:2], "nothing to draw")


def test_a_band_lies_around_its_curve():
    x = np.array([1.0, 2.0, 3.0])
    curve = Curve(x, np.array([0.2, 0.5, np.nan]), np.array([0.1, 0.4, np.nan]), np.array([0.3, 0.7, np.nan]))
    drawn = banded({"curve": curve}, "alerts a day", "found")
    band = re.search(r'<polygon class="band curve" points="([^"]+)"', drawn).group(1).split()
    line = re.search(r'<polyline class="line curve" points="([^"]+)"', drawn).group(1).split()
    assert (len(band), len(line)) == (4, 2)
    ys = [float(point.split(",")[1]) for point in band]
    at = [float(point.split(",")[1]) for point in line]
    assert ys[0] < at[0] < ys[3]  # the first point: high, value, low, from above
    assert ys[1] < at[1] < ys[2]


def points_of(svg, kind):
    (found,) = re.findall(rf'<polyline class="line {kind}" points="([^"]+)"', svg)
    return np.array([tuple(map(float, pair.split(","))) for pair in found.split()])


@pytest.mark.parametrize("is_log", [(False, False), (True, False), (False, True), (True, True)])
def test_the_dot_lies_on_the_line_at_the_threshold_whatever_the_scales(is_log):
    x = np.linspace(1, 100, 50)
    line = list(zip(x.tolist(), (1 / x).tolist(), strict=True))
    svg = charts.threshold_curve(CutCurve("t", "", "x <b>", [("curve", "", line)], line[20], is_log))
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


def test_amounts_lie_where_their_moments_and_values_say_and_this_row_is_on_top():
    start = datetime(2025, 1, 1)
    points = [
        charts.Amount(start + timedelta(days=days), amount, kind, f"{kind} <b>")
        for days, amount, kind in ((20, 100.0, "this"), (0, 50.0, "past"), (10, 0.0, "fraud"))
    ]
    svg = ET.fromstring(charts.amounts_over_time(points, "Amounts"))  # noqa: S314 - our own text
    circles = [element for element in svg.iter() if element.tag.endswith("circle")]
    assert [circle.get("class") for circle in circles] == ["past-row", "fraud-row", "this-row"]
    past, fraud, this = ((float(circle.get("cx")), float(circle.get("cy"))) for circle in circles)
    assert fraud[0] == pytest.approx((past[0] + this[0]) / 2, abs=0.1)
    assert past[1] == pytest.approx((fraud[1] + this[1]) / 2, abs=0.1)
    assert this[1] < past[1] < fraud[1]
    assert circles[0][0].text == "past <b>"


def test_one_amount_alone_is_drawn_with_one_day_below():
    svg = charts.amounts_over_time([charts.Amount(datetime(2025, 3, 2), 20.0, "this", "now")], "Amounts")
    assert svg.count("2 Mar 2025") == 1
    assert svg.count("<circle") == 1


def test_parts_of_bars_lie_on_one_another_and_say_what_they_are() -> None:
    chart = charts.stacked(["1 Mar", "2 Mar"], {"fraud": [2, 0], "good": [6, 4]}, "Decisions a day")
    bars = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', chart)
    assert [kind for kind, *_ in bars] == ["fraud", "good", "good"]
    (_, left, top, tall), (_, left_of_next, top_of_next, tall_of_next), (*_, alone) = bars
    assert left == left_of_next
    assert float(top_of_next) + float(tall_of_next) == pytest.approx(float(top), abs=0.11)
    assert float(tall_of_next) == pytest.approx(3 * float(tall), abs=0.3)
    assert float(alone) == pytest.approx(2 * float(tall), abs=0.3)
    assert "1 Mar: 2 of 8" in chart
    assert 'aria-label="Decisions a day"' in chart


def test_a_line_over_days_has_its_limit_its_band_and_a_gap_of_days():
    days = [date(2025, 3, 1), date(2025, 3, 2), date(2025, 3, 5)]
    svg = charts.over_days(days, {"curve": [1.0, float("nan"), 4.0]}, "Values", limit=2.0, band=(0.5, 3.0))
    (points,) = re.findall(r'<polyline class="line curve" points="([^"]+)"', svg)
    (first, last) = ([float(number) for number in point.split(",")] for point in points.split())
    limit = float(re.search(r'class="threshold"[^>]* y1="([\d.]+)"', svg)[1])
    assert first[0] < last[0]
    assert last[1] < limit < first[1]
    assert "2025-03-05: 4<" in svg
    assert "2025-03-02" not in svg
    assert 'rect class="usual"' in svg
    assert all(f">{day} Mar<" in svg for day in range(1, 6))


def test_on_a_logarithmic_scale_nothing_falls_below_the_foot():
    days = [date(2025, 3, 1) + timedelta(days=n) for n in range(50)]
    values = [0.0, 1e-12, *[10.0**n for n in range(48)]]
    svg = charts.over_days(days, {"curve": values}, "Evidence", limit=7300, is_log=True)
    (points,) = re.findall(r'<polyline class="line curve" points="([^"]+)"', svg)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights[0] == heights[1] == charts.HEIGHT - charts.BOTTOM
    assert heights == sorted(heights, reverse=True)
    assert "<circle" not in svg  # of many days no dots


@pytest.mark.parametrize("offset", [0.1, -9.0])
def test_scores_are_counted_alike_however_many_at_a_time(monkeypatch, offset):
    scores = np.random.default_rng(0).lognormal(size=100) + offset  # by their logarithms, and as they are
    whole = charts.count_scores(scores, 2.0, scores > 1.5)
    monkeypatch.setattr(charts, "COUNTED_AT_A_TIME", 7)
    parts = charts.count_scores(scores, 2.0, scores > 1.5)
    assert whole.is_log == (offset > 0)
    assert whole.counts.sum() == 100
    for name in ("edges", "counts", "frauds"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("rows", [1, 2, 999, 1001, 1002, 40_000])
def test_a_logarithmic_axis_begins_at_the_least_thousandth_of_scores_and_threshold(rows):
    scores = np.random.default_rng(rows).lognormal(0, 3, rows)
    histogram = charts.count_scores(np.append(scores, [np.nan, np.inf]), 40.0)
    assert histogram.is_log
    begin, values = np.quantile(np.append(scores, 40.0), 0.001), np.append(scores, 40.0)
    step = (np.log(values.max()) - np.log(begin)) / charts.BINS
    assert np.log(histogram.edges[1]) <= np.log(begin) + 1e-9 < np.log(histogram.edges[2]) + 1e-9
    np.testing.assert_allclose(np.diff(np.log(histogram.edges)), step)


def test_labels_have_to_be_one_a_score():
    with pytest.raises(ValueError, match="there are 2 labels for 3 scores"):
        charts.count_scores(np.ones(3), None, np.ones(2))
