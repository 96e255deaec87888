"""Which cut a batch has where it adapts, what is kept of it, and that nothing of the batch is in it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.calibration.adapting import GAMMA
from pipeline.errors import ResourceError
from pipeline.numbers import quantity
from pipeline.scoring.adapted_cut import CUT, CutRecord, adapted_cut
from pipeline.settings.config import ThresholdConfig
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import config, detector_of, feature_table, transactions
from tests.pipeline.scoring.days_before import TRAINED, scored_day, usual_scores

CAPACITY = ThresholdConfig(strategy="capacity", alerts_per_day=10, adapt=True, adapt_days=3)
RATE = ThresholdConfig(false_alert_rate=0.05, adapt=True, adapt_days=3)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    settings = config(threshold={"false_alert_rate": 0.05})
    return detector_of(feature_table(tmp_path_factory.mktemp("fit"), transactions(), settings), settings)


@pytest.fixture
def workspace(fitted, tmp_path):
    return Workspace(fitted.config.model_copy(update={"work_dir": str(tmp_path / "work")}))


def cut_on(number, entries, detector, workspace):
    return adapted_cut(entries, detector, workspace, first=TRAINED + timedelta(days=number, hours=3), who="ana")


def test_a_queue_that_drifts_is_brought_back_step_by_step(fitted, workspace):
    detector = fitted.with_threshold(CAPACITY)
    shift, entries, records, queues = np.ptp(detector.held_out.scores) / 10, [], [], []
    for number in range(14):
        record = cut_on(number, entries, detector, workspace)
        scores = usual_scores(detector, number) + shift
        entries.append(scored_day(workspace, number, scores, cut=record.threshold.value))
        record.write(Path(entries[-1].folder))
        records.append(record)
        queues.append(int((scores > record.threshold.value).sum()))
    cuts = [record.threshold.value for record in records]
    assert cuts[0] == detector.threshold  # nothing was scored before
    assert [record.before for record in records[1:]] == cuts[:-1]
    assert cuts[1] < records[1].asked  # one night does not reach that far
    assert queues[0] > 30
    assert np.mean(queues[-3:]) < queues[0] / 5
    assert records[-1].threshold.alerts_per_day == pytest.approx(10, abs=2)
    assert (
        records[0].why
        == f"The cut stays {quantity(cuts[0])}: of the 3 days before, 0 have scores, and half of them are needed."
    )
    moved = f"The cut moves from {quantity(cuts[0])} to {quantity(cuts[1])}: on the 3 days before, the old one flags"
    assert records[1].why.startswith(moved)
    assert records[1].why.endswith(f"{quantity(records[1].asked)} is asked for, and a night moves it by at most 20 %.")
    assert "solved again before each batch" in records[-1].threshold.promise
    assert (records[-1].who, records[-1].level) == ("ana", None)


def test_the_batch_itself_and_later_ones_move_nothing(fitted, workspace):
    detector = fitted.with_threshold(CAPACITY)
    entries = [scored_day(workspace, number, usual_scores(detector, number) * 1.1, cut=1.0) for number in range(3)]
    cut = cut_on(2, entries[:2], detector, workspace)
    with_itself = cut_on(2, entries, detector, workspace)
    assert with_itself.threshold == cut.threshold
    assert (with_itself.why, with_itself.asked) == (cut.why, cut.asked)
    assert cut_on(3, entries, detector, workspace).threshold != cut.threshold


def test_a_rate_follows_its_errors_and_counts_each_day_once(fitted, workspace):
    detector = fitted.with_threshold(RATE)
    # In April every label is there, for the clock of the test is years later.
    entries = [scored_day(workspace, number, usual_scores(detector, number), cut=0.0) for number in range(2)]
    first = cut_on(2, entries, detector, workspace)
    assert first.counted == (TRAINED + timedelta(days=1)).date()
    errors = [1.0, 1.0]  # every row scores above 0 and was flagged
    assert first.level == max(0.05 + GAMMA * (2 * 0.05 - sum(errors)), 0)
    first.write(Path(entries[1].folder))
    assert cut_on(2, entries, detector, workspace).level == first.level
    entries.append(scored_day(workspace, 2, usual_scores(detector, 2), cut=np.inf))
    first.write(Path(entries[2].folder))
    again = cut_on(3, entries, detector, workspace)
    assert again.level == pytest.approx(first.level + GAMMA * 0.05)
    assert again.counted == (TRAINED + timedelta(days=2)).date()
    assert "of normal rows" in again.why


def test_a_cut_stays_where_too_little_is_known_and_says_so(fitted, workspace):
    long = fitted.with_threshold(CAPACITY.model_copy(update={"adapt_days": 30}))
    entries = [scored_day(workspace, 0, usual_scores(fitted, 0), cut=1.0)]
    record = cut_on(1, entries, long, workspace)
    assert record.threshold is long.cut
    days = len(np.unique(fitted.held_out.day)) + 1
    assert f"of the 30 days before, {days} have scores, and half of them are needed" in record.why
    few = fitted.with_threshold(RATE.model_copy(update={"false_alert_rate": 0.01}))
    tight = replace(few, cut=replace(few.cut, settings={"rate": 0.0001}))
    assert "rows of 3 days before are too few for it" in cut_on(1, entries, tight, workspace).why
    cost = replace(fitted, config=long.config, cut=replace(fitted.cut, strategy="cost"))
    assert "the version's threshold is of cost, which does not adapt" in cut_on(1, entries, cost, workspace).why
    parts = replace(long, cut=replace(long.cut, segment="channel", parts={"web": long.cut}))
    assert "the version's threshold goes by channel" in cut_on(1, entries, parts, workspace).why


def test_a_record_is_read_back_and_one_that_is_broken_is_told(fitted, workspace, tmp_path):
    assert CutRecord.read(tmp_path) is None
    detector = fitted.with_threshold(RATE)
    entries = [scored_day(workspace, number, usual_scores(detector, number), cut=1.0) for number in range(2)]
    record = cut_on(2, entries, detector, workspace)
    record.write(tmp_path)
    assert CutRecord.read(tmp_path) == record
    (tmp_path / CUT).write_text("{}")
    with pytest.raises(ResourceError, match=r"cut\.json, which says which cut the batch had, can't be read"):
        CutRecord.read(tmp_path)
