"""The charts: SVG drawn by hand, so that one page holds them and they follow its colours.

Colours and fonts come from templates/chart.css by class name: from the page's style sheet, and from their own where
:func:`standalone` makes a file of a chart.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from pipeline.calibration.threshold import CutCurve
from pipeline.errors import plain
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.curves import Curve
from pipeline.evaluation.metrics import PrecisionRecall
from pipeline.numbers import percent, short_number
from pipeline.pages.environment import environment

WIDTH, HEIGHT, SQUARE = 560.0, 260.0, 420.0
LOW_WIDTH, LOW_HEIGHT = 760.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 22.0, 42.0
BINS = 44
COUNTED_AT_A_TIME = 2**16
LEAST_SHARE = 0.001
"""Of scores on a logarithmic scale, those that lie to the left of it."""
DOTTED = 40
"""Days up to which each has a dot of its own that says its value."""
ON_TOP = ("past", "alerted", "not_fraud", "fraud", "this")
"""What a row is in `amounts_over_time`, from the bottom to the top."""
# What is drawn, by its class, in the charts that stand alone.
SCORES_LEGEND = {"normal": "rows", "flagged": "beyond the threshold", "fraud": "known fraud"}
LOSSES_LEGEND = {"line train": "training rows", "line held-out": "held-out rows", "best": "best epoch"}
PRECISION_LEGEND = {"line curve": "precision", "expected": "chance"}


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale from values to places along one side of a chart."""

    low: float
    high: float
    start: float
    end: float
    _: KW_ONLY
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value; a value beyond the ends is put on the end."""
        low, high, at = (math.log(max(v, 1e-300)) if self.is_log else v for v in (self.low, self.high, value))
        share = (at - low) / (high - low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, number: int = 5) -> list[float]:
        """Return about ``number`` round values between the ends."""
        if self.is_log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            wide = last - first > 3
            step = max(1, round((last - first) / number)) if wide else 1
            factors = (1,) if wide else (1, 2, 5)
            values = [factor * 10.0**power for power in range(first, last + 1, step) for factor in factors]
        else:
            rough = (self.high - self.low) / number
            size = 10.0 ** math.floor(math.log10(rough))
            step_size = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * 0.999)
            values = [
                i * step_size for i in range(math.ceil(self.low / step_size), math.floor(self.high / step_size) + 1)
            ]
        return [value for value in values if self.low <= value * (1 + 1e-9) and value <= self.high * (1 + 1e-9)]


@dataclass(frozen=True)
class Histogram:
    """Counts of scores between edges, in all and of frauds. ``is_log``: the edges are spaced by a factor."""

    edges: np.ndarray
    counts: np.ndarray
    frauds: np.ndarray
    is_log: bool


@dataclass(frozen=True)
class Amount:
    """One row of `amounts_over_time`: when (UTC), how much, which class it is drawn as, and what a pointer reads."""

    at: datetime
    amount: float
    kind: str
    tip: str


ScoreParts = Callable[[], Iterable[tuple[np.ndarray, np.ndarray | None]]]
"""Gives scores and labels (1 where a row is fraud; None where none is known) part by part, anew each time."""


def count_scores(scores: np.ndarray, threshold: float | None, labels: np.ndarray | None = None) -> Histogram:
    """Count scores into bins, as `count_parts` does.

    Parameters
    ----------
    scores : ndarray of float, shape (n_rows,)
    threshold : float or None
    labels : ndarray of float, shape (n_rows,), optional
        1 where a row is fraud.

    Raises
    ------
    ValueError
        When labels are not as many as the scores.
    """
    if labels is not None and len(labels) != len(scores):
        raise ValueError(f"there are {len(labels):,} labels for {len(scores):,} scores")
    parts = [slice(start, start + COUNTED_AT_A_TIME) for start in range(0, len(scores), COUNTED_AT_A_TIME)]

    def in_parts() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        return ((scores[here], None if labels is None else labels[here]) for here in parts)

    return count_parts(in_parts, len(scores), threshold)


def count_parts(parts: ScoreParts, rows: int, threshold: float | None) -> Histogram:
    """Count scores into bins, one edge of which is the threshold. Scores that are not finite are left out.

    Memory holds one part, and of scores on a logarithmic scale the least thousandth.

    Parameters
    ----------
    parts : callable
        Called twice.
    rows : int
        How many scores there are.
    threshold : float or None
    """
    line = [threshold] if threshold is not None and math.isfinite(threshold) else []
    span = _Span(rows + 1)
    span.add(np.array(line))
    for scores, _ in parts():
        span.add(_finite(scores))
    if not span.count:
        span.add(np.array([1.0]))
    low, high = span.low, span.high
    is_log = span.positive > 0.9 * span.count and high > 3 * span.least_positive
    if is_log:
        low = span.thousandth()  # a few next to zero would take half of the axis
        low = min([low, *line]) if line and line[0] > 0 else low
        low, high = math.log(low), math.log(high)
        line = [math.log(max(line[0], math.exp(low)))] if line else []
    least = math.exp(low) if is_log else None
    if high - low < 1e-9 * max(1.0, abs(high)):
        margin = max(abs(high) / 2, 0.5)
        low, high = low - margin, high + margin
    step = (high - low) / BINS
    origin = line[0] if line else low
    # A row is flagged strictly above the threshold, so each bin is open on the left: (edge, next edge].
    edges = origin + step * np.arange(math.floor((low - origin) / step) - 1, math.ceil((high - origin) / step) + 1)
    counts, frauds = np.zeros((2, len(edges) - 1), dtype=np.int64)
    for scores, labels in parts():
        counts += _by_bin(_finite(scores), edges, least)
        if labels is not None:
            frauds += _by_bin(_finite(scores[labels == 1]), edges, least)
    return Histogram(np.exp(edges) if is_log else edges, counts, frauds, is_log)


def _finite(scores: np.ndarray) -> np.ndarray:
    finite = np.isfinite(scores)
    return scores if finite.all() else scores[finite]


class _Span:
    """The span of values that come in parts.

    Parameters
    ----------
    most : int
        How many there are at most.

    Attributes
    ----------
    count, positive : int
        How many there are, and how many above 0.
    low, high, least_positive : float
    """

    def __init__(self, most: int) -> None:
        self.count = self.positive = 0
        self.low = self.least_positive = math.inf
        self.high = -math.inf
        self._kept = math.floor(most * LEAST_SHARE) + 2
        self._least, self._below = np.empty(0), math.inf

    def add(self, part: np.ndarray) -> None:
        """Look at the next values."""
        positive = part if part.min(initial=math.inf) > 0 else part[part > 0]
        self.count += len(part)
        self.positive += len(positive)
        self.low = min(self.low, float(part.min(initial=math.inf)))
        self.high = max(self.high, float(part.max(initial=-math.inf)))
        self.least_positive = min(self.least_positive, float(positive.min(initial=math.inf)))
        self._least = np.concatenate([self._least, positive[positive < self._below]])
        if len(self._least) > self._kept:
            self._least = np.partition(self._least, self._kept - 1)[: self._kept]
            self._below = float(self._least.max())

    def thousandth(self) -> float:
        """Return the quantile `LEAST_SHARE` of the values above 0, as NumPy has it.

        Examples
        --------
        >>> values = np.arange(-50.0, 5000)
        >>> span = _Span(len(values))
        >>> for part in np.split(values, 5):
        ...     span.add(part)
        >>> span.thousandth(), float(np.quantile(values[51:], LEAST_SHARE))
        (5.998, 5.998)
        """
        place = (self.positive - 1) * LEAST_SHARE
        return float(np.quantile(np.sort(self._least)[math.floor(place) :][:2], place - math.floor(place)))


def _by_bin(scores: np.ndarray, edges: np.ndarray, least: float | None) -> np.ndarray:
    """Return how many scores lie in each bin; with `least`, by their logarithms, those below it as it."""
    places = np.searchsorted(edges, scores if least is None else np.log(np.maximum(scores, least)), side="left") - 1
    return np.bincount(np.clip(places, 0, len(edges) - 2), minlength=len(edges) - 1)


def score_distribution(scores: np.ndarray, threshold: float | None, labels: np.ndarray | None = None) -> Markup:
    """Draw how many rows have which score, with the threshold; bars beyond it and frauds stand out."""
    return draw_histogram(count_scores(scores, threshold, labels), threshold)


def draw_histogram(histogram: Histogram, threshold: float | None) -> Markup:
    """Draw how many rows have which score, as `score_distribution` does, of scores that were counted."""
    edges, counts = histogram.edges, histogram.counts
    top = max(1, int(counts.max()))
    x = Axis(float(edges[0]), float(edges[-1]), LEFT, WIDTH - RIGHT, is_log=histogram.is_log)
    is_log = top > 30
    bounds = (0.6, top * 1.4) if is_log else (0.0, top * 1.15)
    y = Axis(*bounds, HEIGHT - BOTTOM, TOP, is_log=is_log)
    y_ticks = [tick for tick in y.ticks(4) if tick == round(tick) and (not is_log or math.log10(tick) % 1 < 1e-9)]
    parts = _grid(x, y, y_ticks, "anomaly score" + (" (log scale)" if histogram.is_log else ""))
    for i, (count, frauds) in enumerate(zip(counts.tolist(), histogram.frauds.tolist(), strict=True)):
        left, right = x(edges[i]) + 0.5, x(edges[i + 1]) - 0.5
        beyond = threshold is not None and edges[i] >= threshold * (1 - 1e-9)
        tip = f"{count:,} rows score {short_number(edges[i])} to {short_number(edges[i + 1])}"
        tip += f", {frauds:,} of them fraud" if frauds else ""
        if count:
            parts.append(_bar((left, right), (y(count), y.start), "flagged" if beyond else "normal", tip))
        if frauds:
            inset = (right - left) * 0.22
            parts.append(_bar((left + inset, right - inset), (y(frauds), y.start), "fraud", tip))
    if threshold is not None and math.isfinite(threshold):
        at = x(threshold)
        side = "end" if at > WIDTH * 0.6 else "start"
        parts.append(f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 12}" y2="{y.start}"/>')
        place, name = at + (-6 if side == "end" else 6), f"threshold {short_number(threshold)}"
        parts.append(_text(place, TOP - 4, name, kind="strong", anchor=side))
    return _svg(parts, "Number of rows by anomaly score")


def alerts_a_day(alerts: Mapping[date, int], expected: float | None = None) -> Markup:
    """Draw the alerts of each day, days without any included, and the number expected."""
    first, last = min(alerts), max(alerts)
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    top = max([*alerts.values(), expected or 0, 1])
    x = Axis(-0.5, len(days) - 0.5, LEFT, WIDTH - RIGHT)
    y = Axis(0, top * 1.12, HEIGHT - BOTTOM, TOP)
    ticks = [tick for tick in y.ticks(4) if tick == round(tick)]
    parts = _grid(None, y, ticks, "")
    half = min((x(1) - x(0)) * 0.39, 28) if len(days) > 1 else 28
    for i, day in enumerate(days):
        number = alerts.get(day, 0)
        tip = f"{day:%d %B %Y}: {number:,} alert{'' if number == 1 else 's'}"
        if number:
            parts.append(_bar((x(i) - half, x(i) + half), (y(number), y.start), "flagged", tip))
        if number and len(days) <= 10:
            parts.append(_text(x(i), y(number) - 5, f"{number:,}", kind="strong"))
    step = math.ceil(len(days) / 6)
    for i in range(0, len(days), step):
        parts.append(_text(x(i), HEIGHT - BOTTOM + 19, f"{days[i].day} {days[i]:%b}"))
    if expected is not None:
        at = y(expected)
        parts.append(f'<line class="expected" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
    return _svg(parts, "Alerts a day")


def over_days(
    days: Sequence[date],
    lines: Mapping[str, Sequence[float]],
    label: str,
    *,
    limit: float | None = None,
    band: tuple[float, float] | None = None,
    is_log: bool = False,
) -> Markup:
    """Draw values of each day as lines, what is not finite left out, with a limit and a band of what is usual.

    Parameters
    ----------
    days : sequence of date
        Rising; at least one.
    lines : mapping of str to sequence of float
        By the class of the line: one value a day.
    label : str
        What a screen reader says of the chart.
    limit : float, optional
        Drawn across as a broken line.
    band : tuple of float, optional
        The least and the most that is usual.
    is_log : bool
        Whether the values, and what they are held against, are on a logarithmic scale; those of 0 lie at its foot.
    """
    start = days[0]
    x = Axis(-0.5, (days[-1] - start).days + 0.5, LEFT, WIDTH - RIGHT)
    shown = [value for values in lines.values() for value in values if math.isfinite(value)]
    top = max([*shown, limit or 0, band[1] if band else 0, 1e-9])
    foot = max(min([value for value in shown if value > 0], default=1.0), top / 1e8)
    low = min(foot, top / 10) if is_log else 0.0
    y = Axis(low, top * (3 if is_log else 1.12), HEIGHT - BOTTOM, TOP, is_log=is_log)
    parts = _grid(None, y, y.ticks(4), "")
    if band:
        parts.append(
            _bar((LEFT, WIDTH - RIGHT), (y(band[1]), y(band[0])), "usual", f"{band[0]:,.4g} to {band[1]:,.4g}")
        )
    for kind, values in lines.items():
        pairs = zip(days, values, strict=True)
        points = [((day - start).days, value) for day, value in pairs if math.isfinite(value)]
        parts.append(_line([(place, max(value, low)) for place, value in points], x, y, f"line {kind}"))
        if len(points) <= DOTTED:
            tips = [(place, value, start + timedelta(days=place)) for place, value in points]
            parts += [_dot(x(place), y(value), f"small {kind}", f"{day}: {value:,.4g}") for place, value, day in tips]
    if limit is not None:
        parts.append(
            f'<line class="threshold" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"/>'
        )
    number = (days[-1] - start).days + 1
    for place in range(0, number, math.ceil(number / 6)):
        moment = start + timedelta(days=place)
        parts.append(_text(x(place), HEIGHT - BOTTOM + 19, f"{moment.day} {moment:%b}"))
    return _svg(parts, label)


def stacked(names: Sequence[str], counts: Mapping[str, Sequence[int]], label: str) -> Markup:
    """Draw counts as bars side by side, the parts of each on top of one another.

    Parameters
    ----------
    names : sequence of str
        Of the bars, short ones; at least one. Of many, every few are written.
    counts : mapping of str to sequence of int
        By the class of the parts, from the bottom up: one number a bar.
    label : str
        What a screen reader says of the chart.
    """
    sums = [sum(parts) for parts in zip(*counts.values(), strict=True)]
    x = Axis(-0.5, len(names) - 0.5, LEFT, WIDTH - RIGHT)
    y = Axis(0, max([*sums, 1]) * 1.12, HEIGHT - BOTTOM, TOP)
    parts = _grid(None, y, [tick for tick in y.ticks(4) if tick == round(tick)], "")
    half, step = min((x(1) - x(0)) * 0.39, 28), math.ceil(len(names) / 7)
    for i, (name, whole) in enumerate(zip(names, sums, strict=True)):
        below = 0
        for kind, numbers in counts.items():
            if numbers[i]:
                down = y(below + numbers[i]), y(below)
                parts.append(_bar((x(i) - half, x(i) + half), down, kind, f"{name}: {numbers[i]:,} of {whole:,}"))
            below += numbers[i]
        if i % step == 0:
            parts.append(_text(x(i), HEIGHT - BOTTOM + 19, name))
        if whole and len(names) <= 10:
            parts.append(_text(x(i), y(whole) - 5, f"{whole:,}", kind="strong"))
    return _svg(parts, label)


def losses(epochs: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw the training and held-out loss of each epoch, and the epoch with the best held-out loss."""
    lines = {name: _points(epochs, key) for name, key in (("train", "train_loss"), ("held-out", "held_out_loss"))}
    values = [value for points in lines.values() for _, value in points] or [1.0]
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    is_log = low > 0 and high > 20 * low
    numbers = [int(epoch["epoch"]) for epoch in epochs]
    first, last = min(numbers), max(numbers)
    x = Axis(first - 0.5, last + 0.5, LEFT, WIDTH - RIGHT) if first == last else Axis(first, last, LEFT, WIDTH - RIGHT)
    bounds = (
        (low * 0.9, high * 1.1) if is_log else (max(0.0, low - margin) if low >= 0 else low - margin, high + margin)
    )
    y = Axis(*bounds, HEIGHT - BOTTOM, TOP, is_log=is_log)
    x_ticks = [tick for tick in x.ticks(6) if tick == round(tick)]
    parts = _grid(x, y, y.ticks(4), "epoch" + (" (loss on a log scale)" if is_log else ""), x_ticks=x_ticks)
    for name, points in lines.items():
        parts.append(_line(points, x, y, f"line {name}"))
    if lines["held-out"]:
        epoch, loss = min(lines["held-out"], key=lambda point: point[1])
        parts.append(_dot(x(epoch), y(loss), "best", f"best held-out loss {loss:.4g} in epoch {epoch:g}"))
    return _svg(parts, "Loss of each epoch")


