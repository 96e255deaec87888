"""Without labels: anomalies made from real normal rows in known ways, and what the Detector makes of them.

They show whether the threshold catches what lies beyond everything usual in one column, and whether the first reason
names that column. They do not stand for fraud, which moves several columns at once and less far.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.evaluation.bootstrap import LEVEL, Interval
from pipeline.labels.known import taken_for_normal
from pipeline.scoring.reasons import assign
from pipeline.tables.parquet import take_rows

STEP = 6.0
PERTURBED_ROWS = 400
REPORTED_ROWS = 200  # an interval in a report may be wider than one that versions are compared by
READ = 20_000
KINDS = {
    "plus": f"one number {STEP:g} standard deviations above the highest",
    "minus": f"one number {STEP:g} standard deviations below the lowest",
    "swap": "one column with another row's value",
    "rare": "one category with a rare or new value",
}


@dataclass(frozen=True)
class Injected:
    """Injected anomalies of one kind, and what became of them.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    rows, flagged : int
        Perturbed rows, and those above the threshold; none of them was before.
    named, flagged_and_named : int
        Those whose first reason is the column that was perturbed (`Feature.source`: several features made from one
        column are told as one).
    """

    kind: str
    rows: int
    flagged: int
    named: int
    flagged_and_named: int

    @property
    def text(self) -> str:
        """What was done to the rows."""
        return KINDS[self.kind]

    @property
    def recall(self) -> Interval:
        """Share of the rows that were flagged, with its Wilson interval."""
        return share(self.flagged, self.rows)

    @property
    def top_reason(self) -> Interval:
        """Share of the rows whose first reason is the perturbed column, with its Wilson interval."""
        return share(self.named, self.rows)

    @property
    def figures(self) -> dict[str, float]:
        """What is defined, by the name it is logged under."""
        values = {
            f"injected_{self.kind}_recall": self.recall.value,
            f"injected_{self.kind}_top_reason": self.top_reason.value,
        }
        return {name: value for name, value in values.items() if not math.isnan(value)}


def share(part: int, whole: int, level: float = LEVEL) -> Interval:
    """Return a share with its Wilson score interval (Wilson, JASA 1927); nan of nothing.

    Examples
    --------
    >>> print(share(95, 100))
    .950 (.901 to .975)
    """
    from scipy.stats import binomtest

    if not whole:
        return Interval(math.nan, math.nan, math.nan)
    low, high = binomtest(part, whole).proportion_ci(level, method="wilson")
    return Interval(part / whole, float(low), float(high))


def inject(detector: Detector, matrix: np.ndarray, rows: int = PERTURBED_ROWS, seed: int = 0) -> list[Injected]:
    """Perturb encoded normal rows in one column each, and count what is flagged and what is named for it.

    Each perturbed row is a random one of those that are not flagged as they are, changed in a random feature: all
    features have the same chance, so the counts are means over rows and features. Numbers go beyond the highest, or
    the lowest, that these rows have, in standard deviations of the fit rows; no number goes below where only high ones
    speak for fraud (`Feature.direction`). A swap changes all columns of a feature and the value of it; a
    rare value is the encoder's column of rare and new ones. Flagged is what lies above `Detector.threshold`: with cuts
    by segment that is the common one, with one by batch the lowest that there can be.

    Parameters
    ----------
    detector : Detector
    matrix : ndarray of shape (n_rows, n_columns)
        Encoded rows that are normal, as far as is known, and took no part in fitting.
    rows : int
        Perturbed rows of each kind, at most.
    seed : int

    Returns
    -------
    list of Injected
        In the order of `KINDS`; a kind that no feature takes is left out, and all where every row is flagged already.
    """
    calm = matrix[detector.matrix_scores(matrix) <= detector.threshold] if len(matrix) else matrix
    return _inject(detector, calm, rows, seed)


def _inject(detector: Detector, calm: np.ndarray, rows: int, seed: int) -> list[Injected]:
    """Perturb rows none of which is flagged, as `inject` does."""
    if not len(calm):
        return []
    results = []
    for number, (kind, change) in enumerate(CHANGES.items()):
        rng = np.random.default_rng([seed, number])
        perturbed, features = change(detector, calm, rows, rng)
        if not len(perturbed):
            continue
        flagged = detector.matrix_scores(perturbed) > detector.threshold
        sources = {feature.name: feature.source for feature in detector.features}
        named = assign(detector, perturbed).top == np.array([sources[name] for name in features], dtype=object)
        results.append(
            Injected(kind, len(perturbed), int(flagged.sum()), int(named.sum()), int((flagged & named).sum()))
        )
    return results


def inject_into(
    features: Path,
    detector: Detector,
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    rows: int = REPORTED_ROWS,
    seed: int = 0,
) -> list[Injected]:
    """Read a feature table's normal rows, as far as labels are known as of the fit, and :func:`inject` into them.

    Where no label was known by then, as of rows that came after the fit, every row is taken: few are fraud, and those
    that look like it are flagged and left out.

    Parameters
    ----------
    features : Path
        Rows that took no part in fitting; of a large table about 20,000 are looked at, evenly spread.
    detector : Detector
    scores : ndarray of float64, shape (n_rows,)
        What the detector makes of them.
    labels : ndarray of float64, shape (n_rows,)
        What is known of them as of the fit: 1 fraud, 0 normal, nan not known.
    rows, seed : int
    """
    places = np.arange(0, len(scores), -(-len(scores) // READ) or 1)
    row_labels = labels[places]
    in_table = detector.config.contract.label in pq.read_schema(features).names and not np.isnan(row_labels).all()
    places = places[taken_for_normal(row_labels, in_table=in_table) & (scores[places] <= detector.threshold)]
    if not len(places):
        return []
    columns = list(dict.fromkeys(feature.column for feature in detector.features))
    return _inject(detector, detector.encoder.transform(take_rows(features, places, columns)), rows, seed)


def _moved(step: float) -> "Change":
    def change(
        detector: Detector, calm: np.ndarray, rows: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[str]]:
        one_sided = {feature.name for feature in detector.features if step < 0 and feature.direction == "above"}
        columns = [
            (place, column)
            for place, column in enumerate(detector.encoder.columns)
            if column.role == "value" and column.feature not in one_sided
        ]
        if not columns:
            return calm[:0], []
        perturbed = calm[rng.integers(0, len(calm), rows)].copy()
        picks = rng.integers(0, len(columns), rows)
        places = np.array([place for place, _ in columns])[picks]
        ends = calm.max(axis=0) if step > 0 else calm.min(axis=0)
        perturbed[np.arange(rows), places] = ends[places] + step
        return perturbed, [columns[number][1].feature for number in picks]

    return change


def _swapped(detector: Detector, calm: np.ndarray, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    names = [feature.name for feature in detector.features if detector.encoder.places_of(feature.name)]
    parts, changed = [], []
    picks = rng.integers(0, len(names), rows)
    for number, name in enumerate(names):
        places = detector.encoder.places_of(name)
        count = int((picks == number).sum())
        originals, others = (calm[rng.integers(0, len(calm), count)] for _ in range(2))
        perturbed = originals.copy()
        perturbed[:, places] = others[:, places]
        differs = (perturbed != originals).any(axis=1)
        parts.append(perturbed[differs])
        changed += [name] * int(differs.sum())
    return np.concatenate(parts), changed


def _rare(detector: Detector, calm: np.ndarray, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    groups = {
        feature.name: detector.encoder.places_of(feature.name)
        for feature in detector.features
        if feature.kind == "category"
    }
    parts, changed = [calm[:0]], []
    picks = rng.integers(0, max(len(groups), 1), rows)
    for number, (name, places) in enumerate(groups.items()):
        originals = calm[calm[:, places[-1]] < 0.5]  # the last column is that of rare and new values
        count = int((picks == number).sum()) if len(originals) else 0
        perturbed = originals[rng.integers(0, max(len(originals), 1), count)].copy()
        perturbed[:, places] = 0
        perturbed[:, places[-1]] = 1
        parts.append(perturbed)
        changed += [name] * count
    return np.concatenate(parts), changed


Change = Callable[[Detector, np.ndarray, int, np.random.Generator], tuple[np.ndarray, list[str]]]
CHANGES: dict[str, Change] = {"plus": _moved(STEP), "minus": _moved(-STEP), "swap": _swapped, "rare": _rare}
