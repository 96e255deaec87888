"""The rows of the days before a batch, found again by their ids."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.scoring.trailing import first_day, trailing
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import config, detector_of, feature_table, transactions
from tests.pipeline.scoring.days_before import ROWS, TRAINED, scored_day, usual_scores


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    settings = config(threshold={"false_alert_rate": 0.05, "adapt": True, "adapt_days": 4})
    return detector_of(feature_table(tmp_path_factory.mktemp("fit"), transactions(), settings), settings)


@pytest.fixture
def workspace(detector, tmp_path):
    return Workspace(detector.config.model_copy(update={"work_dir": str(tmp_path / "work")}))


def test_rows_of_the_days_before_have_their_scores_flags_and_labels(detector, workspace):
    scores = [usual_scores(detector, seed) for seed in range(3)]
    entries = [scored_day(workspace, number, scores[number], cut=1.0) for number in range(3)]
    day = TRAINED.date() + timedelta(days=2)
    found = trailing(entries, detector, workspace.history, before=day, labels=workspace.labels)
    assert found.first == day - timedelta(days=4)
    batch = found.rows.take(found.batch)
    assert sorted(batch.scores.tolist()) == sorted(np.concatenate(scores[:2]).tolist())  # and none of the third day
    assert np.bincount(batch.day).tolist() == [0, 0, ROWS, ROWS]
    assert (found.flags[found.batch] == (batch.scores > 1.0)).all()
    tables = [transactions(ROWS, seed=100 + number, start=TRAINED, days=1) for number in range(2)]
    frauds = np.concatenate([table["fraud"].to_numpy() for table in tables])
    assert (batch.labels == 1).sum() == frauds.sum()
    assert batch.labels[batch.scores == scores[0][7]][0] == tables[0]["fraud"][7].as_py()
    # The two days before the first batch are those of the training that were held out.
    held = found.rows.take(~found.batch)
    own_days = detector.held_out.day + (first_day(detector.calibration_start, detector) - found.first).days
    assert held.scores.tolist() == detector.held_out.scores[(own_days == 0) | (own_days == 1)].tolist()
    assert set(held.day.tolist()) == {0, 1}
    assert found.rows.days == 4
    assert not found.flags[~found.batch].any()


def test_batches_whose_scores_or_rows_are_gone_are_passed_over(detector, workspace):
    entries = [scored_day(workspace, number, usual_scores(detector, number), cut=1.0) for number in range(3)]
    (Path(entries[0].folder) / "scores.parquet").unlink()
    workspace.history.drop([TRAINED.date() + timedelta(days=1)])
    day = TRAINED.date() + timedelta(days=3)
    found = trailing(entries, detector, workspace.history, before=day)
    assert np.unique(found.rows.day[found.batch]).tolist() == [3]
    assert np.isnan(found.rows.labels[found.batch]).all()
    assert trailing(entries[:2], detector, workspace.history, before=day) is None
    assert trailing(entries, detector, workspace.history, before=day + timedelta(days=9)) is None


def test_errors_are_of_known_days_and_count_once(detector, workspace):
    entries = [scored_day(workspace, number, usual_scores(detector, number), cut=1.0) for number in range(2)]
    day = TRAINED.date() + timedelta(days=2)
    found = trailing(entries, detector, workspace.history, before=day, labels=workspace.labels)
    days = [TRAINED.date(), TRAINED.date() + timedelta(days=1)]
    errors = found.known().errors(None)
    assert [each for each, _ in errors] == days
    for number, (_, error) in enumerate(errors):
        normal = transactions(ROWS, seed=100 + number, start=TRAINED, days=1)["fraud"].to_numpy() == 0
        assert error == pytest.approx(((usual_scores(detector, number) > 1.0) & normal).sum() / normal.sum())
    assert found.errors(days[0]) == errors[1:]
    # Of the second day only what was flagged has a label: such a day says nothing yet.
    few = (found.rows.day == 3) & ~found.flags
    labels = np.where(few, np.nan, found.rows.labels)
    reviewed = replace(found, rows=replace(found.rows, labels=labels, normal=labels == 0))
    assert reviewed.known().errors(None) == errors[:1]
    assert reviewed.known().rows.days == 3


def test_the_day_of_a_moment_is_the_tables_own(detector):
    berlin = detector.config.table.model_copy(update={"time_zone": "Europe/Berlin"})
    there = replace(detector, config=detector.config.model_copy(update={"table": berlin}))
    late = TRAINED + timedelta(hours=23)
    assert (first_day(late, detector), first_day(late, there)) == (date(2025, 3, 31), date(2025, 4, 1))
