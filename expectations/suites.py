"""Suites: the one that follows from a table's contract, and a table's own from a JSON file.

An expectation is one of three kinds, by what it must see to be judged (:data:`Scope`): a ``row`` at a time,
all rows to tell which of them fail (``across rows``), or all rows for one statement (``table``).
"""

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

Scope = Literal["row", "across rows", "table"]

ACROSS_ROWS = frozenset(
    {
        "expect_column_value_z_scores_to_be_less_than",
        "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_increasing",
        "expect_column_values_to_be_unique",
        "expect_column_values_to_not_be_outliers",
        "expect_compound_columns_to_be_unique",
    }
)
_DATABASE = "asks a database, and tables are files here; use an expectation about columns"
_TYPES = "is the contract's business; say what a column is in [contract]"
REFUSED = {
    "unexpected_rows_expectation": _DATABASE,
    "expect_query_results_to_match_comparison": _DATABASE,
    "expect_table_row_count_to_equal_other_table": _DATABASE,
    "expect_column_type_to_be": _TYPES,
    "expect_column_values_to_be_in_type_list": _TYPES,
    "expect_column_values_to_be_of_type": _TYPES,
}
# The others' bounds are counts or shares, whatever the column's type.
_BOUNDS_ARE_VALUES = frozenset(
    {
        "expect_column_max_to_be_between",
        "expect_column_median_to_be_between",
        "expect_column_min_to_be_between",
        "expect_column_values_to_be_between",
    }
)
_SUITE_KEYS = ("name", "meta", "notes", "id", "expectations")
_ENTRY_KEYS = ("type", "kwargs", "meta", "severity", "description", "notes", "id")


class SuiteError(ValueError):
    """A suite is wrong, or cannot be run on a table: one sentence with the file and the place in it."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a rule of the contract asks: attributes as of its expectation, for which nothing heavy is imported."""

    expectation_type: str
    column: str
    min_value: Any = None
    max_value: Any = None
    strict_min: bool = False
    strict_max: bool = False
    value_set: list[Any] | None = None
    mostly: float = 1.0
    row_condition: None = None

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments that are not their defaults."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "expectation_type"}
        return {name: value for name, value in values.items() if value != getattr(Stated, name, None)}


