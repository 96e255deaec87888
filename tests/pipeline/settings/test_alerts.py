"""The settings of which rows are reviewed."""

import pytest
from pydantic import ValidationError

from pipeline.settings.alerts import ThresholdConfig


@pytest.mark.parametrize(
    "number", [{"alerts_per_day": float("inf")}, {"review_cost": float("inf")}, {"beta": float("nan")}]
)
def test_a_number_of_the_threshold_is_finite(number):
    with pytest.raises(ValidationError, match="should be a finite number"):
        ThresholdConfig(**number)
