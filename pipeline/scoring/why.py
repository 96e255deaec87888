"""What alerts say of why: how many known frauds a row is like, its reasons, and what would not have been flagged."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.scoring.nearest import NEAREST_TYPE, unflagged_at
from pipeline.scoring.reasons import REASONS_TYPE, explain, sentence

EXPLAINED_AT_A_TIME = 1024
"""Rows that are explained together: six seconds of a processor by the default committee, which are a task of Spark's.
4,096 at a time take 3 % less a row."""
WHY = pa.schema(
    {"like_frauds": pa.int64(), "reasons": REASONS_TYPE, "unflagged_at": NEAREST_TYPE, "reason": pa.string()}
)
"""The columns that say why."""


def chunks(rows: pa.Table, cuts: np.ndarray) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Yield rows and their cuts, as many as are explained at a time."""
    for start in range(0, rows.num_rows, EXPLAINED_AT_A_TIME):
        yield rows.slice(start, EXPLAINED_AT_A_TIME), cuts[start : start + EXPLAINED_AT_A_TIME]


def why(detector: Detector, rows: pa.Table, cuts: np.ndarray) -> pa.Table:
    """Explain rows of a feature table, as many as are explained at a time.

    Parameters
    ----------
    detector : Detector
    rows : pa.Table of n_rows
    cuts : array of shape (n_rows,)
        Above which score each row is flagged.

    Returns
    -------
    pa.Table of n_rows, schema `WHY`
    """
    alike, reasons = pa.array(detector.alike(rows)), explain(detector, rows)
    nearest = unflagged_at(detector, rows, reasons, cuts)
    return pa.table([alike, reasons, nearest, sentence(reasons, alike)], schema=WHY)


def joined(explained: Iterable[pa.Table]) -> pa.Table:
    """Return what was explained chunk by chunk as one table."""
    return pa.concat_tables([*explained] or [WHY.empty_table()])