@dataclass(frozen=True)
class Rule:
    """A rule: one expectation, ready to run.

    Attributes
    ----------
    name : str
        Readable and stable; no two rules of a run share one.
    asks : Stated or great_expectations Expectation
    scope : {"row", "across rows", "table"}
    columns : tuple of str
        Columns whose values it reads; empty when it is about the table's shape.
    where : str
        What an error message calls it: the file and its place there.
    """

    name: str
    asks: Any
    scope: Scope
    columns: tuple[str, ...]
    where: str

    @cached_property
    def expectation(self) -> Any:
        """What it asks as an object of Great Expectations, whose import takes seconds."""
        if not isinstance(self.asks, Stated):
            return self.asks
        entry = {"type": self.kind, "kwargs": self.kwargs, "meta": {"rule": self.name}}
        return _build(entry, self.where, {})

    @property
    def kind(self) -> str:
        """The name of its expectation, such as ``"expect_column_values_to_be_unique"``."""
        return str(self.asks.expectation_type)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments of its expectation."""
        return self.asks.kwargs if isinstance(self.asks, Stated) else dict(self.asks.configuration.kwargs)

    @property
    def severity(self) -> str:
        """``"critical"``, ``"warning"`` or ``"info"``."""
        return "critical" if isinstance(self.asks, Stated) else str(self.asks.severity.value)

    @property
    def mostly(self) -> float:
        """Share of rows that must satisfy a rule about rows for all of them to go on."""
        return float(getattr(self.asks, "mostly", 1.0))

    @property
    def title(self) -> str:
        """The name under which broken rows are counted: with the severity where that is not critical."""
        return self.name if self.severity == "critical" else f"{self.name} ({self.severity})"


def contract_suite(
    *,
    id: str,
    timestamp: str,
    amount: str,
    entities: Sequence[str] = (),
    numeric: Sequence[str] = (),
    label: str | None = None,
    earliest: datetime,
    latest: datetime,
    max_amount: float,
    negative_amounts: bool = False,
) -> list[dict[str, Any]]:
    """Return what every transaction table must satisfy, for a table with these columns.

    Parameters
    ----------
    id, timestamp, amount, label : str
        Column names; without labels None.
    entities, numeric : sequence of str
        Further column names.
    earliest, latest : datetime
        The plausible timestamps, both included, with a zone.
    max_amount : float
        Largest plausible amount, in either direction.
    negative_amounts : bool
        Whether amounts may be negative.

    Returns
    -------
    list of dict
        Expectations as Great Expectations writes them to JSON: ``type``, ``kwargs`` and ``meta``, which holds
        the ``rule``'s name.

    Examples
    --------
    >>> suite = contract_suite(id="tx", timestamp="at", amount="eur", max_amount=1e6,
    ...     earliest=datetime(2000, 1, 1, tzinfo=UTC), latest=datetime(2030, 1, 1, tzinfo=UTC))
    >>> [entry["meta"]["rule"] for entry in suite][:4]
    ['tx: not missing', 'tx: unique', 'at: not missing', 'at: plausible']
    """
    suite: list[dict[str, Any]] = []

    def expect(rule: str, kind: str, column: str, **kwargs: Any) -> None:
        suite.append({"type": kind, "kwargs": {"column": column, **kwargs}, "meta": {"rule": f"{column}: {rule}"}})

    expect("not missing", "expect_column_values_to_not_be_null", id)
    expect("unique", "expect_column_values_to_be_unique", id)
    expect("not missing", "expect_column_values_to_not_be_null", timestamp)
    expect("plausible", "expect_column_values_to_be_between", timestamp, min_value=earliest, max_value=latest)
    expect("not missing", "expect_column_values_to_not_be_null", amount)
    expect("finite", "expect_column_values_to_be_finite", amount)
    if not negative_amounts:
        expect("not negative", "expect_column_values_to_be_between", amount, min_value=0.0)
    expect(
        "not beyond max_amount",
        "expect_column_values_to_be_between",
        amount,
        min_value=-float(max_amount),
        max_value=float(max_amount),
    )
    for column in entities:
        expect("not missing", "expect_column_values_to_not_be_null", column)
    for column in numeric:
        expect("finite", "expect_column_values_to_be_finite", column)
    if label:
        expect("says fraud or not", "expect_column_values_to_be_in_set", label, value_set=[0, 1])
    return suite


def read_suite(path: Path) -> list[dict[str, Any]]:
    """Return the expectations of a suite file.

    Parameters
    ----------
    path : Path
        JSON as Great Expectations writes it: ``{"name", "meta", "expectations": [{"type", "kwargs", "meta",
        "severity"}]}``.

    Raises
    ------
    SuiteError
        With one sentence: no such file, no JSON, unknown keys.
    """
    try:
        suite = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise SuiteError(
            f"{path} cannot be read; set [validation] suite to a suite's JSON file, or leave it empty"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path} is not valid JSON: {error}; mend it there") from None
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list):
        raise SuiteError(f'{path} holds no suite; write {{"name": "...", "expectations": [...]}}')
    _check_keys(suite, _SUITE_KEYS, str(path))
    return suite["expectations"]


def list_rules(
    entries: Sequence[Any],
    *,
    origin: str,
    columns: Collection[str],
    zones: Mapping[str, str],
    optional: Collection[str] = (),
    names: Collection[str] = (),
    are_stated: bool = False,
) -> list[Rule]:
    """Return the rules that a suite's expectations come to, ready to run.

    Parameters
    ----------
    entries : sequence of dict
        Expectations as in a suite's JSON file.
    origin : str
        The file, or "the contract", for messages.
    columns : collection of str
        The table's columns.
    zones : mapping of str to str
        The table's timestamp columns, each with the time zone of bounds that name none: dates given as text
        become times in UTC.
    optional : collection of str
        Columns that a table may lack; an expectation on one that is lacking is left out.
    names : collection of str
        Names that rules already have.
    are_stated : bool
        Whether the entries are those of `contract_suite`, and so known to be right: Great Expectations is imported
        where a rule needs it, and not to check them.

    Raises
    ------
    SuiteError
        With one sentence: an unknown expectation, argument, severity or column, each with the nearest valid
        name, or one that cannot be computed here.

    Examples
    --------
    >>> entry = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "eur", "min_value": 0}}
    >>> [rule] = list_rules([entry], origin="suite.json", columns=["tx", "eur"], zones={})
    >>> rule.name, rule.scope, rule.columns
    ('eur: be between', 'row', ('eur',))
    """
    rules: list[Rule] = []
    names = set(names)
    for number, entry in enumerate(entries, 1):
        where = f"{origin}, expectation {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise SuiteError(f'{where}: has no "type"; write {{"type": "expect_...", "kwargs": {{...}}}}')
        where = f"{where} ({entry['type']})"
        asks = _stated(entry, where, zones) if are_stated else _build(entry, where, zones)
        domain = _domain(asks)
        reads = (*dict.fromkeys([*domain, *(part.column.name for part in _conditions(asks))]),)
        missing = [name for name in reads if name not in columns]
        if any(name not in optional for name in missing):
            unknown = next(name for name in missing if name not in optional)
            raise SuiteError(f"{where}: the table has no column {unknown!r}; {_nearest(unknown, sorted(columns))}")
        if missing:
            continue
        base = name = (entry.get("meta") or {}).get("rule") or _name(entry["type"], domain)
        copy = 1
        while name in names:
            copy += 1
            name = f"{base} ({copy})"
        names.add(name)
        if not are_stated:
            # The name finds a result's rule again; results come back in another order.
            asks.meta = {**(asks.meta or {}), "rule": name}
        rules.append(Rule(name, asks, _scope(asks), reads, where))
    return rules


def _stated(entry: dict[str, Any], where: str, zones: Mapping[str, str]) -> Any:
    return Stated(expectation_type=entry["type"], **_with_times(entry["type"], entry["kwargs"], where, zones))


def _build(entry: dict[str, Any], where: str, zones: Mapping[str, str]) -> Any:
    """Return the expectation of an entry of a suite."""
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.row_conditions import PassThroughCondition

    expectation_class, kwargs, meta = _parts(entry, where)
    kwargs = _with_times(entry["type"], kwargs, where, zones)
    try:
        extra = {key: entry[key] for key in ("severity", "description", "notes") if entry.get(key) is not None}
        expectation = expectation_class(**kwargs, **extra, meta=meta)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "__root__")
        raise SuiteError(f"{where}: {place + ': ' if place else ''}{first['msg']}") from None
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise SuiteError(f"{where}: {str(error).splitlines()[0]}") from None
    if isinstance(getattr(expectation, "row_condition", None), PassThroughCondition):
        raise SuiteError(
            f'{where}: row_condition = {kwargs["row_condition"]!r} is code; write it as {{"type": "comparison", '
            f'"column": {{"name": "..."}}, "operator": ">", "parameter": 0}}'
        )
    for part in _conditions(expectation):
        if part.column.name in zones and hasattr(part, "parameter"):
            moments = part.parameter if isinstance(part.parameter, list) else [part.parameter]
            texts = [_moment(value, where, zones[part.column.name]).isoformat() for value in moments]
            part.parameter = texts if isinstance(part.parameter, list) else texts[0]
    return expectation


def _parts(entry: dict[str, Any], where: str) -> tuple[type, dict[str, Any], dict[str, Any]]:
    """Return the class of an entry's expectation, its arguments and its meta, all of them checked for their keys."""
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    from expectations import finite  # noqa: F401 (registers the rule about finite numbers)

    kind = entry["type"]
    kinds = list_registered_expectation_implementations()
    if kind not in kinds:
        raise SuiteError(f"{where}: there is no such expectation; {_nearest(kind, kinds)}")
    if kind in REFUSED:
        raise SuiteError(f"{where}: {REFUSED[kind]}")
    _check_keys(entry, _ENTRY_KEYS, where)
    kwargs, meta = entry.get("kwargs", {}), entry.get("meta") or {}
    if not isinstance(kwargs, dict) or not isinstance(meta, dict):
        raise SuiteError(f'{where}: "kwargs" and "meta" must be {{...}}')
    if not isinstance(meta.get("rule", ""), str):
        raise SuiteError(f'{where}: meta "rule" = {meta["rule"]!r} is no text; give the rule a name')
    expectation_class = get_expectation_impl(kind)
    names = set(expectation_class.__fields__) - {*_ENTRY_KEYS, "catch_exceptions", "rendered_content", "windows"}
    _check_keys(kwargs, sorted(names - {"result_format"}), where)
    for name, value in kwargs.items():
        if isinstance(value, dict) and "$PARAMETER" in value:
            raise SuiteError(f"{where}: {name} = {value} is a parameter; write its value")
    return expectation_class, kwargs, meta


