"""Without labels: how far two models, or two fits of one, agree on the same rows."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.evaluation.measures import top_of_days
from pipeline.labels.known import Labels
from pipeline.numbers import metric, percent
from pipeline.settings.config import Config
from pipeline.tables.parquet import filter_rows, read_batches
from pipeline.tables.period import local_days


@dataclass(frozen=True)
class Agreement:
    """An agreement: how far two scores of the same rows go together.

    Attributes
    ----------
    rank_correlation : float
        Spearman's, in -1..1; nan where either score never varies.
    overlap : float
        Share of the k rows a day with the highest score that both have in common, in 0..1.
    chance : float
        The overlap to expect of scores that have nothing to do with each other.
    k : int
    both, only_first, only_second : int
        Rows flagged by both, and by one only.
    """

    rank_correlation: float
    overlap: float
    chance: float
    k: int
    both: int
    only_first: int
    only_second: int

    @property
    def figures(self) -> dict[str, float]:
        """What is defined, by the name it is logged under."""
        flagged = self.both + self.only_first + self.only_second
        values = {
            "rank_correlation": self.rank_correlation,
            f"overlap_at_{self.k}": self.overlap,
            "flagged_by_both": self.both / flagged if flagged else math.nan,
        }
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def __str__(self) -> str:
        """Return the agreement in a sentence."""
        return (
            f"ranks correlate by {metric(self.rank_correlation)}; of the {self.k:,} highest rows a day "
            f"{percent(self.overlap)} are the same (by chance {percent(self.chance)}); {self.both:,} rows are "
            f"flagged by both, {self.only_first:,} by the first only and {self.only_second:,} by the second only"
        )


def agreement(
    first: np.ndarray,
    second: np.ndarray,
    *,
    days: np.ndarray,
    k: int = 100,
    flagged: tuple[np.ndarray, np.ndarray] | None = None,
) -> Agreement:
    """Compare two scores of the same rows; they need not be on one scale.

    Parameters
    ----------
    first, second : ndarray of float, shape (n_rows,)
        Higher = more anomalous.
    days : ndarray, shape (n_rows,)
    k : int
        Rows a day.
    flagged : two ndarrays of bool, shape (n_rows,), optional
        What each flags.

    Examples
    --------
    >>> scores, days = np.arange(8.0), np.zeros(8)
    >>> result = agreement(scores, scores ** 3, days=days, k=2)
    >>> result.rank_correlation, result.overlap, result.chance
    (1.0, 1.0, 0.25)
    """
    from scipy.stats import spearmanr

    varies = len(first) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
    correlation = float(spearmanr(first, second).statistic) if varies else math.nan
    one, other = top_of_days(days, first, k), top_of_days(days, second, k)
    sizes = np.unique(days, return_counts=True)[1]
    top = np.minimum(sizes, k)
    one_flags, other_flags = flagged or (np.zeros(len(first), bool), np.zeros(len(first), bool))
    return Agreement(
        rank_correlation=round(correlation, 12),
        overlap=float((one & other).sum() / one.sum()) if one.any() else math.nan,
        chance=float((top * top / sizes).sum() / top.sum()) if len(sizes) else math.nan,
        k=k,
        both=int((one_flags & other_flags).sum()),
        only_first=int((one_flags & ~other_flags).sum()),
        only_second=int((~one_flags & other_flags).sum()),
    )


def stability(
    detector: Detector, train: Path, rows: Path, labels: Labels, *, k: int = 100, halves: bool = False
) -> Agreement:
    """Fit a detector again, with another seed, and say how far its scores of some rows agree with the first one's.

    Parameters
    ----------
    detector : Detector
    train : Path
        The feature table that it was fitted on.
    rows : Path
        The feature table to score: rows that took no part in fitting.
    labels : Labels
        As for the fit.
    k : int
        Rows a day.
    halves : bool
        Compare two fits instead, each on a random half of the training rows: that shows, besides the chance in
        fitting, what other rows would have taught.
    """
    config, as_of = detector.config, detector.as_of
    if not halves:
        other = Detector.fit(train, _seeded(config, config.model.seed + 1), labels, as_of)
        return _compare(detector, other, rows, k)
    first = np.random.default_rng(config.model.seed).permutation(pq.read_metadata(train).num_rows) % 2 == 0
    fits = []
    for number, half in enumerate((first, ~first)):
        path = train.with_name(f".{train.stem}-half-{number}.parquet")
        filter_rows(train, path, half)
        try:
            fits.append(Detector.fit(path, config, labels, as_of))
        finally:
            path.unlink()
    one, other = fits
    return _compare(one, other, rows, k)


def scores_and_flags(detector: Detector, rows: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of a feature table's rows and which are flagged, in its order; both of shape (n_rows,)."""
    parts = [batch.column("anomaly_score").to_numpy() for batch in detector.score(read_batches(rows))]
    scores = np.concatenate(parts) if parts else np.empty(0)
    segment = detector.cut.segment
    segments = pq.read_table(rows, columns=[segment])[segment] if segment else None
    return scores, scores > detector.cuts(scores, segments)


def _compare(one: Detector, other: Detector, rows: Path, k: int) -> Agreement:
    (first, one_flags), (second, other_flags) = scores_and_flags(one, rows), scores_and_flags(other, rows)
    config = one.config
    moments = pq.read_table(rows, columns=[config.contract.timestamp]).column(0)
    return agreement(
        first, second, days=local_days(moments, config.table.time_zone), k=k, flagged=(one_flags, other_flags)
    )


def _seeded(config: Config, seed: int) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"seed": seed})})
