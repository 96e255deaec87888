"""The settings of the watch: from when on a day is told to be unlike the training, and what keeps alerts back."""

from typing import Literal

from pydantic import BaseModel, Field

CheckName = Literal["schema", "rows", "columns", "scores", "alerts"]


class MonitorConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The watch over scored days: from when on one is told to be unlike the training, and what keeps alerts back."""

    enabled: bool = Field(default=True, description="Whether each scored batch is held against the training.")
    stop_on: tuple[CheckName, ...] = Field(
        default=(),
        examples=[("schema", "scores")],
        description=(
            "Checks that keep a batch's alerts from being published where they would only warn else: schema (new, gone "
            "and retyped columns), rows (by day and hour), columns (values, empty cells), scores, alerts."
        ),
    )
    drift: float = Field(
        default=0.25,
        gt=0,
        description=(
            "Population stability index of a column from which on its values count as moved, and half of that of a "
            "feature of an entity's past; twice what a single day of the calibration block had, where that is more."
        ),
    )
    empty: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="How much larger than in the training the share of a column's empty, or unseen, values may be.",
    )
    volume: float = Field(
        default=2.0,
        gt=1,
        description="How many times the rows usual for its weekday a day may have; and, as one over that, how few.",
    )
    tolerance: float = Field(
        default=0.5,
        gt=0,
        description=(
            "How much larger than in the calibration block the share of high scores may be, as a part of it, beside "
            "what its days varied."
        ),
    )
    calls_a_year: float = Field(
        default=0.05,
        gt=0,
        le=12,
        description="How often a year the scores of days that keep this tolerance may be called unlike the training.",
    )
