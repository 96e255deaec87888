"""What every strategy gives: a threshold before scoring, what came of it afterwards, and the words for both."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from pipeline.calibration.held_out import ScoredRows, segment
from pipeline.errors import TrainingError


@dataclass(frozen=True)
class Threshold:
    """A cut through the scores, and what it promises. A row is flagged when its score is strictly above the cut.

    Parameters
    ----------
    value : float
        Rows with a score at or below it are never flagged. All above it are, unless `parts` has a cut of their own
        or the strategy draws the line for each batch (`is_per_batch`).
    strategy : str
    alerts_per_day : float
        Expected alerts a day, among rows like those that it was solved on.
    alert_share : float
        Expected share of rows flagged, in [0, 1].
    promise : str
        One sentence: what to expect, and under which condition.
    settings : dict
        Those of the strategy.
    facts : dict of str to float
        What the strategy found, and needs again to hold a batch against its promise.
    segment : str
        Column that has cuts of its own by value; "" for one cut for all.
    parts : dict of str to Threshold
        By value of that column; other values share the common cut.
    """

    value: float
    strategy: str
    alerts_per_day: float
    alert_share: float
    promise: str
    settings: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    segment: str = ""
    parts: dict[str, "Threshold"] = field(default_factory=dict)

    @property
    def is_per_batch(self) -> bool:
        """Whether the line is drawn anew for each batch, so that a single row cannot be judged."""
        return self.strategy == "fdr"

    def fixed_cuts(self, segments: pa.Array | pa.ChunkedArray | None) -> float | np.ndarray:
        """Return the cut of each row, or the one cut of all.

        Parameters
        ----------
        segments : pa.Array of shape (n_rows,), or None
            Values of the column `segment`; needed where there is one.
        """
        if not self.parts:
            return self.value
        if segments is None:
            raise ValueError(f"the threshold goes by {self.segment!r}; give that column's values")
        encoded = segment(segments)
        own = [
            self.parts[value].value if value in self.parts else self.value for value in encoded.dictionary.to_pylist()
        ]
        places = encoded.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)
        return np.array([*own, self.value])[places]

    def to_dict(self) -> dict[str, Any]:
        """Return the threshold as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(**{**raw, "parts": {value: cls.from_dict(part) for value, part in raw["parts"].items()}})


@dataclass(frozen=True)
class Fulfilment:
    """What came after scoring, held against the promise.

    Attributes
    ----------
    text : str
        One sentence.
    is_inside : bool or None
        Whether it lies inside the interval that was promised; None where nothing was, or too little is known.
    """

    text: str
    is_inside: bool | None = None


@dataclass(frozen=True)
class CutCurve:
    """A chart of how a threshold came about.

    Attributes
    ----------
    title, text, x_label : str
    lines : sequence of (kind, label, points)
        ``kind`` is a class of the style sheet, ``label`` is what the legend says ("" for nothing), points are (x, y).
    at : (x, y)
        Where the cut lies.
    is_log : (bool, bool)
        Whether x and y are on a logarithmic scale.
    """

    title: str
    text: str
    x_label: str
    lines: Sequence[tuple[str, str, list[tuple[float, float]]]]
    at: tuple[float, float]
    is_log: tuple[bool, bool] = (False, False)


