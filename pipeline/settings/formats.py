"""Formats of dates and times, such as ``%d/%m/%Y %H:%M``: which are allowed, and what text they fit."""

import re

_ZONE = r"(?:[Zz]|[+-]\d\d(?::?\d\d)?)"
_PARTS = {
    "%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{1,2}", "%d": r"\d{1,2}", "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,}",
    "%H": r"\d{1,2}", "%I": r"\d{1,2}", "%M": r"\d{1,2}", "%S": r"\d{1,2}", "%f": r"\d{1,6}", "%p": "[AaPp][Mm]",
    "%z": _ZONE, "%a": "[A-Za-z]{3}", "%A": "[A-Za-z]{6,}",
}  # fmt: skip
_TOKEN = re.compile(r"%.|[^%]+|%", re.DOTALL)
_SWAP = {"%d": "%m", "%m": "%d"}


def fault_of_formats(formats: tuple[str, ...]) -> str:
    """Return what is wrong with a list of formats, or nothing.

    Examples
    --------
    >>> fault_of_formats(("%d/%m/%Y %H:%M", "%d-%b-%y")), fault_of_formats(("%d/%m",))
    ('', "'%d/%m' has no year; write it as e.g. '%d/%m/%Y %H:%M'")
    """
    for text in formats:
        parts = [part for part in _TOKEN.findall(text) if part.startswith("%")]
        strange = [part for part in parts if part not in _PARTS]
        if strange:
            return f"{text!r} holds {strange[0]!r}, which is not understood; allowed are {' '.join(_PARTS)}"
        for what, names in (("year", "%Y %y"), ("month", "%m %b %B"), ("day", "%d")):
            if not any(part in names.split() for part in parts):
                return f"{text!r} has no {what}; write it as e.g. '%d/%m/%Y %H:%M'"
        if ("%I" in parts) != ("%p" in parts):
            return f"{text!r} has only one of %I and %p; an hour from 1 to 12 needs both, one from 0 to 23 is %H"
        if text.startswith("%Y") and parts[1] == "%d":
            return f"{text!r} has the day before the month behind the year, where ISO 8601 has the month"
    swapped = next((text for text in formats if _swapped(text) in formats and _swapped(text) != text), None)
    if swapped is not None:
        return f"{swapped!r} and {_swapped(swapped)!r} read the same cell as two days; keep one of them"
    return ""


def _swapped(text: str) -> str:
    return "".join(_SWAP.get(part, part) for part in _TOKEN.findall(text))


def pattern_of(text: str) -> str:
    r"""Return a regular expression of the text that a format fits.

    Examples
    --------
    >>> pattern_of("%d/%m/%Y"), pattern_of("%Y%m%d")
    ('^\\d{1,2}/\\d{1,2}/\\d{4}$', '^\\d{4}\\d{2}\\d{2}$')
    """
    parts = _TOKEN.findall(text)
    pieces = []
    for place, part in enumerate(parts):
        beside = (*parts[max(place - 1, 0) : place], *parts[place + 1 : place + 2])
        piece = _PARTS.get(part, re.escape(part))
        # Without a sign between them, parts must have a fixed number of digits.
        is_closed = any(other in _PARTS and other not in ("%p", "%z") for other in beside)
        pieces.append(r"\d{2}" if is_closed and piece == r"\d{1,2}" else piece)
    return f"^{''.join(pieces)}$"


def names_a_zone(text: str) -> bool:
    """Return whether what a format reads is in a zone that it names.

    Examples
    --------
    >>> names_a_zone("%Y%m%dT%H%M%SZ"), names_a_zone("%d/%m/%Y %H:%M %z"), names_a_zone("%d/%m/%Y")
    (True, True, False)
    """
    return "%z" in text or bool(re.search(r"(?:Z|UTC|GMT)$", text))
