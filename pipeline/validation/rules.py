"""The rules that a table is judged by: what they are called, and those that follow from its configuration."""

from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa

from expectations.suites import Rule, contract_suite, list_rules, read_suite
from pipeline.settings.config import Config
from pipeline.tables.parsing import RULES as TYPE_RULES


def unique(config: Config) -> str:
    """Return the name of the rule that no id comes twice in a table.

    Examples
    --------
    >>> unique(Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}}))
    'tx: unique'
    """
    return f"{config.contract.id}: unique"


def not_seen(config: Config) -> str:
    """Return the name of the rule that no id comes again after an earlier batch.

    Examples
    --------
    >>> not_seen(Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}}))
    'tx: not scored in an earlier batch'
    """
    return f"{config.contract.id}: not scored in an earlier batch"


def not_delivered(config: Config) -> str:
    """Return the name of the rule that no row comes again as it was scored in an earlier batch.

    A row that breaks it is kept in quarantine, and is no mistake of the table, such as an export of the last two days.

    Examples
    --------
    >>> not_delivered(Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}}))
    'tx: not delivered before'
    """
    return f"{config.contract.id}: not delivered before"


def type_rules(config: Config, schema: pa.Schema) -> dict[str, str]:
    """Return the rules that a cell can be typed, by name, each with its column.

    Parameters
    ----------
    config : Config
    schema : pyarrow.Schema
        The table's columns.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> type_rules(config, pa.schema({"at": pa.string(), "eur": pa.string()}))
    {'at: is a timestamp': 'at', 'eur: is a number': 'eur'}
    """
    contract = config.contract
    return {
        f"{name}: {TYPE_RULES[contract.type_of(name)]}": name
        for name in contract.columns
        if name in schema.names and contract.type_of(name) in TYPE_RULES
    }


def plausible_times(config: Config, now: datetime) -> tuple[datetime, datetime]:
    """Return the first and the last plausible time, in UTC; beyond the calendar's ends there is nothing to say.

    Parameters
    ----------
    config : Config
    now : datetime
        In UTC, with its zone; ``validation.latest_days_ahead`` counts from it.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> [str(moment) for moment in plausible_times(config, datetime(2025, 6, 1, tzinfo=UTC))]
    ['2000-01-01 00:00:00+00:00', '2025-06-02 00:00:00+00:00']
    """
    zone = ZoneInfo(config.table.time_zone)
    try:
        first = datetime.combine(config.validation.earliest, time(), tzinfo=zone).astimezone(UTC)
    except OverflowError:  # the first day of year 1, east of Greenwich
        first = datetime.min.replace(tzinfo=UTC)
    try:
        last = now + timedelta(days=config.validation.latest_days_ahead)
    except OverflowError:
        last = datetime.max.replace(tzinfo=UTC)
    return first, last


def table_rules(
    config: Config, schema: pa.Schema, *, earliest: datetime, latest: datetime, names: Collection[str]
) -> list[Rule]:
    """Return the rules that follow from the contract, then those of the table's own suite.

    Parameters
    ----------
    config : Config
    schema : pyarrow.Schema
        The table's typed columns.
    earliest, latest : datetime
        The plausible times, from `plausible_times`.
    names : collection of str
        Names that no rule of the suite may have, since other rules have them.

    Raises
    ------
    expectations.suites.SuiteError
        When the table's own suite is wrong, with the place in its file.
    """
    contract = config.contract
    zones = {
        field.name: config.table.time_zone if field.name in contract.columns or field.type.tz else "UTC"
        for field in schema
        if pa.types.is_timestamp(field.type)
    }
    zones |= {field.name: "UTC" for field in schema if pa.types.is_date(field.type)}
    entries = contract_suite(
        id=contract.id,
        timestamp=contract.timestamp,
        amount=contract.amount,
        entities=[name for name in contract.entities if name in contract.obligatory],
        numeric=contract.numeric,
        label=contract.label,
        earliest=earliest,
        latest=latest,
        max_amount=config.validation.max_amount,
        negative_amounts=config.validation.negative_amounts,
    )
    label_columns = [name for name in (contract.label, contract.labelled_at) if name]
    columns = schema.names
    rules = list_rules(
        entries, origin="the contract", columns=columns, zones=zones, optional=label_columns, are_stated=True
    )
    if config.validation.suite:
        path = Path(config.validation.suite)
        rules += list_rules(
            read_suite(path),
            origin=str(path),
            columns=columns,
            zones=zones,
            optional=label_columns,
            names={*names, *(rule.name for rule in rules)},
        )
    return rules
