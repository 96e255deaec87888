"""How far the data of two periods lie apart, feature by feature: the population stability index."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.detector.usual import BINS, CATEGORIES, stability_index
from pipeline.features import Feature
from pipeline.settings.contract import Contract
from pipeline.settings.sensitive import MASK, is_telling

SOME, MUCH = 0.1, 0.25
"""Customary bounds of the index: below the first little has changed, from the second on much."""


@dataclass(frozen=True)
class Drift:
    """A drift: how far a feature moved.

    Parameters
    ----------
    feature : str
    index : float
        Population stability index, 0 or more.
    before, after : str
        The median, or the most frequent value, in the two periods.
    """

    feature: str
    index: float
    before: str
    after: str

    @property
    def verdict(self) -> str:
        """How much that is, in the customary words: "little", "some" or "much"."""
        return "much" if self.index >= MUCH else "some" if self.index >= SOME else "little"


def drifts(before: Path, after: Path, features: Sequence[Feature], contract: Contract) -> list[Drift]:
    """Return the drift of every feature between two feature tables, the largest first.

    Numbers are counted between the deciles of `before`, missing ones apart; categories by value, the 50 most frequent
    ones and the rest. One column is held in memory at a time.

    Parameters
    ----------
    before, after : Path
        Feature tables (Parquet).
    features : sequence of Feature
        Those that both tables have.
    contract : Contract
        Its sensitive columns have their usual values masked; how far they moved is told.
    """
    results = []
    for feature in features:
        one, other = (pq.read_table(path, columns=[feature.column]).column(0) for path in (before, after))
        if feature.kind == "category":
            counts, usual = _categories(one, other)
        else:
            counts, usual = _numbers(*(np.asarray(part.cast("double"), dtype=np.float64) for part in (one, other)))
        if is_telling(feature.source, contract):
            usual = [MASK, MASK]
        results.append(Drift(feature.name, stability_index(*counts), *usual))
    return sorted(results, key=lambda drift: -drift.index)


def _numbers(before: np.ndarray, after: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    finite = [part[np.isfinite(part)] for part in (before, after)]
    inner = np.unique(np.quantile(finite[0], np.linspace(0, 1, BINS + 1)[1:-1])) if len(finite[0]) else np.empty(0)
    counts = []
    for part, every in zip(finite, (before, after), strict=True):
        places = np.searchsorted(inner, part, side="left")
        counts.append(np.append(np.bincount(places, minlength=len(inner) + 1), len(every) - len(part)))
    return counts, [f"{np.median(part):.4g}" if len(part) else "none" for part in finite]


def _categories(before: object, after: object) -> tuple[list[np.ndarray], list[str]]:
    tables = []
    for part in (before, after):
        counted = pc.value_counts(pc.fill_null(part.cast("string"), "missing"))  # type: ignore[attr-defined]
        tables.append(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))
    most = sorted(tables[0], key=lambda value: -tables[0][value])[:CATEGORIES]
    counts = [
        np.array([*(table.get(value, 0) for value in most), sum(table.values()) - sum(table.get(v, 0) for v in most)])
        for table in tables
    ]
    return counts, [max(table, key=lambda value: table[value], default="none") for table in tables]
