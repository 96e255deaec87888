"""What people read for a column in place of its name: a title, a unit, and what it holds."""

import unicodedata

from pydantic import BaseModel, Field, field_validator

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of Unicode that leave no mark, break a line, or turn the direction of what follows."""


class ColumnConfig(BaseModel, frozen=True, extra="forbid"):
    """What people read for a column; scores, models and batches know nothing of it."""

    title: str = Field(default="", max_length=60, description="What people read in place of the column's name.")
    unit: str = Field(
        default="", max_length=16, description='What stands behind its numbers, such as "EUR" or "km"; "" for nothing.'
    )
    description: str = Field(default="", max_length=300, description="What the column holds, in a sentence.")

    @field_validator("title", "unit", "description")
    @classmethod
    def _can_be_seen(cls, value: str) -> str:
        value = value.strip()
        sign = next((sign for sign in value if unicodedata.category(sign) in UNSEEN), None)
        if sign is not None:
            raise ValueError(f"the sign U+{ord(sign):04X} cannot be seen; write a text of one line without it")
        return value
