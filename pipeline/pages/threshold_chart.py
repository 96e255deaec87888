"""The chart of how a threshold came about: the fit of the tail, or what each cut would give."""

import numpy as np
from markupsafe import Markup

from pipeline.calibration.threshold import CutCurve
from pipeline.numbers import short_number
from pipeline.pages.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, _dot, _grid, _line, _svg


def threshold_curve(curve: CutCurve) -> Markup:
    """Draw the lines of a curve, and a dot where the threshold lies."""
    points = np.array([point for _, _, line in curve.lines for point in line] + [curve.at])
    x = _axis(points[:, 0], LEFT, WIDTH - RIGHT, curve.is_log[0])
    y = _axis(points[:, 1], HEIGHT - BOTTOM, TOP, curve.is_log[1])
    parts = _grid(x, y, y.ticks(4), curve.x_label)
    for kind, _, line in curve.lines:
        parts.append(_line(line, x, y, f"line {kind}"))
    tip = f"the threshold: {short_number(curve.at[0])}, {short_number(curve.at[1])}"
    parts.append(_dot(x(curve.at[0]), y(curve.at[1]), "best", tip))
    return _svg(parts, curve.title)


def _axis(values: np.ndarray, start: float, end: float, is_log: bool) -> Axis:
    if is_log:
        values = values[values > 0]
        return Axis(float(values.min()) / 1.3, float(values.max()) * 1.3, start, end, True)
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or max(abs(high), 1.0) / 2
    return Axis(low if start < end else low - margin, high + margin, start, end)
