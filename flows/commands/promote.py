"""Promotion, rollback and the record of both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from flows import console
from flows.commands.compare import compared, publish, say_recovered, show_comparison
from pipeline.errors import AssayError, ConfigError
from pipeline.selection.comparison import Comparison
from pipeline.selection.gates import Gate, failed, gates
from pipeline.selection.promotion import check_promotable, check_reason, earlier_champions, promote, roll_back
from pipeline.selection.records import AliasChange, AliasRecords
from pipeline.settings.config import Config
from pipeline.settings.file import read_config

PASSED = "passed all gates"
"""Why a version was promoted, where nobody says more."""


class NotPromoted(AssayError):
    """A version failed gates and stays what it was."""


@dataclass(frozen=True)
class Held:
    """A version that was held against the gates. Made by `hold_against_gates`.

    Parameters
    ----------
    comparison : Comparison
        With the champion; its files are gone.
    gates : list of Gate
    where : dict of str to str
        Where the page lies, and which run in MLflow holds the same.
    """

    comparison: Comparison
    gates: list[Gate]
    where: dict[str, str]

    @property
    def failures(self) -> list[str]:
        """What the gates are about that it does not pass."""
        return [gate.title for gate in failed(self.gates)]


def promote_version(
    config_path: Path,
    asked: str,
    *,
    table: str,
    first: date | None,
    last: date | None,
    force: bool,
    why: str,
) -> None:
    """Hold a version against the gates and make it the champion when it passes them all, or when forced.

    Raises
    ------
    AssayError
        With the failed gates, when it stays what it was.
    """
    config = read_config(config_path)
    if force and not why.strip():
        raise ConfigError("--force needs a reason that is kept with the promotion; add --why TEXT")
    check_reason(why)
    say_recovered(config)
    number, champion = check_promotable(config, asked)
    versions = [champion, number] if champion else [number]
    try:
        missed = _show_gates(config, versions, table=table, first=first, last=last, force=force)
    except NotPromoted:
        raise
    except AssayError as error:
        if not force:
            raise
        missed = ["no comparison"]
        console.warning(f"it could not be compared with the champion: {error}")
    _say(promote(config, number, why.strip() or PASSED, missed, over=champion))


def hold_against_gates(
    config: Config,
    versions: Sequence[str],
    verdict: Callable[[int, int], str],
    *,
    table: str,
    first: date | None,
    last: date | None,
) -> Held:
    """Compare a version with the champion and those before it, hold it against every gate, and publish the page.

    Parameters
    ----------
    config : Config
    versions : sequence of str
        The champion, where there is one, and the version.
    verdict : callable
        ``verdict(failed, asked)``: what becomes of it, by the number of gates that it fails and of all.
    table : str
        File or folder; as `pipeline.selection.compared_rows.choose_rows` has it.
    first, last : date or None
        Period, both days inclusive.
    """
    number, earlier = versions[-1], earlier_champions(config, versions[-1]) if len(versions) > 1 else []
    with compared(config, versions, table=table, first=first, last=last, earlier=earlier) as comparison:
        version_gates = gates(comparison, len(comparison.contenders) - 1)
        text = verdict(len(failed(version_gates)), len(version_gates))
        return Held(comparison, version_gates, publish(comparison, version_gates, f"Version {number} {text}"))


def gate_rows(held: Held) -> list[list[str]]:
    """Return whether each gate is passed, and what it says."""
    return [["passed" if gate.is_passed else "FAILED", gate.text] for gate in held.gates]


def _show_gates(
    config: Config, versions: Sequence[str], *, table: str, first: date | None, last: date | None, force: bool
) -> list[str]:
    """Compare, show every gate, and return the failed ones; raise where they decide."""

    def verdict(missed: int, asked: int) -> str:
        return _verdict(missed, asked, refused=bool(missed) and not force)

    with console.live():
        held = hold_against_gates(config, versions, verdict, table=table, first=first, last=last)
    show_comparison(held.comparison, brief=True)
    console.columns("Gates", ["", ""], gate_rows(held))
    console.table("Where", held.where)
    failures = held.failures
    if failures and not force:
        raise NotPromoted(
            f"version {versions[-1]} was not promoted, for {len(failures)} of {len(held.gates)} gates failed "
            f"({', '.join(failures)}); train another version, change [promotion], or promote it all the same with "
            "--force --why TEXT"
        )
    return failures


def roll_back_champion(config_path: Path, why: str) -> None:
    """Make the previous champion the champion again."""
    config = read_config(config_path)
    check_reason(why)
    say_recovered(config)
    _say(roll_back(config, why.strip() or "no reason given"))


def show_history(config_path: Path) -> None:
    """Print who changed which alias, when and why, the latest change last."""
    config = read_config(config_path)
    say_recovered(config)
    changes = AliasRecords(config).all()
    if not changes:
        console.say(f"No alias of model {config.name!r} was changed yet; assay train makes the first champion.")
        return
    moves: dict[tuple[datetime, str], list[AliasChange]] = {}
    for change in changes:
        moves.setdefault((change.at, change.action), []).append(change)
    rows = [
        [f"{at:%Y-%m-%d %H:%M} UTC", made[0].who, action, "; ".join(map(_change, made)), _why(made[0])]
        for (at, action), made in moves.items()
    ]
    console.columns(f"Aliases of model {config.name}", ["when", "who", "how", "what", "why"], rows)


def _why(change: AliasChange) -> str:
    missed = ", ".join(change.failed_gates)
    return f"{change.why} (failed gates: {missed})" if missed else change.why


def _verdict(missed: int, asked: int, *, refused: bool) -> str:
    if not missed:
        return "is promoted: it passes every gate"
    return f"is {'not promoted' if refused else 'promoted by force'}: {missed} of {asked} gates failed"


def _say(changes: list[AliasChange]) -> None:
    for change in changes:
        console.say(f"{_change(change)}.")
    console.say("assay history shows every change; assay rollback takes the latest promotion back.")


def _change(change: AliasChange) -> str:
    if change.version is None:
        return f"{change.alias}: none, was version {change.replaced}"
    return f"{change.alias}: version {change.version}" + (f", was {change.replaced}" if change.replaced else "")
