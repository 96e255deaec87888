"""The settings of notices: who is told when scoring needs somebody."""

from typing import Annotated

from pydantic import BaseModel, Field

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class NotifyConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Who is told when scoring needs somebody: environment variables with Apprise URLs, so that no secret is here."""

    attention: tuple[Variable, ...] = Field(
        default=(),
        examples=[("ASSAY_MAIL",)],
        description=(
            "Variables whose URLs (mail, Slack, Teams, webhook ...) are told when something needs attention, such as a "
            "refused file."
        ),
    )
    stopped: tuple[Variable, ...] = Field(
        default=(),
        examples=[("ASSAY_PAGER",)],
        description="Variables whose URLs are told when nothing is scored any more.",
    )
    fine: tuple[Variable, ...] = Field(
        default=(),
        examples=[("ASSAY_MAIL",)],
        description="Variables whose URLs are told when all is fine again, once.",
    )
    repeat_hours: float = Field(
        default=24, gt=0, description="The same is told again only after this long, while it lasts."
    )

    @property
    def is_set(self) -> bool:
        """Whether anybody is told anything."""
        return bool(self.attention or self.stopped or self.fine)
