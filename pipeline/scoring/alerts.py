"""The alerts table as people see it: rows ready to show, and the columns of a spreadsheet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.numbers import amount, moment
from pipeline.scoring.reasons import REASONS_TYPE, like_frauds, sentence
from pipeline.settings.config import Config
from pipeline.settings.contract import Contract
from pipeline.settings.output import ALERTS, EXPLORING, name_beside, name_within
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.sensitive import is_sensitive, mask_reason, spellings_of_row, stand_in, stand_ins
from pipeline.settings.titles import title, titled_reason, with_unit
from pipeline.tables.label_words import spell_labels
from pipeline.tables.period import local_times

REASONS_IN_CSV = ("reason_1", "reason_2", "reason_3")
DECIMALS = 6
"""Of an amount in a spreadsheet: more are what is left of arithmetic, such as 789.1500000000001."""


def for_spreadsheets(alerts: pa.Table, config: Config) -> pa.Table:
    """Return alerts, or rows to audit, as a spreadsheet has them.

    Sensitive cells are masked, missing ones too, and so are reasons that would show one; for a sensitive entity stands
    its pseudonym, so that alerts of one card can be put together. Times are local; each reason has a column of its own;
    nested columns are left out. Reasons are in titles; `second_header` has those of the columns.

    Parameters
    ----------
    alerts : pyarrow.Table
    config : Config
        Names the columns and the sensitive ones among them; times are in its zone.
    """
    contract, names = config.contract, alerts.column_names
    sensitive = {name_within(name, names): name for name in contract.sensitive}
    pseudonyms = Pseudonyms(config.work_dir)
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for field in alerts.schema:
        column = alerts.column(field.name)
        name = name_beside(field.name, REASONS_IN_CSV)
        if field.name in sensitive:
            columns[name] = stand_ins(column, sensitive[field.name], contract, pseudonyms)
        elif field.name == name_within(contract.timestamp, names):
            columns[name] = _at_their_precision(local_times(column, config.table.time_zone))
        elif field.name == name_within(contract.amount, names) and pa.types.is_floating(field.type):
            columns[name] = pc.round(column, ndigits=DECIMALS)
        elif field.name == name_within(str(contract.label), names):
            columns[name] = spell_labels(column, config.table)
        elif pa.types.is_dictionary(field.type) or pa.types.is_large_string(field.type):
            columns[name] = column.cast(pa.string())
        elif not pa.types.is_nested(field.type):
            columns[name] = column
    if "reasons" not in names:
        return pa.table(columns)
    reasons = _shown_reasons(alerts, config)
    columns["reason"] = sentence(reasons, alerts.column("like_frauds") if "like_frauds" in names else None)
    texts = [[reason["text"] for reason in row] for row in reasons.to_pylist()]
    for place, name in enumerate(REASONS_IN_CSV):
        columns[name] = pa.array([row[place] if place < len(row) else None for row in texts], pa.string())
    return pa.table(columns)


def _shown_reasons(alerts: pa.Table, config: Config) -> pa.Array:
    """Return the reasons of alerts, those masked that would show a sensitive cell of their row, in titles."""
    reasons = _masked_reasons(alerts, config.contract)
    if not config.columns:
        return reasons
    return pa.array([[titled_reason(reason, config) for reason in row] for row in reasons.to_pylist()], REASONS_TYPE)


def _masked_reasons(alerts: pa.Table, contract: Contract) -> pa.Array:
    """Return the reasons of alerts, those masked that would show a sensitive cell of their row."""
    reasons = alerts.column("reasons").combine_chunks()
    names = {name: name_within(name, alerts.column_names) for name in contract.sensitive}
    names = {name: column for name, column in names.items() if column in alerts.column_names}
    if not names:
        return reasons
    masked = []
    rows = alerts.select([*names.values()]).rename_columns([*names]).to_pylist()
    for row, cells in zip(reasons.to_pylist(), rows, strict=True):
        hidden = spellings_of_row(cells, contract)
        masked.append([mask_reason(reason, contract, hidden) for reason in row])
    return pa.array(masked, REASONS_TYPE)


def _at_their_precision(times: np.ndarray) -> pa.Array:
    """Return times in whole seconds where all are: spreadsheets take six more digits for text."""
    seconds = times.astype("datetime64[s]")
    return pa.array(seconds if (seconds == times).all() else times)


@dataclass(frozen=True)
class ReasonRow:
    """One reason of an alert, ready to show; ``share`` is that of the score, in 0..1."""

    column: str
    actual: str
    expected: str
    share: float
    text: str


@dataclass(frozen=True)
class AlertRow:
    """One alert, ready to show, sensitive values already masked. Made by :func:`alert_rows`."""

    rank: int
    id: str
    time: str
    amount: str
    keys: tuple[tuple[str, str], ...]  # entities and categories, by the column's title
    score: float
    p_value: float
    is_exploring: bool
    like: str  # how many known frauds, as it stands before the reasons
    reasons: tuple[ReasonRow, ...]
    is_fraud: bool | None


def alert_rows(alerts: pa.Table, config: Config, *, limit: int = 25, show_labels: bool = False) -> list[AlertRow]:
    """Make the first alerts ready to show; values of sensitive columns are masked here, wherever they stand.

    For a sensitive entity stands its pseudonym, and for a column's name its title.

    Parameters
    ----------
    alerts : pyarrow.Table
        The alerts table.
    config : Config
        Names the columns and the sensitive ones among them; times are shown in its zone.
    limit : int
    show_labels : bool
        Whether to say which alerts are fraud, as far as the table has it.

    Returns
    -------
    list of AlertRow
        At most ``limit``, by rank.
    """
    contract, names = config.contract, alerts.column_names
    columns = {name: name_within(name, names) for name in (*contract.columns, *contract.ignored)}
    columns = {name: column for name, column in columns.items() if column in names}
    label = columns.get(str(contract.label))
    if not show_labels or is_sensitive(contract, contract.label) or label in ALERTS:
        columns.pop(str(contract.label), None)  # a column of ALERTS is scoring's, where the table has no labels
    rows = alerts.sort_by("rank").slice(0, limit).to_pylist()
    cells = [{name: row[column] for name, column in columns.items()} for row in rows]
    pseudonyms = Pseudonyms(config.work_dir)
    return [_alert_row(row, mine, config, pseudonyms) for row, mine in zip(rows, cells, strict=True)]


def _alert_row(row: Mapping[str, Any], cells: Mapping[str, Any], config: Config, pseudonyms: Pseudonyms) -> AlertRow:
    """Make a row of the alerts table ready to show; ``cells`` are those of the input, by the contract's names."""
    contract = config.contract
    hidden = spellings_of_row(cells, contract)
    texts = {name: "none" if cells[name] is None else str(cells[name]) for name in contract.key_columns}
    texts[contract.timestamp] = moment(cells[contract.timestamp], ZoneInfo(config.table.time_zone))
    texts[contract.amount] = with_unit(amount(cells[contract.amount]), contract.amount, config)
    texts |= {name: stand_in(cells.get(name), name, contract, pseudonyms) for name in contract.sensitive}
    label = cells.get(str(contract.label))
    return AlertRow(
        rank=row["rank"],
        id=texts[contract.id],
        time=texts[contract.timestamp],
        amount=texts[contract.amount],
        keys=tuple((title(name, config), texts[name]) for name in contract.key_columns[1:]),
        score=row["anomaly_score"],
        p_value=row["p_value"],
        is_exploring=row.get("picked") == EXPLORING,
        like=like_frauds(row.get("like_frauds") or 0),
        reasons=tuple(
            ReasonRow(**titled_reason(mask_reason(item, contract, hidden), config)) for item in row.get("reasons") or ()
        ),
        is_fraud=None if label is None else bool(label),
    )
