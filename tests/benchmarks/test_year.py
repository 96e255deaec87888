"""benchmarks/year.py: what counts as named, and what as a false alarm, on changes written by hand.

Its nights need a server and half an hour, so that they are played by whoever reads their table.
"""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def year(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("year")


def change(day: int, check: str, state: str = "warn") -> dict[str, object]:
    return {"day": day, "check": check, "state": state}


def test_an_event_is_named_by_a_check_that_was_ok_before_it(year: ModuleType) -> None:
    changes = [
        change(20, "schema"), change(61, "columns"), change(63, "scores"), change(84, "columns", "ok"),
        change(84, "scores", "ok"), change(91, "alerts"), change(91, "scores"),
    ]  # fmt: skip
    result = year.named(changes, 120)
    assert result["events"] == {
        "schema": {"days": 1, "by": "schema"},
        "drift": {"days": 2, "by": "columns"},
        "wave": {"days": 2, "by": "alerts"},
    }
    assert result["false_alarms"] == 0


def test_a_check_that_is_odd_already_names_nothing_and_odd_quiet_days_are_counted(year: ModuleType) -> None:
    changes = [change(5, "rows"), change(7, "rows", "ok"), change(59, "columns"), change(95, "rows")]
    result = year.named(changes, 120)
    assert result["events"]["schema"] == {"days": None}
    assert result["events"]["drift"] == {"days": 95 - 60 + 1, "by": "rows"}
    assert result["events"]["wave"] == {"days": 6, "by": "rows"}
    assert result["false_alarms"] == 2
    assert list(year.named(changes, 70)["events"]) == ["schema", "drift"]
