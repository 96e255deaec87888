"""`assay retention`: what is past its time goes, and is told by kind."""

import re
from datetime import timedelta
from pathlib import Path

from flows import console
from pipeline.errors import ConfigError
from pipeline.numbers import size
from pipeline.settings.file import read_config


def remove_old(config_path: Path, keep: str, *, is_dry_run: bool) -> None:
    """Remove what is older than a time, or say what would be removed.

    Parameters
    ----------
    config_path : Path
    keep : str
        A number of days, such as ``400d``.
    is_dry_run : bool
        Whether nothing is changed.

    Raises
    ------
    ConfigError
        When the time is none.
    AssayError
        When what is needed can't be known; nothing is removed then.
    """
    length, config = _days(keep), read_config(config_path)
    from pipeline.selection.recovery import recover
    from pipeline.upkeep.retention import find_due, remove, sizes
    from pipeline.workspace.draft import settle_draft
    from pipeline.workspace.intents import Intents
    from pipeline.workspace.ledger import lock
    from pipeline.workspace.workspace import Workspace

    if is_dry_run:
        due = find_due(config, length)
        freed = sizes(due, config)
    else:
        for sentence in recover(config):
            console.warning(sentence)
        with lock(config), Intents(config).alone():
            settle_draft(Workspace(config))
            due = find_due(config, length)
            freed = sizes(due, config)
            with console.live(), console.step(f"remove what is older than {length.days:,} days"):
                remove(due, config)
    age = f"older than {length.days:,} {'day' if length.days == 1 else 'days'} and needed by nothing"
    rows: dict[str, object] = {kind: f"{count:,}, {size(used)}" for kind, (count, used) in freed.items() if count}
    if rows:
        rows["together"] = size(sum(used for _, used in freed.values()))
        console.table(f"Would be removed: {age}" if is_dry_run else f"Removed: {age}", rows)
    else:
        console.say(f"Nothing is {age}.")
    if due.spared:
        console.table("Kept, although as old", due.spared)
    if is_dry_run and rows:
        console.say("\nNothing was changed.")


def _days(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})d?", text.strip())
    if not match or not int(match[1]):
        raise ConfigError(f"--keep {text!r} is no number of days; write one such as 400d")
    return timedelta(days=int(match[1]))
