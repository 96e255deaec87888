"""The watch over a batch: what it leaves beside the scores, what it makes of earlier ones, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UnlikeTraining
from pipeline.monitoring.checks import Check
from pipeline.monitoring.profile import read_profile
from pipeline.monitoring.watch import Earlier, all_days, changes_of, earlier, refuse_stopped, schema_of, watch
from pipeline.tables.batch import Batch
from pipeline.workspace.ledger import Entry
from tests.pipeline.fitted import START


def entry(folder, version="1"):
    return Entry(
        batch_id=str(folder), source="in.csv", digest="", period_start=None, period_end=None, model_name="assay",
        model_version=version, scored_at=START, folder=str(folder),
    )  # fmt: skip


def test_a_batch_is_seen_beside_those_before_it(watched, day):
    _, scored, days = watched.scored(day(0))
    first = watch(days, scored, watched.detector, past=Earlier({}), changes=["new column 'a'"])
    assert first is not None
    folder = scored.scores.parent
    past = earlier([entry(folder), entry(folder.parent)], "1")
    assert list(past.days) == first.days
    _, scored, days = watched.scored(day(1))
    second = watch(days, scored, watched.detector, past=past)
    assert second is not None
    assert second.days == [*first.days, *(each for each in second.days if each not in first.days)]
    assert len(second.days) == 2
    days, marks = all_days([entry(folder), entry(scored.scores.parent), entry(folder, version="2")], "1")
    assert list(days) == second.days
    assert marks["changes"] == []
    stored = read_profile(folder)
    assert stored is not None
    assert stored[1]["changes"] == ["new column 'a'"]
    assert stored[1]["alerts_per_day"] == watched.detector.cut.alerts_per_day


def test_a_new_version_is_held_against_what_the_one_before_expected(watched, day):
    _, scored, days = watched.scored(day(0))
    watch(days, scored, watched.detector, past=Earlier({}))
    folder = scored.scores.parent
    past = earlier([entry(folder)], "2")
    assert past.days == {}
    assert past.before["alerts_per_day"] == watched.detector.cut.alerts_per_day
    assert earlier([entry(folder)], "1").before == {}
    old = earlier([entry(folder, "2"), *[entry(folder)] * 8], "1")
    assert old.before == {}  # it has scored for long
    busy = replace(past, before={**past.before, "alerts_per_day": 1e-9})
    seen = watch(days, scored, watched.detector, past=busy)
    assert seen is not None
    assert {check.name: check.state for check in seen.checks}["alerts"] == "ok"


def test_the_watch_can_be_switched_off(watched, day):
    features, scored, days = watched.scored(day(0))
    detector = watched.with_monitor(enabled=False)
    assert watch(days, scored, detector, past=Earlier({})) is None
    assert read_profile(scored.scores.parent) is None
    assert changes_of(features, Batch.of(features, detector.config), detector) == []


def test_columns_are_compared_before_anything_is_scored(watched, day, tmp_path):
    table = day(0).rename_columns(["tx", "at", "card", "eur", "channel", "remark", "fraud"])
    table = table.set_column(6, "fraud", pa.array(["no"] * table.num_rows))
    path = tmp_path / "in.parquet"
    pq.write_table(table, path)
    changes = changes_of(path, Batch.of(path, watched.detector.config), watched.detector)
    assert changes == ["new column 'remark'", "column 'note' is gone", "column 'fraud' holds text and held number"]
    assert schema_of(changes, watched.detector).state == "warn"
    assert schema_of(changes, watched.with_monitor(stop_on=("schema",))).state == "stop"
    assert schema_of([], watched.with_monitor(stop_on=("schema",))).state == "ok"
    (tmp_path / "in.csv").write_text("tx\n1\n")
    of_csv = changes_of(path, Batch.of(tmp_path / "in.csv", watched.detector.config), watched.detector)
    assert of_csv == changes[:2]


def test_only_what_is_stopped_is_refused():
    checks = [Check("scores", "warn", "Odd."), Check("rows", "ok", "Fine.")]
    refuse_stopped(checks, "in.csv", 7)
    checks.append(Check("alerts", "stop", "Too many."))
    text = r"in\.csv: the watch keeps its alerts back \(alerts\)\. Too many\. To have them all the same, .*--force"
    with pytest.raises(UnlikeTraining, match=text) as caught:
        refuse_stopped(checks, "in.csv", 7)
    assert caught.value.read == 7


def test_a_batch_whose_profile_is_gone_is_passed_over(tmp_path: Path):
    assert earlier([replace(entry(tmp_path), folder=str(tmp_path / "gone"))], "1") == Earlier({})
