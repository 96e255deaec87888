"""The rule that numbers are finite, which Great Expectations does not have; importing this file registers it."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)


class ColumnValuesFinite(ColumnMapMetricProvider):
    """Which numbers are neither infinite nor NaN."""

    condition_metric_name = "column_values.finite"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **kwargs: Any) -> np.ndarray:
        return np.isfinite(column.to_numpy(dtype="float64"))


class ExpectColumnValuesToBeFinite(ColumnMapExpectation):
    """Expect the numbers of a column to be finite; a range check without an upper bound lets infinity pass."""

    map_metric: ClassVar[str] = "column_values.finite"
