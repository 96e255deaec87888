"""Numbers that are written as text, with the signs that people and their programs put between and around digits."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.settings.config import TableConfig

_BLANKS = r"[\x{a0}\x{202f}\x{2009}]"  # which set groups of digits and signs of currency apart in print
_MINUS = r"[\x{2212}\x{2012}\x{2013}]"


def matching(text: pa.Array, pattern: str) -> pa.Array:
    """Return text with the cells missing that a regular expression does not find."""
    return pc.if_else(pc.match_substring_regex(text, pattern), text, None)


def read_numbers(column: pa.Array, settings: TableConfig) -> pa.Array:
    """Return cells as float64; one that is no number is missing.

    Brackets around a number, and a minus behind it, mean less than zero, as accountants write it.

    Parameters
    ----------
    column : pyarrow.Array
        n_rows numbers, or text without blanks around it.
    settings : TableConfig
        Decimal sign, sign between thousands, signs of currency, and words for more and less than zero.

    Examples
    --------
    >>> read_numbers(pa.array(["12.5", "(12.50)", "12.50-", "1,234"]), TableConfig()).to_pylist()
    [12.5, -12.5, -12.5, None]
    >>> settings = TableConfig(decimal=",", thousands=".", currency_signs=("€",))
    >>> read_numbers(pa.array(["1.234,50 €", "-€ 7", "1.23"]), settings).to_pylist()
    [1234.5, -7.0, None]
    >>> settings = TableConfig(plus_words=("CR",), minus_words=("DR",))
    >>> read_numbers(pa.array(["12.50 CR", "Dr. 7", "-7 DR"]), settings).to_pylist()
    [12.5, -7.0, None]
    """
    if not pa.types.is_string(column.type):
        return column.cast(pa.float64(), safe=False)
    sign = re.escape(settings.decimal)
    plain = matching(column, rf"^[+-]?(?:(?:\d+{sign}?\d*|{sign}\d+)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?))$")
    numbers = pc.replace_substring(plain, settings.decimal, ".").cast(pa.float64())
    if numbers.null_count == column.null_count:
        return numbers
    return pc.coalesce(numbers, _decorated(pc.if_else(pc.is_null(plain), column, None), settings))


def _decorated(text: pa.Array, settings: TableConfig) -> pa.Array:
    """Return numbers with brackets, a minus or a word behind them, signs of currency or between thousands."""
    decimal, thousands = re.escape(settings.decimal), settings.thousands
    text = pc.replace_substring_regex(pc.replace_substring_regex(text, _BLANKS, " "), _MINUS, "-")
    body = rf"(?:{decimal})?\d(?:.*\d)?(?:{decimal})?"
    # The full stop of "Rs.500" belongs to the word.
    parts = pc.extract_regex(text, rf"^(?P<front>\D*?(?:\pL\.)?)(?P<body>{body})(?P<end>\D*)$")
    around = pc.binary_join_element_wise(pc.struct_field(parts, "front"), pc.struct_field(parts, "end"), "#")
    for word in settings.currency_signs:
        around = pc.replace_substring(around, word, "", max_replacements=1)
    around = pc.utf8_upper(pc.replace_substring(around, " ", ""))
    is_less = pc.is_in(around, pa.array(["-#", "#-", "(#)", *_beside(settings.minus_words)]))
    fits = pc.or_(is_less, pc.is_in(around, pa.array(["#", "+#", *_beside(settings.plus_words)])))
    body = pc.struct_field(parts, "body")
    if thousands:
        body = pc.replace_substring(body, "\u2019", "'") if thousands == "'" else body
        sign = re.escape(thousands)
        groups = rf"\d{{1,3}}(?:{sign}\d{{3}})+"
        if thousands == ",":  # in India, groups of two come before the last of three
            groups = rf"(?:{groups}|\d{{1,2}}(?:,\d\d)+,\d{{3}})"
        groups = matching(body, rf"^{groups}(?:{decimal}\d*)?$")
        body = pc.coalesce(pc.replace_substring(groups, thousands, ""), body)
    body = matching(pc.if_else(fits, body, None), rf"^(?:\d+(?:{decimal})?\d*|{decimal}\d+)$")
    number = pc.replace_substring(body, settings.decimal, ".").cast(pa.float64())
    return pc.if_else(is_less, pc.negate(number), number)


def _beside(words: tuple[str, ...]) -> list[str]:
    """Return how words stand beside a number, "#", where each may be shortened by a full stop or be in brackets."""
    marks = [word.upper().replace(" ", "").rstrip(".") for word in words]
    marks = [form for mark in marks for form in (mark, f"{mark}.")]
    return [form for mark in marks for form in (f"#{mark}", f"{mark}#", f"#({mark})")]


def read_integers(column: pa.Array, decimal: str) -> pa.Array:
    """Return cells as int64; one with a fraction, beyond 64 bits or that is no number is missing.

    Examples
    --------
    >>> read_integers(pa.array(["007", "12.0", "1.5", "x"]), ".").to_pylist()
    [7, 12, None, None]
    """
    if pa.types.is_floating(column.type):
        return whole(column)
    if pa.types.is_decimal(column.type):
        column, decimal = column.cast(pa.string()), "."
    if not pa.types.is_string(column.type):
        if pa.types.is_uint64(column.type):
            column = pc.if_else(pc.less_equal(column, pa.scalar(2**63 - 1, pa.uint64())), column, None)
        return column.cast(pa.int64())
    if pc.all(pc.match_substring_regex(column, r"^-?\d{1,18}$")).as_py() is not False:
        return column.cast(pa.int64())
    parts = pc.extract_regex(column, rf"^(?P<sign>[+-]?)0*(?P<digits>\d+)(?:{re.escape(decimal)}0*)?$")
    negative = pc.equal(pc.struct_field(parts, "sign"), "-")
    digits = pc.struct_field(parts, "digits")
    # Digits of one length compare as text like as numbers, which finds those beyond 64 bits.
    length, limit = pc.utf8_length(digits), pc.if_else(negative, str(2**63), str(2**63 - 1))
    fits = pc.or_(pc.less(length, 19), pc.and_(pc.equal(length, 19), pc.less_equal(digits, limit)))
    signed = pc.binary_join_element_wise(pc.if_else(negative, "-", ""), digits, "")
    return pc.if_else(fits, signed, None).cast(pa.int64())


def whole(column: pa.Array) -> pa.Array:
    """Return float64 numbers as int64; those with a fraction, or beyond 64 bits, are missing."""
    fits = pc.and_(pc.greater_equal(column, -(2.0**63)), pc.less(column, 2.0**63))
    return pc.if_else(pc.and_(fits, pc.equal(pc.floor(column), column)), column, None).cast(pa.int64())
