"""Columns to matrix and back: features become the float32 numbers that a model sees."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.detector.columns import CategoryEncoding, EncodedColumn, NumberEncoding, Statistics
from pipeline.errors import TrainingError
from pipeline.features import Feature
from pipeline.settings.config import EncodingConfig

if TYPE_CHECKING:
    from pipeline.detector.parts import Sample

UNSEEN_SHARE = 0.01
ENCODED_ROWS = 4096
"""Numbers are encoded this many rows at a time, so that a column's steps and the matrix's rows stay in a cache."""

Rows: TypeAlias = pa.Table | pa.RecordBatch


class Encoder:
    """The encoding of all features of a table, fitted on its normal fit rows only.

    Examples
    --------
    >>> amount = Feature(name="eur", kind="number", scale="linear", source="eur", text="The amount.")
    >>> table = pa.table({"eur": [10.0, 20.0, 30.0]})
    >>> encoder = Encoder.fit(table, [amount], EncodingConfig())
    >>> matrix = encoder.transform(table)
    >>> matrix.shape, encoder.inverse(matrix)["eur"].round(3).tolist()
    ((3, 1), [10.0, 20.0, 30.0])
    """

    def __init__(self, encodings: list[NumberEncoding | CategoryEncoding], bound: float) -> None:
        self.encodings = encodings
        self.bound = bound
        self.columns = [column for encoding in encodings for column in encoding.columns]
        self._start = dict(
            zip(
                (encoding.feature.name for encoding in encodings),
                np.cumsum([0, *(len(encoding.columns) for encoding in encodings[:-1])]).tolist(),
                strict=True,
            )
        )

    @classmethod
    def fit(
        cls,
        table: "pa.Table | Sample",
        features: Sequence[Feature],
        settings: EncodingConfig,
        *,
        unused: Collection[str] = (),
    ) -> Self:
        """Learn scales and categories.

        Parameters
        ----------
        table : pa.Table or Sample
            Normal fit rows, with the column that each feature reads. Of a sample, memory holds a column at a time.
        features : sequence of Feature
        settings : EncodingConfig
        unused : collection of str
            Names of numbers that get no column, however they vary.

        Raises
        ------
        TrainingError
            When no feature varies among the rows.
        """
        encodings: list[NumberEncoding | CategoryEncoding] = []
        indicators: dict[bytes, str] = {}
        for feature in features:
            if feature.kind == "category":
                encodings.append(CategoryEncoding.fit(feature, _array(table, feature), settings.max_categories))
                continue
            values = _numbers(table, feature)
            missing = np.isnan(values)
            indicator = None
            if missing.any() and not missing.all():
                indicator = indicators.setdefault(np.packbits(missing).tobytes(), feature.name)
            is_used = feature.name not in unused
            encodings.append(NumberEncoding.fit(feature, values, indicator, is_used=is_used))
        encoder = cls(encodings, settings.bound)
        if not any(_varies(encoding) for encoding in encodings):
            raise TrainingError(
                f"no feature varies among the {table.num_rows:,} rows to fit on, so that nothing can be "
                "learned from them; train on rows that differ, or name more columns in the contract"
            )
        return encoder

    @property
    def features(self) -> list[Feature]:
        """The features encoded, in order."""
        return [encoding.feature for encoding in self.encodings]

    @property
    def table_columns(self) -> list[str]:
        """The columns of the feature table that the features read, each once."""
        return list(dict.fromkeys(feature.column for feature in self.features))

    @property
    def unused(self) -> list[str]:
        """Features that got no column: they never varied among the fit rows, or were not to be used."""
        return [encoding.feature.name for encoding in self.encodings if not encoding.columns]

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the matrix's columns, in order, as scikit-learn's transformers do; (n_columns,) object.

        ``input_features`` is not looked at: the features were remembered at the fit.
        """
        return np.array([column.name for column in self.columns], dtype=object)

    @property
    def column_groups(self) -> list[tuple[str, int]]:
        """Kind and width of each run of matrix columns, in order, for losses by column type.

        "number", "binary" (an indicator), or "category", each as wide as its one-hot columns.
        """
        kinds = {"missing": "binary", "category": "category"}
        runs = groupby(self.columns, lambda column: (kinds.get(column.role, "number"), _group(column)))
        return [(kind, len(list(run))) for (kind, _), run in runs]

    def views(self, core: Collection[str] = (), ignored: Collection[str] = ()) -> dict[str, list[int]]:
        """Return the positions of columns that belong together, by the name of a model's parameter for them.

        Parameters
        ----------
        core : collection of str
            Names of the features whose combination says something; none stands for all.
        ignored : collection of str
            Names of the features that a model shall not look at.

        Returns
        -------
        dict
            "core", the columns of these features; "behaviour", those that hold what a row is against what is usual,
            which a column of the table, a place on the clock and a mark of a missing value are not; "above", those of
            features of which only high values speak for fraud; "ignored". A view that would be empty is left out.
        """
        features = {feature.name: feature for feature in self.features}
        names = {name for name in features if not core or name in core}
        views: dict[str, list[int]] = {"core": [], "behaviour": [], "above": [], "ignored": []}
        for place, column in enumerate(self.columns):
            feature = features[column.feature]
            if column.feature in ignored:
                views["ignored"].append(place)
                continue
            if column.feature in names:
                views["core"].append(place)
            if feature.family != "columns" and feature.scale != "cycle" and column.role != "missing":
                views["behaviour"].append(place)
            if feature.direction == "above" and column.role != "missing":
                views["above"].append(place)
        return {name: places for name, places in views.items() if places}

    def names_of(self, places: Iterable[int]) -> list[str]:
        """Return the features that columns of the matrix belong to, each once, in their order."""
        return list(dict.fromkeys(self.columns[place].feature for place in places))

    def places(self, source: str) -> list[int]:
        """Return the positions of a source's columns in the matrix (`Feature.source`)."""
        names = {feature.name for feature in self.features if feature.source == source}
        return [place for place, column in enumerate(self.columns) if column.feature in names]

    def places_of(self, feature: str) -> list[int]:
        """Return the positions of a feature's columns in the matrix."""
        return [place for place, column in enumerate(self.columns) if column.feature == feature]

    def encoding_of(self, feature: str) -> NumberEncoding | CategoryEncoding:
        """Return how a feature is encoded."""
        return next(encoding for encoding in self.encodings if encoding.feature.name == feature)

    def statistics(self, feature: str) -> Statistics | None:
        """Return a number's statistics over the fit rows in its raw unit; None for a category."""
        encoding = self.encoding_of(feature)
        return encoding.statistics if isinstance(encoding, NumberEncoding) else None

    def transform(self, rows: Rows) -> np.ndarray:
        """Return the matrix of feature-table rows.

        Parameters
        ----------
        rows : pa.Table or pa.RecordBatch
            With the column that each feature reads.

        Returns
        -------
        array of shape (n_rows, len(self.columns)), float32
            Finite; numbers within -bound to bound, indicators and categories 0 or 1.
        """
        matrix = np.empty((rows.num_rows, len(self.columns)), dtype=np.float32)
        numbers: dict[str, np.ndarray] = {}  # several features may read one column
        for encoding in self.encodings:
            if isinstance(encoding, CategoryEncoding):
                start = self._start[encoding.feature.name]
                block = encoding.transform(_array(rows, encoding.feature))
                matrix[:, start : start + block.shape[1]] = block
            elif encoding.feature.column not in numbers:
                numbers[encoding.feature.column] = _numbers(rows, encoding.feature)
        for first in range(0, len(matrix), ENCODED_ROWS):
            part = slice(first, first + ENCODED_ROWS)
            for encoding in self.encodings:
                if isinstance(encoding, NumberEncoding):
                    columns = encoding.transform(numbers[encoding.feature.column][part], self.bound)
                    for place, column in enumerate(columns, self._start[encoding.feature.name]):
                        matrix[part, place] = column
        return matrix

    def missing(self, rows: Rows) -> np.ndarray:
        """Return which cells of the matrix stand for a missing number: those of its values, not its indicator.

        Of shape (n_rows, len(self.columns)), bool.
        """
        cells = np.zeros((rows.num_rows, len(self.columns)), dtype=bool)
        for encoding in self.encodings:
            if isinstance(encoding, NumberEncoding):
                gone = np.isnan(_numbers(rows, encoding.feature))
                places = self.places_of(encoding.feature.name)
                cells[:, [place for place in places if self.columns[place].role != "missing"]] = gone[:, None]
        return cells

    def put_unseen(self, matrix: np.ndarray, seed: int) -> None:
        """Turn, in the fit rows' matrix, one cell in 100 of each category into a value never seen.

        Only for categories whose last column no fit row fills. A model fitted without it has no measure of how
        odd such a value is, and its score would leave that of any other row far behind. (The same is done
        to give language models a vector for unknown words.)

        Parameters
        ----------
        matrix : array of shape (n_rows, len(self.columns))
            Changed in place; may be a ``numpy.memmap``.
        seed : int
        """
        generator = np.random.default_rng(seed)
        for encoding in self.encodings:
            if isinstance(encoding, CategoryEncoding) and not encoding.rare:
                start = self._start[encoding.feature.name]
                chosen = generator.random(len(matrix)) < UNSEEN_SHARE
                matrix[chosen, start : start + len(encoding.columns)] = np.eye(len(encoding.columns))[-1]

    def inverse(self, matrix: np.ndarray, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """Return raw values from a matrix, for the features named or for all.

        Exact up to float32 for numbers within the bound and categories with a column of their own; a cycle by
        the angle of its sine and cosine, a category by its highest column.

        Parameters
        ----------
        matrix : array of shape (n_rows, len(self.columns))

        Returns
        -------
        dict of feature name to array of shape (n_rows,)
            float64 (NaN where the indicator column is above one half), or object for categories
            (None = missing, `OTHER` = no value with a column of its own).
        """
        matrix = np.asarray(matrix, dtype=np.float64)
        raw: dict[str, np.ndarray] = {}
        for encoding in self.encodings:
            name = encoding.feature.name
            if names is not None and name not in names:
                continue
            start = self._start[name]
            block = matrix[:, start : start + len(encoding.columns)]
            if isinstance(encoding, CategoryEncoding):
                raw[name] = encoding.inverse(block)
                continue
            values = np.broadcast_to(encoding.inverse(list(block.T)), (len(matrix),)).copy()
            if encoding.indicator is not None:
                # The indicator is the last column of the feature that owns it.
                owner = self._start[encoding.indicator]
                width = sum(column.feature == encoding.indicator for column in self.columns)
                values[matrix[:, owner + width - 1] > 0.5] = np.nan
            elif not encoding.statistics.quantiles:
                values[:] = np.nan
            raw[name] = values
        return raw

    def usual(self, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Return usual settings of the columns of one source (`Feature.source`), the most usual first.

        They are quantiles over the fit rows (the same one for all features of the source), or the categories
        with a column of their own.

        Returns
        -------
        columns : array of shape (n_source_columns,), int64
            Positions in the matrix.
        settings : array of shape (n_settings, n_source_columns)
        """
        blocks: list[np.ndarray] = []
        for encoding in self.encodings:
            if encoding.feature.source == source and encoding.columns:
                if isinstance(encoding, CategoryEncoding):
                    blocks.append(encoding.usual())
                else:
                    blocks.append(encoding.usual(self.bound))
        if not blocks:
            return np.empty(0, dtype=np.int64), np.empty((0, 0))
        most = max(len(block) for block in blocks)
        places = [np.linspace(0, len(block) - 1, most).round().astype(int) for block in blocks]
        settings = [block[place] for block, place in zip(blocks, places, strict=True)]
        return np.array(self.places(source)), np.column_stack(settings)

    def unseen(self, rows: Rows) -> dict[str, np.ndarray]:
        """Return, for each category, which rows hold a value that no fit row held; (n_rows,) bool."""
        return {
            encoding.feature.name: encoding.unseen(_array(rows, encoding.feature))
            for encoding in self.encodings
            if isinstance(encoding, CategoryEncoding)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what was learned as JSON types."""
        return {
            "bound": self.bound,
            "features": [{"feature": asdict(item.feature), **item.to_dict()} for item in self.encodings],
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        encodings: list[NumberEncoding | CategoryEncoding] = []
        for item in raw["features"]:
            feature = Feature(**item["feature"])
            kind = CategoryEncoding if feature.kind == "category" else NumberEncoding
            encodings.append(kind.from_dict(feature, item))
        return cls(encodings, raw["bound"])


def _group(column: EncodedColumn) -> str:
    """Return what keeps one category's columns apart from the next one's; other columns run on."""
    return column.feature if column.role == "category" else ""


def _array(rows: "Rows | Sample", feature: Feature) -> pa.Array:
    column = rows.column(feature.column)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _numbers(rows: "Rows | Sample", feature: Feature) -> np.ndarray:
    values = np.asarray(_array(rows, feature).cast(pa.float64()).to_numpy(zero_copy_only=False))
    is_finite = np.isfinite(values)
    return values if is_finite.all() else np.where(is_finite, values, np.nan)


def _varies(encoding: NumberEncoding | CategoryEncoding) -> bool:
    if isinstance(encoding, NumberEncoding):
        return bool(encoding.columns)
    return len(encoding.values) > 1
