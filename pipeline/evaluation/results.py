"""What a backtest came to: each block, all blocks together and each segment, as tables for people and for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.evaluation.backtest import Tested
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.curves import Curve, found_over_alerts, precision_over_recall
from pipeline.evaluation.measures import K, Outcomes, measure
from pipeline.numbers import narrow_number

Measures = Mapping[str, Interval]
MOST_SEGMENTS = 20


@dataclass(frozen=True)
class Result:
    """A backtest's result: its measures, each with its interval.

    Attributes
    ----------
    tested : sequence of Tested
    k : int
        Rows, and cards, a day.
    of_blocks : list of mappings
        The measures of each block.
    pooled : mapping
        Of all blocks: the mean for measures over all thresholds, else of all rows together.
    of_segments : dict of str to mapping
        Of all blocks, for each value of the segment's column.
    precision, found, money : Curve or None
        Means over the blocks: precision over recall, share of the frauds and of their amount over alerts a day.
    """

    tested: Sequence[Tested]
    k: int
    of_blocks: list[Measures]
    pooled: Measures
    of_segments: dict[str, Measures]
    precision: Curve | None
    found: Curve | None
    money: Curve | None

    @property
    def columns(self) -> dict[str, str]:
        """The measures that the tables for people show: by name, their headings."""
        return {
            "auroc": "AUROC",
            "average_precision": "AP",
            f"card_precision_at_{self.k}": f"CP@{self.k}",
            "recall": "recall",
            "money_recall": "money",
            "precision": "precision",
            "alerts_per_day": "alerts/day",
        }

    @property
    def rows(self) -> list[dict[str, str]]:
        """A row a block and one for all, for the terminal: value, and the interval on a second line."""
        lines = [
            self._row(item.block.short, [item.outcomes], measures)
            for item, measures in zip(self.tested, self.of_blocks, strict=True)
        ]
        return [*lines, self._row("all", [item.outcomes for item in self.tested], self.pooled)]

    @property
    def segment_rows(self) -> list[dict[str, str]]:
        """A row a segment, like those of the blocks; a long value is cut off."""
        return [self._row(short_text(name), None, measures) for name, measures in self.of_segments.items()]

    @property
    def figures(self) -> dict[str, float]:
        """The measures of all blocks and the ends of their intervals, as far as defined, by the names to log."""
        return figures(self.pooled)

    @property
    def left_out(self) -> str:
        """What the intervals hold, and what they leave out."""
        return self.tested[0].outcomes.left_out

    def table(self) -> pa.Table:
        """Return one row a block (none: all of them), segment (none: all rows) and measure."""
        rows: list[tuple[int | None, str | None, str | None, str, Interval]] = []
        for item, measures in zip(self.tested, self.of_blocks, strict=True):
            number, days = item.block.number, item.block.name
            rows += [(number, days, None, name, interval) for name, interval in measures.items()]
        rows += [(None, None, None, name, interval) for name, interval in self.pooled.items()]
        for segment, measures in self.of_segments.items():
            rows += [(None, None, segment, name, interval) for name, interval in measures.items()]
        return pa.table(
            {
                "block": pa.array([row[0] for row in rows], pa.int64()),
                "days": pa.array([row[1] for row in rows], pa.string()),
                "segment": pa.array([row[2] for row in rows], pa.string()),
                "measure": pa.array([row[3] for row in rows], pa.string()),
                **{
                    end: pa.array([_finite(getattr(row[4], end)) for row in rows], pa.float64())
                    for end in ("value", "low", "high")
                },
            }
        )

    def to_json(self, settings: Mapping[str, object]) -> str:
        """Return everything as JSON, null where undefined."""
        content = {
            "settings": dict(settings),
            "intervals": self.left_out,
            "blocks": [
                {
                    "block": item.block.number,
                    "train": [str(item.block.train_first), str(item.block.train_last)],
                    "test": [str(item.block.test_first), str(item.block.test_last)],
                    **counts(item),
                    "threshold": item.threshold,
                    "fit_rows": item.summary["fit_rows"],
                    "fit_seconds": round(item.seconds, 3),
                    "agreement_with_the_block_before": item.before.figures if item.before else None,
                    "agreement_with_another_seed": item.again.figures if item.again else None,
                    "measures": _plain(measures),
                }
                for item, measures in zip(self.tested, self.of_blocks, strict=True)
            ],
            "all": _plain(self.pooled),
            "segments": {name: _plain(measures) for name, measures in self.of_segments.items()},
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def _row(self, name: str, parts: Sequence[Outcomes] | None, measures: Measures) -> dict[str, str]:
        row = {"tested": name}
        if parts is not None:
            row["rows"] = f"{sum(len(part.scores) for part in parts):,}"
            row["frauds"] = f"{sum(int((part.labels == 1).sum()) for part in parts):,}"
        for measure_name, heading in self.columns.items():
            row[heading] = cell(measures.get(measure_name), 0 if measure_name == "alerts_per_day" else 3)
        return row


def summarise(tested: Sequence[Tested], of_blocks: Sequence[Measures] = (), k: int = K) -> Result:
    """Measure the blocks, all of them together, and the segments.

    Parameters
    ----------
    tested : sequence of Tested
    of_blocks : sequence of mappings, optional
        The measures of each block, where they are known already.
    k : int
    """
    parts = [item.outcomes for item in tested]
    of_segments: dict[str, Measures] = {}
    if all(item.segments is not None for item in tested):
        values = pd.Series(np.concatenate([np.asarray(item.segments, dtype=object) for item in tested]))
        for name in [*values.value_counts().index[:MOST_SEGMENTS], *([None] if values.isna().any() else [])]:
            segment_parts = [_of_segment(item, name) for item in tested]
            text = "(missing)" if name is None else str(name)
            of_segments[text] = measure([part for part in segment_parts if len(part.scores)], k)
    return Result(
        tested=tested,
        k=k,
        of_blocks=list(of_blocks) or [measure(part, k) for part in parts],
        pooled=measure(parts, k),
        of_segments=of_segments,
        precision=precision_over_recall(parts),
        found=found_over_alerts(parts),
        money=found_over_alerts(parts, by_amount=True),
    )


def counts(item: Tested) -> dict[str, int]:
    """Return the rows of a block's test: measured, of which frauds, flagged and without a known label; left out."""
    labels = item.outcomes.labels
    return {
        "rows": len(labels),
        "frauds": int((labels == 1).sum()),
        "flagged": int(item.outcomes.flagged.sum()),
        "without_label": int(np.isnan(labels).sum()),
        "left_out": item.left_out,
        "left_out_frauds": item.left_out_frauds,
    }


