"""When a cron line is due, as Prefect reads it."""

from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from prefect.server.schemas.schedules import CronSchedule
from prefect.utilities.asyncutils import run_coro_as_sync

from pipeline.settings.config import Config
from pipeline.workspace.nightly import Nightly, Schedule


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


def note_due(config: Config, cron: str = "") -> None:
    """Note when the next run over the incoming folder is due.

    Parameters
    ----------
    config : Config
    cron : str
        Of a schedule that begins; left out, that of the one which is noted, if any.
    """
    nightly = Nightly(config)
    cron, zone = (cron, config.table.time_zone) if cron else _noted(nightly)
    if cron:
        due = moment_after(cron, zone, datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
        nightly.plan(Schedule(cron=cron, time_zone=zone, due=due))


def _noted(nightly: Nightly) -> tuple[str, str]:
    schedule = nightly.schedule
    return (schedule.cron, schedule.time_zone) if schedule else ("", "")
