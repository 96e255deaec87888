"""The columns that Assay adds to a table's own, and what the table's own are called beside them."""

from collections.abc import Collection

FIGURES = ("anomaly_score", "p_value", "tail_p_value", "one_class_p_value")
"""What a Detector says of a row, float64."""
MARKS = ("batch_id", "model_version", "scored_at")
"""Which run says it."""
SCORES = (*FIGURES, "is_flagged", *MARKS)
"""The scores table, beside the id."""
ALERTS = (*SCORES, "picked", "threshold", "rank", "like_frauds", "reasons", "unflagged_at", "reason")
"""The alerts table, beside the table's own columns."""


FLAGGED, EXPLORING = "score", "exploring"
"""Why a row is in the queue, in the column ``picked``: its score, or only that of the one-class model."""


def name_beside(name: str, added: Collection[str]) -> str:
    """Return what a column of the table is called beside columns that are added.

    Parameters
    ----------
    name : str
        What the table calls it.
    added : collection of str

    Examples
    --------
    >>> name_beside("rank", ALERTS), name_beside("card", ALERTS)
    ('rank (input)', 'card')
    """
    return _of_input(name) if name in added else name


def name_within(name: str, columns: Collection[str]) -> str:
    """Return what a column of the table is called in a file that may have columns added.

    Parameters
    ----------
    name : str
        What the table calls it.
    columns : collection of str
        All columns of the file.

    Examples
    --------
    >>> name_within("rank", ["rank (input)", "rank"]), name_within("card", ["card", "rank"])
    ('rank (input)', 'card')
    """
    return _of_input(name) if _of_input(name) in columns else name


def _of_input(name: str) -> str:
    return f"{name} (input)"
