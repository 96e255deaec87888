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
from pipeline.review.refusals import Forbidden
from pipeline.review.work import Action
from pipeline.settings.config import Config
from pipeline.workspace.workspace import Workspace
from tests.pipeline.review.scored import ANN, BOB, LEA, MONDAY, Clock, deliver, desk_config, score_batch


def decide(desk: Desk, labels: dict[str, str], who: object = ANN) -> None:
    lines = {line.id: line for line in desk.page(View(limit=500), LEA).lines}
    for row_id, label in labels.items():
        line = lines[row_id]
        desk.act({line.key: line.event}, Action(kind="decide", label=label), who)


def test_what_the_queue_says_of_missed_fraud_is_what_the_files_say(config: Config) -> None:
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
