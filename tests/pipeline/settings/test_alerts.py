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


def test_one_cut_of_two_strategies_adapts():
    assert ThresholdConfig(strategy="capacity", adapt=True).adapt_days == 7
    with pytest.raises(ValidationError, match=r"moves the cut of capacity and false_alert_rate, .* is 'fdr'; take"):
        ThresholdConfig(strategy="fdr", adapt=True)
    with pytest.raises(ValidationError, match=r"threshold\.segment = 'channel' asks for several; set segment"):
        ThresholdConfig(segment="channel", adapt=True)
    assert not ThresholdConfig(strategy="fdr", segment="channel").adapt
