"""Words beside amounts that say which way money went, such as CR and DR: found in the shapes of a column's cells."""

import re
from collections import Counter
from collections.abc import Collection, Mapping

_PAIRS = (("CR", "DR"), ("CREDIT", "DEBIT"), ("HABEN", "SOLL"), ("C", "D"), ("H", "S"))
_PARTNERS = dict(_PAIRS) | {out: into for into, out in _PAIRS}
_BESIDE = r"[\s()+\-\u2212\u2012\u2013.]+"


def count_marks(shapes: Mapping[str, int]) -> Counter[str]:
    """Return how often each mark stands beside a number, in capitals; a letter counts only beside its partner.

    Parameters
    ----------
    shapes : mapping of str to int
        Rows by shape of a cell, in which each digit is 9.

    Examples
    --------
    >>> count_marks({"9.99 Dr.": 70, "9.99 Cr.": 5, "9.99": 1}), count_marks({"C999": 9, "M999": 9})
    (Counter({'DR': 70, 'CR': 5}), Counter())
    """
    counts: Counter[str] = Counter()
    for shape, rows in shapes.items():
        if mark := _mark(shape):
            counts[mark] += rows
    return Counter({mark: rows for mark, rows in counts.items() if len(mark) > 1 or _PARTNERS[mark] in counts})


def _mark(shape: str) -> str:
    """Return the first word before or behind a number that is a mark, in capitals, "" where there is none."""
    words = re.split(_BESIDE, re.sub(r"9(?:.*9)?", " ", shape).upper())
    return next((word for word in words if word in _PARTNERS), "")


def without_marks(shape: str, marks: Collection[str]) -> str:
    """Return a shape without its mark, where it has one of these.

    Examples
    --------
    >>> without_marks("(9.99 EUR DR)", {"DR"}), without_marks("C$ 9.99", {"C", "D"})
    ('(9.99 EUR )', 'C$ 9.99')
    """
    mark = _mark(shape)
    if mark not in marks:
        return shape
    return re.sub(rf"(?i)(^|{_BESIDE[:-1]}|9){mark}\.?(?={_BESIDE[:-1]}|9|$)", r"\1", shape, count=1)


def sides(marks: Mapping[str, int], unmarked: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the marks of what came in and those of what went out, which is less than zero; each with its partner.

    Among amounts without a mark, which are more, a lone credit is what goes against them: a refund on a list of
    payments.

    Parameters
    ----------
    marks : mapping of str to int
        From `count_marks`.
    unmarked : int
        Numbers without a mark.

    Examples
    --------
    >>> sides({"DR": 70, "CR": 5}, 0), sides({"CR": 5}, 95)
    ((('CR',), ('DR',)), (('DR',), ('CR',)))
    """
    pairs = [pair for pair in _PAIRS if pair[0] in marks or pair[1] in marks]
    into, out = (tuple(pair[side] for pair in pairs) for side in (0, 1))
    is_refund = not any(mark in marks for mark in out) and unmarked > sum(marks.values())
    return (out, into) if is_refund else (into, out)
