"""Runs of rules over frames with Great Expectations' pandas engine, and the outcome that a rule's runs add up to."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from expectations.suites import Rule, SuiteError

_EXAMPLES = 20  # unexpected values kept as examples for Data Docs


@dataclass
class Outcome:
    """An outcome: what became of one rule over a whole table; runs over parts of it are added up.

    Attributes
    ----------
    name, kind, kwargs, severity, columns
        The rule's name, its Great Expectations type and arguments, its severity, the columns that it reads.
    mostly : float
        Share of the rows that have a value in which it must hold.
    success : bool
        Whether it held.
    rows, missing, broken : int
        Rows it was asked of, how many of them had no value, and how many broke it.
    values : list
        The first values that broke it.
    observed : object
        What a rule about the whole table found, such as a mean.
    """

    name: str
    kind: str
    kwargs: dict[str, Any]
    severity: str
    columns: tuple[str, ...]
    mostly: float = 1.0
    success: bool = True
    rows: int = 0
    missing: int = 0
    broken: int = 0
    values: list[Any] = field(default_factory=list)
    observed: Any = None
    about_rows: bool = True

    @classmethod
    def of(cls, rule: Rule) -> "Outcome":
        """Return the outcome of a rule that was not asked yet."""
        configuration = rule.expectation.configuration
        return cls(
            rule.name,
            configuration.type,
            dict(configuration.kwargs),
            rule.severity,
            rule.columns,
            rule.mostly,
            about_rows=rule.scope != "table",
        )

    def add(self, rows: int, missing: int, broken: int, values: Sequence[Any] = ()) -> None:
        """Count a further part of the table.

        Parameters
        ----------
        rows, missing, broken : int
            Of the part; as the attributes of these names.
        values : sequence
            Values of the part that broke the rule.

        Examples
        --------
        >>> kind = "expect_column_values_to_be_between"
        >>> outcome = Outcome("eur: be between", kind, {}, "critical", ("eur",), mostly=0.8)
        >>> outcome.add(rows=10, missing=0, broken=1, values=[-1.0])
        >>> outcome.success
        True
        >>> outcome.add(rows=10, missing=5, broken=3)
        >>> outcome.success, outcome.rows, outcome.broken
        (False, 20, 4)
        """
        self.rows += rows
        self.missing += missing
        self.broken += broken
        self.values += list(values)[: _EXAMPLES - len(self.values)]
        cells = self.rows - self.missing
        self.success = self.broken == 0 or (cells - self.broken) / cells >= self.mostly


@dataclass(frozen=True)
class RowResult:
    """Which rows of a frame broke a rule: their positions, in order, and the first values."""

    positions: np.ndarray
    rows: int
    missing: int
    values: list[Any]


class Engine:
    """Great Expectations in memory: no project folder, no progress bars, nothing sent anywhere.

    Parameters
    ----------
    sensitive : collection of str
        Columns whose values may stand in no message.
    """

    def __init__(self, sensitive: Collection[str] = ()) -> None:
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        log = logging.getLogger("great_expectations")
        log.propagate = False  # its errors come back in results, and are raised from there
        if not log.handlers:
            log.addHandler(logging.NullHandler())
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        self._sensitive = set(sensitive)
        self._whole = asset.add_batch_definition_whole_dataframe("whole")

    def rows(self, rules: Sequence[Rule], frame: pd.DataFrame) -> dict[str, RowResult]:
        """Return what came of each rule about rows in a frame (index 0, 1, ...), by the rule's name.

        Raises
        ------
        SuiteError
            With one sentence, when a rule cannot be computed on these columns.
        """
        results = {}
        for rule, result in self._run(rules, frame):
            positions = np.array(result.get("unexpected_index_list") or [], dtype=np.int64)
            positions.sort()
            values = result.get("partial_unexpected_list") or []
            results[rule.name] = RowResult(positions, result["element_count"], result.get("missing_count") or 0, values)
        return results

    def whole(self, rule: Rule, frame: pd.DataFrame) -> tuple[bool, Any]:
        """Return whether a rule about a whole table holds, and what was observed.

        Raises
        ------
        SuiteError
            With one sentence, when the rule cannot be computed on these columns.
        """
        [(_, result)] = self._run([rule], frame)
        return bool(result["success"]), result.get("observed_value")

    def _run(self, rules: Sequence[Rule], frame: pd.DataFrame) -> list[tuple[Rule, dict[str, Any]]]:
        import great_expectations as gx

        if not rules:
            return []
        suite = gx.ExpectationSuite(name="rules", expectations=[rule.expectation for rule in rules])
        with np.errstate(invalid="ignore"):  # a comparison with a missing value does not hold, and is no accident
            validation = self._whole.get_batch({"dataframe": frame}).validate(
                suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False}
            )
        by_name = {rule.name: rule for rule in rules}
        pairs = []
        for result in validation.results:
            rule = by_name[(result.expectation_config.meta if result.expectation_config else {})["rule"]]
            if reason := _exception(result.exception_info):
                reason = "the reason would show a sensitive value" if self._sensitive & {*rule.columns} else reason
                raise SuiteError(f"{rule.where}: cannot be computed on this table ({reason}); change or remove it")
            pairs.append((rule, {**result.result, "success": result.success}))
        return pairs


def _exception(info: dict[str, Any]) -> str:
    """Return the first line of what went wrong inside an expectation, or an empty text."""
    for part in (info, *(value for value in info.values() if isinstance(value, dict))):
        if part.get("raised_exception"):
            lines = str(part.get("exception_message") or "unknown reason").strip().splitlines()
            return lines[0]
    return ""


def to_frame(rows: pa.RecordBatch | pa.Table) -> pd.DataFrame:
    """Return rows as a frame (index 0, 1, ...) in the types on which the pandas engine is right and fast.

    Timestamps and dates become times in UTC and numbers 64 bits wide: Great Expectations compares those as a
    column, others value by value in Python. Whole numbers with gaps stay whole.

    Examples
    --------
    >>> rows = pa.table({"tx": pa.array([7, None], pa.int32()), "eur": pa.array([1.5, None], pa.float32())})
    >>> to_frame(rows)["tx"].tolist(), str(to_frame(rows)["eur"].dtype)
    ([7, nan], 'float64')
    """
    columns: dict[str, Any] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            columns[name] = column.cast(pa.timestamp("us", "UTC"), safe=False).to_pandas()
        elif pa.types.is_integer(kind) and kind != pa.uint64():
            columns[name] = _whole_numbers(column.cast(pa.int64()))
        elif pa.types.is_floating(kind):
            columns[name] = column.cast(pa.float64()).to_pandas()
        else:
            columns[name] = column.to_pandas()
    return pd.DataFrame(columns, index=pd.RangeIndex(rows.num_rows))


def _whole_numbers(column: pa.Array | pa.ChunkedArray) -> pd.Series:
    values = column.to_pandas(integer_object_nulls=True)
    if column.null_count:
        values[values.isna()] = np.nan  # which can be compared with a number; None cannot
    return values
