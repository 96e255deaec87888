"""The settings of comparing, promoting and tuning; `pipeline.settings.config.Config` holds them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from pipeline.settings.alerts import Share


class PromotionConfig(BaseModel, frozen=True, extra="forbid"):
    """What a version has to show, beside the champion, on rows that no version learned from."""

    shadow: bool = Field(
        default=False,
        description="Whether the candidate scores each batch beside the champion; only its differences are reported.",
    )
    days: int = Field(
        default=28, ge=1, description="Versions are compared on the rows of this many days at most, the latest ones."
    )
    draws: int = Field(default=200, ge=100, description="Bootstrap draws behind an interval.")
    confidence: float = Field(default=0.9, ge=0.5, lt=1, description="Share of draws that an interval holds.")
    max_loss_average_precision: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description=(
            "How much less average precision than the champion's, and the best champion's so far, is let through while "
            "it is not known to be less: the lower end of the difference's interval may not lie further below zero, "
            "and its upper end not below it. 1 asks nothing."
        ),
    )
    max_loss_card_precision: float = Field(
        default=0.02, ge=0, le=1, description="The same for card precision@100. 1 asks nothing."
    )
    max_loss_injected_recall: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="The same, without labels, for injected anomalies, where features are the same. 1 asks nothing.",
    )
    min_injected_recall: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of injected anomalies to be flagged, where no label is known. 0 asks nothing.",
    )
    alerts_per_day: tuple[float, ...] = Field(
        default=(),
        description=(
            "Fewest and most alerts a day that the team can do with, such as [60, 120]; [] takes the interval that a "
            "capacity predicts, and of another threshold what it expects, give or take volume_tolerance of it."
        ),
    )
    volume_tolerance: float = Field(
        default=0.5, ge=0, lt=1, description="Share by which the alerts a day may miss what the threshold expects."
    )
    min_top_reason: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Share of injected anomalies whose top reason has to be the column changed. 0 asks nothing.",
    )

    @model_validator(mode="after")
    def _fewest_and_most(self) -> "PromotionConfig":
        ends = self.alerts_per_day
        if ends and not (len(ends) == 2 and 0 <= ends[0] <= ends[1]):
            raise ValueError(
                f"promotion.alerts_per_day = {list(ends)} is no interval; give the fewest and the most, or []"
            )
        return self


class TuningConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What assay tune searches, and for how long. A setting that a family has no use for is not tried with it."""

    trials: int = Field(default=40, ge=1, description="Settings tried; a search that was stopped goes on.")
    seconds: float = Field(default=3600, gt=0, description="No trial begins this long after the command did.")
    jobs: int = Field(default=1, ge=1, description="Trials that run at the same time, each in a process of its own.")
    metric: Literal["auto", "average_precision", "injected_recall"] = Field(
        default="auto",
        description=(
            "What is searched for on the validation block: average_precision (needs labels), injected_recall (the "
            "share of injected anomalies above the false-alert rate); auto: the first where labels are known."
        ),
    )
    validation_share: Share = Field(
        default=0.25, description="Share of the period's days that trials are judged on; they follow those to fit on."
    )
    test_share: Share = Field(
        default=0.2, description="Share of the period's days, the last ones, that tuning leaves alone."
    )
    families: tuple[str, ...] = Field(
        default=("committee", "denoising", "dense", "sparse", "variational", "memory"),
        min_length=1,
        description="Families of models to try.",
    )
    hidden: tuple[tuple[Annotated[int, Field(ge=1)], ...], ...] = Field(
        default=((64,), (128,), (256,), (128, 64)), description="Layers to try; [] tries the family's own only."
    )
    code_size: tuple[int, ...] = Field(
        default=(2, 64), description="Code sizes to try: from the first to the second, in factors; [] the family's own."
    )
    learning_rate: tuple[float, ...] = Field(
        default=(0.0005, 0.01), description="Learning rates to try, from the first to the second, in factors."
    )
    options: dict[str, dict[str, list[Any]]] = Field(
        default_factory=lambda: {"denoising": {"noise": [0.005, 0.3]}, "memory": {"bandwidth": [0.1, 2.0]}},
        description="What only one family has: two numbers are a range, in factors; anything else is tried as listed.",
    )

    @model_validator(mode="after")
    def _ranges_and_shares(self) -> "TuningConfig":
        ranges = {"code_size": self.code_size, "learning_rate": self.learning_rate}
        for name, ends in ranges.items():
            if ends and not (len(ends) == 2 and 0 < ends[0] <= ends[1]):
                raise ValueError(
                    f"tuning.{name} = {list(ends)} is no range; give a lower and an upper end above 0, or []"
                )
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"tuning.validation_share and tuning.test_share make {self.validation_share + self.test_share:g} of "
                "the period, which leaves nothing to fit on; lower one of them"
            )
        for family, options in self.options.items():
            for name, values in options.items():
                if not values:
                    raise ValueError(
                        f"tuning.options.{family}.{name} = [] gives nothing to try; name a value or a range"
                    )
        return self
