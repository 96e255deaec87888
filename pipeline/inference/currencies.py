"""A column that names the currency of amounts that do not compare."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inference.column_names import join_words
from pipeline.numbers import percent
from pipeline.settings.contract import Contract

CODES = frozenset({
    "AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP",
    "EUR", "GBP", "HKD", "HRK", "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KES", "KRW", "KZT",
    "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RSD",
    "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "UYU", "VND", "ZAR",
})  # fmt: skip
"""ISO 4217, of the currencies of most payments."""
_NAMES = r"(?:^|_)(?:currency|currencies|curr|ccy|cur|waehrung|devise|moneda|valuta|divisa)(?:_|$)"
_SHOWN = 4


def several_currencies(rows: pa.Table, contract: Contract) -> list[str]:
    """Return a warning for each column that names several currencies of the amounts.

    Parameters
    ----------
    rows : pyarrow.Table
        A sample.
    contract : Contract

    Examples
    --------
    >>> rows = pa.table({"ccy": ["EUR", "JPY", "EUR", "EUR"]})
    >>> contract = Contract(id="tx", timestamp="at", amount="paid", categorical=("ccy",))
    >>> several_currencies(rows, contract)[0][:81]
    "'ccy' names several currencies (EUR 75 %, JPY 25 %), and amounts of different one"
    """
    warnings = []
    for name in (*contract.categorical, *contract.ignored):
        kind = rows.schema.field(name).type
        if not pa.types.is_string(kind):
            continue
        counts = pc.value_counts(pc.utf8_upper(pc.utf8_trim_whitespace(rows[name].drop_null()))).to_pylist()
        counts = sorted((item for item in counts if item["values"]), key=lambda item: -item["counts"])
        says_so = re.search(_NAMES, join_words(name)) or all(item["values"] in CODES for item in counts)
        if len(counts) < 2 or not says_so or len(counts) > len(CODES):
            continue
        total = sum(item["counts"] for item in counts)
        shares = ", ".join(f"{item['values']} {percent(item['counts'] / total)}" for item in counts[:_SHOWN])
        more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        warnings.append(
            f"{name!r} names several currencies ({shares}{more}), and amounts of different ones do not compare; keep a "
            f"table for each, or name amount_from = [{contract.amount!r}], currency = {name!r} and currency_rates in "
            "[table] and the column that they make in [contract]"
        )
    return warnings
