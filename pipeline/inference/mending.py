"""From what a whole table says to the rules that it keeps: no rule is written that the table itself breaks."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pipeline.errors import InputError
from pipeline.inference.tally import Tally
from pipeline.numbers import percent
from pipeline.settings.config import Config
from pipeline.settings.sensitive import mask

FEW = 0.01
"""Share of the rows up to which a table may break a rule by mistake; beyond it, the rule is the mistake."""
MOST = 0.5
"""Share of the rows that may break the rules which can't be changed, such as an amount that is no number."""
MISSING_ENTITY = 0.75
"""Share of the rows that may lack an entity, such as transfers the card of card payments; beyond it, it is none."""


@dataclass
class Mending:
    """A mending: what has to change in a configuration so that its table keeps its rules. Made by :func:`mend`.

    Attributes
    ----------
    roles : dict of str to (str, str)
        Columns that need another role, each with the reason.
    text : list of str
        Columns of whole numbers that are to be read as text.
    optional : list of str
        Entities that are empty in some rows, which are scored without their past.
    validation : dict
        Settings of ``[validation]``.
    warnings : list of str
        What a person has to look at, a sentence each.
    """

    roles: dict[str, tuple[str, str]] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    optional: list[str] = field(default_factory=list)
    validation: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def mend(tally: Tally, config: Config, *, named: Collection[str], repeats: int, now: datetime) -> Mending:
    """Return what has to change in a configuration that was inferred from a sample.

    Parameters
    ----------
    tally : Tally
        Of the whole table and this configuration.
    config : Config
    named : collection of str
        Columns whose role a person named, which they keep.
    repeats : int
        Rows whose id an earlier row has.
    now : datetime
        The same as the tally's, UTC without a zone.

    Raises
    ------
    InputError
        When more than half of the rows break rules that can't be changed.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> refunds = mend(Tally(rows=3000, negative=2580), config, named=(), repeats=0, now=datetime(2025, 1, 1))
    >>> refunds.validation, refunds.warnings[0]
    ({'negative_amounts': True}, "'eur' is below zero in 2,580 of 3,000 rows (86 %), which is allowed therefore")
    """
    mending = Mending()
    rejects = {
        f"repeat a value of {config.contract.id!r}": repeats,
        "have another number of cells than the header": tally.broken_lines,
        "have no id, moment or amount that can be read": tally.unusable,
    }
    _mend_keys(mending, tally, config, named)
    for name in config.contract.columns:
        rejects |= _mend_column(mending, tally, config, name=name, named=named)
    rejects |= _mend_amounts(mending, tally, config)
    rejects |= _mend_moments(mending, tally, config, now)
    share = sum(rejects.values()) / max(tally.rows, 1)
    often = sorted(rejects, key=lambda what: -rejects[what])[:3]
    top = " and ".join(f"{rejects[what]:,} {what}" for what in often if rejects[what])
    if share > MOST:
        raise InputError(
            f"of {tally.rows:,} rows, {top}, so that most of the table would be quarantined; mend the table, or name "
            "other columns with --id, --timestamp and --amount"
        )
    if share > config.validation.max_rejected:
        limit = math.ceil(100 * share) / 100
        mending.validation["max_rejected"] = limit
        mending.warnings.append(
            f"of {tally.rows:,} rows, {top}; they will be quarantined, and max_rejected = {limit:g} lets a table with "
            "so many pass; lower it once the table is mended"
        )
    return mending


def _mend_keys(mending: Mending, tally: Tally, config: Config, named: Collection[str]) -> None:
    """Let keys be text that are not all whole numbers, and a category of other numbers be a quantity."""
    contract = config.contract
    for name in contract.key_columns:
        cells = tally.unfit[name] + tally.zeros[name]
        if contract.type_of(name) != "integer" or not cells:
            continue
        if name in contract.categorical and name not in named and tally.fractions[name] == cells:
            mending.roles[name] = ("numeric", f"numbers, {cells:,} of which are not whole")
            continue
        mending.text.append(name)


