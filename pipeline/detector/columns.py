"""How one feature becomes columns of the matrix, and back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.features import Feature

OTHER = "(another value)"
QUANTILES = (0.01, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.99)
CENTRE = (0.001, 0.999)


@dataclass(frozen=True)
class EncodedColumn:
    """One column of the matrix: which feature it comes from and what it holds of it."""

    name: str
    feature: str
    role: Literal["value", "sine", "cosine", "missing", "category"]


@dataclass(frozen=True)
class Statistics:
    """A feature over the fit rows, in its raw unit.

    Parameters
    ----------
    rows, missing : int
        Fit rows, and those without a value.
    whole : bool
        Every value is a whole number.
    mean, std : float
        Over the values, one absurd cell held in (see `NumberEncoding`).
    quantiles : tuple of float
        At `QUANTILES`; empty when every value is missing.
    """

    rows: int
    missing: int
    whole: bool
    mean: float
    std: float
    quantiles: tuple[float, ...]


class NumberEncoding:
    """A number, standard-scaled after the feature's own scale step.

    The step is x itself (linear), sign(x) log(1 + abs(x)) (log), or sine and cosine of 2 pi x / period
    (cycle). Each result is then centred, divided by its standard deviation over the fit rows and bounded.

    - A missing value becomes 0, the mean. A feature with missing values among the fit rows has an indicator
      column besides; two features missing on the same fit rows share one. A feature that goes missing
      only later has none: nothing was learned of what its absence means.
    - A result that never varied among the fit rows gets no column: nothing was learned of how far it may
      vary, and dividing by a deviation of about 0 would turn the first change into the highest score of all.
    - Mean and deviation are taken with values held within ten times the range of the central 99.8 %, so that
      one absurd cell (1e300) does not flatten the rest.

    Parameters
    ----------
    feature : Feature
    statistics : Statistics
    parts : list of (mean, std)
        After the scale step; std is 0 where the result never varied.
    indicator : str or None
        Name of the feature whose indicator column tells that this one is missing.
    """

    def __init__(
        self,
        feature: Feature,
        statistics: Statistics,
        parts: list[tuple[float, float]],
        indicator: str | None,
    ) -> None:
        self.feature = feature
        self.statistics = statistics
        self.parts = parts
        self.indicator = indicator

    @classmethod
    def fit(cls, feature: Feature, values: np.ndarray, indicator: str | None, *, is_used: bool = True) -> Self:
        """Learn from the raw values of the fit rows, shape (n_rows,), NaN = missing; one not used gets no column."""
        known = values[~np.isnan(values)]
        mean, std = _moments(known)
        statistics = Statistics(
            rows=len(values),
            missing=len(values) - len(known),
            whole=bool((known == np.round(known)).all()),
            mean=mean,
            std=std,
            quantiles=tuple(np.quantile(known, QUANTILES).tolist()) if len(known) else (),
        )
        parts = [_moments(part) if is_used else (mean, 0.0) for part in _scale(known, feature)]
        return cls(feature, statistics, parts, indicator)

    @property
    def columns(self) -> list[EncodedColumn]:
        """The matrix columns, in order."""
        name = self.feature.name
        if self.feature.scale == "cycle":
            parts = [
                EncodedColumn(f"{name}: sine", name, "sine"),
                EncodedColumn(f"{name}: cosine", name, "cosine"),
            ]
        else:
            parts = [EncodedColumn(name, name, "value")]
        varying = [column for column, (_, std) in zip(parts, self.parts, strict=True) if std > 0]
        if self.indicator == name:
            varying.append(EncodedColumn(f"{name} is missing", name, "missing"))
        return varying

    def transform(self, values: np.ndarray, bound: float) -> list[np.ndarray]:
        """Return the matrix columns of raw values, each of shape (n_rows,) and within -bound to bound."""
        missing = np.isnan(values)
        has_missing, columns = missing.any(), []
        for part, (mean, std) in zip(_scale(values, self.feature), self.parts, strict=True):
            if std > 0:
                with np.errstate(over="ignore"):
                    scaled = part - mean
                    scaled /= std
                np.clip(scaled, -bound, bound, out=scaled)
                if has_missing:
                    scaled[missing] = 0
                columns.append(scaled)
        if self.indicator == self.feature.name:
            columns.append(missing.astype(np.float64))
        return columns

    def usual(self, bound: float) -> np.ndarray:
        """Return the matrix columns of usual values, shape (n_values, n_columns), the most usual first.

        They are the quantiles over the fit rows, from the median outwards.
        """
        outwards = np.argsort(np.abs(np.array(QUANTILES) - 0.5), kind="stable")
        values = np.array(self.statistics.quantiles)[outwards]
        if self.statistics.whole:
            values = np.round(values)
        return np.column_stack(self.transform(values, bound))

    def inverse(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        """Return raw values, shape (n_rows,), from the value columns; exact within the bound."""
        scaled = iter(columns)
        parts = [next(scaled) * std + mean if std > 0 else np.float64(mean) for mean, std in self.parts]
        if self.feature.scale == "cycle":
            return np.arctan2(parts[0], parts[1]) / (2 * np.pi) % 1 * self.feature.period
        if self.feature.scale == "log":
            return np.sign(parts[0]) * np.expm1(np.abs(parts[0]))
        return np.asarray(parts[0])

    def to_dict(self) -> dict[str, Any]:
        """Return what was learned as JSON types."""
        return {"statistics": asdict(self.statistics), "parts": self.parts, "indicator": self.indicator}

    @classmethod
    def from_dict(cls, feature: Feature, raw: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        statistics = Statistics(**{**raw["statistics"], "quantiles": tuple(raw["statistics"]["quantiles"])})
        return cls(feature, statistics, [(mean, std) for mean, std in raw["parts"]], raw["indicator"])


class CategoryEncoding:
    """A category, one-hot: a column for each of the most frequent values, and one for every other value.

    Missing counts as a value when it was among the fit rows. What was not seen there goes to the last column,
    as do values too rare for a column of their own.

    Parameters
    ----------
    feature : Feature
    values : list
        Values with a column of their own, the most frequent first (ties by value); None = missing.
    rare : list
        Values seen among the fit rows that share the last column.
    shares : list of float
        How many of the fit rows held each of ``values``, of 1.
    """

    def __init__(self, feature: Feature, values: list[Any], rare: list[Any], shares: list[float]) -> None:
        self.feature = feature
        self.values = values
        self.rare = rare
        self.shares = shares

    @classmethod
    def fit(cls, feature: Feature, values: pa.Array, max_categories: int) -> Self:
        """Learn the values of the fit rows."""
        counts = {item["values"]: item["counts"] for item in pc.value_counts(values).to_pylist()}
        ordered = sorted(counts, key=lambda value: (-counts[value], str(value)))
        shares = [counts[value] / len(values) for value in ordered[:max_categories]]
        return cls(feature, ordered[:max_categories], ordered[max_categories:], shares)

    @property
    def columns(self) -> list[EncodedColumn]:
        """The matrix columns, in order."""
        name = self.feature.name
        shown = [f"{name} is missing" if value is None else f"{name} = {value}" for value in self.values]
        return [EncodedColumn(label, name, "category") for label in [*shown, f"{name} = {OTHER}"]]

    def indices(self, values: pa.Array) -> np.ndarray:
        """Return each row's position among `values`, or their number for any other value; (n_rows,)."""
        positions = _positions(values, self.values)
        return np.where(positions < 0, len(self.values), positions)

    def unseen(self, values: pa.Array) -> np.ndarray:
        """Return which rows hold a value that no fit row held, missing aside; (n_rows,) bool."""
        seen = _positions(values, self.values + self.rare) >= 0
        return ~seen & values.is_valid().to_numpy(zero_copy_only=False)

    def share(self, value: Any) -> float:
        """Return how many of the fit rows held a value, of 1; that of all rare ones together for any other value."""
        known = dict(zip(self.values, self.shares, strict=True))
        return known.get(value, max(0.0, 1 - sum(self.shares)))

    def transform(self, values: pa.Array) -> np.ndarray:
        """Return the one-hot columns, shape (n_rows, len(values) + 1)."""
        return np.eye(len(self.values) + 1, dtype=np.float32)[self.indices(values)]

    def usual(self) -> np.ndarray:
        """Return the one-hot columns of each of `values`, the most frequent first; (n_values, n_columns)."""
        return np.eye(len(self.values), len(self.values) + 1)

    def inverse(self, matrix: np.ndarray) -> np.ndarray:
        """Return the value of each row's highest column, `OTHER` for the last one; (n_rows,) object."""
        names = np.empty(len(self.values) + 1, dtype=object)
        names[:] = [*self.values, OTHER]
        return names[np.argmax(matrix, axis=1)]

    def to_dict(self) -> dict[str, Any]:
        """Return what was learned as JSON types."""
        return {"values": self.values, "rare": self.rare, "shares": self.shares}

    @classmethod
    def from_dict(cls, feature: Feature, raw: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(feature, raw["values"], raw["rare"], raw["shares"])


def _scale(values: np.ndarray, feature: Feature) -> list[np.ndarray]:
    if feature.scale == "cycle":
        angle = 2 * np.pi * values / feature.period
        return [np.sin(angle), np.cos(angle)]
    if feature.scale == "log":
        return [np.sign(values) * np.log1p(np.abs(values))]
    return [values]


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation; (value, 0.0) of a constant, (0.0, 0.0) of nothing."""
    if not len(values):
        return 0.0, 0.0
    low, high = np.quantile(values, CENTRE)
    with np.errstate(over="ignore", invalid="ignore"):
        if high > low:
            reach = 10 * (high - low)
            values = np.clip(values, low - reach, high + reach)
        mean, std = float(values.mean()), float(values.std())
    if not np.isfinite(std) or std <= 1e-12 * abs(mean):
        return float(np.median(values)), 0.0
    return mean, std


def _positions(values: pa.Array, among: list[Any]) -> np.ndarray:
    """Return each value's index in the list, -1 where it is not there; None finds missing values."""
    found = pc.index_in(values, value_set=pa.array(among, type=values.type))
    return found.fill_null(-1).to_numpy(zero_copy_only=False)
