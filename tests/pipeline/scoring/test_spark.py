"""Scores by Spark are those of one process, to the last bit; and a job that fails says why and leaves nothing."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.detector.artefact import Detector
from pipeline.errors import ResourceError
from pipeline.scoring import spark
from pipeline.scoring.score import score_table
from pipeline.scoring.spark import scores_on_spark
from pipeline.settings.engine import EngineConfig
from pipeline.tables.spark import stretches
from tests.pipeline.fitted import START, config, detector_of, feature_table, quiet_frauds, transactions

MARKS = {"batch_id": "b-1", "model_version": "7", "scored_at": datetime(2025, 5, 1)}


def on_spark(detector):
    """The detector, settled for a cluster."""
    engine = EngineConfig(name="spark", master="local[2]")
    return replace(detector, config=detector.config.model_copy(update={"engine": engine}))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    settings = config(threshold={"false_alert_rate": 0.03}, feedback={"enabled": False})
    path = feature_table(tmp_path_factory.mktemp("training"), transactions(), settings)
    return detector_of(path, settings)


def test_the_whole_of_scoring_is_the_same_to_the_last_bit(tmp_path_factory):
    # Known frauds add to these scores, and the line is drawn by channel.
    settings = config(threshold={"false_alert_rate": 0.03, "segment": "channel"}, feedback={"min_frauds": 20})
    detector = detector_of(feature_table(tmp_path_factory.mktemp("training"), quiet_frauds(), settings), settings)
    assert detector.feedback is not None
    rows = quiet_frauds(700, seed=1, first_id=90_000, days=4)
    folder = tmp_path_factory.mktemp("a [table]")
    features = feature_table(folder, rows, settings)
    here = score_table(features, detector, folder / "here", **MARKS)
    score_table(features, on_spark(detector), folder / "there", **MARKS)
    for name in ("scores.parquet", "alerts.parquet"):
        one, other = (pq.read_table(part / name) for part in (folder / "here", folder / "there"))
        assert other.equals(one)
        assert one.num_rows
    assert (here.column("one_class_p_value") != here.column("p_value")).any()
    assert {path.name for path in (folder / "there").iterdir()} == {"scores.parquet", "alerts.parquet", "alerts.csv"}


def test_rows_get_their_own_scores_whatever_order_tasks_end_in(alone, tmp_path):
    rows = transactions(400, seed=1, first_id=90_000, start=START)
    features = feature_table(tmp_path, rows, alone.config)
    pq.write_table(pq.read_table(features), features, row_group_size=50)
    scores, one_class = scores_on_spark(features, on_spark(alone), tmp_path)
    assert one_class is scores
    assert (scores == alone.anomaly_scores(pq.read_table(features))).all()


def test_a_task_scores_batches_of_its_stretch_by_the_artefact(alone, tmp_path):
    features = feature_table(tmp_path, transactions(400, seed=1), alone.config)
    pq.write_table(pq.read_table(features), features, row_group_size=150)
    alone.save(tmp_path / "artefact")
    stretch = stretches(features, rows=100)[1]
    found = list(spark._scores_of(str(tmp_path / "artefact"), alone.encoder.table_columns, stretch))
    assert [batch["first"].to_pylist() for batch in found] == [[150]]
    scores, one_class = np.frombuffer(found[0]["scores"][0].as_py()).reshape(2, -1)
    assert (scores == alone.anomaly_scores(pq.read_table(features))[150:300]).all()
    assert (one_class == scores).all()


def test_a_task_that_fails_is_one_sentence_and_leaves_nothing(alone, tmp_path, monkeypatch):
    save = Detector.save

    def cut(detector, folder):
        save(detector, folder)
        (folder / "encoder.json").write_text("{}")

    monkeypatch.setattr(Detector, "save", cut)
    features = feature_table(tmp_path, transactions(50, seed=1), alone.config)
    message = r"^scoring on Spark at local\[2\] failed, and nothing of it was kept: .*encoder.json.*; look into"
    with pytest.raises(ResourceError, match=message):
        score_table(features, on_spark(alone), tmp_path / "scored", **MARKS)
    assert list((tmp_path / "scored").iterdir()) == []
