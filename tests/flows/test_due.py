"""When the next run over the incoming folder is due, and what was missed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.due import begin, left_out_before, missed, moment_after, note_due
from pipeline.settings.config import Config
from pipeline.workspace.nightly import Nightly, Schedule


def test_a_night_that_the_clock_skips_or_repeats_has_one_moment() -> None:
    for day, utc in (("2025-03-29", "2025-03-30T03:30:00"), ("2025-10-25", "2025-10-26T02:30:00")):
        since = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC)
        moment = moment_after("30 3 * * *", "Europe/Berlin", since).astimezone(UTC).replace(tzinfo=None)
        assert abs(moment - datetime.fromisoformat(utc)) <= timedelta(hours=2)
        assert moment > since.replace(tzinfo=None)


NOW = datetime(2025, 3, 5, 10)
MISSED = [datetime(2025, 3, day, 2) for day in (3, 4, 5)]


def settings(folder: Path, catch_up: str = "all", overlap: str = "wait") -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    return Config.model_validate(
        {"contract": contract, "work_dir": str(folder), "schedule": {"catch_up": catch_up, "overlap": overlap}}
    )


def plan(config: Config, due: datetime) -> Nightly:
    nightly = Nightly(config)
    nightly.plan(Schedule(cron="0 2 * * *", time_zone="UTC", due=due))
    return nightly


def test_a_run_moves_what_is_due_on_and_plans_nothing_by_itself(tmp_path: Path) -> None:
    config = settings(tmp_path)
    note_due(config, NOW, missed(config, NOW))
    assert Nightly(config).schedule is None
    nightly = plan(config, datetime(2025, 3, 5, 2))
    began = datetime(2025, 3, 5, 2, 0, 1)
    assert missed(config, began) == MISSED[2:]
    note_due(config, began, MISSED[2:])
    assert nightly.schedule == Schedule(cron="0 2 * * *", time_zone="UTC", due=datetime(2025, 3, 6, 2))
    note_due(settings(tmp_path, overlap="skip"), began, [])
    assert timedelta(0) < nightly.schedule.due - datetime.now(UTC).replace(tzinfo=None) <= timedelta(hours=24)


def test_moments_are_missed_until_a_run_begins_and_not_while_one_is_at_work(tmp_path: Path) -> None:
    config = settings(tmp_path)
    nightly = plan(config, MISSED[0])
    assert missed(config, MISSED[0] - timedelta(seconds=1)) == []
    assert missed(config, NOW) == MISSED
    note_due(config, NOW, MISSED)  # the run stands for the last of them
    assert (nightly.schedule.missed, nightly.schedule.missed_since) == (2, MISSED[0])
    note_due(config, NOW + timedelta(days=1), [])
    assert nightly.schedule.missed == 0
    plan(config, MISSED[0])
    nightly.end("done")  # a run that was at work all the time has ended just now, and another waited for it
    assert missed(config, NOW) == []


@pytest.mark.parametrize(
    ("catch_up", "due", "cut"),
    [
        ("all", MISSED[2], None),
        ("latest", MISSED[2], MISSED[1]),
        ("skip", datetime(2025, 3, 6, 2), MISSED[2]),
    ],
)
def test_a_schedule_that_is_served_again_says_what_was_missed_and_what_is_left_out(
    catch_up: str, due: datetime, cut: datetime | None, tmp_path: Path
) -> None:
    config = settings(tmp_path, catch_up)
    nightly = plan(config, MISSED[0])
    begin(config, "0 2 * * *", NOW)
    expected = Schedule(
        cron="0 2 * * *", time_zone="UTC", due=due, missed=3, missed_since=MISSED[0], cut=cut, is_fresh=True
    )
    assert nightly.schedule == expected
    begin(config, "0 2 * * *", NOW)  # started again, before anything has run
    assert nightly.schedule == expected
    assert left_out_before(config, NOW) == cut
    note_due(config, NOW, missed(config, NOW))
    assert (nightly.schedule.missed, nightly.schedule.due) == (3, datetime(2025, 3, 6, 2))  # told once more
    assert left_out_before(config, NOW) is None
    begin(config, "0 3 * * *", NOW + timedelta(days=2))  # another schedule has missed nothing
    assert nightly.schedule.missed == 0
    assert nightly.schedule.due == datetime(2025, 3, 8, 3)


def test_runs_that_a_server_did_not_start_leave_out_as_much(tmp_path: Path) -> None:
    for catch_up, cut in (("all", None), ("latest", MISSED[1]), ("skip", MISSED[1])):
        config = settings(tmp_path, catch_up)
        plan(config, MISSED[0])
        assert left_out_before(config, NOW) == cut
    plan(config, MISSED[2])
    assert left_out_before(config, NOW) is None  # its own files are not left out
