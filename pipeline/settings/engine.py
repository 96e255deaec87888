"""What validates, computes features and scores: this machine, with a process or several, or an Apache Spark cluster."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator


class EngineConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What validates, computes features and scores; the outcome does not depend on it, to the last bit."""

    name: Literal["local", "spark"] = Field(
        default="local",
        description=(
            '"local" computes on this machine, "spark" on the Apache Spark cluster engine.master, for tables that no '
            "one machine holds."
        ),
    )
    master: str = Field(
        default="",
        pattern=r"^(local(\[(\*|\d+)\])?|(spark|k8s)://\S+|yarn)?$",
        description=(
            'Address of the cluster, such as "spark://host:7077"; "local[2]" is Spark with 2 cores of this machine.'
        ),
    )
    shards: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        default="auto",
        description=(
            'Into how many buckets of entities the rows are shared out, a process or a task each; "auto" takes as many '
            "as features.memory_limit asks for."
        ),
    )

    @model_validator(mode="after")
    def _master_is_of_spark(self) -> "EngineConfig":
        if self.name == "spark" and not self.master:
            raise ValueError(
                'engine.name = "spark" needs the address of a cluster; set engine.master to one such as '
                '"spark://host:7077", or to "local[2]" for this machine'
            )
        if self.name != "spark" and self.master:
            raise ValueError(
                f'engine.master = "{self.master}" is the address of a Spark cluster, and engine.name is "{self.name}"; '
                'set engine.name = "spark", or leave engine.master out'
            )
        return self


def bytes_of(size: str) -> int:
    """Return how many bytes a size such as ``features.memory_limit`` is.

    Examples
    --------
    >>> bytes_of("2GB"), bytes_of("1.5 GiB"), bytes_of("500KB")
    (2000000000, 1610612736, 500000)
    """
    number, prefix, binary = re.fullmatch(r"(\d+(?:\.\d+)?)\s?([KMGT])(i?)B", size).groups()  # type: ignore[union-attr]
    return round(float(number) * (1024 if binary else 1000) ** ("KMGT".index(prefix) + 1))
