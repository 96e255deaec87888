"""The smallest change of one value after which a flagged row would not have been flagged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.detector.columns import NumberEncoding
from pipeline.features import Feature
from pipeline.scoring.reasons import Trials, Words, is_money, most_usual, name_of
from pipeline.settings.sensitive import MASK

NEAREST_TYPE = pa.list_(pa.struct([("column", pa.string()), ("value", pa.string())]))
PARTS, ROUNDS = 12, 4
"""Into how many parts a way is cut, and how often, each time the part in which the score comes below the threshold."""
Wanted = tuple[str, Sequence[Feature], Mapping[int, Feature]]
"""A source, its features, and which of them tells it of a row, by the place of the row."""
UNLIKE_NUMBERS = ("rarity", "yes or no")
"""Units of features that are told by other words than their value."""


def unflagged_at(detector: Detector, rows: pa.Table, reasons: pa.Array, cuts: np.ndarray) -> pa.Array:
    """Return, for reasons that are a number, the value nearest to the row's own at which it would not be flagged.

    The rest of the row stays as it is. The features of a source go together, each in a straight line from its own value
    to the usual one that `explain` holds it against, as they do where all of them are read off one amount. Along this
    way the score is looked at in twelve places, and the first part at whose end it is no longer above the threshold
    is cut into twelve again, three times. A reason of a category or of a time of day, one whose usual value leaves the
    row flagged, and one that is masked have no such value.

    Parameters
    ----------
    detector : Detector
    rows : pa.Table
        Rows of the feature table.
    reasons : pa.Array of shape (n_rows,), type `REASONS_TYPE`
        From `explain`.
    cuts : array of shape (n_rows,)
        Above which score each row is flagged.

    Returns
    -------
    pa.Array of shape (n_rows,), type `NEAREST_TYPE`
        A list of struct<column, value> a row, in the order of its reasons; ``value`` is written as their ``actual`` is.
    """
    listed = reasons.to_pylist()
    values: list[dict[str, str]] = [{} for _ in listed]
    if not listed:
        return pa.array([], NEAREST_TYPE)
    words = Words(detector, rows)
    matrix = detector.encoder.transform(rows)
    own = detector.matrix_scores(matrix)
    flagged = own > cuts
    wanted = []
    for source in dict.fromkeys(reason["column"] for row in listed for reason in row):
        features = _numbers(detector, source)
        tellers = {
            place: teller
            for place, row in enumerate(listed)
            for reason in row
            if flagged[place] and reason["column"] == source and (teller := _teller(reason, features))
        }
        if tellers:
            wanted.append((source, features, tellers))
    ways = list(_ways(detector, rows, wanted, matrix=matrix, own=own))
    for way, at in zip(ways, _first_below(detector, ways, own, cuts), strict=True):
        for (place, feature), step, cells in zip(way.tellers.items(), at, way.cells(at[:, None]), strict=True):
            if np.isfinite(step):
                values[place][way.source] = words.word(feature, float(cells[way.features.index(feature), 0]))
    ordered = [
        [
            {"column": reason["column"], "value": found[reason["column"]]}
            for reason in row
            if found.get(reason["column"], reason["actual"]) != reason["actual"]
        ]
        for row, found in zip(listed, values, strict=True)
    ]
    return pa.array(ordered, NEAREST_TYPE)


def _numbers(detector: Detector, source: str) -> list[Feature]:
    """Return the features of a source, where all of them are plain numbers; [] where one is not."""
    features = [feature for feature in detector.features if feature.source == source]
    are_numbers = all(
        feature.kind == "number" and feature.scale != "cycle" and feature.unit not in UNLIKE_NUMBERS
        for feature in features
    )
    return features if are_numbers else []


def _teller(reason: Mapping[str, Any], features: Sequence[Feature]) -> Feature | None:
    """Return the feature whose value a reason tells; None where it tells none."""
    if reason["actual"] == MASK:
        return None
    tellers = [feature for feature in features if reason["text"].startswith(f"{name_of(feature)} {reason['actual']}")]
    return max(tellers, key=lambda feature: len(name_of(feature)), default=None)


class _Way:
    """The way of some rows from their own values of one source to usual ones; a step on it is a share of it."""

    def __init__(
        self,
        detector: Detector,
        rows: pa.Table,
        features: Sequence[Feature],
        *,
        source: str,
        tellers: Mapping[int, Feature],
        matrix: np.ndarray,
        settled: np.ndarray,
    ) -> None:
        self.features, self.source, self.tellers = features, source, tellers
        self.places = np.array(list(tellers))
        self.encoder, self.matrix = detector.encoder, matrix[self.places]
        self.encodings = [detector.encoder.encoding_of(feature.name) for feature in features]
        usual = detector.encoder.inverse(settled, [feature.name for feature in features])
        rows = rows.take(pa.array(self.places))
        self.first = np.stack([rows.column(item.column).cast(pa.float64()).to_numpy() for item in features], axis=1)
        self.last = np.stack([usual[feature.name] for feature in features], axis=1)
        # What is missing at either end stays as it is.
        is_open = np.isfinite(self.first) & np.isfinite(self.last)
        self.last = np.where(is_open, self.last, self.first)
        contract = detector.config.contract
        self.digits = [2 if is_money(feature, contract) and feature.column == source else None for feature in features]

    def cells(self, steps: np.ndarray) -> np.ndarray:
        """Return raw values at steps of shape (n_rows, n_steps); of shape (n_rows, n_features, n_steps)."""
        values = self.first[:, :, None] + (self.last - self.first)[:, :, None] * steps[:, None, :]
        for place, (encoding, digits) in enumerate(zip(self.encodings, self.digits, strict=True)):
            if isinstance(encoding, NumberEncoding) and encoding.statistics.whole:
                digits = 0
            if digits is not None:
                values[:, place] = np.round(values[:, place], digits)
        return values

    def trials(self, steps: np.ndarray) -> np.ndarray:
        """Return the rows encoded at steps of shape (n_rows, n_steps); of shape (n_rows * n_steps, n_columns)."""
        values, encoder = self.cells(steps), self.encoder
        trials = np.repeat(self.matrix, steps.shape[1], axis=0)
        for place, encoding in enumerate(self.encodings):
            if isinstance(encoding, NumberEncoding):
                columns = encoding.transform(values[:, place].ravel(), encoder.bound)
                for at, column in zip(encoder.places_of(encoding.feature.name), columns, strict=True):
                    trials[:, at] = column
        return trials


def _ways(
    detector: Detector, rows: pa.Table, wanted: Sequence[Wanted], *, matrix: np.ndarray, own: np.ndarray
) -> Iterator[_Way]:
    """Yield the way of each source of which rows tell a feature."""

    def trials() -> Iterator[Trials]:
        for source, _, tellers in wanted:
            places = np.array(list(tellers))
            everywhere = np.ones(len(places), dtype=bool)
            yield Trials(detector, matrix[places], own[places], source=source, tried=everywhere)

    for (source, features, tellers), (settled, _) in zip(wanted, most_usual(detector, trials()), strict=True):
        yield _Way(detector, rows, features, source=source, tellers=tellers, matrix=matrix, settled=settled)


def _first_below(detector: Detector, ways: Sequence[_Way], own: np.ndarray, cuts: np.ndarray) -> list[np.ndarray]:
    """Return of each way the first step of its rows at which the score is not above the cut; nan where none is.

    All ways are looked at in one call: the model scores blocks of one size, and a few rows cost as much as a block.
    """
    if not ways:
        return []
    places = np.concatenate([way.places for way in ways])
    ends = np.cumsum([len(way.places) for way in ways])[:-1]
    own, cuts = own[places], cuts[places]
    low: np.ndarray = np.zeros(len(own))
    width: np.ndarray = np.ones(len(own))
    found: np.ndarray = np.zeros(len(own), dtype=bool)
    parts = np.arange(1, PARTS + 1) / PARTS
    for turn in range(ROUNDS):
        steps = low[:, None] + width[:, None] * parts
        trials = [way.trials(part) for way, part in zip(ways, np.split(steps, ends), strict=True)]
        below = detector.matrix_scores(np.concatenate(trials)).reshape(steps.shape) <= cuts[:, None]
        if turn == 0:
            found = np.asarray(below.any(axis=1))
        # The end of the part is below in any case, though rounding may let no place of it be so.
        at = np.where(below.any(axis=1), below.argmax(axis=1), PARTS - 1)
        low, width = low + width * at / PARTS, width / PARTS
    return np.split(np.where(found & (own > cuts), low + width, np.nan), ends)
