"""Runs of rules over rows, plain ones on Arrow columns, all others with Great Expectations, and what they add up to."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from expectations.plain import Columns, judge
from expectations.suites import Rule, SuiteError

if TYPE_CHECKING:
    import pandas as pd

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
        return cls(
            rule.name,
            rule.kind,
            rule.kwargs,
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
        self._sensitive = set(sensitive)

    def rows(self, rules: Sequence[Rule], rows: pa.RecordBatch | pa.Table) -> dict[str, RowResult]:
        """Return what came of each rule about rows, by the rule's name: of plain ones without Great Expectations.

        Raises
        ------
        SuiteError
            With one sentence, when a rule cannot be computed on these columns.
        """
        columns, results, others = Columns(rows), {}, []
        for rule in rules:
            breaches = judge(rule, columns)
            if breaches is None:
                others.append(rule)
            else:
                results[rule.name] = RowResult(*breaches, _examples(rows, rule.columns[0], breaches.positions))
        if others:
            from expectations.frames import to_frame

            names = list(dict.fromkeys(name for rule in others for name in rule.columns))
            results |= self.frame(others, to_frame(rows.select(names)))
        return results

    def frame(self, rules: Sequence[Rule], frame: "pd.DataFrame") -> dict[str, RowResult]:
        """Return what Great Expectations says of each rule about the rows of a frame (index 0, 1, ...), by its name.

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

    def whole(self, rule: Rule, frame: "pd.DataFrame") -> tuple[bool, Any]:
        """Return whether a rule about a whole table holds, and what was observed.

        Raises
        ------
        SuiteError
            With one sentence, when the rule cannot be computed on these columns.
        """
        [(_, result)] = self._run([rule], frame)
        return bool(result["success"]), result.get("observed_value")

    @cached_property
    def _whole(self) -> Any:
        """A batch of Great Expectations that is a whole frame, whichever it is handed."""
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        log = logging.getLogger("great_expectations")
        log.propagate = False  # its errors come back in results, and are raised from there
        if not log.handlers:
            log.addHandler(logging.NullHandler())
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        return asset.add_batch_definition_whole_dataframe("whole")

    def _run(self, rules: Sequence[Rule], frame: "pd.DataFrame") -> list[tuple[Rule, dict[str, Any]]]:
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


def _examples(rows: pa.RecordBatch | pa.Table, column: str, positions: np.ndarray) -> list[Any]:
    """Return the first values at some positions of a column, as Great Expectations would give them back."""
    if not len(positions):
        return []
    from expectations.frames import to_frame

    cells = rows.select([column]).take(pa.array(positions[:_EXAMPLES]))
    return list(to_frame(cells)[column])
