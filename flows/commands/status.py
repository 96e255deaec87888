"""What `assay status` prints: how a table's pipeline stands, for people or as JSON."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from flows import console
from pipeline.errors import AssayError
from pipeline.numbers import length, percent, quantity, size
from pipeline.settings.config import Config
from pipeline.settings.file import read_config

if TYPE_CHECKING:
    from pipeline.workspace.ledger import Entry
    from pipeline.workspace.standing import Incoming, Standing

STOPPED = 2
NAMED = 3


def show_status(config_path: Path, *, as_json: bool, tells: bool) -> int:
    """Print how the pipeline of a configuration stands, and tell Prometheus and, if asked, people.

    Returns
    -------
    int
        0 where all is fine, 1 where something needs attention, 2 where nothing is scored.
    """
    from pipeline.workspace.standing import STATES, standing

    try:
        config = read_config(config_path)
    except AssayError as error:  # what cannot be configured does not run
        if as_json:
            _write({"state": "stopped", "findings": [{"state": "stopped", "text": str(error)}]})
        else:
            console.error(str(error))
        return STOPPED
    result = standing(config)
    if as_json:
        _write({"state": result.state, **asdict(result)})
    else:
        _print(result, config)
    if config.metrics.enabled:
        from pipeline.workspace.metrics import write_metrics

        if fault := write_metrics(config, result):
            console.warning(fault)
    if tells:
        from pipeline.workspace.notices import notify

        for text in notify(config, result):
            console.warning(text)
    return STATES.index(result.state)


def _write(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values, indent=2, default=_plain_value) + "\n")


def _plain_value(value: object) -> object:
    """Return what JSON has no word for: moments in UTC as ISO 8601, lengths of time as seconds."""
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='seconds')}Z"
    return value.total_seconds() if hasattr(value, "total_seconds") else str(value)


def _print(result: "Standing", config: Config) -> None:
    console.say(f"{result.name}: {result.state}")
    for finding in result.findings:
        console.say(f"- {finding.text}")
    console.table("Incoming files", _of_incoming(result.incoming, result.at, config))
    batch, refused = result.last_batch, result.last_refused
    rows: dict[str, object] = {"last batch": _batch(batch, result.at) if batch else "none"}
    failure = f"{Path(refused.source).name}, {_ago(refused.scored_at, result.at)}: {refused.message}" if refused else ""
    run = result.last_run
    if run and run.outcome in ("failed", "stopped") and (not refused or run.at > refused.scored_at):
        failure = f"{_ago(run.at, result.at)}: {run.message}"
    share = result.drift.share
    unusual = "" if share is None else f": {percent(share)} of its rows score above 99 % of the training's normal rows"
    rows |= {"its drift": f"{result.drift.state}{unusual}", "last failure": failure or "none"}
    if batch:
        states = [f"{event.check} {event.state} since {event.day}" for event in result.watch if event.state != "ok"]
        rows["watch"] = ", ".join(states) or "ok"
    console.table("Scoring", rows)
    console.table("Model", _of_versions(result))
    parts = [f"{name} {size(count)}" for name, count in list(result.used.items())[:NAMED]]
    bytes_used = f"{size(sum(result.used.values()))}" + (f" ({', '.join(parts)})" if parts else "")
    console.table("Disk", {"used": bytes_used, "free": size(result.free)})


def _of_incoming(incoming: "Incoming", now: datetime, config: Config) -> dict[str, object]:
    rows: dict[str, object] = {"folder": incoming.folder}
    rows["last file"] = f"{incoming.last}, scored {_ago(incoming.last_at, now)}" if incoming.last_at else "none scored"
    if incoming.every and incoming.last_at:
        due = _local(incoming.last_at + incoming.every, config)
        rows["next file"] = f"about {due}, one usually comes every {length(incoming.every.total_seconds())}"
    waiting = [*incoming.waiting[:NAMED]]
    more = len(incoming.waiting) - len(waiting)
    names = ", ".join([*waiting, *([f"{more} more"] if more > 0 else [])])
    rows["waiting"] = f"{len(incoming.waiting):,}: {names}" if waiting else "none"
    if incoming.refused:
        rows["refused"] = ", ".join(incoming.refused)
    if incoming.skipped:
        rows["not looked at"] = incoming.skipped
    if incoming.left_out:
        rows["left out"] = f"{incoming.left_out:,}, which came while nobody served the schedule"
    schedule = incoming.schedule
    rows["next run"] = f"{_local(schedule.due, config)} ({schedule.cron})" if schedule else "no schedule of Assay's own"
    return rows


def _batch(entry: "Entry", now: datetime) -> str:
    days = sorted({f"{moment:%Y-%m-%d}" for moment in (entry.first_timestamp, entry.last_timestamp) if moment})
    return (
        f"{Path(entry.source).name}, {_ago(entry.scored_at, now)}: {entry.scored:,} rows of {' to '.join(days)}, "
        f"{entry.flagged:,} alerts, {entry.quarantined:,} quarantined"
    )


def _of_versions(result: "Standing") -> dict[str, object]:
    rows: dict[str, object] = {}
    for version in result.versions:
        since = f", since {version.since:%Y-%m-%d}" if version.since else ""
        cut = f", alerts score above {quantity(version.threshold)}" if version.threshold is not None else ""
        batches = f"{version.batches:,} {'batch' if version.batches == 1 else 'batches'} scored"
        rows[", ".join(version.aliases) or "no alias"] = f"version {version.number}{since}, {batches}{cut}"
    adapted = result.last_batch.message if result.last_batch else ""
    rows = {**(rows or {"champion": "none"}), "threshold": result.strategy}
    if outlook := result.outlook:
        due = f"due: {'; '.join(outlook.reasons)}" if outlook.reasons else f"not due: {outlook.text}"
        rows["training"] = due
    return rows | ({"of the last batch": adapted} if adapted else {})


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{length(max((now - moment).total_seconds(), 0))} ago" if moment else "never"


def _local(moment: datetime, config: Config) -> Any:
    return f"{moment.replace(tzinfo=UTC).astimezone(ZoneInfo(config.table.time_zone)):%Y-%m-%d %H:%M %Z}"
