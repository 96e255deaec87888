"""Changes of the checks' states: only changes are written down, and each table's apart."""

from datetime import date
from pathlib import Path

from pipeline.workspace.watch import WORSE, CheckState, Stand, WatchEvents
from tests.pipeline.fitted import config

MARCH = {"day": date(2025, 3, 1), "batch_id": "b", "model_version": "3"}


def events_of(folder: Path, name: str = "cards") -> WatchEvents:
    return WatchEvents(config(work_dir=str(folder), name=name))


def test_only_a_change_is_written_down_with_its_reason(tmp_path: Path) -> None:
    events = events_of(tmp_path)
    assert (
        events.note([Stand("scores", "ok", "Fine."), Stand("rows", "warn", "Few.\x1b[31m")], **MARCH)[0].check == "rows"
    )
    assert events.note([Stand("scores", "ok", "Fine."), Stand("rows", "warn", "Fewer.")], **MARCH) == []
    (worse, first) = events.note([Stand("rows", "stop", "None."), Stand("scores", "warn", "Odd.")], **MARCH)
    assert (worse.previous, worse.state, first.previous, first.state) == ("warn", "stop", "ok", "warn")
    events.note([Stand("rows", "ok", "Fine.")], **MARCH)
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


def test_what_is_not_ok_is_told_again_once_it_is_much_worse(tmp_path: Path) -> None:
    events = events_of(tmp_path)

    def noted(state: CheckState, degree: float) -> list[bool]:
        return [event.is_worse for event in events.note([Stand("alerts", state, f"{degree} times.", degree)], **MARCH)]

    assert noted("warn", 2.0) == [False]
    assert noted("warn", 2.0 * WORSE - 0.01) == []
    assert noted("warn", 2.0 * WORSE) == [True]
    assert noted("warn", 2.0) == []
    assert noted("warn", 2.0 * WORSE) == []  # as bad as when it was last told
    assert noted("stop", 2.0 * WORSE) == [False]
    assert noted("ok", 0.0) == [False]
    assert noted("ok", 0.0) == []
    assert noted("warn", 1.1) == [False]
    assert events.latest()["alerts"].degree == 1.1


def test_a_state_of_before_degrees_were_kept_is_not_told_again(tmp_path: Path) -> None:
    events = events_of(tmp_path)
    events.note([Stand("alerts", "warn", "Many.")], **MARCH)
    assert events.note([Stand("alerts", "warn", "Many.", 40.0)], **MARCH) == []


def test_tables_in_one_database_do_not_see_each_others(tmp_path: Path) -> None:
    events_of(tmp_path).note([Stand("rows", "warn", "Few.")], **MARCH)
    assert events_of(tmp_path, "other").latest() == {}
