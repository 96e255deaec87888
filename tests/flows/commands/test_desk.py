"""assay user, assay audit verify, assay review rebuild and the packets, as somebody at the terminal runs them."""

import hmac
import json
import re
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


def test_a_packet_is_written_brought_back_once_and_what_came_too_late_is_listed(path: Path) -> None:
    score_batch(read_config(path), [1, 2, 3])
    run("user", "add", "ann", "--role", "analyst", "--config", path, stdin="a long sentence\n")
    page, file = path.with_name("packet.html"), path.with_name("decisions.json")
    refused = run("review", "export-packet", page, "--user", "bob", "--config", path)
    assert (refused.exit_code, page.exists()) == (1, False)
    assert "there is no user 'bob' who may log in" in " ".join(refused.output.split())
    words = (
        "review",
        "export-packet",
        page,
        "--user",
        "ann",
        "--day",
        "2025-03-02",
        "--view",
        "/?least=15",
        "--config",
        path,
    )
    written = run(*words)
    assert (written.exit_code, "has 2 alerts for ann." in " ".join(written.output.split())) == (0, True)
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text()
    (packet,), (key,) = re.findall(r'data-packet="(\w+)"', text), re.findall(r'<body[^>]* data-key="(\w+)"', text)
    first, second = re.findall(r'<li class="card" data-key="(\w+)"', text)
    desk = Desk(read_config(path), Clock())
    line = next(line for line in desk.page(View(), ANN).lines if line.key == second)
    desk.act({second: line.event}, Action(kind="decide", label="unsure"), ANN)
    decision = {"label": "fraud", "code": "", "comment": "", "at": "2025-03-03T10:00:00Z"}
    body = json.dumps({"packet": packet, "decisions": {first: decision, second: decision}})
    signature = hmac.new(bytes.fromhex(key), body.encode(), "sha256").hexdigest()
    assert run("review", "import-packet", file, "--config", path).exit_code == 1
    file.write_text(json.dumps({"body": body, "signature": signature}))
    taken = run("review", "import-packet", file, "--config", path)
    said = " ".join(taken.output.split())
    assert (taken.exit_code, "1 decision of ann taken in" in said) == (0, True)
    assert "ann has decided 'unsure'" in said
    again = run("review", "import-packet", file, "--config", path)
    assert (again.exit_code, "already, and that is done once" in " ".join(again.output.split())) == (1, True)
    desk.close()