class Strategy(ABC):
    """Draws the line between an alert and the rest, and says what that promises.

    A strategy is a keyword-only dataclass of its settings, named in ``pipeline.calibration.strategies.STRATEGIES``.
    """

    name: ClassVar[str]
    is_of_all_rows: ClassVar[bool] = False
    """Whether the promise is one about all rows together, also where segments have cuts of their own."""

    @abstractmethod
    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the threshold for rows that took no part in fitting.

        Raises
        ------
        TrainingError
            When it cannot be kept with these rows.
        """

    @abstractmethod
    def fulfilment(self, threshold: Threshold, rows: ScoredRows, flags: np.ndarray) -> Fulfilment:
        """Hold a scored batch against the promise.

        Parameters
        ----------
        threshold : Threshold
            Made by `solve`, without parts.
        rows : ScoredRows
            Of the batch, with the labels known by now.
        flags : array of bool, shape (n_rows,)
        """

    def cuts(
        self,
        threshold: Threshold,
        scores: np.ndarray,
        segments: pa.Array | pa.ChunkedArray | None,
        held_out: ScoredRows,
    ) -> float | np.ndarray:
        """Return the cut of each row of a batch, or the one of all; only per-batch strategies look at the scores."""
        return threshold.fixed_cuts(segments)

    def split(self, rows: ScoredRows, masks: Mapping[str, np.ndarray], common: Threshold) -> dict[str, Threshold]:
        """Return a threshold for each group of rows that can have one of its own."""
        found = {}
        for value, mask in masks.items():
            try:
                found[value] = self.solve(rows.take(mask))
            except TrainingError:
                continue  # too few rows for what is asked: the common cut
        return found

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
    flagged = int(np.count_nonzero(flags))
    return flagged / rows.days, flagged / max(len(rows), 1)


def known_rows(rows: ScoredRows, strategy: str) -> tuple[np.ndarray, np.ndarray, ScoredRows]:
    """Return the scores and frauds of the rows whose label is known, highest score first, and these rows.

    Raises
    ------
    TrainingError
        When not both kinds are among them.
    """
    known = rows.take(~np.isnan(rows.labels))
    frauds = int((known.labels == 1).sum())
    if not 0 < frauds < len(known):
        raise TrainingError(
            f"threshold.strategy = {strategy!r} learns from labels, and of the {len(rows):,} rows held out for "
            f"calibration {len(known):,} have a known one, {frauds:,} of them fraud; train on a period with known "
            "frauds in its last part, or take false_alert_rate or capacity"
        )
    known = known.take(np.argsort(-known.scores, kind="stable"))
    return known.scores, known.labels == 1, known


def steps(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every cut that flags another number of rows, and that number.

    Parameters
    ----------
    scores : array of shape (n_rows,)
        Falling.

    Returns
    -------
    cuts, flagged : arrays of shape (n_cuts,)
        The cut is the highest score that is not flagged; the last one, below all scores, flags every row.

    Examples
    --------
    >>> cuts, flagged = steps(np.array([9.0, 7.0, 7.0, 4.0]))
    >>> cuts[:2].tolist(), flagged.tolist()
    ([7.0, 4.0], [1, 3, 4])
    """
    last = np.append(np.flatnonzero(np.diff(scores) != 0), len(scores) - 1)
    cuts = np.append(scores[last[:-1] + 1], np.nextafter(scores[-1], -np.inf))
    return cuts, last + 1


def thinned(x: np.ndarray, y: np.ndarray, points: int = 200) -> list[tuple[float, float]]:
    """Return at most so many points of a line, the first and the last among them."""
    places = np.unique(np.linspace(0, len(x) - 1, min(points, len(x))).round().astype(int))
    return list(zip(x[places].tolist(), y[places].tolist(), strict=True))


def at_least(value: float) -> str:
    """Write a bound that is kept by what is written, two digits rounded up.

    Examples
    --------
    >>> at_least(1 / 98), at_least(0.5)
    ('0.011', '0.5')
    """
    return f"{Context(prec=2, rounding=ROUND_CEILING).create_decimal_from_float(value).normalize():f}"


def at_most(value: float) -> str:
    """Write a bound that is kept by what is written, two digits rounded down.

    Examples
    --------
    >>> at_most(2 / 3), at_most(1000 / 1001)
    ('0.66', '0.99')
    """
    return f"{Context(prec=2, rounding=ROUND_FLOOR).create_decimal_from_float(value).normalize():f}"


def per_day(alerts: float, unit: str = "alerts") -> str:
    """Write a number of alerts a day.

    Examples
    --------
    >>> per_day(12.345), per_day(12345.6), per_day(80, "customers")
    ('12.3 alerts a day', '12,346 alerts a day', '80 customers a day')
    """
    return f"{alerts:,.3g} {unit} a day" if alerts < 1000 else f"{alerts:,.0f} {unit} a day"


def between(low: float, high: float, value: float) -> str:
    """Write whether a value lies in an interval."""
    return "inside" if low <= value <= high else "outside, above it" if value > high else "outside, below it"
