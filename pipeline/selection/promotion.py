"""Moving the aliases: promotion, rollback, and the record of both."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pipeline.errors import AssayError, ConfigError
from pipeline.selection.records import AliasChange, AliasRecords, current_user
from pipeline.selection.recovery import NothingDone, changing
from pipeline.settings.config import Config
from pipeline.tracking.aliases import find_aliases, find_version, move_aliases, registered
from pipeline.tracking.client import CANDIDATE, CHAMPION, PREVIOUS
from pipeline.tracking.store import load_detector

LONGEST_REASON = 2000
EARLIER_CHAMPIONS = 5
"""A version is held against as many champions before the present one, the latest ones."""


def check_reason(why: str) -> None:
    """Refuse a reason that is too long to be kept with a change.

    Raises
    ------
    ConfigError
        When it has more than `LONGEST_REASON` characters.
    """
    if len(why) > LONGEST_REASON:
        raise ConfigError(
            f"--why has {len(why):,} characters and at most {LONGEST_REASON:,} are kept with a change; make it shorter"
        )


def check_promotable(config: Config, version: str) -> tuple[str, str | None]:
    """Return the number of the version asked for and that of the champion, None where there is none.

    Raises
    ------
    AssayError
        When the version is not there, or is the champion already.
    """
    number, champion = find_version(config, version).number, find_aliases(config).get(CHAMPION)
    if number == champion:
        raise AssayError(f"version {number} of model {config.name!r} is the champion already; nothing was done")
    return number, champion


def earlier_champions(config: Config, number: str) -> list[str]:
    """Return the champions before the present one that a version is held against, too, the latest last."""
    earlier = [version for version in AliasRecords(config).earlier_champions() if version != number]
    there = registered(config) if earlier else set()  # one may have been removed for its age
    return [version for version in earlier if version in there][-EARLIER_CHAMPIONS:]


def promote(
    config: Config, number: str, why: str, failed_gates: Sequence[str] = (), *, over: str | None
) -> list[AliasChange]:
    """Make a version the champion, the champion ``previous``, and record both.

    Parameters
    ----------
    config : Config
    number : str
    why : str
    failed_gates : sequence of str
        Those that the promotion is forced against.
    over : str or None
        The champion that the version was held against, None where there was none.

    Returns
    -------
    list of AliasChange

    Raises
    ------
    AssayError
        When another process has changed the champion meanwhile.
    """
    aliases = find_aliases(config)
    _check_champion(config, aliases, over)
    moves: dict[str, str | None] = {}
    if CHAMPION in aliases:
        moves[PREVIOUS] = aliases[CHAMPION]
    moves[CHAMPION] = number
    if aliases.get(CANDIDATE) == number:
        moves[CANDIDATE] = None
    return _move(
        config,
        moves,
        aliases=aliases,
        action="force" if failed_gates else "promote",
        why=why,
        failed_gates=tuple(failed_gates),
    )


def roll_back(config: Config, why: str) -> list[AliasChange]:
    """Make the previous champion the champion again; the one before it, if any, is ``previous`` from then on.

    Raises
    ------
    AssayError
        When there is no previous champion, or its files are gone.
    """
    aliases = find_aliases(config)
    if PREVIOUS not in aliases:
        raise AssayError(
            f"model {config.name!r} has no previous champion to go back to; promote a version with: assay promote"
        )
    restored = load_detector(config, PREVIOUS)[1]  # one that cannot be loaded shall not become champion
    # What the records say of those below: the champion itself, the one restored, the one before that.
    below = [version for version in AliasRecords(config).champions()[-3:-2] if version in registered(config)]
    moves: dict[str, str | None] = {CHAMPION: restored, PREVIOUS: below[0] if below else None}
    return _move(config, moves, aliases=aliases, action="rollback", why=why)


def _move(
    config: Config,
    moves: Mapping[str, str | None],
    *,
    aliases: Mapping[str, str],
    action: str,
    why: str,
    failed_gates: tuple[str, ...] = (),
) -> list[AliasChange]:
    """Move aliases and record it: where the store does not answer, nothing is recorded."""
    who, at = current_user(), datetime.now(UTC).replace(tzinfo=None)
    changes = [
        AliasChange(
            alias=alias,
            version=version,
            replaced=aliases.get(alias),
            action=action,  # type: ignore[arg-type]
            why=why,
            who=who,
            at=at,
            failed_gates=failed_gates,
        )
        for alias, version in moves.items()
        if version != aliases.get(alias)
    ]
    note: dict[str, object] = {"action": action, "who": who, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "why": why}
    if failed_gates:
        note["failed_gates"] = list(failed_gates)
    content = {"changes": [change.to_dict() for change in changes], "note": note}
    with changing(config, "aliases", content) as intent, AliasRecords(config).recording(changes, intent):
        # Who records waits for whoever records, so that of two at the same time the second one sees the first.
        _check_champion(config, find_aliases(config), aliases.get(CHAMPION))
        move_aliases(config, {change.alias: change.version for change in changes}, note)
    return changes


def _check_champion(config: Config, aliases: Mapping[str, str], expected: str | None) -> None:
    if aliases.get(CHAMPION) != expected:
        raise NothingDone(
            f"the champion of model {config.name!r} was changed meanwhile, from version {expected or 'none'} to "
            f"{aliases.get(CHAMPION, 'none')}; nothing was done: look at assay history, and run the command again"
        )
