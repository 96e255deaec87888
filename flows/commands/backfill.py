"""`assay backfill`: days of the past scored with a version, beside what was published, or published where asked."""

import shutil
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from flows import console
from pipeline.errors import InputError
from pipeline.settings.file import read_config
from pipeline.tables.period import Period

if TYPE_CHECKING:
    from flows.score import Champion
    from pipeline.upkeep.backfill import Source


@dataclass(kw_only=True)
class Outcome:
    """What came of all days."""

    days: int = 0
    rows: int = 0
    flagged: int = 0
    without_rows: int = 0
    without_missing: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    outdated: str = ""
    commands: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asked for.

    Parameters
    ----------
    config_path : Path
    table : str
        File or folder; "" for the configuration's table, else the history.
    first, last : date
        Both included.
    version : str
    only_missing, publishes : bool
    """

    config_path: Path
    table: str
    first: date
    last: date
    version: str
    only_missing: bool
    publishes: bool


def backfill(asked: Asked) -> Outcome:
    """Score each day of a period, and say what came of them.

    Raises
    ------
    AssayError
        When no row of the period is there, or the version is not.
    """
    config = read_config(asked.config_path)
    period = Period.of_days(asked.first, asked.last, config.table.time_zone)
    with console.live("start"):
        from flows.score import load_champion
        from pipeline.tables.scratch import hidden
        from pipeline.upkeep.backfill import days_between, days_seen, open_source

        champion = load_champion(config, asked.version, with_candidate=asked.publishes)
        workspace, outcome = champion.workspace, Outcome()
        workspace.folder.make(workspace.folder.backfills)
        days = days_between(asked.first, asked.last)
        with hidden(workspace.folder.backfills, "rows") as scratch:
            source = open_source(asked.table, workspace, period, scratch, step=console.step)
            with console.step(f"score with version {champion.version}", total=len(days), unit="days") as on_days:
                for day in days:
                    with console.silent():
                        _fill(day, asked, champion, source=source, scratch=scratch, outcome=outcome)
                    on_days(1)
    _say(outcome, asked, champion, source=source, seen=days_seen(days, champion.detector))
    return outcome


def _fill(day: date, asked: Asked, champion: "Champion", *, source: "Source", scratch: Path, outcome: Outcome) -> None:
    from pipeline.upkeep.backfill import leave_out_scored, rows_of_day, score_day

    rows, workspace = scratch / f"{day}.parquet", champion.workspace
    if not rows_of_day(source, workspace, day, rows):
        outcome.without_rows += 1
        return
    if (asked.only_missing or asked.publishes) and not leave_out_scored(rows, workspace, day):
        outcome.without_missing += 1
        return
    if asked.publishes:
        _publish(day, rows, asked, champion, outcome=outcome)
        return
    result = score_day(rows, day, champion.detector, version=champion.version, source=source, workspace=workspace)
    rows.unlink()
    outcome.days += 1
    outcome.rows += result.rows
    outcome.flagged += result.flagged


def _publish(day: date, rows: Path, asked: Asked, champion: "Champion", *, outcome: Outcome) -> None:
    """Publish a day's rows as a batch, as `assay score` does with a file of them, which is kept."""
    from flows.score import score_batch
    from pipeline.tables.batch import Batch
    from pipeline.upkeep.backfill import digest_of
    from pipeline.workspace.draft import settle_draft
    from pipeline.workspace.ledger import lock

    workspace = champion.workspace
    file = workspace.folder.backfills / "rows" / f"{day}-{digest_of(rows)[:8]}.parquet"
    workspace.folder.make(file.parent)
    shutil.move(rows, file)  # on the same disk: a file is there whole
    with lock(workspace.config):
        settle_draft(workspace)
        batch = Batch.of(file, workspace.config)
        try:
            result = score_batch(batch, champion, str(asked.config_path))
        except InputError as error:
            outcome.refused[str(day)] = str(error)
            return
    outcome.days += 1
    outcome.rows += result.counts.get("scored", 0)
    outcome.flagged += result.counts.get("flagged", 0)
    outcome.outdated = result.outdated or outcome.outdated
    outcome.commands = list(dict.fromkeys([*outcome.commands, *result.screen.commands]))


def _say(outcome: Outcome, asked: Asked, champion: "Champion", *, source: "Source", seen: int) -> None:
    if seen:
        days = "1 day is" if seen == 1 else f"{seen:,} days are"
        console.say(
            f"{days} not later than the last that version {champion.version} learned from: what it makes of them is "
            "no measure of what it is worth."
        )
    table: dict[str, object] = {
        "version": champion.version,
        "days": f"{asked.first} to {asked.last}",
        "rows from": source.name,
        "scored": f"{outcome.days:,} {'day' if outcome.days == 1 else 'days'}, {outcome.rows:,} rows",
        "flagged": f"{outcome.flagged:,}",
    }
    if outcome.days:
        table["flagged"] = f"{outcome.flagged:,}, {outcome.flagged / outcome.days:,.1f} a day"
    counts = {
        "days without rows": outcome.without_rows,
        "days without rows to score": outcome.without_missing,
        "quarantined": source.quarantined,
    }
    table |= {name: count for name, count in counts.items() if count}
    work = champion.workspace.folder
    place = work.batches if asked.publishes else work.backfills / f"v{champion.version}"
    console.table("Published" if asked.publishes else "Scored, and nothing published", {**table, "where": place})
    for day, reason in outcome.refused.items():
        console.warning(f"{day} was refused: {reason}")
    if outcome.outdated:
        console.say(f"\n{outcome.outdated}")
        console.commands("Next", outcome.commands)
