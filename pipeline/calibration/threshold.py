"""A threshold: its cut, what it promises, what came of the promise afterwards, and the words for these."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipeline.calibration.held_out import segment


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
    explore : float or None
        The one-class score above which a row that is not flagged is picked for review all the same; None where no part
        of the queue explores.
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
    explore: float | None = None

    @property
    def is_per_batch(self) -> bool:
        """Whether the line is drawn anew for each batch, so that a single row cannot be judged."""
        return self.strategy == "fdr"

    def fixed_cuts(self, segments: pa.Array | pa.ChunkedArray | None) -> float | np.ndarray:
        """Return the cut of each row (n_rows,), or the one cut of all.

        Parameters
        ----------
        segments : pa.Array of shape (n_rows,), or None
            Values of the column `segment`; needed where `parts` are.

        Raises
        ------
        ValueError
            When `parts` are there and no values are.

        Examples
        --------
        >>> web = Threshold(2.0, "false_alert_rate", 3.0, 0.01, "")
        >>> threshold = Threshold(5.0, "false_alert_rate", 8.0, 0.01, "", segment="channel", parts={"web": web})
        >>> threshold.fixed_cuts(pa.array(["shop", "web", None])).tolist()
        [5.0, 2.0, 5.0]
        """
        if not self.parts:
            return self.value
        if segments is None:
            raise ValueError(f"the threshold goes by {self.segment!r}; give that column's values")
        values = segment(segments)
        cuts = [self.parts.get(value, self).value for value in values.dictionary.to_pylist()]
        places = values.indices.fill_null(len(cuts)).to_numpy(zero_copy_only=False)
        return np.array([*cuts, self.value])[places]

    def to_dict(self) -> dict[str, Any]:
        """Return the threshold as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the threshold that `to_dict` was called on."""
        return cls(**{**raw, "parts": {value: cls.from_dict(part) for value, part in raw["parts"].items()}})


@dataclass(frozen=True)
class Fulfilment:
    """What a threshold's promise came to in a scored batch.

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


def between(low: float, high: float, value: float) -> str:
    """Write whether a value lies in an interval, its ends included.

    Examples
    --------
    >>> between(4, 18, 18), between(4, 18, 19)
    ('inside', 'outside, above it')
    """
    return "inside" if low <= value <= high else "outside, above it" if value > high else "outside, below it"
