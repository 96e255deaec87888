"""The settings of the schedule: what becomes of runs that were due while nobody served it, or another was at work."""

from typing import Literal

from pydantic import BaseModel, Field

CatchUp = Literal["all", "latest", "skip"]


class ScheduleConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What becomes of runs that were due while nobody served the schedule, or while another one was at work."""

    catch_up: CatchUp = Field(
        default="all",
        description=(
            'After a downtime: "all" makes up for it by one run that scores every file; "latest" by one that leaves '
            'out what came before the last run but one that was due; "skip" makes up for nothing, and the next run '
            "leaves out what came before the last one that was due. What is left out is told; assay score FILE scores "
            "it."
        ),
    )
    overlap: Literal["wait", "skip"] = Field(
        default="wait",
        description='A run that is due while another is at work "wait"s for it, or is left out by "skip".',
    )
