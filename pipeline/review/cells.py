"""What a person may see of an alert's cells and reasons, ready to show."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.numbers import amount, moment, number
from pipeline.settings.config import Config
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.sensitive import MASK, mask_reason, spellings_of_row, stand_in
from pipeline.settings.titles import titled_reason


@dataclass(frozen=True)
class Reason:
    """One reason of an alert, ready to show but for ``column``, by which reasons are filtered.

    ``share`` is that of the score, in 0..1; ``unflagged_at`` the nearest value at which the row would not be
    flagged, "" where there is none.
    """

    column: str
    title: str
    actual: str
    expected: str
    share: float
    text: str
    unflagged_at: str = ""


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
    nearest = {item["column"]: item["value"] for item in content.get("unflagged_at") or ()}
    return tuple(_shown(reason, nearest.get(reason["column"], ""), config) for reason in reasons)


def _shown(reason: Mapping[str, Any], nearest: str, config: Config) -> Reason:
    """Return a reason in titles, with the nearest value at which the row would not be flagged unless it is masked."""
    words = titled_reason(reason, config)
    value = titled_reason({**reason, "actual": nearest, "text": ""}, config)["actual"]
    is_masked = MASK in (reason["actual"], reason["expected"])
    own = {"column": reason["column"], "title": words["column"], "unflagged_at": "" if is_masked else value}
    return Reason(**{**words, **own})


def _as_typed(name: str, value: Any, config: Config) -> Any:
    is_moment = name in (config.contract.timestamp, config.contract.labelled_at) and isinstance(value, str)
    return datetime.fromisoformat(value) if is_moment else value
