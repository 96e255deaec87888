"""The one mask: what stands for a sensitive value, and which names and words would show one.

Pages, CSV files, messages, reasons, Data Docs, MLflow's example, drift, comparison and the tables that `assay
features`, `encode` and `reconstruct` write ask here. A missing cell is a value: that it is missing is hidden like what
another one holds. For an entity stands a pseudonym (pipeline/settings/pseudonyms.py). Parquet files of the work folder,
and what a model learned of a column, are in clear.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.numbers import amount, number, quantity
from pipeline.settings.contract import Contract
from pipeline.settings.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    import pyarrow as pa

MASK = "•••"
"""What stands for a sensitive value wherever people read."""
STAND_INS: Mapping[str, Any] = {"text": MASK, "integer": 0, "number": 0.0, "timestamp": "2000-01-01T00:00:00"}
"""What stands for one where a program asks for a value of a type (`Contract.type_of`)."""
COMBINATION = "the combination of "
"""How a reason begins whose parts are odd only beside one another."""
OF_THE_TIMESTAMP = ("hour of day", "weekday")
"""Features that are read off a row's timestamp."""


def is_sensitive(contract: Contract, *columns: str | None) -> bool:
    """Return whether one of some columns is sensitive.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), sensitive=("card",))
    >>> is_sensitive(contract, "card", "eur"), is_sensitive(contract, "eur"), is_sensitive(contract)
    (True, False, False)
    """
    return not set(contract.sensitive).isdisjoint(columns)


def mask(value: str, contract: Contract, *columns: str) -> str:
    """Return what people may read of a value that comes from some columns.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), sensitive=("card",))
    >>> mask("4711", contract, "card"), mask("35.20", contract, "eur")
    ('•••', '35.20')
    """
    return MASK if is_sensitive(contract, *columns) else value


def stand_in(value: Any, name: str, contract: Contract, pseudonyms: Pseudonyms) -> str:
    """Return what people may read in the place of a cell of a sensitive column: an entity's pseudonym, else the mask.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), sensitive=("eur",))
    >>> stand_in(35.2, "eur", contract, Pseudonyms("assay-data"))
    '•••'
    """
    return pseudonyms.of(value) if name in contract.entities else MASK


def stand_ins(column: "pa.ChunkedArray", name: str, contract: Contract, pseudonyms: Pseudonyms) -> "pa.Array":
    """Return what people may read in the place of a sensitive column, as text; `stand_in` for a column."""
    import pyarrow as pa

    return pseudonyms.of_column(column) if name in contract.entities else pa.repeat(MASK, len(column))


def segments(contract: Contract) -> list[str]:
    """Return the categorical columns whose values may stand as names, such as those of segments.

    Examples
    --------
    >>> roles = {"categorical": ("country", "iban"), "sensitive": ("iban",)}
    >>> segments(Contract(id="tx", timestamp="at", amount="eur", **roles))
    ['country']
    """
    return [name for name in contract.categorical if not is_sensitive(contract, name)]


def is_telling(source: str, contract: Contract) -> bool:
    """Return whether the figures of a feature would show a sensitive column, or an average of one.

    What an entity has been doing ("card: transactions") does not show which entity it is.

    Parameters
    ----------
    source : str
        `Feature.source`, what an analyst calls it.
    contract : Contract

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), sensitive=("card", "eur"))
    >>> [is_telling(source, contract) for source in ("card", "card: mean eur", "card: transactions", "eurozone")]
    [True, True, False, False]
    """
    if is_sensitive(contract, contract.amount) and "amount" in source.lower():
        return True
    if is_sensitive(contract, contract.timestamp) and source in OF_THE_TIMESTAMP:
        return True
    values = set(contract.sensitive) - set(contract.entities)
    return any(source == name or source.endswith(f" {name}") for name in contract.sensitive) or any(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", source) for name in values
    )


