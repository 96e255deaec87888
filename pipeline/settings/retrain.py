"""The settings of retraining: when a candidate is trained, on which days of the history, and what becomes of it."""

from typing import Literal

from pydantic import BaseModel, Field


class RetrainConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """When assay retrain trains a candidate, on which days, and what becomes of it. As it stands, nothing is due."""

    every_days: float = Field(
        default=0, ge=0, description="Days after the last training from which on another one is due; 0 for never."
    )
    when: tuple[Literal["warn", "stop"], ...] = Field(
        default=(),
        examples=[("warn", "stop")],
        description=(
            "States of the watch over the champion's days that make a training due; its check schema is left out."
        ),
    )
    again_days: float = Field(
        default=7,
        gt=0,
        description="A state that lasts makes another training due this many days after the last one.",
    )
    new_labels: int = Field(
        default=0,
        ge=0,
        description="Rows that got a label from review since the last training, from which on one is due; 0 for never.",
    )
    days: int = Field(
        default=0, ge=0, description="Days of the history to train on; 0 for as many as the champion was trained on."
    )
    compare_days: int = Field(
        default=7,
        ge=1,
        description=(
            "The last days whose labels are known, which the candidate does not learn from: it is compared with the "
            "champion on them."
        ),
    )
    promote: bool = Field(
        default=False,
        description="Whether a candidate that passes every gate of [promotion] becomes champion; else it waits.",
    )

    @property
    def is_set(self) -> bool:
        """Whether a training is ever due by itself."""
        return bool(self.every_days or self.when or self.new_labels)
