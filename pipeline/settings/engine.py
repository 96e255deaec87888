"""What computes features: one process, or several that share the rows out by key."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class EngineConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What computes features; the outcome does not depend on it, to the last bit."""

    shards: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        default="auto",
        description=(
            'Into how many buckets of entities the rows are shared out, a process each; "auto" takes one where they '
            "fit into features.memory_limit."
        ),
    )


def bytes_of(size: str) -> int:
    """Return how many bytes a size such as ``features.memory_limit`` is.

    Examples
    --------
    >>> bytes_of("2GB"), bytes_of("1.5 GiB"), bytes_of("500KB")
    (2000000000, 1610612736, 500000)
    """
    number, prefix, binary = re.fullmatch(r"(\d+(?:\.\d+)?)\s?([KMGT])(i?)B", size).groups()  # type: ignore[union-attr]
    return round(float(number) * (1024 if binary else 1000) ** ("KMGT".index(prefix) + 1))
