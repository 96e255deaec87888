"""Text from transactions as a page shows it: what cannot be seen is spelled out, what is long is visibly shortened."""

import unicodedata
from collections.abc import Iterator
from itertools import groupby

from markupsafe import Markup, escape

LIMIT = 120
"""Signs of a cell that a page shows; the rest can be opened on the page of the alert."""
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of Unicode that leave no mark, or turn the direction of what follows."""
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u2800\u3164\uffa0"
"""Signs that are letters or marks by their category, and show nothing."""
MARKS = 3
"""Marks upon one letter; more would be drawn over the lines above and below."""


def spelled(text: str) -> str:
    r"""Return a text in which every sign that cannot be seen is spelled out.

    Examples
    --------
    >>> spelled("pay\u202eelif\u200b"), spelled("naïve\nend")
    ('pay[U+202E]elif[U+200B]', 'naïve\nend')
    """
    return "".join(part if is_seen else _spell(part) for is_seen, part in _runs(text))


def shown(text: object, limit: int = LIMIT) -> Markup:
    r"""Return a text for a page: escaped, shortened visibly, and what cannot be seen spelled out and marked.

    Parameters
    ----------
    text : object
    limit : int
        Signs before it is shortened.

    Examples
    --------
    >>> shown("<b>\u202e")
    Markup('&lt;b&gt;<span class="odd">[U+202E]</span>')
    >>> shown("a" * 300, 5)
    Markup('aaaaa<span class="odd">… 295 more</span>')
    """
    whole = str(text)
    parts = [
        escape(part) if is_seen else Markup('<span class="odd">{}</span>').format(_spell(part))
        for is_seen, part in _runs(whole[:limit])
    ]
    if len(whole) > limit:
        parts.append(Markup('<span class="odd">… {} more</span>').format(f"{len(whole) - limit:,}"))
    return Markup("").join(parts)


def _runs(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of a text that can be seen and those that cannot, in their order."""
    marks = 0
    seen = []
    for sign in text:
        marks = marks + 1 if unicodedata.combining(sign) else 0
        is_hidden = unicodedata.category(sign) in INVISIBLE or sign in BLANK or marks > MARKS
        seen.append(sign in "\n\t" or not is_hidden)
    for is_seen, part in groupby(zip(seen, text, strict=True), key=lambda pair: pair[0]):
        yield is_seen, "".join(sign for _, sign in part)


def _spell(part: str) -> str:
    return "".join(f"[U+{ord(sign):04X}]" for sign in part)
