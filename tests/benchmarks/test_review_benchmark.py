"""benchmarks/review.py: what it makes is a queue, and what was lost or done twice is found."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import Person
from pipeline.review.work import Action
from pipeline.workspace.schema import REVIEW_DECISIONS

ROOT = Path(__file__).parents[2]
ANN = Person("ann", "analyst")


@pytest.fixture(scope="module")
def review() -> ModuleType:
    spec = importlib.util.spec_from_file_location("review_benchmark", ROOT / "benchmarks" / "review.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["review_benchmark"] = module
    spec.loader.exec_module(module)
    return module


def test_a_decision_that_is_lost_or_doubled_is_told(
    review: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = review.configuration(tmp_path / "work", "")
    review.score(config, alerts=40, seed=0)
    desk = Desk(config)
    desk.sync()
    line = desk.page(View(), ANN).lines[0]
    (event,) = desk.act({line.key: line.event}, Action(kind="decide", label="fraud"), ANN).events
    noted = {"key": line.key, "number": event.number, "label": "fraud", "who": "ann"}
    assert review.check(desk, [noted]) == 0
    assert "1 decisions, 1 of them acknowledged; 0 lost, 0 doubled; chain of 11 events whole" in capsys.readouterr().out
    assert review.check(desk, [noted, {**noted, "number": 99}]) == 1
    assert "1 lost, 0 doubled" in capsys.readouterr().out
    with desk.store.writing() as writing:
        row = writing.connection.execute(sa.select(REVIEW_DECISIONS)).one()._asdict()
        writing.connection.execute(sa.insert(REVIEW_DECISIONS).values({**row, "number": 77}))
    assert review.check(desk, [noted]) == 1
    assert "0 lost, 1 doubled" in capsys.readouterr().out
    desk.close()
