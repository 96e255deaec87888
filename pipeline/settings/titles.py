"""Columns as people read them: titles and units of `[columns]` in assay.toml in the place of names.

Names stay what programs go by: in files' first header row, in Parquet, in addresses and in the API.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.settings.config import Config
from pipeline.settings.output import name_within

NUMBER = re.compile(r"-?[\d,]+(\.\d+)?(e[+-]?\d+)?")
"""A number as pages write it, with nothing behind it."""


def title(name: str, config: Config) -> str:
    """Return what people read in place of a column's name.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "TX_AMOUNT"}
    >>> columns = {"TX_AMOUNT": {"title": "Amount", "unit": "EUR"}}
    >>> config = Config.model_validate({"contract": contract, "columns": columns})
    >>> title("TX_AMOUNT", config), title("tx", config), heading("TX_AMOUNT", config), with_unit("9", "tx", config)
    ('Amount', 'tx', 'Amount (EUR)', '9')
    """
    column = config.columns.get(name)
    return (column.title if column else "") or name


def unit(name: str, config: Config) -> str:
    """Return the unit of a column; "" where it has none."""
    column = config.columns.get(name)
    return column.unit if column else ""


def heading(name: str, config: Config) -> str:
    """Return a column's title with its unit behind it."""
    return f"{title(name, config)} ({unit(name, config)})" if unit(name, config) else title(name, config)


def with_unit(text: str, name: str, config: Config) -> str:
    """Return a number of a column with the column's unit behind it; any other text as it is."""
    return f"{text} {unit(name, config)}" if unit(name, config) and NUMBER.fullmatch(text) else text


def descriptions(config: Config) -> list[tuple[str, str]]:
    """Return titles and descriptions of the columns that have one, in the order of the configuration."""
    return [(heading(name, config), item.description) for name, item in config.columns.items() if item.description]


def second_header(names: Sequence[str], config: Config) -> list[str]:
    """Return the second header row of a CSV file for people; [] where no column has a title or unit.

    Parameters
    ----------
    names : sequence of str
        The columns of the file. One that has no title stands there by its name again.
    config : Config
    """
    if not any(item.title or item.unit for item in config.columns.values()):
        return []
    titles = {name_within(name, names): heading(name, config) for name in config.columns}
    return [titles.get(name, name) for name in names]


def in_titles(text: str, config: Config) -> str:
    """Return words about features with titles in the place of columns' names; values in quotes stay.

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card"]}
    >>> config = Config.model_validate({"contract": contract, "columns": {"card": {"title": "Card number"}}})
    >>> in_titles("new shop 'card' for this card (none in 60 days)", config)
    "new shop 'card' for this Card number (none in 60 days)"
    """
    titles = {name: item.title for name, item in config.columns.items() if item.title}
    if not titles:
        return text
    names = "|".join(re.escape(name) for name in sorted(titles, key=len, reverse=True))
    pattern = rf"(?<!\w)(?:{names})(?!\w)|'.*?'(?=$|[,;)\s])"
    return re.sub(pattern, lambda match: titles.get(match[0], match[0]), text, flags=re.DOTALL)


def titled_reason(reason: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Return a reason as people read it, with titles for names and units behind numbers.

    It is masked before: which values are to be masked goes by names.

    Parameters
    ----------
    reason : mapping
        ``column`` (`Feature.source`), ``actual``, ``expected``, ``text`` and ``share``.
    config : Config

    Examples
    --------
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    >>> columns = {"eur": {"title": "Amount", "unit": "EUR"}}
    >>> config = Config.model_validate({"contract": contract, "columns": columns})
    >>> words = {"actual": "88.74", "expected": "9.10", "text": "eur 88.74, expected about 9.10"}
    >>> titled_reason({"column": "eur", "share": 0.5, **words}, config)["text"]
    'Amount 88.74 EUR, expected about 9.10 EUR'
    """
    if not config.columns:
        return dict(reason)
    column, actual, expected = (reason[name] for name in ("column", "actual", "expected"))
    text, name = reason["text"], _of_unit(column, config)
    words = {"actual": with_unit(actual, name, config), "expected": with_unit(expected, name, config)}
    place = text.find(f" {actual}", len(column) if text.startswith(column) else 0)
    if place >= 0 and words["actual"] != actual:
        text = f"{text[:place]} {words['actual']}{text[place + 1 + len(actual) :]}"
    if text.endswith(f" {expected}"):
        text = text.removesuffix(expected) + words["expected"]
    if words["actual"] == actual:  # of a combination, whose parts have names of their own
        words["actual"] = in_titles(actual, config)
    return {**reason, **words, "column": in_titles(column, config), "text": in_titles(text, config)}


def _of_unit(source: str, config: Config) -> str:
    """Return the column whose unit the numbers of a source have; "" where they have none."""
    contract = config.contract
    if source in contract.numbers:
        return source
    return contract.amount if source.endswith(f" {contract.amount}") else ""
