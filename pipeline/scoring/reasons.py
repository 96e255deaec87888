"""Why a row was flagged: actual value, expected value and share of the score, in words."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.detector.columns import OTHER, QUANTILES, CategoryEncoding
from pipeline.features import Feature
from pipeline.numbers import amount, clock, percent, quantity
from pipeline.settings.contract import Contract
from pipeline.settings.sensitive import MASK, hidden_reason, in_combination, is_telling

MISSING = "missing"
REASONS = 3
LEAST_SHARE = 0.1
"""A reason beside the best one makes up this share of the score at least: less only distracts."""
RARE_VALUE = 0.05
"""A category is unusual that no more of the fit rows have, and a number beyond the rest of them on one side."""
FAR = 0.25
"""An amount, and what is compared with a party's own, is told where the two lie this much of the larger one apart."""
NOTHING = 1e-6
"""A value nearer to 0 is what arithmetic left of 0."""
UNITS = {
    "spreads": "times the usual spread",
    "times": "times",
    "days": "days",
    "hours": "hours",
    "km": "km",
    "km/h": "km/h",
}
SOURCES_TRIED = 24
TRIED_CELLS = 2**20
"""Of encoded rows with usual values, so many cells are scored at a time, or those of one source."""
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
    Looked at are the 24 sources with the largest contributions to the score; where known frauds count in it, those
    whose most usual value takes most of it away. (Where nothing goes away, shares are of the contributions, those below
    zero counting as none. Alone they mislead where a model answers an odd column with odd reconstructions of others.)
    For a model without contributions it is the sources farthest from their most usual value, and shares are of these
    distances.

    Told is what is unusual: the feature of the source that is farthest from its usual value, of those that lie beyond
    95 % of the fit rows (a category: that at most 5 % of them have) on the side on which they lie from usual, and
    visibly so in what is shown, amounts by a quarter at least. One that names what it is compared with
    (`Feature.expected`, such as the customer's usual amount) goes before any less than twice as far. Expected is what
    it is compared with, else the usual value. A risk is told only where it is high. A source that is a column of the
    table is told in the column's unit. Sources of which nothing is unusual are told together, as one combination: its
    share is the sum of theirs, its column joins theirs by ", ", and it expects nothing. Values of sensitive columns
    are masked.

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
    words = Words(detector, rows)
    blame = assign(detector, matrix)
    words.usual = blame.usual
    return pa.array([_reasons(row, blame, words) for row in range(rows.num_rows)], REASONS_TYPE)


def _reasons(row: int, blame: "Blame", words: "Words") -> list[dict[str, Any]]:
    """Return the reasons of one row, best first."""
    shares = blame.shares[row]
    best = np.argsort(-shares, kind="stable")[:REASONS]
    least = [place for place in best if shares[place] >= LEAST_SHARE or (place == best[0] and shares[place] > 0)]
    reasons, rest = [], []
    for place in least:
        texts = words.of(row, blame.features[place][row])
        if texts is None:
            rest.append(place)
        else:
            reasons.append({"column": blame.sources[place], "share": shares[place], **texts})
    if rest:
        sources = [blame.sources[place] for place in rest]
        texts = words.combination(row, sources, [blame.features[place][row][0] for place in rest])
        reasons.append({"column": ", ".join(sources), "share": sum(shares[place] for place in rest), **texts})
    return sorted(reasons, key=lambda reason: -reason["share"])


@dataclass(frozen=True)
class Blame:
    """Which sources make rows anomalous, by :func:`assign`.

    Attributes
    ----------
    sources : list of str
        `Feature.source`, each once.
    shares : ndarray of float64, shape (n_rows, n_sources)
        Share of the score, 0 or more; those of a row sum to 1, or are 0 where nothing is to blame.
    features : list of ndarray of int, shape (n_rows, n_features_of_the_source)
        By source, the places of its features in ``detector.features``, those first that are farthest from usual.
    usual : dict of str to ndarray of object, shape (n_rows,)
        By feature, the value to expect; None stands for the row's own.
    """

    sources: list[str]
    shares: np.ndarray
    features: list[np.ndarray]
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
    own = detector.matrix_scores(matrix)
    sources = list(dict.fromkeys(feature.source for feature in detector.features))
    parts = _parts(detector, matrix, own, sources)
    tried = np.zeros(parts.shape, dtype=bool)
    np.put_along_axis(tried, np.argsort(-parts, axis=1, kind="stable")[:, :SOURCES_TRIED], values=True, axis=1)
    gains, features = np.empty(parts.shape), []
    usual: dict[str, np.ndarray] = {}
    trials = (
        Trials(detector, matrix, own, source=source, tried=tried[:, place]) for place, source in enumerate(sources)
    )
    for place, (source, (settled, scores)) in enumerate(zip(sources, most_usual(detector, trials), strict=True)):
        gains[:, place] = own - scores
        members = [number for number, feature in enumerate(detector.features) if feature.source == source]
        distances = _distances(detector, matrix, settled, members)
        features.append(np.array(members)[np.argsort(-distances, axis=1, kind="stable")])
        for name, values in encoder.inverse(settled, [detector.features[number].name for number in members]).items():
            usual[name] = np.where(scores < own, values.astype(object), np.array(None))
    nothing = gains.sum(axis=1) <= 0
    gains[nothing] = np.maximum(parts[nothing], 0)
    shares = gains / np.maximum(gains.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return Blame(sources, shares, features, usual)


def sentence(reasons: pa.Array, alike: pa.Array | pa.ChunkedArray | None = None) -> pa.Array:
    """Return one sentence a row that joins its reasons, best first, behind how many known frauds it is like.

    Parameters
    ----------
    reasons : pa.Array of shape (n_rows,), type `REASONS_TYPE`
    alike : pa.Array of shape (n_rows,), int64, optional
        From `Detector.alike`.

    Returns
    -------
    pa.Array of shape (n_rows,), string
    """
    numbers = [0] * len(reasons) if alike is None else alike.to_pylist()
    sentences = [
        like_frauds(number)
        + "; ".join(f"{reason['text']} ({100 * reason['share']:.0f} % of the score)" for reason in row)
        + "."
        for row, number in zip(reasons.to_pylist(), numbers, strict=True)
    ]
    return pa.array(sentences, pa.string())


def like_frauds(number: int) -> str:
    """Return what stands before the reasons of a row that is like so many known frauds; "" for none.

    Examples
    --------
    >>> like_frauds(14), like_frauds(1), like_frauds(0)
    ('like 14 confirmed frauds: ', 'like 1 confirmed fraud: ', '')
    """
    return f"like {number:,} confirmed {'fraud' if number == 1 else 'frauds'}: " if number else ""


def clip(text: str) -> str:
    """Return a text as it is shown to people: a very long one ends after 80 letters.

    Examples
    --------
    >>> clip("short"), len(clip("x" * 5000))
    ('short', 81)
    """
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


class Trials:
    """Rows with the columns of one source set to its usual values, one after the other, and what their scores say.

    The values tried are those of `Encoder.usual`.

    Parameters
    ----------
    detector : Detector
    matrix : array of shape (n_rows, n_columns)
    own : array of shape (n_rows,)
        The rows' scores.
    source : str
    tried : array of shape (n_rows,), bool
        Whether to look at the row; the others stay as they are.

    Attributes
    ----------
    rows : array of shape (n_trials, n_columns)
        What is to be scored.
    """

    def __init__(
        self, detector: Detector, matrix: np.ndarray, own: np.ndarray, *, source: str, tried: np.ndarray
    ) -> None:
        self._matrix, self._own, self._tried = matrix, own, tried
        self._columns, self._candidates = detector.encoder.usual(source)
        rows = matrix[tried]
        self.rows = np.tile(rows, (len(self._candidates), 1))
        if len(self.rows):
            self.rows[:, self._columns] = np.repeat(self._candidates, len(rows), axis=0)

    def settle(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what `most_usual` does, from the scores of the trials."""
        settled, least = self._matrix.copy(), self._own.copy()
        if not len(scores):
            return settled, least
        rows, before = self._matrix[self._tried], self._own[self._tried]
        scores = scores.reshape(len(self._candidates), len(rows)).T
        lowest = scores.min(axis=1)
        enough = scores <= (lowest + TOLERANCE * (before - lowest))[:, None]
        rows[:, self._columns] = self._candidates[enough.argmax(axis=1)]
        lower = np.flatnonzero(self._tried)[lowest < before]
        settled[lower], least[lower] = rows[lowest < before], lowest[lowest < before]
        return settled, least


def most_usual(detector: Detector, trials: Iterable[Trials]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each source the rows with its columns set to usual values, and their scores.

    Taken is the most usual value that lowers the score by at least 90 % of what any of them does; a row that none makes
    less anomalous stays as it is. The reconstruction is no measure of what is usual: a model with a wide code restores
    much of what is odd about a row, too.

    Parameters
    ----------
    detector : Detector
    trials : iterable of Trials
        Scored together, some thousand rows at a time: a model scores blocks of one size, and a few rows cost as much
        as a whole block.

    Yields
    ------
    settled : array of shape (n_rows, n_columns)
    scores : array of shape (n_rows,)
        The lowest score that any of the values gives, at most the row's own.
    """
    waiting: list[Trials] = []
    for each in trials:
        waiting.append(each)
        if sum(part.rows.size for part in waiting) >= TRIED_CELLS:
            yield from _settled(detector, waiting)
            waiting = []
    yield from _settled(detector, waiting)


def _settled(detector: Detector, trials: Sequence[Trials]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if not trials:
        return
    rows = np.concatenate([each.rows for each in trials])
    scores = detector.matrix_scores(rows) if len(rows) else np.empty(0)
    ends = np.cumsum([len(each.rows) for each in trials])[:-1]
    for each, part in zip(trials, np.split(scores, ends), strict=True):
        yield each.settle(part)


def _parts(detector: Detector, matrix: np.ndarray, own: np.ndarray, sources: list[str]) -> np.ndarray:
    """Return how much each source is to blame at first sight, shape (n_rows, len(sources))."""
    from models.capabilities import WithContributions

    encoder = detector.encoder
    if detector.feedback is not None:  # contributions know nothing of what its trees look at
        return _falls(detector, matrix, own, sources)
    if isinstance(detector.model, WithContributions):
        contributions = detector.model.contributions(matrix)
        return np.column_stack([contributions[:, encoder.places(source)].sum(axis=1) for source in sources])
    parts = np.zeros((len(matrix), len(sources)))
    for place, source in enumerate(sources):
        columns, usual = encoder.usual(source)
        if len(usual):
            parts[:, place] = np.abs(matrix[:, columns] - usual[0]).max(axis=1)
    return parts


def _falls(detector: Detector, matrix: np.ndarray, own: np.ndarray, sources: list[str]) -> np.ndarray:
    """Return how far each row's score falls where a source takes its most usual value, shape (n_rows, len(sources))."""
    trials = np.tile(matrix, (len(sources), 1, 1))
    for trial, source in zip(trials, sources, strict=True):
        columns, usual = detector.encoder.usual(source)
        if len(usual):
            trial[:, columns] = usual[0]
    scores = detector.matrix_scores(trials.reshape(-1, matrix.shape[1]))
    return own[:, None] - scores.reshape(len(sources), len(matrix)).T


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


class Words:
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
        self.encodings = {item.feature.name: item for item in detector.encoder.encodings}

    def of(self, row: int, places: np.ndarray) -> dict[str, str] | None:
        """Return actual, expected and text of the first of some features that is unusual; None where none is."""
        features = (self.detector.features[place] for place in places)
        return next((words for feature in features if (words := self._unusual(row, feature)) is not None), None)

    def combination(self, row: int, sources: list[str], places: list[int]) -> dict[str, str]:
        """Return the same of sources that are unusual only together, each told by one of its features."""
        if any(is_telling(source, self.detector.config.contract) for source in sources):
            return {"actual": MASK, "expected": "", "text": in_combination(sources)}
        parts = []
        for place in places:
            feature = self._readable(self.detector.features[place])
            parts.append(f"{name_of(feature)} {self.word(feature, self._cell(feature.column, row))}")
        return {"actual": ", ".join(parts), "expected": "", "text": in_combination(parts)}

    def _unusual(self, row: int, teller: Feature) -> dict[str, str] | None:
        """Return actual, expected and text of a feature; None where what they say is not unusual."""
        if teller.unit == "rarity":
            return self._rare(row, teller)
        feature = self._readable(teller)
        actual = self._cell(feature.column, row)
        expected = None if teller.expected is None else self._cell(teller.expected, row)
        if expected is None:
            expected = self._usual(feature, row)
        side = self._side(teller, self._cell(teller.column, row), self._usual(teller, row))
        words = {"actual": self.word(feature, actual), "expected": self.word(feature, expected)}
        if not side or words["actual"] == words["expected"]:
            return None
        if actual is not None and expected is not None and feature.kind == "number" and feature.scale != "cycle":
            is_compared = feature is not teller or teller.expected is not None
            is_far = is_compared or is_money(feature, self.detector.config.contract)
            least = FAR * max(abs(actual), abs(expected)) if is_far else 0.0
            if (actual - expected) * side <= 0 or abs(actual - expected) < least:
                return None
        name = name_of(feature)
        if is_telling(feature.source, self.detector.config.contract):
            return hidden_reason(name)
        text = f"{name} {words['actual']}"
        if feature.name in self.unseen and self.unseen[feature.name][row]:
            text += " (never seen in training)"
        about = "about " if feature.kind == "number" and feature.unit != "yes or no" and expected is not None else ""
        return {**words, "text": f"{text}, expected {about}{words['expected']}"}

    def _rare(self, row: int, feature: Feature) -> dict[str, str] | None:
        """Return actual, expected and text of a value that is rare for its party; None where it is not."""
        value, usual = self._cell(feature.column, row), self._usual(feature, row)
        words = {"actual": self.word(feature, value), "expected": self.word(feature, usual)}
        if self._side(feature, value, usual) != 1 or words["actual"] == words["expected"]:
            return None
        config = self.detector.config
        if is_telling(feature.source, config.contract):
            return hidden_reason(feature.name)
        text = f"{feature.of} that makes up {words['actual']} for this {feature.party}"
        if self._cell(str(feature.expected), row) == 0:
            days, hours = config.features.history_days, config.features.past_gap_hours
            aside = f", the last {hours:g} hours aside" if hours else ""
            text = f"new {feature.of} for this {feature.party} (none in {days} days{aside})"
        return {**words, "text": f"{text}, expected about {words['expected']}"}

    def _side(self, feature: Feature, value: Any, usual: Any) -> int:
        """Return 1 for a value that is unusual, -1 for one that is unusually low, 0 for one that is not unusual."""
        encoding = self.encodings[feature.name]
        if isinstance(encoding, CategoryEncoding):
            share = encoding.share(value)
            return int(share <= RARE_VALUE and share <= encoding.share(usual) / 2)
        statistics = encoding.statistics
        if value is None:
            return int(0 < statistics.missing <= RARE_VALUE * statistics.rows)
        if not statistics.quantiles:
            return 0
        if feature.scale == "cycle":
            return int(_gap(value, statistics.quantiles, feature.period) > feature.period / 16)
        at = dict(zip(QUANTILES, statistics.quantiles, strict=True))
        if usual is None:
            usual = at[0.5]
        # Of a value that many fit rows have, several quantiles are the same.
        if value >= at[0.95] and value > max(at[0.9], usual):
            return 1
        if value <= at[0.05] and value < min(at[0.1], usual):
            return 0 if feature.unit == "risk" else -1
        return 0

    def _usual(self, feature: Feature, row: int) -> Any:
        """Return the value to expect of a feature; the middle one, or the most frequent, where a row's own may stay."""
        usual = _known(self.usual[feature.name][row])
        if usual is not None:
            return usual
        encoding = self.encodings[feature.name]
        if isinstance(encoding, CategoryEncoding):
            return encoding.values[0] if encoding.values else None
        middle = dict(zip(QUANTILES, encoding.statistics.quantiles, strict=False))
        return middle.get(0.5)

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

    def word(self, feature: Feature, value: Any) -> str:
        """Return a feature's value as people read it."""
        if value is None:
            return MISSING
        if feature.kind == "category":
            return OTHER if value == OTHER else f"'{clip(str(value))}'"
        if feature.scale == "cycle":
            return clock(value) if feature.period == 24 else WEEKDAYS[round(value) % 7]
        if is_money(feature, self.detector.config.contract):
            return amount(value)
        if feature.unit in ("share", "risk"):
            return percent(value)
        if feature.unit == "rarity":
            return percent(math.exp(-value))
        if feature.unit == "yes or no":
            return "yes" if value >= 0.5 else "no"
        statistics = self.detector.encoder.statistics(feature.name)
        if feature.unit and abs(value) < NOTHING:
            value = 0.0
        number = quantity(value, is_whole=statistics is not None and statistics.whole)
        return f"{number} {UNITS[feature.unit]}" if feature.unit else number


def is_money(feature: Feature, contract: Contract) -> bool:
    """Return whether a feature is told as an amount."""
    return not feature.unit and (feature.source == contract.amount or feature.source.endswith(f" {contract.amount}"))


def name_of(feature: Feature) -> str:
    """Return what people read before a feature's value."""
    return feature.source if feature.column == feature.source else feature.name


def _gap(value: float, usual: Iterable[float], period: float) -> float:
    """Return how far a time lies, on its circle, from the nearest of some usual ones."""
    return min(abs((value - each + period / 2) % period - period / 2) for each in usual)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
