"""What the desk says in words: how rare a score is, how long ago something was, how many of what."""

import math
from datetime import datetime, timedelta

from pipeline.numbers import percent


def rarity(p_value: float | None) -> str:
    """Return a p-value in words.

    Parameters
    ----------
    p_value : float or None
        Share of normal rows that score at least as high, in 0..1.

    Examples
    --------
    >>> rarity(0.0000813), rarity(0.012), rarity(0.3)
    ('about 1 in 12,000 normal rows scores this high', 'about 1 in 83 normal rows scores this high', \
'about 30 in 100 normal rows score this high')
    """
    if p_value is None or not 0 < p_value <= 1:
        return "how many normal rows score this high is not known"
    if p_value >= 0.15:
        return f"about {round(100 * p_value)} in 100 normal rows score this high"
    return f"about 1 in {_two_digits(1 / p_value):,} normal rows scores this high"


def standing(own: float | None, earlier: int, everybody: float | None) -> str:
    """Return how an amount stands among an entity's own and among everybody's; "" where neither is known.

    Examples
    --------
    >>> standing(0.984, 61, 0.9)
    "Above 98.4 % of its 61 earlier amounts and above 90 % of everybody's."
    >>> standing(1.0, 2, None), standing(None, 0, 0.0)
    ('Above all of its 2 earlier amounts.', "Above none of everybody's.")
    """
    parts = [(own, f"its {earlier:,} earlier amounts"), (everybody, "everybody's")]
    texts = [f"above {_share(share)} {rows}" for share, rows in parts if share is not None]
    return f"{' and '.join(texts)}.".capitalize() if texts else ""


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, in its largest unit.

    Examples
    --------
    >>> now = datetime(2025, 3, 2, 12)
    >>> ago(datetime(2025, 3, 2, 11, 59, 40), now), ago(datetime(2025, 3, 2, 9), now), ago(datetime(2025, 1, 2), now)
    ('just now', '3 h', '59 d')
    """
    gap = max(now - moment, timedelta())
    if gap < timedelta(minutes=1):
        return "just now"
    if gap < timedelta(hours=1):
        return f"{gap // timedelta(minutes=1)} min"
    return f"{gap // timedelta(hours=1)} h" if gap < timedelta(days=2) else f"{gap.days} d"


def many(number: int, thing: str) -> str:
    """Return how many of a thing there are.

    Examples
    --------
    >>> many(1, "alert"), many(1200, "alert")
    ('1 alert', '1,200 alerts')
    """
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _share(share: float) -> str:
    return {0.0: "none of", 1.0: "all of"}.get(share, f"{percent(share)} of")


def _two_digits(value: float) -> int:
    size = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return round(value / size) * size
