"""When the next run over the incoming folder is due."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.due import moment_after, note_due
from pipeline.settings.config import Config
from pipeline.workspace.nightly import Nightly, Schedule


def test_a_night_that_the_clock_skips_or_repeats_has_one_moment() -> None:
    for day, utc in (("2025-03-29", "2025-03-30T03:30:00"), ("2025-10-25", "2025-10-26T02:30:00")):
        since = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC)
        moment = moment_after("30 3 * * *", "Europe/Berlin", since).astimezone(UTC).replace(tzinfo=None)
        assert abs(moment - datetime.fromisoformat(utc)) <= timedelta(hours=2)
        assert moment > since.replace(tzinfo=None)


def test_a_run_moves_what_is_due_on_and_plans_nothing_by_itself(tmp_path: Path) -> None:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    config = Config.model_validate({"contract": contract, "work_dir": str(tmp_path)})
    note_due(config)
    assert Nightly(config).schedule is None
    Nightly(config).plan(Schedule(cron="0 2 * * *", time_zone="Europe/Berlin", due=datetime(2025, 3, 2, 1)))
    note_due(config)
    schedule = Nightly(config).schedule
    assert schedule is not None
    assert timedelta(0) < schedule.due - datetime.now(UTC).replace(tzinfo=None) <= timedelta(hours=25)
    assert schedule.due.replace(tzinfo=UTC).astimezone().minute == 0
