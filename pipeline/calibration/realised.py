"""What came of scored rows, as a promise is held against it: counts of all of them, and the few that were flagged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.calibration.held_out import ScoredRows


@dataclass(frozen=True, kw_only=True, eq=False)
class Realised:
    """What came of a batch.

    Parameters
    ----------
    rows, normal, labelled, frauds : int
        Scored rows, and of these what counts as a normal row, has a known label, and is known to be fraud.
    days, labelled_days : int
        Calendar days with a row, and with one whose label is known.
    alerts : ScoredRows
        The flagged rows.
    parts : mapping of str to Realised
        The same of the rows of a segment, by its value.

    """

    rows: int
    normal: int
    labelled: int
    frauds: int
    days: int
    labelled_days: int
    alerts: ScoredRows
    parts: Mapping[str, "Realised"] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: ScoredRows, flags: np.ndarray, *, segment: str = "", values: Iterable[str] = ()) -> "Realised":
        """Return what came of rows that are all in memory.

        Parameters
        ----------
        rows : ScoredRows
        flags : array of bool, shape (n_rows,)
        segment : str
            Column of the parts.
        values : iterable of str
            Its values that have one.
        """
        tally = Tally()
        tally.add(rows.day, rows.labels, rows.normal)
        masks = {value: rows.where(segment, value) for value in values}
        parts = {value: cls.of(rows.take(mask), flags[mask]) for value, mask in masks.items()}
        return tally.result(rows.take(flags), parts)


class Tally:
    """The counts of a `Realised`, added up over the parts of a batch.

    Examples
    --------
    >>> tally = Tally()
    >>> labels = np.array([0.0, np.nan, 1.0])
    >>> tally.add(np.array([4, 4, 5]), labels, labels == 0)
    >>> tally.rows, tally.normal, tally.labelled, tally.frauds, sorted(tally.days)
    (3, 1, 2, 1, [4, 5])
    """

    def __init__(self) -> None:
        self.rows = self.normal = self.labelled = self.frauds = 0
        self.days: set[int] = set()
        self.labelled_days: set[int] = set()

    def add(self, day: np.ndarray, labels: np.ndarray, normal: np.ndarray) -> None:
        """Count the next rows.

        Parameters
        ----------
        day : array of int, shape (n_rows,)
            Calendar days, counted from the same one for all parts.
        labels, normal : arrays of shape (n_rows,)
            As those of `ScoredRows`.
        """
        has_label = ~np.isnan(labels)
        self.rows += len(day)
        self.normal += int(np.count_nonzero(normal))
        self.labelled += int(np.count_nonzero(has_label))
        self.frauds += int(np.count_nonzero(labels == 1))
        self.days.update(np.unique(day).tolist())
        self.labelled_days.update(np.unique(day[has_label]).tolist())

    def result(self, alerts: ScoredRows, parts: Mapping[str, Realised] | None = None) -> Realised:
        """Return the counts beside the rows that were flagged."""
        return Realised(
            rows=self.rows,
            normal=self.normal,
            labelled=self.labelled,
            frauds=self.frauds,
            days=len(self.days),
            labelled_days=len(self.labelled_days),
            alerts=alerts,
            parts=parts or {},
        )