def figures(measures: Measures) -> dict[str, float]:
    """Return the measures that are defined, and the ends of their intervals with ``_low`` and ``_high`` behind."""
    values: dict[str, float] = {}
    for name, interval in measures.items():
        values |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def short_text(value: str, most: int = 24) -> str:
    r"""Return a cell's text for a narrow column: on one line, without control characters, cut off where it is long.

    Examples
    --------
    >>> short_text("chip"), short_text("a\x1b[31m b" + "c" * 90)
    ('chip', 'a [31m bccccccccccccccc…')
    """
    text = "".join(letter if letter.isprintable() else " " for letter in value)
    return text if len(text) <= most else text[: most - 1] + "…"


def cell(interval: Interval | None, digits: int = 3) -> str:
    r"""Return a measure for a narrow column: the value, and its interval on a second line.

    Examples
    --------
    >>> cell(Interval(0.6394, 0.6012, 0.672)), cell(Interval(97.2, 80.1, 110.0), 0), cell(None)
    ('.639\n.60-.67', '97\n80-110', '-')
    """
    if interval is None or math.isnan(interval.value):
        return "-"
    value = narrow_number(interval.value, digits)
    if math.isnan(interval.low) or math.isnan(interval.high):
        return value
    low, high = (narrow_number(end, max(digits - 1, 0)) for end in (interval.low, interval.high))
    return f"{value}\n{low}-{high}"


def _of_segment(item: Tested, name: Any) -> Outcomes:
    values = np.asarray(item.segments, dtype=object)
    return item.outcomes.where(pd.isna(values) if name is None else np.asarray(values == name))


def _plain(measures: Measures) -> dict[str, dict[str, float | None]]:
    return {
        name: {end: _finite(getattr(interval, end)) for end in ("value", "low", "high")}
        for name, interval in measures.items()
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
