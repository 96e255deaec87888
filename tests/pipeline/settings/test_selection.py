"""The settings of comparing, promoting and tuning."""

import pytest
from pydantic import ValidationError

from pipeline.settings.selection import PromotionConfig, TuningConfig


def test_the_seconds_of_a_search_are_finite():
    with pytest.raises(ValidationError, match="should be a finite number"):
        TuningConfig(seconds=float("inf"))


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"code_size": (0, 5)}, "tuning.code_size = .0, 5. is no range"),
        ({"learning_rate": (0.1, 0.01)}, "is no range; give a lower and an upper end above 0"),
        ({"validation_share": 0.6, "test_share": 0.5}, "leaves nothing to fit on"),
        ({"options": {"dense": {"noise": []}}}, "gives nothing to try"),
    ],
)
def test_a_space_that_is_none_is_refused(tuning, message):
    with pytest.raises(ValidationError, match=message):
        TuningConfig(**tuning)


@pytest.mark.parametrize("ends", [(60,), (120, 60), (-1, 60), (1, 2, 3)])
def test_alerts_a_day_have_a_fewest_and_a_most(ends):
    with pytest.raises(ValidationError, match=r"promotion\.alerts_per_day = \[.*\] is no interval; give the fewest"):
        PromotionConfig(alerts_per_day=ends)
    assert PromotionConfig(alerts_per_day=(60, 60)).alerts_per_day == (60, 60)
