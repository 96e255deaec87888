"""The settings of the analysts' desk."""

from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from pipeline.settings.addresses import checked_address

Role = Literal["viewer", "analyst", "lead", "admin"]
Label = Literal["fraud", "not_fraud", "unsure"]


class ReviewConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The analysts' desk: what makes a case, who sees what, and which alerts are looked at twice."""

    entity: str = Field(
        default="", description='Entity whose alerts are one case, such as the customer; "" for the contract\'s first.'
    )
    case_days: float = Field(
        default=7, ge=0, description="Alerts of one entity are one case within a batch, or within this many days."
    )
    lock_minutes: float = Field(default=10, gt=0, description="How long an alert is held for whoever opened it.")
    golden_share: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="Share of an analyst's alerts whose label is known, to see how often they are right: decided "
        "by others, and since delivered or decided alike by two.",
    )
    second_share: float = Field(
        default=0, ge=0, le=1, description="Share of decided alerts that a second analyst decides, too, unawares."
    )
    codes: tuple[str, ...] = Field(
        default=(), description='Reason codes of a decision, such as "card stolen"; () for none.'
    )
    templates: tuple[str, ...] = Field(
        default=(),
        description='Comments to choose from, such as "called the customer, who knows it"; () for none.',
    )
    code_needed: tuple[Label, ...] = Field(default=(), description="Decisions that need a reason code.")
    comment_needed: tuple[Label, ...] = Field(default=(), description="Decisions that need a comment.")
    clear_roles: tuple[Role, ...] = Field(
        default=("lead", "admin"),
        description="Roles that see sensitive columns in clear; others see what stands for it.",
    )
    due_hours: float = Field(default=24, gt=0, description="Hours within which an alert is to be decided.")
    due_hours_urgent: float = Field(
        default=4, gt=0, description="The same for an urgent one: with much money at risk, or escalated to a lead."
    )
    urgent_risk: float = Field(
        default=0, ge=0, description="Money at risk from which an alert is urgent; 0: only escalated ones are."
    )
    idle_minutes: float = Field(default=60, gt=0, description="A login ends after this long without a request.")
    login_hours: float = Field(default=12, gt=0, description="A login ends after this long, whatever is done.")
    webhook: str = Field(
        default="",
        description='Address that is told of new alerts while assay review runs; "" for none. The environment variable '
        "ASSAY_WEBHOOK_SECRET has what signs the messages, which hold no cell of a row.",
    )

    oidc_issuer: str = Field(
        default="", description='Address of an OpenID Connect provider to sign in with, beside passwords; "" for none.'
    )
    oidc_client_id: str = Field(
        default="",
        description="What the provider knows the desk by. Its secret is in ASSAY_OIDC_SECRET, if it has one.",
    )
    oidc_scopes: tuple[str, ...] = Field(default=("openid",), description="What the provider is asked to tell.")
    oidc_name_claim: str = Field(
        default="sub", description="Claim that is the user's name; one that the provider never gives to anybody else."
    )
    oidc_role_claim: str = Field(
        default="",
        description='Claim that oidc_roles turns into the role at each sign-in; "" leaves roles to the desk.',
    )
    oidc_roles: dict[str, Role] = Field(
        default={}, description="The role by a value of that claim; of several, the one that may most."
    )
    oidc_new_users: bool = Field(
        default=False, description="Whether somebody whom the claim gives a role becomes a user at the first sign-in."
    )

    @field_validator("webhook", "oidc_issuer")
    @classmethod
    def _safe_address(cls, text: str) -> str:
        return checked_address(text)

    @model_validator(mode="after")
    def _whole_provider(self) -> Self:
        """Refuse half of what signing in by a provider takes."""
        if self.oidc_issuer and (not self.oidc_client_id or "openid" not in self.oidc_scopes):
            raise ValueError('oidc_issuer needs oidc_client_id, and "openid" among oidc_scopes')
        if bool(self.oidc_role_claim) != bool(self.oidc_roles):
            raise ValueError("oidc_role_claim and oidc_roles need each other")
        if self.oidc_new_users and not self.oidc_role_claim:
            raise ValueError("oidc_new_users needs oidc_role_claim, for a new user has a role")
        return self
