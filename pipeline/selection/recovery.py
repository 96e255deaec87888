"""What a killed command left half done in MLflow: the next command completes or undoes it.

Whoever changes versions, aliases or runs writes an intent first and holds the lock until its change is recorded. Where
the command is gone, a champion that has changed is recorded, and everything else is undone: whoever trains again shall
not have two versions.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from pipeline.errors import AssayError
from pipeline.selection.records import AliasChange, AliasRecords
from pipeline.settings.config import Config
from pipeline.tables.scratch import hidden, in_use, sweep
from pipeline.tracking.aliases import find_aliases, move_aliases
from pipeline.tracking.client import CHAMPION
from pipeline.tracking.withdrawal import INTENT, put_back, withdraw
from pipeline.workspace.intents import Busy, Change, Intent, Intents


class NothingDone(AssayError):
    """Raised by a change that finds, before it has begun, that it can't be made."""


def recover(config: Config) -> list[str]:
    """Complete or undo what killed commands left half done, and return a sentence for each.

    Another command that is changing versions does it itself, and is not waited for.

    Raises
    ------
    ConfigError
        When the ledger's database cannot be used.
    StoreError
        When there is something to complete or undo and the store does not answer.
    """
    intents = Intents(config)
    sweep(Path(intents.place))
    if not _left(intents):
        return []
    try:
        with intents.alone(timeout=0):
            return [_settle(config, intents, intent) for intent in _left(intents)]
    except Busy:
        return []


@contextmanager
def changing(config: Config, kind: Change, content: Mapping[str, object]) -> Iterator[Intent]:
    """Hold the lock, with an intent written; what was done inside is undone where the block fails.

    A block that records its change takes the intent out with it; of any other, it is taken out when the block ends.

    Parameters
    ----------
    config : Config
    kind : {"aliases", "registration", "runs"}
    content : mapping
        What it takes to complete or undo the change; a token is added.
    """
    intents = Intents(config)
    with intents.alone():
        for left in _left(intents):
            _settle(config, intents, left)
        intent = intents.begin(kind, {**content, "token": token_hex(8)})
        try:
            yield intent
            if kind == "runs":
                intents.end(intent)
        except NothingDone:
            intents.end(intent)
            raise
        except BaseException:
            # What cannot be undone now is undone by the next command.
            with suppress(AssayError):
                _undo(config, intents, intent)
            raise


@contextmanager
def at_work(config: Config) -> Iterator[Intent]:
    """Let runs be logged inside the block for as long as it takes; where it fails, or is killed, they end as killed.

    Others may change versions meanwhile: the intent is held by the lock of a hidden folder of its own.
    """
    intents = Intents(config)
    with hidden(Path(intents.place), "runs") as folder:
        intent = intents.begin("runs", {"token": token_hex(8), "held_by": str(folder)})
        try:
            yield intent
        except BaseException:
            with suppress(AssayError):
                _undo(config, intents, intent)
            raise
        intents.end(intent)


def tags_of(intent: Intent) -> dict[str, str]:
    """Return the tags by which the runs made under an intent are found again."""
    return {INTENT: str(intent.content["token"])}


def holder(config: Config, alias: str) -> str | None:
    """Return the version that has an alias by the records."""
    versions = [change.version for change in AliasRecords(config).all() if change.alias == alias]
    return versions[-1] if versions else None


def _left(intents: Intents) -> list[Intent]:
    """Return those pending but for those of long commands at work."""
    return [intent for intent in intents.pending() if not _is_at_work(intent)]


def _is_at_work(intent: Intent) -> bool:
    return "held_by" in intent.content and in_use(Path(intent.content["held_by"]))


def _settle(config: Config, intents: Intents, intent: Intent) -> str:
    """Complete a change that had its effect, undo one that had not, and say which."""
    what = f"what was begun at {intent.at:%Y-%m-%d %H:%M} UTC and stopped on the way"
    if change := _complete(config, intent):
        return f"{what} was completed: version {change.version} is the {change.alias}"
    _undo(config, intents, intent)
    return f"{what} was undone: {_NOTHING[intent.kind]}"


_NOTHING = {
    "aliases": "every alias is where it was",
    "registration": "no version of it is registered",
    "runs": "its runs in MLflow are marked as killed",
}


def _complete(config: Config, intent: Intent) -> AliasChange | None:
    """Record a change of the champion that had its effect, and return it; None for any other."""
    if intent.kind != "aliases":
        return None
    changes = _changes(intent)
    champion = next(change for change in changes if change.alias == CHAMPION)
    if find_aliases(config).get(CHAMPION) != champion.version:
        return None
    with AliasRecords(config).recording(changes, intent):
        move_aliases(config, {change.alias: change.version for change in changes}, intent.content["note"])
    return champion


def _undo(config: Config, intents: Intents, intent: Intent) -> None:
    """Put everything back to where it was before a change, and take its intent out."""
    if intent.kind == "aliases":
        put_back(config, {change.alias: (change.replaced, change.version) for change in _changes(intent)})
    else:
        withdraw(config, intent.content["token"])
    if intent.kind == "registration":
        # With its version, an alias went that another version had before.
        aliases, before = find_aliases(config), {alias: holder(config, alias) for alias in intent.content["aliases"]}
        put_back(config, {alias: (version, None) for alias, version in before.items() if alias not in aliases})
        shutil.rmtree(intent.content["folder"], ignore_errors=True)
    intents.end(intent)


def _changes(intent: Intent) -> list[AliasChange]:
    return [AliasChange.from_dict(raw) for raw in intent.content["changes"]]
