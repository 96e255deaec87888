"""Why a row was flagged: actual value, expected value and share of the score, in words."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.detector.columns import OTHER
from pipeline.features import Feature
from pipeline.numbers import amount, clock, quantity
from pipeline.settings.sensitive import hidden_reason, is_telling

MISSING = "missing"
REASONS = 3
LEAST_SHARE = 0.1
"""A reason beside the best one makes up this share of the score at least: less only distracts."""
SOURCES_TRIED = 24
TOLERANCE = 0.1
LONGEST = 80
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
    """Return up to three sources (`Feature.source`) that make each row anomalous, best first.

    Beside the best one only those that make up a tenth of the score are told.

    A source is the better a reason, the more of the row's score goes away when all its features take a usual
    value and the rest of the row stays as it is; its share is of the sum of what goes away over all sources.
    Looked at are the 24 sources with the largest contributions to the score. (Where nothing goes away, shares are
    of the contributions, those below zero counting as none. Alone they mislead where a model answers an odd
    column with odd reconstructions of others.) For a model without contributions it is the sources farthest from
    their most usual value, and shares are of these distances.

    Told is the feature of the source that is farthest from its usual value; one that names what it is compared
    with (`Feature.expected`, such as the customer's usual amount) goes before any less than twice as far.
    Expected is what it is compared with, else the usual value. A source that is a column of the table is told
    in the column's unit. Values of sensitive columns are masked.

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
    words = _Words(detector, rows)
    blame = assign(detector, matrix)
    words.usual = blame.usual
    sources, shares = blame.sources, blame.shares
    best = np.argsort(-shares, axis=1, kind="stable")[:, :REASONS]
    reasons = [
        [
            {"column": sources[place], "share": shares[row, place], **words.of(row, blame.places[row, place])}
            for place in best[row]
            if shares[row, place] >= LEAST_SHARE or (place == best[row][0] and shares[row, place] > 0)
        ]
        for row in range(rows.num_rows)
    ]
    return pa.array(reasons, REASONS_TYPE)


@dataclass(frozen=True)
class Blame:
    """Which sources make rows anomalous, by :func:`assign`.

    Attributes
    ----------
    sources : list of str
        `Feature.source`, each once.
    shares : ndarray of float64, shape (n_rows, n_sources)
        Share of the score, 0 or more; those of a row sum to 1, or are 0 where nothing is to blame.
    places : ndarray of int, shape (n_rows, n_sources)
        Place, in ``detector.features``, of the feature that a source is told by.
    usual : dict of str to ndarray of object, shape (n_rows,)
        By feature, the value to expect; None stands for the row's own.
    """

    sources: list[str]
    shares: np.ndarray
    places: np.ndarray
    usual: dict[str, np.ndarray]

    @property
    def top(self) -> np.ndarray:
        """The source that is told first of each row; shape (n_rows,), object."""
        return np.array(self.sources, dtype=object)[self.shares.argmax(axis=1)]


def assign(detector: Detector, matrix: np.ndarray) -> Blame:
    """Say how much of each row's score is due to which source; `explain` says how.

    Parameters
    ----------
    detector : Detector
    matrix : array of shape (n_rows, n_columns)
        Encoded rows; they need not come from a table.
    """
    encoder = detector.encoder
    own = detector.model.anomaly_score(matrix)
    sources = list(dict.fromkeys(feature.source for feature in detector.features))
    parts = _parts(detector, matrix, sources)
    tried = np.zeros(parts.shape, dtype=bool)
    np.put_along_axis(tried, np.argsort(-parts, axis=1, kind="stable")[:, :SOURCES_TRIED], values=True, axis=1)
    gains, places = np.empty(parts.shape), np.empty(parts.shape, dtype=np.int64)
    usual: dict[str, np.ndarray] = {}
    for place, source in enumerate(sources):
        settled, scores = most_usual(detector, matrix, own, source=source, tried=tried[:, place])
        gains[:, place] = own - scores
        members = [number for number, feature in enumerate(detector.features) if feature.source == source]
        places[:, place] = np.array(members)[_distances(detector, matrix, settled, members).argmax(axis=1)]
        for name, values in encoder.inverse(settled, [detector.features[number].name for number in members]).items():
            usual[name] = np.where(scores < own, values.astype(object), np.array(None))
    nothing = gains.sum(axis=1) <= 0
    gains[nothing] = np.maximum(parts[nothing], 0)
    shares = gains / np.maximum(gains.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return Blame(sources, shares, places, usual)


def sentence(reasons: pa.Array) -> pa.Array:
    """Return one sentence a row that joins its reasons, best first.

    Parameters
    ----------
    reasons : pa.Array of shape (n_rows,), type `REASONS_TYPE`

    Returns
    -------
    pa.Array of shape (n_rows,), string
    """
    sentences = [
        "; ".join(f"{reason['text']} ({100 * reason['share']:.0f} % of the score)" for reason in row) + "."
        for row in reasons.to_pylist()
    ]
    return pa.array(sentences, pa.string())


def clip(text: str) -> str:
    """Return a text as it is shown to people: a very long one ends after 80 letters.

    Examples
    --------
    >>> clip("short"), len(clip("x" * 5000))
    ('short', 81)
    """
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def most_usual(
    detector: Detector, matrix: np.ndarray, own: np.ndarray, *, source: str, tried: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with the columns of one source set to usual values, and their scores.

    The values tried are those of `Encoder.usual`. Taken is the most usual one that lowers the score by at least
    90 % of what any of them does; a row that none makes less anomalous stays as it is. The reconstruction is no
    measure of what is usual: a model with a wide code restores much of what is odd about a row, too.

    Parameters
    ----------
    detector : Detector
    matrix : array of shape (n_rows, n_columns)
    own : array of shape (n_rows,)
        The rows' scores.
    source : str
    tried : array of shape (n_rows,), bool
        Whether to look at the row; the others stay as they are.

    Returns
    -------
    settled : array of shape (n_rows, n_columns)
    scores : array of shape (n_rows,)
        The lowest score that any of the values gives, at most `own`.
    """
    columns, candidates = detector.encoder.usual(source)
    settled, least = matrix.copy(), own.copy()
    if not len(candidates) or not tried.any():
        return settled, least
    rows, before = matrix[tried], own[tried]
    # All in one call: the model scores blocks of one size, and a few rows cost as much as a whole block.
    trials = np.tile(rows, (len(candidates), 1))
    trials[:, columns] = np.repeat(candidates, len(rows), axis=0)
    scores = detector.model.anomaly_score(trials).reshape(len(candidates), len(rows)).T
    lowest = scores.min(axis=1)
    enough = scores <= (lowest + TOLERANCE * (before - lowest))[:, None]
    rows[:, columns] = candidates[enough.argmax(axis=1)]
    lower = np.flatnonzero(tried)[lowest < before]
    settled[lower], least[lower] = rows[lowest < before], lowest[lowest < before]
    return settled, least


def _parts(detector: Detector, matrix: np.ndarray, sources: list[str]) -> np.ndarray:
    """Return how much each source is to blame at first sight, shape (n_rows, len(sources))."""
    from models.capabilities import WithContributions

    encoder = detector.encoder
    if isinstance(detector.model, WithContributions):
        contributions = detector.model.contributions(matrix)
        return np.column_stack([contributions[:, encoder.places(source)].sum(axis=1) for source in sources])
    parts = np.zeros((len(matrix), len(sources)))
    for place, source in enumerate(sources):
        columns, usual = encoder.usual(source)
        if len(usual):
            parts[:, place] = np.abs(matrix[:, columns] - usual[0]).max(axis=1)
    return parts


def _distances(detector: Detector, matrix: np.ndarray, settled: np.ndarray, members: list[int]) -> np.ndarray:
    """Return how far features are from their usual values, doubled for those that name what they compare with.

    Of shape (n_rows, len(members)), in standard deviations.
    """
    moved = np.abs(settled - matrix)
    distances = np.empty((len(matrix), len(members)))
    for place, feature in enumerate(detector.features[number] for number in members):
        columns = detector.encoder.places_of(feature.name)
        distances[:, place] = moved[:, columns].max(axis=1, initial=0) * (1 if feature.expected is None else 2)
    return distances


class _Words:
    """Puts single cells of a table into words.

    ``usual`` holds, by feature name, the values to expect where a row holds nothing to compare with; None stands
    for the row's own.
    """

    def __init__(self, detector: Detector, rows: pa.Table) -> None:
        self.detector = detector
        self.rows = rows
        self.usual: dict[str, np.ndarray] = {}
        self.unseen = detector.encoder.unseen(rows)
        self.cells: dict[str, list[Any]] = {}

    def of(self, row: int, place: int) -> dict[str, str]:
        """Return actual, expected and text of one reason."""
        teller = self.detector.features[place]
        feature = self._readable(teller)
        name = feature.source if feature.column == feature.source else feature.name
        actual = self._cell(feature.column, row)
        if is_telling(feature.source, self.detector.config.contract):
            return hidden_reason(name)
        expected = None if teller.expected is None else self._cell(teller.expected, row)
        if expected is None:
            expected = _known(self.usual[feature.name][row])
        if expected is None:
            expected = actual
        words = {"actual": self._word(feature, actual), "expected": self._word(feature, expected)}
        text = f"{name} {words['actual']}"
        if feature.name in self.unseen and self.unseen[feature.name][row]:
            text += " (never seen in training)"
        if words["actual"] == words["expected"]:
            return {**words, "text": f"{text}, unusual beside the rest of the row"}
        about = "about " if feature.kind == "number" else ""
        return {**words, "text": f"{text}, expected {about}{words['expected']}"}

    def _readable(self, feature: Feature) -> Feature:
        """Return the feature whose value is shown: if the source is a column, one that reads it."""
        if feature.column == feature.source:
            return feature
        features = self.detector.features
        return next((item for item in features if item.column == item.source == feature.source), feature)

    def _cell(self, column: str, row: int) -> Any:
        if column not in self.cells:
            self.cells[column] = self.rows.column(column).to_pylist()
        return _known(self.cells[column][row])

    def _word(self, feature: Feature, value: Any) -> str:
        if value is None:
            return MISSING
        if feature.kind == "category":
            return OTHER if value == OTHER else f"'{clip(str(value))}'"
        if feature.scale == "cycle":
            return clock(value) if feature.period == 24 else WEEKDAYS[round(value) % 7]
        column = self.detector.config.contract.amount
        if feature.source == column or feature.source.endswith(f" {column}"):
            return amount(value)
        statistics = self.detector.encoder.statistics(feature.name)
        return quantity(value, is_whole=statistics is not None and statistics.whole)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
