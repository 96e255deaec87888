"""What the desk says in words: how rare a score is, how long ago something was, how many of what."""

import math
from datetime import datetime, timedelta

from pipeline.numbers import percent
from pipeline.review.peers import Standing


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


def standing(stand: Standing | None, party: str, thing: str = "amount") -> str:
    """Return how a number stands among an entity's own and among everybody's; "" where neither is known.

    Parameters
    ----------
    stand : Standing or None
    party : str
        What the entity is called.
    thing : str
        What the number is.

    Examples
    --------
    >>> standing(Standing(0.984, 61, 0.9), "card")
    "Above 98.4 % of this card's 61 earlier amounts and above 90 % of everybody's."
    >>> standing(Standing(1.0, 2, None), "card", "value"), standing(Standing(None, 0, 0.0), "card")
    ("Above all of this card's 2 earlier values.", "Above none of everybody's.")
    """
    if stand is None:
        return ""
    of = {f"this {party}'s {many(stand.earlier, f'earlier {thing}')}": stand.own, "everybody's": stand.everybody}
    text = " and ".join(f"above {_share(share)} {rows}" for rows, share in of.items() if share is not None)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


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