def _mend_column(
    mending: Mending, tally: Tally, config: Config, *, name: str, named: Collection[str]
) -> dict[str, int]:
    """Give a column that its own rules would reject too often no role; return the rows that they reject else."""
    contract = config.contract
    is_mended = name in mending.text or name in mending.roles
    unfit = 0 if is_mended else tally.unfit[name] + tally.infinite[name]
    needed = (contract.id, contract.timestamp, contract.amount)
    missing = tally.missing[name] if name in (*needed, *contract.entities) else 0
    if missing and name in contract.entities and name not in named and missing <= MISSING_ENTITY * tally.rows:
        mending.optional.append(name)
        missing = 0
    share = (unfit + missing) / max(tally.rows, 1)
    kind = {"number": "finite number", "timestamp": "timestamp", "label": "word that is understood"}
    what = f"is no {kind.get(contract.type_of(name), 'whole number')}"
    if share > FEW and name not in (*needed, contract.label, *named):
        of_rows = f"in {unfit + missing:,} of {tally.rows:,} rows ({percent(share)})"
        mending.roles[name] = ("ignored", f"{'empty' if missing else what} {of_rows}")
        if unfit:
            example = mask(repr(tally.examples.get(name, "inf")), contract, name)
            mending.warnings.append(f"{name!r} {what}, such as {example}, {of_rows}, so that it is left out")
        return {}
    if unfit and name != contract.label:
        example = mask(repr(tally.examples.get(name, "inf")), contract, name)
        mending.warnings.append(
            f"{name!r} {what}, such as {example}, in {unfit:,} of {tally.rows:,} rows, which will be quarantined"
        )
    if missing and name in contract.entities:
        mending.warnings.append(
            f"{name!r} is empty in {missing:,} of {tally.rows:,} rows, which will be quarantined; where such rows are "
            f"to be scored, put it into optional in [contract]"
        )
    return {} if name in needed else {f"have a {name!r} that {what}": unfit, f"lack {name!r}": missing}


def _mend_amounts(mending: Mending, tally: Tally, config: Config) -> dict[str, int]:
    """Allow amounts that are negative, or large, in more than a few rows; return the rows that are rejected else."""
    name, rejects = config.contract.amount, {}
    saw = f"of {tally.rows:,} rows ({percent(tally.negative / max(tally.rows, 1))})"
    if tally.negative > FEW * tally.rows:
        mending.validation["negative_amounts"] = True
        mending.warnings.append(f"{name!r} is below zero in {tally.negative:,} {saw}, which is allowed therefore")
    elif tally.negative:
        rejects[f"have a {name!r} below zero"] = tally.negative
        mending.warnings.append(
            f"{name!r} is below zero in {tally.negative:,} {saw}, which will be quarantined; where these are refunds, "
            "set negative_amounts = true in [validation]"
        )
    if tally.beyond > FEW * tally.rows:
        limit = 10.0 ** math.ceil(math.log10(tally.largest))
        mending.validation["max_amount"] = limit
        mending.warnings.append(
            f"{name!r} goes up to {tally.largest:g}, so that max_amount = {limit:g} was written; check the unit"
        )
    elif tally.beyond:
        rejects[f"have a {name!r} beyond {config.validation.max_amount:g}"] = tally.beyond
    return rejects


def _mend_moments(mending: Mending, tally: Tally, config: Config, now: datetime) -> dict[str, int]:
    """Let the earliest and latest moment be the table's where more than a few lie beyond; return the rows else."""
    name = config.contract.timestamp
    rejects = {f"have a {name!r} before 1950 or after 2099": tally.far}
    if tally.first and tally.early > FEW * tally.rows:
        mending.validation["earliest"] = earliest = date(tally.first.year - 1, 1, 1)
        mending.warnings.append(
            f"{tally.early:,} of {tally.rows:,} rows have a {name!r} before {config.validation.earliest}, so that "
            f"earliest = {earliest} was written; check that it is when they happened"
        )
    elif tally.early:
        rejects[f"have a {name!r} before {config.validation.earliest}"] = tally.early
    if tally.last and tally.late > FEW * tally.rows:
        mending.validation["latest_days_ahead"] = days = (tally.last - now).days + 1
        mending.warnings.append(
            f"{tally.late:,} of {tally.rows:,} rows have a {name!r} in the future, up to {tally.last:%Y-%m-%d}, so "
            f"that latest_days_ahead = {days} was written; check that it is when they happened"
        )
    elif tally.late:
        rejects[f"have a {name!r} in the future"] = tally.late
    return rejects
