"""Who made which version champion, when and why: one row a change of an alias, in the work folder's database."""

import getpass
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self

import sqlalchemy as sa

from pipeline.settings.config import Config
from pipeline.workspace.database import answering, connect
from pipeline.workspace.intents import Intent, take_out
from pipeline.workspace.schema import ALIAS_CHANGES

Action = Literal["register", "promote", "force", "rollback"]
MADE_BY = "made by run "
"""What the record of a registration says, with the id of the run in MLflow behind it."""


def current_user() -> str:
    """Return the name of whoever runs this process, "unknown" where the system has none for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user need not have a name
        return "unknown"


def run_of(connection: sa.Connection, name: str, version: str) -> str:
    """Return the id of the run in MLflow that made a version; "" where no record says."""
    changes = ALIAS_CHANGES.c
    here = (changes.model_name == name, changes.version == version, changes.action == "register")
    why = connection.scalar(sa.select(changes.why).where(*here).order_by(changes.number.desc()).limit(1)) or ""
    return why.removeprefix(MADE_BY) if why.startswith(MADE_BY) else ""


@dataclass(frozen=True, kw_only=True)
class AliasChange:
    """An alias change: an alias that went from one version to another.

    Attributes
    ----------
    alias : str
        ``champion``, ``candidate`` or ``previous``.
    version, replaced : str or None
        The version that has it since, and the one that had it; None = none.
    action : {"register", "promote", "force", "rollback"}
        ``force`` is a promotion in spite of failed gates.
    why, who : str
    at : datetime
        UTC.
    failed_gates : tuple of str
        Of a forced promotion.
    """

    alias: str
    version: str | None
    replaced: str | None
    action: Action
    why: str
    who: str = field(default_factory=current_user)
    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(tzinfo=None))
    failed_gates: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the change as JSON types."""
        return {**asdict(self), "at": self.at.isoformat()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the change that `to_dict` was called on."""
        moment = datetime.fromisoformat(raw["at"])
        return cls(**{**raw, "at": moment, "failed_gates": tuple(raw["failed_gates"])})


class AliasRecords:
    """Alias records: the changes of one table's model (``config.name``), oldest first.

    Raises
    ------
    ConfigError
        When the database cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self.name = config.name
        self._engine = connect(config)

    @contextmanager
    def recording(self, changes: Sequence[AliasChange], intent: Intent | None = None) -> Iterator[None]:
        """Record changes that are made inside the block: all of them, or none where the block fails.

        The intent to make them is taken out in the same transaction.
        """
        rows = [
            {"model_name": self.name, **asdict(change), "failed_gates": json.dumps(change.failed_gates)}
            for change in changes
        ]
        with answering(self._engine), self._engine.begin() as connection:
            connection.execute(sa.insert(ALIAS_CHANGES), rows)
            if intent:
                take_out(connection, intent)
            yield

    def all(self) -> list[AliasChange]:
        """Return every change, oldest first."""
        columns = [ALIAS_CHANGES.c[item.name] for item in fields(AliasChange)]
        query = sa.select(*columns).where(ALIAS_CHANGES.c.model_name == self.name).order_by(ALIAS_CHANGES.c.number)
        with answering(self._engine), self._engine.connect() as connection:
            rows: list[dict[str, Any]] = [dict(row._mapping) for row in connection.execute(query)]
        return [AliasChange(**row | {"failed_gates": tuple(json.loads(row["failed_gates"]))}) for row in rows]

    def champions(self) -> list[str]:
        """Return the champions, each above the one that it took over from, the present one last.

        A rollback takes the last one off, so that going back twice goes back by two.
        """
        stack: list[str] = []
        for change in self.all():
            if change.alias != "champion" or change.version is None:
                continue
            if change.action == "rollback" and change.version in stack[:-1]:
                stack.pop()
                while stack[-1] != change.version:
                    stack.pop()
                continue
            if not stack and change.replaced is not None:
                stack.append(change.replaced)
            if stack[-1:] != [change.version]:
                stack.append(change.version)
        return stack

    def earlier_champions(self) -> list[str]:
        """Return the champions below the present one, the latest last, back to one that was promoted by force.

        Whoever forces a promotion accepts what is lost against those before it.
        """
        stack = self.champions()
        actions = {change.version: change.action for change in self.all() if change.alias == "champion"}
        earlier: list[str] = []
        for version, above in zip(stack[-2::-1], stack[:0:-1], strict=True):
            if actions.get(above) == "force":
                break
            if version not in (*earlier, stack[-1]):
                earlier.insert(0, version)
        return earlier
