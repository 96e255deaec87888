"""The settings of deliveries: when a file is there as a whole, and what becomes of it."""

from pydantic import BaseModel, Field, field_validator

from pipeline.settings.stores import checked_store


class IncomingConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """When a file of the incoming folder is there as a whole, and what becomes of it."""

    ignore: tuple[str, ...] = Field(
        default=("*.tmp", "*.part", "*.partial", "*.filepart", "*.crdownload"),
        description="Names that are not looked at, in any case; nor are those that begin with . or _.",
    )
    quiet_seconds: float = Field(
        default=2,
        ge=0,
        le=600,
        description=(
            "A file that has changed so lately is waited for, once for all of them; one that changes meanwhile is left "
            "to the next run."
        ),
    )
    markers: tuple[str, ...] = Field(
        default=(),
        examples=[(".done", "_SUCCESS")],
        description=(
            "What says that a delivery is whole: an ending of a file beside it, such as .done, or a file within a "
            "folder, such as _SUCCESS. One of them is enough; [] asks for none."
        ),
    )
    manifest: str = Field(
        default="",
        description=(
            'Ending of a JSON file beside each delivery with its control totals, such as ".manifest.json": '
            '{"rows": 1204, "amount": 5678.90}. A delivery waits for it, and is refused where it does not add up.'
        ),
    )
    archive: str = Field(
        default="",
        description=(
            "Folder that files are moved to once they are scored, of a store such as s3://bucket/in another place in "
            'it; "" leaves them where they are.'
        ),
    )

    @field_validator("markers")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for marker in value:
            if not marker.strip() or "/" in marker:
                raise ValueError(f"{marker!r} is no name; write an ending such as .done, or a name such as _SUCCESS")
        return value

    @field_validator("archive")
    @classmethod
    def _can_be_moved_to(cls, value: str) -> str:
        return checked_store(value)

    @field_validator("manifest")
    @classmethod
    def _is_an_ending(cls, value: str) -> str:
        if value and (not value.startswith(".") or "/" in value):
            raise ValueError(f"{value!r} is no ending of a name; write one such as .manifest.json")
        return value
