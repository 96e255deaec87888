"""Numbers as people read them, the same in reports, pages, messages and promises."""

import math
from typing import Any


def number(value: Any, digits: int = 2) -> str:
    """Write a number for people: thousands apart, no digits that say nothing; other values as they are.

    Examples
    --------
    >>> [number(x) for x in (1240, 1240.5, 0.00123, 1e300, None, "DE")]
    ['1,240', '1,240.50', '0.00123', '1e+300', 'none', 'DE']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value and (abs(value) < 0.01 or abs(value) >= 1e12):
        return f"{value:.3g}"
    return f"{value:,.{digits}f}" if value != round(value) or abs(value) < 1 else f"{value:,.0f}"


def percent(share: float) -> str:
    """Write a share of 1 in per cent, three digits of it, or two of what is below a hundredth.

    Examples
    --------
    >>> [percent(x) for x in (0, 0.000012345, 0.0117, 0.1234, 1, float("nan"))]
    ['0 %', '0.0012 %', '1.17 %', '12.3 %', '100 %', 'not defined']
    """
    if math.isnan(share):
        return "not defined"
    if 0 < share < 1e-6:
        return "< 0.0001 %"
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.3g} %"
