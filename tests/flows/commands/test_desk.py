"""assay user, assay audit verify and assay review rebuild, as somebody at the terminal runs them."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.work import Action
from pipeline.settings.file import read_config
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_EVENTS
from tests.flows.assay import run
from tests.pipeline.review.scored import ANN, Clock, score_batch

SETTINGS = """
name = "cards"
work_dir = "work"

[contract]
id = "tx"
timestamp = "at"
amount = "eur"
entities = ["card", "shop"]
categorical = ["channel"]
label = "fraud"
types = { tx = "integer" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "assay.toml").write_text(SETTINGS)
    return tmp_path / "assay.toml"


def test_users_are_added_changed_listed_and_refused_in_a_sentence(path: Path) -> None:
    assert "Nobody may log in yet" in run("user", "list", "--config", path).output
    added = run("user", "add", "ann", "--role", "analyst", "--config", path, stdin="a long sentence\n")
    assert (added.exit_code, added.output.strip()) == (0, "ann may log in as analyst.")
    assert run("user", "change", "ann", "--role", "lead", "--end", "--config", path).exit_code == 0
    assert "ann lead, ended" in " ".join(run("user", "list", "--config", path).output.split())
    for words, message in {
        ("user", "add", "ann", "--config", path): "there is a user 'ann' already",
        ("user", "add", "bob", "--role", "boss", "--config", path): "'boss' is no role",
        ("user", "change", "ann", "--config", path): "nothing is to be changed of 'ann'",
        ("audit", "verify", "--head", "12", "--config", path): "--head is '12', and it is what assay audit verify says",
    }.items():
        refused = run(*words, stdin="a long sentence\n")
        assert refused.exit_code == 1, words
        assert message in " ".join(refused.output.split())


def test_events_are_verified_and_the_queue_is_made_again(path: Path) -> None:
    config = read_config(path)
    score_batch(config, [1, 2, 3])
    desk = Desk(config, Clock())
    desk.sync()
    line = desk.page(View(), ANN).lines[0]
    desk.act({line.key: line.event}, Action(kind="decide", label="fraud"), ANN)
    whole = run("audit", "verify", "--config", path)
    assert (whole.exit_code, "All 2 events are as they were written" in whole.output) == (0, True)
    head = desk.verify().hash
    assert f"2:{head}" in "".join(whole.output.split())
    assert run("audit", "verify", "--head", f"2:{head}", "--config", path).exit_code == 0
    with desk.store.writing() as writing:
        writing.connection.execute(sa.delete(REVIEW_ALERTS))
    rebuilt = run("review", "rebuild", "--config", path)
    assert "made again from 2 events" in " ".join(rebuilt.output.split())
    assert desk.page(View(), ANN).counts["decided"] == 1
    with desk.store.writing() as writing:
        writing.connection.execute(sa.update(REVIEW_EVENTS).values(who="eve"))
    broken = run("audit", "verify", "--config", path)
    assert broken.exit_code == 1
    assert "event 1 (publish of b1 by eve" in " ".join(broken.output.split())
    desk.close()
