"""Why a row was flagged: actual value, expected value and share of the score, in words."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.column_encoding import OTHER
from pipeline.detector import Detector
from pipeline.features import Feature

MASK = "•••"
MISSING = "missing"
REASONS = 3
TOLERANCE = 0.1
REASONS_TYPE = pa.list_(
    pa.struct(
        [
            ("column", pa.string()),
            ("actual", pa.string()),
            ("expected", pa.string()),
            ("share", pa.float64()),
            ("text", pa.string()),
        ]
    )
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def explain(detector: Detector, rows: pa.Table) -> pa.Array:
    """Return the three sources that contribute most to each row's score, best first.

    Contributions of the encoded columns are added up by feature, and features by source. A sum below zero
    (possible with the Mahalanobis score, where other residuals explain more than all of it) counts as none,
    and shares are of the sum of the rest. A source without a share is no reason.

    The expected value is what the leading feature of the source, the one that contributes most, is compared
    with (`Feature.expected`), else the usual value that `most_usual` finds. Values of sensitive columns are
    masked.

    Parameters
    ----------
    detector : Detector
    rows : pa.Table
        Rows of the feature table; as many as fit in memory.

    Returns
    -------
    pa.Array of shape (n_rows,), type `REASONS_TYPE`
        A list of struct<column, actual, expected, share, text> a row; all text but the share, in (0, 1].
    """
    if rows.num_rows == 0:
        return pa.array([], REASONS_TYPE)
    matrix = detector.encoder.transform(rows)
    sources, shares, leaders = shares_by_source(detector, matrix)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :REASONS]
    named = np.zeros(shares.shape, dtype=bool)
    np.put_along_axis(named, best, np.take_along_axis(shares, best, axis=1) > 0, axis=1)
    words = _Words(detector, rows)
    for place, source in enumerate(sources):
        words.usual |= most_usual(detector, matrix, source, named[:, place])
    found = [
        [
            {"column": sources[place], "share": shares[row, place], **words.of(row, leaders[row, place])}
            for place in best[row]
            if named[row, place]
        ]
        for row in range(rows.num_rows)
    ]
    return pa.array(found, REASONS_TYPE)


def sentence(reasons: pa.Array) -> pa.Array:
    """Return one sentence a row that joins its reasons, best first.

    Parameters
    ----------
    reasons : pa.Array of shape (n_rows,), type `REASONS_TYPE`

    Returns
    -------
    pa.Array of shape (n_rows,), string
    """
    return pa.array(
        [
            "; ".join(f"{reason['text']} ({100 * reason['share']:.0f} % of the score)" for reason in row) + "."
            if row
            else "No column stands out."
            for row in reasons.to_pylist()
        ],
        pa.string(),
    )


def shares_by_source(detector: Detector, matrix: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the sources, each one's share of the score, and the place of its leading feature.

    Parameters
    ----------
    detector : Detector
    matrix : array of shape (n_rows, n_columns)

    Returns
    -------
    sources : list of str
    shares : array of shape (n_rows, n_sources)
        0 or more; a row sums to 1, or to 0 when nothing contributes.
    leaders : array of shape (n_rows, n_sources), int64
        Position in ``detector.features`` of the feature that contributes most to the source.
    """
    features = detector.features
    position = {feature.name: place for place, feature in enumerate(features)}
    owners = [position[column.feature] for column in detector.encoder.columns]
    by_feature = detector.model.contributions(matrix) @ np.eye(len(features))[owners]
    sources = list(dict.fromkeys(feature.source for feature in features))
    by_source = np.empty((len(matrix), len(sources)))
    leaders = np.empty(by_source.shape, dtype=np.int64)
    for place, source in enumerate(sources):
        members = np.array([position[feature.name] for feature in features if feature.source == source])
        by_source[:, place] = by_feature[:, members].sum(axis=1)
        leaders[:, place] = members[by_feature[:, members].argmax(axis=1)]
    positive = np.maximum(by_source, 0)
    total = positive.sum(axis=1, keepdims=True)
    return sources, positive / np.where(total > 0, total, 1), leaders


