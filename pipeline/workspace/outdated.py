"""Batches that were scored before rows came, or went, which their features look back to."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.workspace.history import NextHistory
from pipeline.workspace.ledger import Entry, Ledger

NAMED = 3


@dataclass(frozen=True)
class Outdated:
    """Scored batches that saw another history than there is now.

    Parameters
    ----------
    entries : tuple of Entry
        One a batch, ordered by their first timestamp.
    time_zone : str
        Of the table.
    archive : str
        Folder that scored files were moved to; "" where they were not.
    """

    entries: tuple[Entry, ...]
    time_zone: str
    archive: str = ""

    @property
    def sentence(self) -> str:
        """For people; empty where there is no such batch."""
        number = len(self.entries)
        if not number:
            return ""
        names = [Path(entry.source).name for entry in self.entries[:NAMED]]
        names += [f"{number - NAMED} more"] if number > NAMED else []
        one = number == 1
        return (
            f"{number} {'batch' if one else 'batches'} scored before ({', '.join(names)}) "
            f"{'has' if one else 'have'} rows of later days, whose features look back to what came or went with this "
            f"one: {'its' if one else 'their'} scores are of a history without that change. Score "
            f"{'it' if one else 'them'} again in place to have {'it' if one else 'them'} see what there is now."
        )

    def commands(self, config_path: str) -> list[str]:
        """Return the command that scores each of them again, in the order of their rows."""
        return [self._command(entry, config_path) for entry in self.entries]

    def _command(self, entry: Entry, config_path: str) -> str:
        moved = Path(self.archive, Path(entry.source).name)
        source = str(moved) if self.archive and not Path(entry.source).exists() and moved.exists() else entry.source
        words = ["assay", "score", source, "--config", config_path]
        if entry.period_start is not None:
            words += ["--from", str(_day(entry.period_start, self.time_zone))]
        if entry.period_end is not None:
            words += ["--to", str(_day(entry.period_end - timedelta(microseconds=1), self.time_zone))]
        return shlex.join([*words, "--version", entry.model_version, "--force"])


def outdated_by(history: NextHistory, ledger: Ledger, not_these: Collection[str]) -> Outdated:
    """Return the scored batches that look back to rows by which a history changes.

    Rows of the day of the first such row are not counted among those that look back: the parts of a day may come in
    any order.

    Parameters
    ----------
    history : NextHistory
        With its changes.
    ledger : Ledger
    not_these : collection of str
        ``batch_id`` of the batch that brings them, and of those that it replaces.
    """
    zone = history.config.table.time_zone
    entries: tuple[Entry, ...] = ()
    if history.moments:
        first, last = min(history.moments), max(history.moments)
        reach = min(timedelta(days=history.config.features.max_window_days), datetime.max - last)
        near = ledger.near(first, last + reach, timedelta(0), not_these)
        entries = tuple(
            entry for entry in near if entry.last_timestamp and _day(entry.last_timestamp, zone) > _day(first, zone)
        )
    return Outdated(entries, zone, history.config.incoming.archive)


def _day(moment: datetime, time_zone: str) -> date:
    """Return the calendar day of a moment in UTC."""
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(time_zone)).date()
