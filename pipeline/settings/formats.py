"""Formats of dates and times, such as ``%d/%m/%Y %H:%M``: which are allowed, and what text they fit."""

import re

MONTHS = (
    "january jan januar jänner jaenner jän janvier janv enero ene gennaio gen janeiro januari",
    "february feb februar febr février fevrier févr fevr fév fev febrero febbraio fevereiro februari",
    "march mar märz maerz marz mär mrz mars marzo março marco maart maa mrt",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag maio mei",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil juill julio luglio lug julho",
    "august aug août aout aoû aou agosto ago augustus",
    "september sep sept septembre septiembre setiembre set settembre sett setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre decembre déc diciembre dic dicembre dezembro",
)
"""Names of the months, full and short, in English, German, French, Spanish, Italian, Portuguese and Dutch."""
WEEKDAYS = (
    "monday mon tuesday tues tue wednesday wed thursday thurs thu friday fri saturday sat sunday sun "
    "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag "
    "lundi lun mardi mercredi mer jeudi jeu vendredi ven samedi sam dimanche dim "
    "lunes martes miércoles miercoles mié mie jueves jue viernes vie sábado sabado sáb sab domingo dom "
    "lunedì lunedi martedì martedi mercoledì mercoledi giovedì giovedi gio venerdì venerdi sabato domenica "
    "segunda segunda-feira seg terça terça-feira ter quarta quarta-feira qua quinta quinta-feira qui "
    "sexta sexta-feira sex maandag dinsdag woensdag donderdag vrijdag zaterdag zondag"
)
"""Names of the days of the week in these languages, of three letters and more; "mar", a Tuesday, is a month, too."""


def any_of(words: str) -> str:
    """Return a regular expression of any of some words, in any case, with or without a full stop behind it.

    Examples
    --------
    >>> any_of("mai may")
    '(?i:mai|may)[.]?'
    """
    return f"(?i:{'|'.join(sorted(words.split(), key=len, reverse=True))})[.]?"


_ZONE = r"(?:[Zz]|[+-]\d\d(?::?\d\d)?)"
_PARTS = {
    "%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{1,2}", "%d": r"\d{1,2}", "%b": any_of(" ".join(MONTHS)),
    "%B": any_of(" ".join(MONTHS)),
    "%H": r"\d{1,2}", "%I": r"\d{1,2}", "%M": r"\d{1,2}", "%S": r"\d{1,2}", "%f": r"\d{1,6}", "%p": "[AaPp][Mm]",
    "%z": _ZONE, "%a": any_of(f"mar {WEEKDAYS}"), "%A": any_of(f"mar {WEEKDAYS}"),
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
    r"""Return a regular expression of the text that a format fits; names of months are those of several languages.

    Examples
    --------
    >>> pattern_of("%d/%m/%Y"), pattern_of("%Y%m%d")
    ('^\\d{1,2}/\\d{1,2}/\\d{4}$', '^\\d{4}\\d{2}\\d{2}$')
    """
    return f"^{''.join(piece for _, piece in pieces_of(text))}$"


def pieces_of(text: str) -> list[tuple[str, str]]:
    r"""Return the parts of a format, each with a regular expression of the text that it fits.

    Examples
    --------
    >>> pieces_of("%d/%Y")
    [('%d', '\\d{1,2}'), ('/', '/'), ('%Y', '\\d{4}')]
    """
    parts = _TOKEN.findall(text)
    pieces = []
    for place, part in enumerate(parts):
        beside = (*parts[max(place - 1, 0) : place], *parts[place + 1 : place + 2])
        piece = _PARTS.get(part, re.escape(part))
        # Without a sign between them, parts must have a fixed number of digits.
        is_closed = any(other in _PARTS and other not in ("%p", "%z") for other in beside)
        pieces.append((part, r"\d{2}" if is_closed and piece == r"\d{1,2}" else piece))
    return pieces


def names_a_zone(text: str) -> bool:
    """Return whether what a format reads is in a zone that it names.

    Examples
    --------
    >>> names_a_zone("%Y%m%dT%H%M%SZ"), names_a_zone("%d/%m/%Y %H:%M %z"), names_a_zone("%d/%m/%Y")
    (True, True, False)
    """
    return "%z" in text or bool(re.search(r"(?:Z|UTC|GMT)$", text))
