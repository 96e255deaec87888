"""What is noted of the runs over the incoming folder."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.settings.config import Config
from pipeline.workspace.nightly import Nightly, Schedule


def make_nightly(folder: Path, name: str = "cards") -> Nightly:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    return Nightly(Config.model_validate({"contract": contract, "name": name, "work_dir": str(folder)}))


def test_what_was_noted_is_read_by_the_same_table_alone(tmp_path: Path) -> None:
    schedule = Schedule(cron="0 2 * * *", time_zone="Europe/Berlin", due=datetime(2025, 3, 2, 1))
    make_nightly(tmp_path).plan(schedule)
    make_nightly(tmp_path).end("failed", "day.csv: no space left on device")
    run = make_nightly(tmp_path).last_run
    assert run is not None
    assert (run.outcome, run.message) == ("failed", "day.csv: no space left on device")
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
