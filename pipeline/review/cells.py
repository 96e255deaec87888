"""What a person may see of an alert's cells and reasons, ready to show."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.numbers import amount, moment, number
from pipeline.settings.config import Config
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.sensitive import mask_reason, spellings_of_row, stand_in
from pipeline.settings.titles import titled_reason


@dataclass(frozen=True)
class Reason:
    """One reason of an alert, ready to show but for ``column``, by which reasons are filtered.

    ``share`` is that of the score, in 0..1.
    """

    column: str
    title: str
    actual: str
    expected: str
    share: float
    text: str


def shown_cells(
    cells: Mapping[str, Any], config: Config, hidden: frozenset[str], pseudonyms: Pseudonyms
) -> dict[str, str]:
    """Return cells as people read them; of columns that are hidden, what stands for them.

    Parameters
    ----------
    cells : mapping
        By the table's own names, as JSON has them.
    config : Config
    hidden : frozenset of str
    pseudonyms : Pseudonyms
    """
    contract = config.contract
    texts = {}
    for name, value in cells.items():
        if name in hidden:
            texts[name] = stand_in(value, name, contract, pseudonyms)
        elif value is None:
            texts[name] = "none"
        elif name == contract.timestamp:
            texts[name] = moment(datetime.fromisoformat(value), ZoneInfo(config.table.time_zone))
        elif name == contract.amount:
            texts[name] = amount(value)
        elif name in contract.numeric:
            texts[name] = number(value)
        else:
            texts[name] = str(value)
    return texts


def shown_reasons(content: Mapping[str, Any], config: Config, hidden: frozenset[str]) -> tuple[Reason, ...]:
    """Return the reasons of an alert, those masked that would show a hidden cell.

    Parameters
    ----------
    content : mapping
        Of `REVIEW_ROWS`.
    config : Config
    hidden : frozenset of str
    """
    reasons = content["reasons"]
    if hidden:
        contract = config.contract.model_copy(update={"sensitive": tuple(sorted(hidden))})
        cells = {name: _as_typed(name, value, config) for name, value in content["cells"].items()}
        pattern = spellings_of_row(cells, contract)
        reasons = [mask_reason(reason, contract, pattern) for reason in reasons]
    shown = [titled_reason(reason, config) for reason in reasons]
    return tuple(
        Reason(**{**words, "column": reason["column"], "title": words["column"]})
        for words, reason in zip(shown, reasons, strict=True)
    )


def _as_typed(name: str, value: Any, config: Config) -> Any:
    is_moment = name in (config.contract.timestamp, config.contract.labelled_at) and isinstance(value, str)
    return datetime.fromisoformat(value) if is_moment else value
