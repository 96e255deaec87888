"""What is noted of the runs over the incoming folder."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.settings.config import Config
from pipeline.workspace.nightly import LastRun, Nightly, Schedule


def make_nightly(folder: Path, name: str = "cards") -> Nightly:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    return Nightly(Config.model_validate({"contract": contract, "name": name, "work_dir": str(folder)}))


def test_what_was_noted_is_read_by_the_same_table_alone(tmp_path: Path) -> None:
    schedule = Schedule(cron="0 2 * * *", time_zone="Europe/Berlin", due=datetime(2025, 3, 2, 1))
    make_nightly(tmp_path).plan(schedule)
    make_nightly(tmp_path).end("failed", "day.csv: no space left on device", seconds=9.5, steps={"score": 4.25})
    run = make_nightly(tmp_path).last_run
    assert run is not None
    assert (run.outcome, run.message) == ("failed", "day.csv: no space left on device")
    assert (run.seconds, run.steps) == (9.5, {"score": 4.25})
    assert timedelta(0) <= datetime.now(UTC).replace(tzinfo=None) - run.at < timedelta(hours=1)
    assert make_nightly(tmp_path).schedule == schedule
    other = make_nightly(tmp_path, "transfers")
    assert (other.last_run, other.schedule) == (None, None)


def test_a_file_that_is_damaged_or_cannot_be_written_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "nightly").write_text("in the way")
    nightly = make_nightly(tmp_path)
    nightly.end("done")
    assert nightly.last_run is None
    (tmp_path / "nightly").unlink()
    nightly.end("done")
    (tmp_path / "nightly" / "cards" / "last-run.json").write_text("{half")
    assert nightly.last_run is None


def test_what_an_older_version_has_noted_is_read(tmp_path: Path) -> None:
    nightly = make_nightly(tmp_path)
    nightly.end("done")
    path = tmp_path / "nightly" / "cards" / "last-run.json"
    path.write_text('{"at": "2025-03-01 02:00:00", "outcome": "done", "message": ""}')
    assert nightly.last_run == LastRun(at=datetime(2025, 3, 1, 2), outcome="done")


def test_how_scoring_stood_is_fine_until_it_was_said_otherwise(tmp_path: Path) -> None:
    assert make_nightly(tmp_path).state == "fine"
    make_nightly(tmp_path).stand("stopped")
    assert make_nightly(tmp_path).state == "stopped"
    assert make_nightly(tmp_path, "transfers").state == "fine"
