"""The settings of what machines are told: numbers for Prometheus, and events of OpenLineage."""

from typing import Annotated

from pydantic import BaseModel, Field, field_validator, model_validator

from pipeline.settings.addresses import checked_address


class MetricsConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Numbers on how scoring stands, as a textfile for Prometheus' node exporter."""

    enabled: bool = Field(
        default=True, description="Whether the end of each scoring run, and assay status, write the textfile."
    )
    path: str = Field(
        default="",
        description=(
            'The textfile, such as "/var/lib/node_exporter/cards.prom"; "" for assay.prom in the work folder. Tables '
            "that share a work folder need a file each."
        ),
    )


class LineageConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Events of OpenLineage on what training and scoring read and wrote: names and counts, no cell of any row."""

    enabled: bool = Field(
        default=True, description="Whether the events are kept, a file a month in the work folder's lineage/."
    )
    namespace: str = Field(
        default="assay", min_length=1, description="The namespace of the jobs; the jobs are NAME.train and NAME.score."
    )
    url: str = Field(
        default="",
        description=(
            'Address that each event is sent to, too, such as "https://marquez.example/api/v1/lineage"; "" for none.'
        ),
    )
    key: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = Field(
        default="",
        examples=["ASSAY_LINEAGE_KEY"],
        description='Environment variable with the key that the address asks for; "" for none.',
    )
    timeout_seconds: float = Field(
        default=5, gt=0, description="How long the address has to answer. After one failure a run sends no more events."
    )

    @field_validator("url")
    @classmethod
    def _usable_address(cls, text: str) -> str:
        return checked_address(text, in_clear=True)

    @model_validator(mode="after")
    def _no_key_in_clear(self) -> "LineageConfig":
        if self.key:
            try:
                checked_address(self.url)
            except ValueError:
                raise ValueError(
                    f"lineage.key is sent to {self.url} only over https; give such an address, or take lineage.key out"
                ) from None
        return self