def precision_recall(curve: PrecisionRecall, at: tuple[float, float] | None = None) -> Markup:
    """Draw precision over recall, the share of frauds as the line to beat, and the threshold's point.

    Parameters
    ----------
    curve : PrecisionRecall
    at : (recall, precision), optional
        What the threshold gives.
    """
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1.04, HEIGHT - BOTTOM, TOP)
    parts = _grid(x, y, [0, 0.25, 0.5, 0.75, 1], "recall: share of frauds flagged", x_ticks=[0, 0.25, 0.5, 0.75, 1])
    base = y(curve.base_rate)
    parts.append(f'<line class="expected" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base:.1f}" y2="{base:.1f}"/>')
    points = list(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
    parts.append(_line(points, x, y, "line curve"))
    if at is not None:
        tip = f"at the threshold: recall {percent(at[0])}, precision {percent(at[1])}"
        parts.append(_dot(x(at[0]), y(at[1]), "best", tip))
        side, shift = ("end", -9) if at[0] > 0.6 else ("start", 9)
        parts.append(_text(x(at[0]) + shift, y(at[1]) - 7, "threshold", kind="strong", anchor=side))
    return _svg(parts, "Precision over recall")


def threshold_curve(curve: CutCurve) -> Markup:
    """Draw how a threshold came about: the fit of the tail, or what each cut would give, and a dot at the threshold."""
    points = np.array([point for _, _, line in curve.lines for point in line] + [curve.at])
    x = _spread(points[:, 0], LEFT, WIDTH - RIGHT, is_log=curve.is_log[0])
    y = _spread(points[:, 1], HEIGHT - BOTTOM, TOP, is_log=curve.is_log[1])
    parts = _grid(x, y, y.ticks(4), curve.x_label)
    for kind, _, line in curve.lines:
        parts.append(_line(line, x, y, f"line {kind}"))
    tip = f"the threshold: {short_number(curve.at[0])}, {short_number(curve.at[1])}"
    parts.append(_dot(x(curve.at[0]), y(curve.at[1]), "best", tip))
    return _svg(parts, curve.title)


def over_blocks(names: Sequence[str], values: Sequence[Interval], label: str) -> Markup:
    """Draw a measure of each block with its interval as a bar of error; a block where it is undefined stays empty.

    Parameters
    ----------
    names : sequence of str
        Of the blocks, short ones.
    values : sequence of Interval
    label : str
        What a screen reader says of the chart.
    """
    ends = [end for interval in values for end in (interval.value, interval.low, interval.high)]
    ends = [end for end in ends if math.isfinite(end)] or [0, 1]
    margin = (max(ends) - min(ends)) * 0.1 or 0.05
    x = Axis(-0.5, len(names) - 0.5, LEFT, WIDTH - RIGHT)
    y = Axis(max(0.0, min(ends) - margin), max(ends) + margin, HEIGHT - BOTTOM, TOP)
    parts = _grid(None, y, y.ticks(4), "")
    points = [(float(i), interval.value) for i, interval in enumerate(values) if math.isfinite(interval.value)]
    parts.append(_line(points, x, y, "line curve") if points else "")
    step = math.ceil(len(names) / 9)
    for i, (name, interval) in enumerate(zip(names, values, strict=True)):
        if i % step == 0:
            parts.append(_text(x(i), HEIGHT - BOTTOM + 19, name))
        if math.isfinite(interval.low) and math.isfinite(interval.high):
            ends_at = f'y1="{y(interval.low):.1f}" y2="{y(interval.high):.1f}"'
            parts.append(f'<line class="error" x1="{x(i):.1f}" x2="{x(i):.1f}" {ends_at}/>')
        if math.isfinite(interval.value):
            parts.append(_dot(x(i), y(interval.value), "curve", f"{name}: {interval}"))
    return _svg(parts, label)


def banded(curves: Mapping[str, Curve], x_label: str, label: str, top: float = 1.0) -> Markup:
    """Draw curves with their bands.

    Parameters
    ----------
    curves : mapping of str to Curve
        By the class of their line: "curve", "train".
    x_label, label : str
    top : float
        Where the vertical axis ends.
    """
    most = max(float(curve.x[-1]) for curve in curves.values())
    x, y = Axis(0, most, LEFT, WIDTH - RIGHT), Axis(0, top * 1.04, HEIGHT - BOTTOM, TOP)
    parts = _grid(x, y, [top * tick for tick in (0, 0.25, 0.5, 0.75, 1)], x_label)
    for kind, curve in curves.items():
        inside = np.isfinite(curve.low) & np.isfinite(curve.high)
        edge = [*zip(curve.x[inside], curve.high[inside], strict=True)]
        edge += [*zip(curve.x[inside][::-1], curve.low[inside][::-1], strict=True)]
        parts.append(f'<polygon class="band {kind}" points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in edge)}"/>')
        some = np.isfinite(curve.value)
        parts.append(
            _line([*zip(curve.x[some].tolist(), curve.value[some].tolist(), strict=True)], x, y, f"line {kind}")
        )
    return _svg(parts, label)


def scatter(points: np.ndarray, ranks: np.ndarray, label: str) -> Markup:
    """Draw rows as points on a plane, alerts (``ranks`` above 0) as larger ones on top, the first ones last.

    The plane covers the middle 99 % of the rows that are no alerts and as much again around them; what lies beyond is
    drawn on its edge, so that one far alert doesn't press all others into a dot.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
    ranks : ndarray of int, shape (n_points,)
    label : str
        What a screen reader says of the chart.
    """
    low, high = np.quantile(points[ranks == 0], (0.005, 0.995), axis=0)
    reach = np.maximum(high - low, 1e-9 * max(1.0, float(np.abs(points).max())))
    low = np.maximum(points.min(axis=0), low - reach / 2) - reach * 0.03
    high = np.minimum(points.max(axis=0), high + reach / 2) + reach * 0.03
    margin = 10.0
    x = Axis(float(low[0]), float(high[0]), margin, WIDTH - margin)
    y = Axis(float(low[1]), float(high[1]), SQUARE - margin, margin)
    dots = "".join(f"M{x(a):.1f} {y(b):.1f}h.01" for a, b in points[ranks == 0].tolist())
    parts = [f'<path class="points" d="{dots}"/>']
    for place in np.argsort(-ranks, kind="stable")[: int((ranks > 0).sum())].tolist():
        at = x(points[place, 0]), y(points[place, 1])
        parts.append(_dot(*at, "alert-point", f"alert #{ranks[place]:,}"))
    return _svg(parts, label, SQUARE)


def amounts_over_time(points: Sequence[Amount], label: str) -> Markup:
    """Draw amounts over time, a dot a row; what stands out is drawn last, on top.

    Parameters
    ----------
    points : sequence of Amount
        At least one.
        `Amount.kind` is one of `ON_TOP`.
    label : str
        What a screen reader says of the chart.
    """
    moments = [point.at.replace(tzinfo=UTC).timestamp() for point in points]
    first, last = min(moments), max(moments)
    margin = (last - first) * 0.02 or 43200.0
    x = Axis(first - margin, last + margin, LEFT + 10, LOW_WIDTH - RIGHT)
    amounts = [point.amount for point in points]
    low, high = min(0.0, *amounts), max(0.0, *amounts) or 1.0
    is_log = min(amounts) > 0 and high > 50 * min(amounts)
    bounds = (min(amounts) / 1.3, high * 1.3) if is_log else (low * 1.1, high * 1.12)
    y = Axis(*bounds, LOW_HEIGHT - 24, 12, is_log=is_log)
    parts = []
    for tick in y.ticks(4):
        parts.append(f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(_text(x.start - 8, y(tick) + 4, short_number(tick), anchor="end"))
    parts.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    ends = ((0.0, "start"), (0.5, "middle"), (1.0, "end")) if last - first > 5 * 86_400 else ((0.0, "middle"),)
    for share, anchor in ends:
        day = datetime.fromtimestamp(first + share * (last - first), UTC)
        parts.append(_text(x(first + share * (last - first)), LOW_HEIGHT - 6, f"{day.day} {day:%b %Y}", anchor=anchor))
    for at, point in sorted(zip(moments, points, strict=True), key=lambda pair: ON_TOP.index(pair[1].kind)):
        size = 5.5 if point.kind == ON_TOP[-1] else 3.5
        spot = f'cx="{x(at):.1f}" cy="{y(point.amount):.1f}" r="{size}"'
        parts.append(f'<circle class="{point.kind}-row" {spot}><title>{_escaped(point.tip)}</title></circle>')
    return _svg(parts, label, LOW_HEIGHT, LOW_WIDTH)


def standalone(chart: Markup, legend: Mapping[str, str]) -> str:
    """Return a chart as an SVG file of its own, with its colours and a legend; light and dark as the reader's screen.

    Parameters
    ----------
    chart : Markup
        From a function of this file.
    legend : mapping of str to str
        By the class of what is drawn, such as "line curve", what it is; a class that the chart lacks is left out.
    """
    keys, place = [], LEFT
    for kind, name in legend.items():
        if f'class="{kind}"' in chart:
            if kind.startswith(("line", "expected")):
                keys.append(f'<polyline class="{kind}" points="{place},{HEIGHT + 12} {place + 16},{HEIGHT + 12}"/>')
            elif kind == "best":
                keys.append(_dot(place + 8, HEIGHT + 12, kind, name))
            else:
                keys.append(_bar((place, place + 16), (HEIGHT + 7, HEIGHT + 17), kind, name))
            keys.append(_text(place + 22, HEIGHT + 16, name, anchor="start"))
            place += 50 + 6.2 * len(name)
    style = environment().get_template("chart.css").render() + " svg { background: var(--card); }"
    size = f'viewBox="0 0 {WIDTH:g} {HEIGHT + 28:g}" width="{WIDTH:g}" height="{HEIGHT + 28:g}"'
    inner = str(chart).replace("<svg ", f'<svg width="{WIDTH:g}" height="{HEIGHT:g}" ', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {size}><style>{style}</style>'
        f"{inner}{''.join(keys)}</svg>\n"
    )


def _points(epochs: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    pairs = ((epoch["epoch"], epoch.get(key)) for epoch in epochs)
    return [(float(number), float(loss)) for number, loss in pairs if loss is not None and math.isfinite(loss)]


def _spread(values: np.ndarray, start: float, end: float, *, is_log: bool) -> Axis:
    """Return an axis that holds some values and a little more."""
    if is_log:
        values = values[values > 0]
        return Axis(float(values.min()) / 1.3, float(values.max()) * 1.3, start, end, is_log=True)
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or max(abs(high), 1.0) / 2
    return Axis(low if start < end else low - margin, high + margin, start, end)


def _svg(parts: Iterable[str], label: str, height: float = HEIGHT, width: float = WIDTH) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_escaped(label)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 (every text in the parts went through escape)


def _grid(
    x: Axis | None, y: Axis, y_ticks: Sequence[float], label: str, *, x_ticks: Sequence[float] | None = None
) -> list[str]:
    parts = []
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(_text(LEFT - 8, y(tick) + 4, short_number(tick), anchor="end"))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.start}" y2="{y.start}"/>')
    if x is not None:
        ticks = x.ticks() if x_ticks is None else x_ticks
        parts += [_text(x(tick), HEIGHT - BOTTOM + 18, short_number(tick)) for tick in ticks]
    if label:
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, label))
    return parts


def _bar(across: tuple[float, float], down: tuple[float, float], kind: str, tip: str) -> str:
    (left, right), (top, bottom) = across, down
    width, height = max(0.8, right - left), max(1.0, bottom - top)
    box = f'x="{left:.1f}" y="{bottom - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {box} rx="{min(2.0, width / 3):.1f}"><title>{_escaped(tip)}</title></rect>'


def _line(points: Sequence[tuple[float, float]], x: Axis, y: Axis, kind: str) -> str:
    if len(points) == 1:
        return _dot(x(points[0][0]), y(points[0][1]), kind, f"{points[0][1]:.4g}")
    return f'<polyline class="{kind}" points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)}"/>'


def _dot(x: float, y: float, kind: str, tip: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"><title>{_escaped(tip)}</title></circle>'


def _escaped(text: str) -> Markup:
    return escape(plain(text))


def _text(x: float, y: float, text: str, *, kind: str = "", anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_escaped(text)}</text>'