def most_usual(detector: Detector, matrix: np.ndarray, source: str, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for the features of a source, the most usual values that would take its part out of a row's score.

    The values tried are those of `Encoder.usual`; all else in the row stays as it is. Chosen is the most usual one
    that lowers the score by at least 90 % of what any of them does. The reconstruction itself would
    not do: a model with a wide code restores much of what is odd about a row, too.

    Parameters
    ----------
    detector : Detector
    matrix : array of shape (n_rows, n_columns)
    source : str
    chosen : array of shape (n_rows,), bool
        The rows to look at.

    Returns
    -------
    dict of feature name to array of shape (n_rows,), object
        In the raw unit; None for rows that were not chosen, or that no value makes less anomalous.
    """
    columns, candidates = detector.encoder.usual(source)
    picked = matrix[chosen]
    if not len(picked) or not len(candidates):
        return {}
    scores = np.empty((len(picked), len(candidates)))
    tried = picked.copy()
    for place, candidate in enumerate(candidates):
        tried[:, columns] = candidate
        scores[:, place] = detector.model.anomaly_score(tried)
    own, least = detector.model.anomaly_score(picked), scores.min(axis=1)
    enough = scores <= (least + TOLERANCE * (own - least))[:, None]
    picked[:, columns] = candidates[enough.argmax(axis=1)]
    raw = detector.encoder.inverse(picked)
    usual = {}
    for feature in detector.features:
        if feature.source == source:
            values = np.full(len(matrix), None, dtype=object)
            found = raw[feature.name].astype(object)
            found[least >= own] = None
            values[chosen] = found
            usual[feature.name] = values
    return usual


class _Words:
    """Puts single cells of a table into words.

    ``usual`` holds, by feature name, the values to expect where a row holds nothing to compare with.
    """

    def __init__(self, detector: Detector, rows: pa.Table) -> None:
        self.detector = detector
        self.rows = rows
        self.usual: dict[str, np.ndarray] = {}
        self.unseen = detector.encoder.unseen(rows)
        self.cells: dict[str, list[Any]] = {}

    def of(self, row: int, leader: int) -> dict[str, str]:
        """Return actual, expected and text of one reason."""
        feature = self.detector.features[leader]
        shown = self._shown(feature)
        name = shown.source if shown.column == shown.source else shown.name
        actual = self._cell(shown.column, row)
        if actual is not None and self._is_sensitive(shown):
            return {"actual": MASK, "expected": MASK, "text": f"{name} {MASK}, not what was expected"}
        expected = None if feature.expected is None else self._cell(feature.expected, row)
        if expected is None and shown.name in self.usual:
            expected = _known(self.usual[shown.name][row])
        if expected is None:
            expected = actual
        words = {"actual": self._word(shown, actual), "expected": self._word(shown, expected)}
        told = f"{name} {words['actual']}"
        if shown.name in self.unseen and self.unseen[shown.name][row]:
            told += " (never seen in training)"
        if words["actual"] == words["expected"]:
            return {**words, "text": f"{told}, unusual beside the rest of the row"}
        about = "about " if shown.kind == "number" else ""
        return {**words, "text": f"{told}, expected {about}{words['expected']}"}

    def _shown(self, feature: Feature) -> Feature:
        """Return the feature whose value is shown: if the source is a column, one that reads it."""
        if feature.column == feature.source:
            return feature
        features = self.detector.features
        return next((item for item in features if item.column == item.source == feature.source), feature)

    def _cell(self, column: str, row: int) -> Any:
        if column not in self.cells:
            self.cells[column] = self.rows.column(column).to_pylist()
        return _known(self.cells[column][row])

    def _is_sensitive(self, feature: Feature) -> bool:
        # What is made from a sensitive column, such as an entity's mean amount, ends with its name.
        return any(
            feature.source == name or feature.source.endswith(f" {name}")
            for name in self.detector.config.contract.sensitive
        )

    def _word(self, feature: Feature, value: Any) -> str:
        if value is None:
            return MISSING
        if feature.kind == "category":
            return OTHER if value == OTHER else f"'{value}'"
        if feature.scale == "cycle":
            return _hour(value) if feature.period == 24 else WEEKDAYS[round(value) % 7]
        amount = self.detector.config.contract.amount
        if feature.source == amount or feature.source.endswith(f" {amount}"):
            return f"{value:,.2f}"
        statistics = self.detector.encoder.statistics(feature.name)
        return _number(value, statistics is not None and statistics.whole)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _hour(value: float) -> str:
    minutes = round(value * 60) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _number(value: float, whole: bool) -> str:
    """Return a number for people: three digits that count, and all of those before the point.

    Examples
    --------
    >>> [_number(value, whole=False) for value in (1240.4, 5.2345, 0.0123, 1e-9, 1e12)]
    ['1,240', '5.23', '0.0123', '1e-09', '1e+12']
    >>> [_number(value, whole=True) for value in (12.0, 2.04, 1999.6)]
    ['12', '2', '2,000']
    """
    if value == 0 or (whole and abs(value) < 1e9):
        return f"{value:,.0f}"
    if abs(value) >= 1e9 or abs(value) < 1e-4:
        return f"{value:.3g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
