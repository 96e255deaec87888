"""The contract of a transaction table: which column plays which role.

``assay init`` infers it (pipeline/inference/roles.py), a person edits it, and everything after checks against it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.settings.output import SCORES
from pipeline.settings.places import find_places

Type = Literal["integer", "text"]
ColumnName = Annotated[str, Field(min_length=1)]


class Contract(BaseModel):
    """The roles of a table's columns. Columns that are named nowhere are carried along and not looked at.

    Examples
    --------
    >>> contract = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), types={"tx": "integer"})
    >>> contract.required
    ('tx', 'at', 'eur', 'card')
    >>> contract.type_of("card"), contract.type_of("eur")
    ('text', 'number')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ColumnName = Field(description="One value a row, never twice: how a row is found again.")
    timestamp: ColumnName = Field(description="When the transaction happened.")
    amount: ColumnName = Field(description="How much money moved.")
    entities: tuple[ColumnName, ...] = Field(
        default=(), description="Who or what acts again and again: customer, card, terminal, merchant."
    )
    optional: tuple[ColumnName, ...] = Field(
        default=(),
        description="Entities that may be empty, such as the card of a transfer; rows without another are quarantined.",
    )
    categorical: tuple[ColumnName, ...] = Field(
        default=(), description="Columns with a few values each, such as channel or country."
    )
    numeric: tuple[ColumnName, ...] = Field(default=(), description="Further numbers the model may look at.")
    label: ColumnName | None = Field(
        default=None,
        description="Says fraud, not fraud, or nothing while it is not known; never an input. Left out without labels.",
    )
    labelled_at: ColumnName | None = Field(
        default=None,
        description="When the label became known; without it, a label counts as known label_delay_days after the row.",
    )
    ignored: tuple[ColumnName, ...] = Field(
        default=(), description="Columns that are carried along and never an input of the model."
    )
    sensitive: tuple[ColumnName, ...] = Field(
        default=(),
        description="Columns masked in CSV files, reports, Data Docs and MLflow examples; entities show a pseudonym. "
        "Each keeps its role above.",
    )
    types: dict[ColumnName, Type] = Field(
        default_factory=dict,
        description="Type of each id, entity and categorical column: integer or text. Text where nothing is said.",
    )

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns that are identifiers or categories: the id, the entities, the categories."""
        return (self.id, *self.entities, *self.categorical)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that are numbers: the amount first, then the numeric ones."""
        return (self.amount, *self.numeric)

    @property
    def obligatory(self) -> tuple[str, ...]:
        """Columns that every row must have a value of."""
        return (self.id, self.timestamp, self.amount, *(name for name in self.entities if name not in self.optional))

    @property
    def places(self) -> dict[str, tuple[str, str]]:
        """Latitude and longitude of each place, by the place's name: numeric columns, told by their names."""
        return find_places(self.numeric)

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every table must have. Labels come late, so a table may lack them."""
        return (self.id, self.timestamp, self.amount, *self.entities, *self.categorical, *self.numeric)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column with a role other than ignored."""
        return self.required + tuple(name for name in (self.label, self.labelled_at) if name)

    def type_of(self, name: str) -> Literal["integer", "text", "number", "timestamp", "label"]:
        """Return the type that a column is parsed to."""
        if name in (self.timestamp, self.labelled_at):
            return "timestamp"
        if name == self.label:
            return "label"
        return "number" if name in self.numbers else self.types.get(name, "text")

    @field_validator("id")
    @classmethod
    def _no_output(cls, value: str) -> str:
        if value in SCORES:
            raise ValueError("the scores table has a column of this name itself; rename the column in the table")
        return value

    @model_validator(mode="after")
    def _one_role_a_column(self) -> "Contract":
        names: set[str] = set()
        for name in (*self.columns, *self.ignored):
            if name in names:
                raise ValueError(f"column {name!r} is named in two roles; keep one of them")
            names.add(name)
        for name in self.sensitive:
            if name not in names:
                raise ValueError(f"sensitive column {name!r} has no role; give it one, or put it into ignored")
        for name in self.optional:
            if name not in self.entities:
                raise ValueError(f"optional column {name!r} is no entity; others may be empty anyway, so leave it out")
        for name in self.types:
            if name not in self.key_columns:
                raise ValueError(f"types names {name!r}, which is no id, entity or categorical column; remove it")
        return self