def _with_times(kind: str, kwargs: dict[str, Any], where: str, zones: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments with the dates that are compared with a timestamp column as times in UTC."""
    zone = zones.get(kwargs.get("column", ""))
    if zone is None:
        return kwargs
    kwargs = dict(kwargs)
    for name in ("min_value", "max_value") if kind in _BOUNDS_ARE_VALUES else ():
        if kwargs.get(name) is not None:
            kwargs[name] = _moment(kwargs[name], where, zone)
    if isinstance(kwargs.get("value_set"), list):
        kwargs["value_set"] = [_moment(value, where, zone) for value in kwargs["value_set"]]
    return kwargs


def _moment(value: Any, where: str, zone: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise SuiteError(
                f"{where}: {value!r} is no date or time; write it as 2025-01-31 or 2025-01-31T23:59:00"
            ) from None
    if not isinstance(value, datetime):
        raise SuiteError(f"{where}: {value!r} is compared with timestamps; write a date such as 2025-01-31")
    return (value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def _scope(expectation: Any) -> Scope:
    if isinstance(expectation, Stated):
        return "across rows" if expectation.expectation_type in ACROSS_ROWS else "row"
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )

    if not isinstance(expectation, ColumnMapExpectation | ColumnPairMapExpectation | MulticolumnMapExpectation):
        return "table"
    return "across rows" if expectation.expectation_type in ACROSS_ROWS else "row"


def _domain(expectation: Any) -> list[str]:
    """Return the columns whose values an expectation is about."""
    if expectation.expectation_type in ("expect_column_to_exist", "expect_table_columns_to_match_ordered_list"):
        return []
    names = [getattr(expectation, key, None) for key in ("column", "column_A", "column_B")]
    return [name for name in (*names, *(getattr(expectation, "column_list", None) or [])) if name]


def _conditions(expectation: Any) -> list[Any]:
    """Return the comparisons and null checks of an expectation's row condition."""
    conditions, queue = [], [getattr(expectation, "row_condition", None)]
    while queue:
        condition = queue.pop()
        if parts := getattr(condition, "conditions", None):
            queue += parts
        elif condition is not None:
            conditions.append(condition)
    return conditions


def _name(kind: str, columns: Sequence[str]) -> str:
    text = re.sub(r"^expect_(column_values_to_|column_pair_|column_|table_|multicolumn_|compound_|select_)?", "", kind)
    return f"{', '.join(columns) or 'table'}: {text.replace('_', ' ')}"


def _check_keys(entry: Mapping[str, Any], valid: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in valid:
            raise SuiteError(f"{where}: unknown key {key!r}; {_nearest(key, valid)}")


def _nearest(name: str, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, valid, 1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(valid)}"
