"""A new version, registered and recorded: both, or neither."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.selection.records import MADE_BY, AliasChange, AliasRecords
from pipeline.selection.recovery import changing, holder, tags_of
from pipeline.settings.config import Config
from pipeline.tracking.client import CANDIDATE, CHAMPION
from pipeline.tracking.store import Registered
from pipeline.workspace.intents import Intent


class Registration:
    """A registration that has begun. Made by `registering`.

    Parameters
    ----------
    config : Config
    intent : Intent

    Attributes
    ----------
    tags : dict of str to str
        What its run in MLflow has to be tagged with, so that it is found again.
    """

    def __init__(self, config: Config, intent: Intent) -> None:
        self.config, self.intent, self.tags = config, intent, tags_of(intent)

    def record(self, registered: Registered) -> None:
        """Record the alias that the version got. Its folder of results is in its place by now."""
        change = AliasChange(
            alias=registered.alias,
            version=registered.version,
            replaced=holder(self.config, registered.alias),
            action="register",
            why=f"{MADE_BY}{registered.run_id}",
        )
        with AliasRecords(self.config).recording([change], self.intent):
            pass


@contextmanager
def registering(config: Config, folder: Path) -> Iterator[Registration]:
    """Let a version be registered inside the block; where the block fails, or is killed, it is as if it never was.

    Parameters
    ----------
    config : Config
    folder : Path
        Where its results appear before the block records it.

    Raises
    ------
    ConfigError
        When the ledger's database cannot be used: before anything is registered that could not be recorded.
    AssayError
        When another command is changing versions for too long.
    """
    content = {"folder": str(folder.absolute()), "aliases": [CHAMPION, CANDIDATE]}
    with changing(config, "registration", content) as intent:
        yield Registration(config, intent)
