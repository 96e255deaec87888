"""Changes of the checks' states: only changes are written down, and each table's apart."""

from datetime import date
from pathlib import Path

from pipeline.workspace.watch import WatchEvents
from tests.pipeline.fitted import config

MARCH = {"day": date(2025, 3, 1), "batch_id": "b", "model_version": "3"}


def events_of(folder: Path, name: str = "cards") -> WatchEvents:
    return WatchEvents(config(work_dir=str(folder), name=name))


def test_only_a_change_is_written_down_with_its_reason(tmp_path: Path) -> None:
    events = events_of(tmp_path)
    assert events.note([("scores", "ok", "Fine."), ("rows", "warn", "Few.\x1b[31m")], **MARCH)[0].check == "rows"
    assert events.note([("scores", "ok", "Fine."), ("rows", "warn", "Fewer.")], **MARCH) == []
    (worse, first) = events.note([("rows", "stop", "None."), ("scores", "warn", "Odd.")], **MARCH)
    assert (worse.previous, worse.state, first.previous, first.state) == ("warn", "stop", "ok", "warn")
    events.note([("rows", "ok", "Fine.")], **MARCH)
    read = events_of(tmp_path).all()
    assert [(event.check, event.previous, event.state) for event in read] == [
        ("rows", "ok", "warn"),
        ("rows", "warn", "stop"),
        ("scores", "ok", "warn"),
        ("rows", "stop", "ok"),
    ]
    assert read[0].reason == r"Few.\x1b[31m"
    assert (read[0].day, read[0].batch_id, read[0].model_version) == (date(2025, 3, 1), "b", "3")
    assert {check: event.state for check, event in events.latest().items()} == {"rows": "ok", "scores": "warn"}


def test_tables_in_one_database_do_not_see_each_others(tmp_path: Path) -> None:
    events_of(tmp_path).note([("rows", "warn", "Few.")], **MARCH)
    assert events_of(tmp_path, "other").latest() == {}
