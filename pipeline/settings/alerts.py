"""The settings of which rows are reviewed: where the line lies, and the random slice below it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

Share = Annotated[float, Field(gt=0, lt=1)]
ADAPTING = ("capacity", "false_alert_rate")
"""Strategies whose cut can follow the days before each batch."""


class ThresholdConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Where the line between an alert and the rest is drawn."""

    strategy: Literal[
        "false_alert_rate", "capacity", "fdr", "tail", "cost", "f_beta", "precision_at_least", "recall_at_least"
    ] = Field(
        default="false_alert_rate",
        description=(
            "false_alert_rate: this share of normal rows is flagged. capacity: this many alerts a day. fdr: this share "
            "of each batch's alerts is false. tail: a false-alert rate that the calibration rows are too few for, "
            "extrapolated. From labels: cost (the most money saved), f_beta, precision_at_least, recall_at_least."
        ),
    )
    false_alert_rate: Share = Field(
        default=0.01, description="Share of normal rows flagged by mistake (strategies false_alert_rate and tail)."
    )
    alerts_per_day: float = Field(
        default=100, gt=0, description="Alerts a calendar day that the team can review (strategy capacity)."
    )
    unit: Literal["alerts", "customers"] = Field(
        default="alerts",
        description=(
            "What capacity counts: alerts, or customers (the contract's first entity) with an alert, however many."
        ),
    )
    false_discovery_rate: Share = Field(
        default=0.1, description="Share of the alerts of a batch that are false (strategy fdr)."
    )
    review_cost: float = Field(
        default=10, ge=0, description="What the review of one alert costs, in the unit of the amounts (strategy cost)."
    )
    recovered_share: float = Field(
        default=1, gt=0, le=1, description="Share of a flagged fraud's amount that is recovered (strategy cost)."
    )
    beta: float = Field(default=1, gt=0, description="How much more recall counts than precision (strategy f_beta).")
    min_precision: Share = Field(
        default=0.5, description="Share of alerts that are fraud, at least (strategy precision_at_least)."
    )
    min_recall: Share = Field(
        default=0.5, description="Share of frauds that are flagged, at least (strategy recall_at_least)."
    )
    segment: str = Field(
        default="",
        description='Categorical column whose values have a cut each, such as the channel; "" for one cut for all.',
    )
    min_segment_rows: int = Field(
        default=1000, ge=1, description="Values with fewer calibration rows than this share the common cut."
    )
    adapt: bool = Field(
        default=False,
        description=(
            "Whether the cut is solved again each night on the days scored before, so that what is promised holds "
            "where scores drift (capacity and false_alert_rate, without segment). Each change is told and kept."
        ),
    )
    adapt_days: int = Field(
        default=7,
        ge=2,
        le=366,
        description=(
            "Calendar days before a batch that its cut is solved on. Whole weeks see every weekday; by a rate, more "
            "than labels take to come."
        ),
    )
    adapt_step: Share = Field(
        default=0.2,
        description=(
            "How far the cut moves in one night: on those days, by at most this share of what is asked for or, where "
            "that is more, of what the cut before flags there."
        ),
    )

    @model_validator(mode="after")
    def _one_cut_adapts(self) -> Self:
        if self.adapt and self.strategy not in ADAPTING:
            raise ValueError(
                f"threshold.adapt = true moves the cut of {' and '.join(ADAPTING)}, and threshold.strategy is "
                f"{self.strategy!r}; take one of these, or set adapt = false"
            )
        if self.adapt and self.segment:
            raise ValueError(
                f"threshold.adapt = true moves one cut for all rows, and threshold.segment = {self.segment!r} asks for "
                'several; set segment = "", or adapt = false'
            )
        return self


class AuditConfig(BaseModel, frozen=True, extra="forbid"):
    """A random slice of the rows that are not flagged, to be reviewed like alerts: how much fraud is missed?"""

    share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the rows not flagged that is drawn at random into audit.csv; 0 for none.",
    )
