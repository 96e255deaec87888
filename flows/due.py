"""When a cron line is due, as Prefect reads it, and what became of it while nobody served the schedule."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from prefect.server.schemas.schedules import CronSchedule
from prefect.utilities.asyncutils import run_coro_as_sync

from pipeline.settings.config import Config
from pipeline.workspace.nightly import Nightly, Schedule

MOST = 10_000
"""Missed moments that are counted."""


def moment_after(cron: str, time_zone: str, since: datetime) -> datetime:
    """Return the first moment of a cron line after another moment.

    Examples
    --------
    >>> str(moment_after("0 2 * * *", "Europe/Berlin", datetime(2025, 3, 3, 12, tzinfo=UTC)))
    '2025-03-04 02:00:00+01:00'
    """
    after = since.astimezone(ZoneInfo(time_zone)) + timedelta(seconds=1)
    dates = CronSchedule(cron=cron, timezone=time_zone).get_dates(n=1, start=after)
    moments = cast("list[datetime]", run_coro_as_sync(dates))
    if not moments:
        raise ValueError(f"{cron!r} is never due")
    return moments[0]


def missed(config: Config, now: datetime) -> list[datetime]:
    """Return the moments that have gone by since the last run ended, and that nothing has run for; without a zone.

    Of a run that began in time, its own moment is the only one. One that waited for another to end has none.

    Parameters
    ----------
    config : Config
    now : datetime
        UTC, without a zone.
    """
    nightly = Nightly(config)
    schedule, last = nightly.schedule, nightly.last_run
    if schedule is None or schedule.due > now:
        return []
    start, end = (moment.replace(tzinfo=UTC).astimezone(ZoneInfo(schedule.time_zone)) for moment in (schedule.due, now))
    dates = CronSchedule(cron=schedule.cron, timezone=schedule.time_zone).get_dates(n=MOST, start=start, end=end)
    moments = [_plain(moment) for moment in cast("list[datetime]", run_coro_as_sync(dates))]
    return [moment for moment in moments if last is None or moment > last.at]


def left_out_before(config: Config, now: datetime) -> datetime | None:
    """Return the moment before which files came that ``schedule.catch_up`` leaves out; None where none are."""
    schedule = Nightly(config).schedule
    if schedule is None or config.schedule.catch_up == "all":
        return None
    if schedule.is_fresh:
        return schedule.cut
    moments = missed(config, now)
    return moments[-2] if len(moments) > 1 else None


def begin(config: Config, cron: str, now: datetime | None = None) -> None:
    """Note when the next run over the incoming folder is due, and what was missed, when a schedule is served again."""
    now = now or _plain(datetime.now(UTC))
    nightly, zone = Nightly(config), config.table.time_zone
    schedule = Schedule(cron=cron, time_zone=zone, due=_next(cron, zone, now))
    old, policy = nightly.schedule, config.schedule.catch_up
    is_same = old is not None and (old.cron, old.time_zone) == (cron, zone)
    moments = missed(config, now) if is_same else []
    if old is not None and is_same and (moments or old.is_fresh):
        is_told = old.is_fresh and policy != "skip" and bool(moments)  # the first of them has been counted
        cuts = [old.cut] if old.cut and old.is_fresh else []
        cuts += moments[-1:] if policy == "skip" else moments[-2:-1] if policy == "latest" else []
        schedule = replace(
            schedule,
            due=moments[-1] if moments and policy != "skip" else schedule.due,
            missed=len(moments) - is_told + (old.missed if old.is_fresh else 0),
            missed_since=old.missed_since if old.is_fresh else moments[0],
            cut=max(cuts, default=None),
            is_fresh=True,
        )
    nightly.plan(schedule)


def note_due(config: Config, began: datetime, moments: Sequence[datetime]) -> None:
    """Note, at the end of a run, when the next one is due.

    Parameters
    ----------
    config : Config
    began : datetime
        When the run began, UTC without a zone.
    moments : sequence of datetime
        What was `missed` then: the run stands for the last of them.
    """
    nightly = Nightly(config)
    if not (schedule := nightly.schedule):
        return
    others = moments[:-1]
    number, since = (schedule.missed, schedule.missed_since) if schedule.is_fresh else (0, None)
    nightly.plan(
        Schedule(
            cron=schedule.cron,
            time_zone=schedule.time_zone,
            # What was due while it was at work waits for it, or was left out.
            due=_next(
                schedule.cron,
                schedule.time_zone,
                began if config.schedule.overlap == "wait" else _plain(datetime.now(UTC)),
            ),
            missed=number + len(others),
            missed_since=since or next(iter(others), None),
        )
    )


def _next(cron: str, time_zone: str, since: datetime) -> datetime:
    return _plain(moment_after(cron, time_zone, since.replace(tzinfo=UTC)))


def _plain(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