def spellings(values: Iterable[Any]) -> re.Pattern[str]:
    """Return a pattern that finds some values, as whole words, in every way in which people may read them.

    Examples
    --------
    >>> pattern = spellings([4000.0, None])
    >>> [bool(pattern.search(text)) for text in ("paid 4,000.00 twice", "4000.0", "about 4,000", "14,000")]
    [True, True, True, False]
    """
    words: set[str] = set()
    for value in values:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        texts = {str(value), number(value)}
        if isinstance(value, float) and math.isfinite(value):
            texts |= {amount(value), quantity(value), f"{value:.2f}", f"{value:g}"}
        # A part of another number, such as the 400 of 1,400.50, is not the number.
        before, after = ("", "") if isinstance(value, str) else (r"(?<!\d,)", r"(?![.,]\d)")
        words |= {rf"{before}{re.escape(text)}{after}" for text in texts if text.strip()}
    return re.compile(rf"(?<![\w.])(?:{'|'.join(sorted(words))})(?!\w)" if words else r"(?!)")


def spellings_of_row(cells: Mapping[str, Any], contract: Contract) -> re.Pattern[str]:
    """Return a pattern that finds the sensitive values of a row, but for its label, which no text repeats.

    Parameters
    ----------
    cells : mapping of str to object
        By the contract's names; columns may be lacking.
    contract : Contract
    """
    return spellings(cells.get(name) for name in contract.sensitive if name != contract.label)


def mask_reason(reason: Mapping[str, Any], contract: Contract, hidden: re.Pattern[str]) -> dict[str, Any]:
    """Return a reason as people may read it.

    Parameters
    ----------
    reason : mapping
        ``column`` (`Feature.source`), ``actual``, ``expected``, ``text`` and ``share``.
    contract : Contract
    hidden : Pattern
        Finds the row's sensitive values, from :func:`spellings_of_row`.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), sensitive=("card",))
    >>> reason = {"column": "shop", "actual": "4711", "expected": "'a'", "share": 0.5, "text": "shop 4711"}
    >>> mask_reason(reason, contract, spellings(["4711"]))["text"]
    'shop •••, not what was expected'
    """
    words = (reason["actual"], reason["expected"], reason["text"])
    if MASK in words:
        return dict(reason)
    sources = reason["column"].split(", ")
    telling = any(is_telling(source, contract) for source in (reason["column"], *sources))
    if not telling and not any(hidden.search(str(word)) for word in words):
        return dict(reason)
    if reason["text"].startswith(COMBINATION):
        return {**reason, "actual": MASK, "text": in_combination(sources)}
    return {**reason, **hidden_reason(reason["column"])}


def in_combination(parts: Sequence[str]) -> str:
    """Return the reason of a row in which nothing is odd by itself, but this together with the rest.

    Examples
    --------
    >>> in_combination(["eur 88.74", "channel 'web'"]), in_combination(["eur 88.74"])
    ("the combination of eur 88.74 and channel 'web'", 'the combination of eur 88.74 with the rest of the row')
    """
    *others, last = parts
    return COMBINATION + (f"{', '.join(others)} and {last}" if others else f"{last} with the rest of the row")


def hidden_reason(name: str) -> dict[str, str]:
    """Return actual, expected and text of a reason that tells no more than a feature's name."""
    return {"actual": MASK, "expected": MASK, "text": f"{name} {MASK}, not what was expected"}


def without_password(url: str) -> str:
    """Return a URL with ``***`` for its password and for what its query part says; another text as it is.

    Drivers take passwords, keys and tokens in the query part, under names of their own.

    Examples
    --------
    >>> without_password("postgresql://assay:secret@db/assay")
    'postgresql://assay:***@db/assay'
    >>> without_password("postgresql://db/assay?user=assay&password=secret")
    'postgresql://db/assay?user=***&password=***'
    """
    url = re.sub(r"(?<=[?&])([^=&@]+)=[^&]*", r"\1=***", url)
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
