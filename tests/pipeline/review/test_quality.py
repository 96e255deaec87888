"""pipeline/review/quality.py: who was right, who agrees, and what was missed, against what files and hands say."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.evaluation.missed import missed_fraud
from pipeline.review.desk import Desk
from pipeline.review.figures import Share
from pipeline.review.listing import View
from pipeline.review.people import Person
from pipeline.review.refusals import Forbidden
from pipeline.review.work import Action
from pipeline.settings.config import Config
from pipeline.workspace.workspace import Workspace
from tests.pipeline.review.scored import ANN, BOB, LEA, MONDAY, Clock, deliver, desk_config, score_batch

CAT = Person("cat", "analyst")


def decide(desk: Desk, labels: dict[str, str], who: object = ANN) -> None:
    lines = {line.id: line for line in desk.page(View(limit=500), LEA).lines}
    for row_id, label in labels.items():
        line = lines[row_id]
        desk.act({line.key: line.event}, Action(kind="decide", label=label), who)


def test_what_the_queue_says_of_missed_fraud_is_what_the_files_say(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The queue has no scores of the rows that are not in it, and goes by the audited rows alone.
    monkeypatch.setattr("pipeline.evaluation.missed.LEAST_FRAUDS", 1000)
    rng = random.Random(3)
    folders = []
    for place in range(2):
        start = 1000 * place
        audited = range(start + 100, start + 140)
        folder = score_batch(config, range(start, start + 8), batch=f"b{place}", audited=audited, score=50.0 + place)
        alerts = pq.read_table(folder / "alerts.parquet")
        rows = pa.table({"tx": range(1000), "anomaly_score": [0.0] * 1000, "model_version": ["1"] * 1000})
        pq.write_table(rows, folder / "scores.parquet")
        assert alerts.num_rows == 8
        folders.append(folder)
    desk = Desk(config, Clock(), chance=lambda: 1.0)
    desk.sync()
    ids = [*range(6), *range(1000, 1004), *range(100, 130), *range(1100, 1140)]
    decide(desk, {str(row_id): rng.choice(("fraud", "not_fraud", "not_fraud", "unsure")) for row_id in ids})
    deliver(config, "131,1,1", "1007,1,1")
    desk.sync()
    of_the_queue = desk.quality(LEA).missed
    of_the_files = missed_fraud(folders, Workspace(config).labels, datetime.now(UTC).replace(tzinfo=None))
    assert of_the_queue == {"1": of_the_files}
    assert of_the_files is not None
    assert (of_the_files.batches, of_the_files.rows, of_the_files.audited) == (2, 1984, 80)
    with pytest.raises(Forbidden, match="ann is analyst"):
        desk.quality(ANN)
    desk.close()


def test_pairs_agree_as_often_as_the_two_of_them_did_whoever_was_first(config: Config) -> None:
    score_batch(config, range(1, 31))
    desk = Desk(config.model_copy(update={"review": config.review.model_copy(update={"second_share": 0.5})}), Clock())
    desk._chance = lambda: 1.0
    desk.sync()
    lines = desk.page(View(), ANN).lines
    for place, line in enumerate(lines):
        who = ANN if place % 2 else BOB
        # A first decision that was taken back, by somebody else, does not count.
        desk.act({line.key: line.event}, Action(kind="decide", label="fraud"), CAT)
        desk.undo(CAT)
        event = desk.alert(line.key, who).line.event
        desk.act({line.key: event}, Action(kind="decide", label="unsure" if place == 9 else "fraud"), who)
    desk._chance = lambda: 0.0
    agree: dict[str, list[bool]] = {}
    firsts = {line.key: line.decided_by for line in desk.page(View(state="decided"), LEA).lines}
    for turn in range(60):
        second = (CAT, ANN, BOB)[turn % 3]
        if key := desk.next(View(), second):
            label = "fraud" if turn % 2 else "not_fraud"
            desk.act({key: desk.alert(key, second).line.event}, Action(kind="decide", label=label), second)
            if desk.alert(key, LEA).events[-1].after["truth"] != "unsure":
                pair = " and ".join(sorted((firsts[key], second.name)))
                agree.setdefault(pair, []).append(label == "fraud")
    assert set(agree) == {"ann and bob", "ann and cat", "bob and cat"}
    # What differs is decided by a lead in the end: a pair is still the two who differed.
    for line in desk.page(View(state="escalated"), LEA).lines:
        desk.act({line.key: line.event}, Action(kind="decide", label="fraud"), LEA)
    shares = {pair: Share(sum(of), len(of)) for pair, of in agree.items()}
    assert desk.quality(LEA).pairs == shares
    assert [*desk.quality(LEA).pairs] == sorted(shares, key=lambda pair: (-shares[pair].whole, pair))
    desk.close()


def test_only_labels_of_the_period_that_hold_say_who_was_right(tmp_path: Path) -> None:
    config, clock = desk_config(tmp_path), Clock()
    score_batch(config, range(1, 9))
    desk = Desk(config, clock, chance=lambda: 1.0)
    desk.sync()
    decide(desk, {"1": "fraud", "2": "fraud", "3": "not_fraud", "4": "unsure", "5": "fraud"})
    desk.undo(ANN)
    decide(desk, {"6": "not_fraud"}, BOB)
    deliver(config, "1,1,1", "2,0,1", "3,0,1", "4,1,1", "5,0,1", "6,1,1", "7,1,1")
    desk.sync()
    quality = desk.quality(LEA)
    assert quality.delivered == {"all": Share(2, 4), "ann": Share(2, 3), "bob": Share(0, 1)}
    assert (quality.accuracy, quality.agreement, quality.missed) == ({}, {}, {})
    clock.now = MONDAY + timedelta(weeks=9)
    assert desk.quality(LEA).delivered == {}
    desk.close()
