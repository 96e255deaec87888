"""How far each column of a day lies from the training, and what is another in the table's schema."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.detector.artefact import Detector
from pipeline.detector.usual import Usual, stability_index, watched
from pipeline.monitoring.profile import DayProfile
from pipeline.numbers import percent
from pipeline.settings.titles import title

OF_A_PAST = 2.0
"""How many times as large the index of a feature of somebody's past may be: it moves for weeks, with all their rows."""
LEVEL = 0.001
"""Level of the two-sample tests, corrected for the number of columns."""


@dataclass(frozen=True)
class ColumnDrift:
    """How far a column lies from the training on one day.

    Attributes
    ----------
    column, title : str
        Its name in the feature table, and what people call it.
    index, limit : float
        Population stability index against the calibration block, and that from which on it counts.
    p_value : float
        Of the chi-squared test, corrected for the number of columns (Benjamini and Hochberg).
    empty, usual_empty : float
        Shares of empty values.
    unseen : float
        How much larger the share of unseen values is.
    has_moved : bool
    """

    column: str
    title: str
    index: float
    limit: float
    p_value: float
    empty: float
    usual_empty: float
    unseen: float
    has_moved: bool

    def __str__(self) -> str:
        """Return it in words, without any value."""
        if self.empty - self.usual_empty > 0.0 and self.index < self.limit:
            return f"{self.title} is empty in {percent(self.empty)} of the rows, usually {percent(self.usual_empty)}"
        if self.index < self.limit:
            return f"{self.title} holds a value that the training never saw in {percent(self.unseen)} more of the rows"
        return f"{self.title} has moved (stability index {self.index:.2f}, limit {self.limit:.2f})"


def schema_changes(then: Mapping[str, str], now: Mapping[str, str], *, has_types: bool) -> list[str]:
    """Return what is another in a table's columns, a few words each.

    Parameters
    ----------
    then, now : mapping of str to str
        What each column holds, as `Reference.types`; without a `then`, nothing is known.
    has_types : bool
        Whether the table now says what its columns hold: CSV does not.

    Examples
    --------
    >>> then = {"id": "text", "eur": "number", "note": "text"}
    >>> schema_changes(then, {"id": "text", "eur": "text", "flag": "yes or no"}, has_types=True)
    ["new column 'flag'", "column 'note' is gone", "column 'eur' holds text and held number"]
    """
    if not then:
        return []
    changes = [f"new column {name!r}" for name in now if name not in then]
    changes += [f"column {name!r} is gone" for name in then if name not in now]
    if has_types:
        other = [name for name in then if name in now and now[name] != then[name]]
        changes += [f"column {name!r} holds {now[name]} and held {then[name]}" for name in other]
    return changes


def column_drifts(day: DayProfile, detector: Detector) -> list[ColumnDrift]:
    """Return how far each watched column of a day lies from the calibration block, the largest index first.

    A column has moved where the index, an effect size, is at least its limit and the chi-squared test of homogeneity
    rejects, corrected for the number of columns (Benjamini and Hochberg, Journal of the Royal Statistical Society B
    57(1), 1995): the test alone would reject for any difference, however small, once there are rows enough, and the
    index alone where there are few. Or where more of its values are empty or unseen than may be.

    Parameters
    ----------
    day : DayProfile
    detector : Detector
    """
    from scipy.stats import false_discovery_control

    settings, reference = detector.config.monitor, detector.reference
    looked_at = watched(detector.encoder, detector.config).keys() & reference.columns.keys()  # older versions know more
    names = [name for name, counts in day.columns.items() if counts.sum() and name in looked_at]
    if not names:
        return []
    p_values = false_discovery_control([_p_value(reference.columns[name], day.columns[name]) for name in names])
    slow = {feature.column for feature in detector.features if feature.party}
    titles = {feature.column: feature.name for feature in detector.features}
    titles |= {name: name for name in detector.config.contract.columns}
    drifts = []
    for name, p_value in zip(names, p_values.tolist(), strict=True):
        usual, counts = reference.columns[name], day.columns[name]
        least = settings.drift * (OF_A_PAST if name in slow else 1.0)
        index, limit = index_of(usual, counts), max(least, 2 * usual.index)
        empty, usual_empty = counts[-1] / counts.sum(), usual.counts[-1] / sum(usual.counts)
        unseen = day.unseen.get(name, 0) / counts.sum() - reference.unseen.get(name, 0.0)
        is_lacking = max(empty - usual_empty, unseen) > settings.empty
        moved = (index >= limit and p_value <= LEVEL) or is_lacking
        drifts.append(
            ColumnDrift(
                column=name,
                title=title(titles.get(name, name), detector.config),
                index=index,
                limit=limit,
                p_value=p_value,
                empty=float(empty),
                usual_empty=usual_empty,
                unseen=float(max(unseen, 0.0)),
                has_moved=bool(moved),
            )
        )
    return sorted(drifts, key=lambda drift: (not drift.has_moved, -drift.index, drift.column))


def index_of(usual: Usual, counts: np.ndarray) -> float:
    """Return the population stability index of a day's counts against what is usual."""
    return stability_index(np.array(usual.counts), counts)


def _p_value(usual: Usual, counts: np.ndarray) -> float:
    from scipy.stats import chi2_contingency

    table = np.array([usual.counts, counts])
    table = table[:, table.sum(axis=0) > 0]
    return float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0
