from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.calibration.strategies.choice import STRATEGIES
from pipeline.errors import InputError
from pipeline.scoring import promise
from pipeline.scoring.promise import held_against, moved
from pipeline.scoring.score import score_table
from pipeline.settings.config import ThresholdConfig
from pipeline.tables.parquet import read_batches
from pipeline.workspace.history import History
from pipeline.workspace.ledger import Entry
from tests.pipeline.calibration.whole_arrays import on_whole_arrays
from tests.pipeline.fitted import START, config, detector_of, feature_table, transactions
from tests.pipeline.fitted import replace as change_column

SCORED_AT = datetime(2025, 5, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    settings = config(threshold={"false_alert_rate": 0.03})
    detector = detector_of(feature_table(folder, transactions(), settings), settings)
    rows = transactions(400, seed=1, first_id=90_000, start=START + timedelta(days=40), days=4)
    batch = feature_table(folder, rows, settings, "batch")
    scored = score_table(batch, detector, folder / "scored", batch_id="b", model_version="1", scored_at=SCORED_AT)
    history = History(folder / "history", settings)
    history.append(folder / "batch-rows.parquet", "b")
    return detector, batch, scored, rows, history


@pytest.fixture(scope="module")
def labelled(run):
    """The detector with so many rows held out, and known frauds among them, that every strategy has a threshold."""
    detector, generator = run[0], np.random.default_rng(3)
    rows = detector.held_out.take(np.repeat(np.arange(len(detector.held_out)), 4))
    labels = (generator.random(len(rows)) < 0.2).astype(float)
    scores = generator.exponential(size=len(rows)) + 2 * labels
    return replace(detector, held_out=replace(rows, labels=labels, normal=labels == 0, scores=scores))


def entry(scored):
    times = {"first_timestamp": START + timedelta(days=40), "last_timestamp": START + timedelta(days=44)}
    return Entry(
        batch_id="b", source="/tmp/march.parquet", digest="d", period_start=None, period_end=None, model_name="assay",
        model_version="1", scored_at=SCORED_AT, folder=str(scored.scores.parent), **times,
    )  # fmt: skip


def test_a_batch_is_held_against_the_promise_with_the_labels_known_by_now(run):
    detector, batch, scored, rows, _ = run
    labels = rows["fraud"].to_numpy().astype(float)
    flags = pq.read_table(scored.scores)["is_flagged"].to_numpy(zero_copy_only=False)
    got = held_against(batch, scored, detector, labels)
    assert f"Of {(labels == 0).sum()} rows taken for normal by now, {(flags & (labels == 0)).sum()} were" in got.text
    labels[100:] = np.nan
    some = held_against(batch, scored, detector, labels)
    assert f"Of {(labels == 0).sum()} rows" in some.text
    assert "No label of these rows is known yet" in held_against(batch, scored, detector, None).text


def test_without_labels_in_the_training_table_all_rows_count_as_normal(run):
    detector, batch, scored, _, _ = run
    unlabelled = replace(detector, summary={**detector.summary, "labels": "none"})
    assert "Of 400 rows taken for normal by now" in held_against(batch, scored, unlabelled, None).text


def test_a_queue_is_counted_by_day_and_customer(run):
    detector, batch, scored, rows, _ = run
    changed = detector.with_threshold(ThresholdConfig(strategy="capacity", alerts_per_day=2, unit="customers"))
    flags = pq.read_table(scored.scores)["is_flagged"].to_numpy(zero_copy_only=False)
    days = rows["at"].to_numpy().astype("datetime64[D]")
    queue = {(day, card) for day, card, flag in zip(days, rows["card"].to_pylist(), flags, strict=True) if flag}
    got = held_against(batch, scored, changed, None)
    assert f"The queue of {len(queue)} customers lies" in got.text


SETTINGS = {
    "false_alert_rate": {"false_alert_rate": 0.1},
    "capacity": {"alerts_per_day": 6, "unit": "customers"},
    "fdr": {"false_discovery_rate": 0.6},
    "tail": {"false_alert_rate": 0.05},
    "cost": {"review_cost": 2},
    "f_beta": {},
    "precision_at_least": {"min_precision": 0.4},
    "recall_at_least": {"min_recall": 0.5},
}


@pytest.mark.parametrize("segment", ["", "channel"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_promise_is_held_against_a_batch_in_parts_as_against_its_arrays(
    run, labelled, monkeypatch, tmp_path, *, strategy, segment
):
    _, batch, _, rows, _ = run
    by_segment = {"segment": segment, "min_segment_rows": 100} if segment else {}
    detector = labelled.with_threshold(ThresholdConfig(strategy=strategy, **SETTINGS[strategy], **by_segment))
    assert bool(detector.cut.parts) == bool(segment)
    marks, outcomes = {"batch_id": "b", "model_version": "1", "scored_at": SCORED_AT}, set()
    for seed in range(20):
        generator = np.random.default_rng(seed)
        known = generator.random(400) < generator.choice([0.02, 0.5, 1.0])
        fraud = generator.random(400) < generator.choice([0.02, 0.3])
        labels = np.where(known, fraud, np.nan) if seed else None
        scores = generator.exponential(generator.choice([0.3, 1, 3]), size=400)
        scored = score_table(batch, detector, tmp_path, known_scores=(scores, scores), **marks)
        monkeypatch.setattr(promise, "read_batches", partial(read_batches, rows=int(generator.integers(30, 500))))
        got = held_against(batch, scored, detector, labels)
        monkeypatch.undo()
        assert got == on_whole_arrays(detector.cut, rows, labels=labels, flags=scored.column("is_flagged"))
        outcomes.add(got.text)
    assert len(outcomes) > 5


def test_alerts_that_come_and_go_are_counted_from_the_scores(run):
    detector, _, scored, _, history = run
    table = pq.read_table(scored.scores)
    before, scores = table["is_flagged"].to_numpy(zero_copy_only=False), table["anomaly_score"].to_numpy()
    lower = detector.with_threshold(ThresholdConfig(false_alert_rate=0.1))
    higher = detector.with_threshold(ThresholdConfig(strategy="capacity", alerts_per_day=0.3))
    for changed in (lower, higher):
        after = scores > changed.threshold
        found = moved(entry(scored), changed, history)
        counts = (before & after).sum(), (after & ~before).sum(), (before & ~after).sum()
        assert (found.stay, found.come, found.go) == counts
        assert f"march.parquet, rows to 2025-04-14, scored by version 1) {found.stay} stay" in found.text
    assert moved(entry(scored), lower, history).come > 0
    assert moved(entry(scored), higher, history).go > 0


def test_segments_of_a_scored_batch_come_from_the_history(run):
    detector, _, scored, rows, history = run
    settings = ThresholdConfig(false_alert_rate=0.05, segment="channel", min_segment_rows=90)
    changed = detector.with_threshold(settings)
    assert changed.cut.parts
    scores = pq.read_table(scored.scores)
    after = scores["anomaly_score"].to_numpy() > changed.cut.fixed_cuts(rows["channel"])
    before = scores["is_flagged"].to_numpy(zero_copy_only=False)
    assert scores["tx"].equals(rows["tx"])
    found = moved(entry(scored), changed, history)
    assert (found.come, found.go) == ((after & ~before).sum(), (before & ~after).sum())
    assert pc.sum(scores["is_flagged"]).as_py() == found.stay + found.go


def test_a_last_row_at_midnight_has_its_segment_too(run, tmp_path):
    detector, _, _, _, _ = run
    rows = transactions(2, seed=2, first_id=70_000, start=START + timedelta(days=60))
    moments = [START + timedelta(days=60), START + timedelta(days=61)]
    rows = change_column(change_column(rows, "at", moments), "channel", ["web", "shop"])
    pq.write_table(rows, tmp_path / "rows.parquet")
    history = History(tmp_path / "history", detector.config)
    history.append(tmp_path / "rows.parquet", "b")
    changed = detector.with_threshold(ThresholdConfig(false_alert_rate=0.05, segment="channel", min_segment_rows=90))
    cuts = changed.cut.fixed_cuts(rows["channel"])
    assert cuts[0] != cuts[1] != changed.threshold
    scores = np.array([cuts[0], (cuts[1] + changed.threshold) / 2])
    table = {"tx": rows["tx"], "anomaly_score": scores, "is_flagged": [False, False]}
    pq.write_table(pa.table(table), tmp_path / "scores.parquet")
    batch = Entry(
        batch_id="b", source="/tmp/night.parquet", digest="d", period_start=None, period_end=None, model_name="assay",
        model_version="1", scored_at=SCORED_AT, folder=str(tmp_path), first_timestamp=moments[0],
        last_timestamp=moments[1],
    )  # fmt: skip
    assert moved(batch, changed, history).come == (scores > cuts).sum()
    assert (scores > cuts).tolist() != (scores > changed.threshold).tolist()


def test_scores_that_are_gone_are_named(run, tmp_path):
    detector, _, scored, _, history = run
    with pytest.raises(InputError, match=r"scores\.parquet is gone, so which alerts come and go cannot be said"):
        moved(replace(entry(scored), folder=str(tmp_path)), detector, history)


@pytest.mark.parametrize("settings", [{"strategy": "capacity", "alerts_per_day": 6, "unit": "customers"}, {}])
def test_a_batch_without_an_alert_and_one_without_a_row_are_held_against_the_promise(run, tmp_path, settings):
    detector, batch, _, _, _ = run
    detector = detector.with_threshold(ThresholdConfig(**settings))
    marks = {"batch_id": "b", "model_version": "1", "scored_at": SCORED_AT}
    quiet = score_table(batch, detector, tmp_path, known_scores=(np.zeros(400), np.zeros(400)), **marks)
    assert quiet.flagged == 0
    labels = np.zeros(400)
    said = (
        "The queue of 0 customers lies outside, below it" if settings else "Of 400 rows taken for normal by now, 0 were"
    )
    assert said in held_against(batch, quiet, detector, labels).text
    pq.write_table(pq.read_table(batch).slice(0, 0), tmp_path / "none.parquet")
    none = score_table(tmp_path / "none.parquet", detector, tmp_path, **marks)
    said = "No row was scored, so there is no queue." if settings else "No label of these rows is known yet"
    assert said in held_against(tmp_path / "none.parquet", none, detector, None).text
