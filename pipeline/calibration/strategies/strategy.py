"""What every strategy gives, a cut before scoring and what came of it afterwards, and what several of them need."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.realised import Realised
from pipeline.calibration.threshold import CutCurve, Fulfilment, Threshold
from pipeline.errors import TrainingError


class BatchLine(Protocol):
    """Draws the line of a batch whose scores come in parts."""

    def add(self, scores: np.ndarray, segments: pa.Array | pa.ChunkedArray | None) -> None:
        """Look at the next scores of the batch, shape (n_rows,), and their values of ``threshold.segment``."""

    def drawn(self) -> Threshold:
        """Return the threshold with the cuts of this batch."""


class Strategy(ABC):
    """A strategy draws the line between an alert and the rest, and says what that promises.

    A strategy is a keyword-only dataclass of its settings, named in `pipeline.calibration.strategies.choice`.
    """

    name: ClassVar[str]
    is_of_all_rows: ClassVar[bool] = False
    """Whether the promise is one about all rows together, also where segments have cuts of their own."""

    @abstractmethod
    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the threshold for rows that took no part in fitting.

        Parameters
        ----------
        rows : ScoredRows

        Raises
        ------
        TrainingError
            When the strategy cannot keep its promise with these rows.
        """

    @abstractmethod
    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Return what a scored batch came to, held against the promise.

        Parameters
        ----------
        threshold : Threshold
            From `solve`, without parts.
        realised : Realised
            What came of the batch, with the labels known by now.
        """

    def line(self, threshold: Threshold, held_out: ScoredRows) -> BatchLine | None:
        """Return what draws the line of a batch from all its scores; None where the cuts are fixed.

        Parameters
        ----------
        threshold : Threshold
            From `solve`, with its parts.
        held_out : ScoredRows
            The rows that it was solved on.
        """
        return None

    def split(self, rows: ScoredRows, masks: Mapping[str, np.ndarray], common: Threshold) -> dict[str, Threshold]:
        """Return a threshold for each group of rows that can have one of its own."""
        parts = {}
        for value, mask in masks.items():
            try:
                parts[value] = self.solve(rows.take(mask))
            except TrainingError:
                continue  # too few rows for what is asked: the common cut
        return parts

    def join(self, common: Threshold, rows: ScoredRows, flags: np.ndarray) -> Threshold:
        """Return the threshold of all rows with what it promises once groups have cuts of their own."""
        alerts_per_day, share = _volume(rows, flags)
        return replace(common, alerts_per_day=alerts_per_day, alert_share=share)

    def curve(self, threshold: Threshold, rows: ScoredRows) -> CutCurve | None:
        """Return the chart of how the threshold came about, from the rows that it was solved on."""
        return None

    def _threshold(self, value: float, rows: ScoredRows, promise: str, **facts: float) -> Threshold:
        """Return a threshold of this strategy with the volume that the rows lead one to expect."""
        settings = asdict(self)  # type: ignore[call-overload]
        volume = _volume(rows, rows.scores > value)
        return Threshold(value, self.name, *volume, promise=promise, settings=settings, facts=facts)


def _volume(rows: ScoredRows, flags: np.ndarray) -> tuple[float, float]:
    """Return the alerts a day, and their share of the rows."""
    alerts = int(np.count_nonzero(flags))
    return alerts / rows.days, alerts / max(len(rows), 1)


def labelled_rows(rows: ScoredRows, strategy: str) -> tuple[np.ndarray, np.ndarray, ScoredRows]:
    """Return the scores and frauds of the rows whose label is known, highest score first, and these rows.

    Parameters
    ----------
    rows : ScoredRows
    strategy : str
        The name of the strategy that learns from labels, for the message.

    Returns
    -------
    scores : array of float64, shape (n_labelled,)
        Falling.
    is_fraud : array of bool, shape (n_labelled,)
    labelled : ScoredRows

    Raises
    ------
    TrainingError
        When not both fraud and normal rows are among them.
    """
    labelled = rows.take(~np.isnan(rows.labels))
    frauds = int((labelled.labels == 1).sum())
    if not 0 < frauds < len(labelled):
        raise TrainingError(
            f"threshold.strategy = {strategy!r} learns from labels, and of the {len(rows):,} rows held out for "
            f"calibration {len(labelled):,} have a known one, {frauds:,} of them fraud; train on a period with known "
            "frauds in its last part, or take false_alert_rate or capacity"
        )
    labelled = labelled.take(np.argsort(-labelled.scores, kind="stable"))
    return labelled.scores, labelled.labels == 1, labelled


def steps(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every cut that flags another number of rows, and that number.

    Parameters
    ----------
    scores : array of shape (n_rows,)
        Falling.

    Returns
    -------
    cuts, alerts : arrays of shape (n_cuts,)
        The cut is the highest score that is not flagged; the last one, below all scores, flags every row.

    Examples
    --------
    >>> cuts, alerts = steps(np.array([9.0, 7.0, 7.0, 4.0]))
    >>> cuts[:2].tolist(), alerts.tolist()
    ([7.0, 4.0], [1, 3, 4])
    """
    last = np.append(np.flatnonzero(np.diff(scores) != 0), len(scores) - 1)
    cuts = np.append(scores[last[:-1] + 1], np.nextafter(scores[-1], -np.inf))
    return cuts, last + 1


def thinned(x: np.ndarray, y: np.ndarray, points: int = 200) -> list[tuple[float, float]]:
    """Return at most so many points (x, y) of a line, the first and the last among them.

    Examples
    --------
    >>> thinned(np.arange(5.0), np.arange(5.0) ** 2, 3)
    [(0.0, 0.0), (2.0, 4.0), (4.0, 16.0)]
    """
    places = np.unique(np.linspace(0, len(x) - 1, min(points, len(x))).round().astype(int))
    return list(zip(x[places].tolist(), y[places].tolist(), strict=True))
