"""Nights over a history that lies in buckets: the features of one process, and no row behind is shared out again."""

import os
import shutil
import time
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features import bucketed, compute, spark
from pipeline.features.events import Files
from pipeline.features.families import plan_of
from pipeline.settings.engine import EngineConfig
from tests.pipeline.features.by_hand import START
from tests.pipeline.features.test_shards import every_family, with_verdicts, written
from tests.pipeline.tasks_here import in_this_process

SHARDS = 3


def in_days(folder, past, batch="b1"):
    """Write rows as the history has them, a file a day; return the files."""
    table = pq.read_table(past)
    days = table["at"].cast(pa.date32())
    files = []
    for day in sorted(pc.unique(days).to_pylist()):
        file = folder / "history" / f"date={day}" / f"{batch}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter(pc.equal(days, day)), file, row_group_size=9)
        files.append(file)
    return files


def again(files, random):
    """Have rows come again on other days: of each third day some lie in the next one's file, an hour and a euro on."""
    for file, later in zip(files[::3], files[1::3], strict=False):
        rows = pq.read_table(file)
        some = rows.filter(pa.array(random.random(rows.num_rows) < 0.4))
        at, eur = (some.column_names.index(name) for name in ("at", "eur"))
        some = some.set_column(at, "at", pa.array(np.asarray(some["at"]) + np.timedelta64(1, "h")))
        some = some.set_column(eur, "eur", pc.add(some["eur"], 1.0)).cast(rows.schema)
        pq.write_table(pa.concat_tables([pq.read_table(later), some]), later)


def night(rows, files, setup, *, reviewed=(), shards=SHARDS):
    """The feature table of a night by Spark, over days that it keeps in buckets."""
    engine = EngineConfig(name="spark", master="local[2]", shards=shards)
    setup, folder = setup.model_copy(update={"engine": engine}), files[0].parents[2]
    buckets = files[0].parents[1] / ".buckets"
    return pq.read_table(compute(rows, files, setup, folder / "there.parquet", reviewed=reviewed, buckets=buckets))


def here(rows, files, setup, *, reviewed=()):
    """The feature table of one process."""
    return pq.read_table(compute(rows, files, setup, files[0].parents[2] / "here.parquet", reviewed=reviewed))


def shared_out(patch):
    """The names of the files whose rows tasks share out from now on."""
    found = []
    for module in (spark, bucketed):
        cut = module.stretches
        patch.setattr(module, "stretches", lambda file, cut=cut: found.append(file.stem) or cut(file))
    return found


def test_nights_over_days_with_copies_and_reviews_give_the_same_bits(tmp_path):
    folder = tmp_path / "an [odd] name*"
    folder.mkdir()
    rows, past, reviewed, _ = with_verdicts(folder, None)
    files, setup = in_days(folder, past), every_family(1)
    again(files, np.random.default_rng(0))
    expected = here(rows, files, setup, reviewed=[reviewed])
    for _ in range(2):
        assert night(rows, files, setup, reviewed=[reviewed]).equals(expected)


def test_labels_with_moments_of_their_own_give_the_same_bits(tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    rows, past, reviewed, contract = with_verdicts(tmp_path, "known_at")
    files, setup = in_days(tmp_path, past), every_family(1, contract)
    again(files, np.random.default_rng(1))
    without = here(rows, files, setup)
    assert night(rows, files, setup).equals(without)
    reviewed_too = night(rows, files, setup, reviewed=[reviewed])
    assert reviewed_too.equals(here(rows, files, setup, reviewed=[reviewed]))
    assert not reviewed_too.equals(without)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), has_reviews=st.booleans(), shards=st.sampled_from(["auto", 1, 5]))
def test_days_drawn_by_chance_give_the_same_bits(tmp_path_factory, seed, has_reviews, shards):
    folder, random = tmp_path_factory.mktemp("nights"), np.random.default_rng(seed)
    labels = [(int(random.integers(0, 300)), int(label), START) for label in random.integers(0, 2, 40)]
    rows, past, reviewed = written(folder, seed, labels)
    files, reviews = in_days(folder, past), [reviewed] if has_reviews else []
    again(files, random)
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch, spark)
        # Each night has a few more of the days in buckets than the one before; others lie elsewhere.
        for kept in (len(files) // 2, len(files)):
            others = [folder / f"other-{number}.parquet" for number in range(len(files) - kept)]
            for file, other in zip(files[kept:], others, strict=True):
                shutil.copy(file, other)
            some = [*files[:kept], *others]
            expected = here(rows, some, every_family(1), reviewed=reviews)
            assert night(rows, some, every_family(1), reviewed=reviews, shards=shards).equals(expected)


def test_a_day_is_shared_out_once_and_again_only_when_it_has_changed(tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    found = shared_out(monkeypatch)
    rows, past, _ = written(tmp_path, 3, [])
    files, setup = in_days(tmp_path, past), every_family(1)
    night(rows, files[:-1], setup)
    assert found == [*["b1"] * (len(files) - 1), "rows", "rows"]
    found.clear()
    night(rows, files, setup)
    assert found == ["b1", "rows", "rows"]
    of_first = sorted((files[0].parents[1] / ".buckets").glob(f"*/{files[0].parent.name}/*"))
    table = pq.read_table(files[0])
    pq.write_table(table.set_column(table.column_names.index("eur"), "eur", pc.add(table["eur"], 1.0)), files[0])
    os.utime(files[0], ns=(1, 1))
    found.clear()
    changed = night(rows, files, setup)
    assert found == ["b1", "rows", "rows"]
    assert changed.equals(here(rows, files, setup))
    assert [folder.exists() for folder in of_first] == [False]
    assert len(list(files[0].parents[1].glob(f".buckets/*/{files[0].parent.name}/*"))) == 1


def test_other_features_lie_apart_and_what_nobody_asks_for_goes(tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    rows, past, _ = written(tmp_path, 4, [])
    files = in_days(tmp_path, past)
    buckets = files[0].parents[1] / ".buckets"
    night(rows, files, every_family(1))
    first = set(buckets.iterdir())
    night(rows, files, every_family(1, windows_days=(1, 2)))
    both = set(buckets.iterdir())
    assert (len(first), len(both)) == (1, 2)
    for folder in first:
        os.utime(folder, (0, time.time() - bucketed.UNUSED - 60))
    files[0].unlink()
    night(rows, files[1:], every_family(1, windows_days=(1, 2), memory_limit="1GB"))
    assert set(buckets.iterdir()) == both  # nothing was new, so that nothing was looked for
    later = in_days(tmp_path, rows, "b2")
    night(rows, [*files[1:], *later], every_family(1, windows_days=(1, 2)))
    assert set(buckets.iterdir()) == both - first
    assert not list(buckets.glob(f"*/{files[0].parent.name}/*"))


def test_a_layout_that_is_there_does_for_a_larger_or_smaller_night(tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    rows, past, _ = written(tmp_path, 5, [])
    engine = EngineConfig(name="spark", master="local[2]")

    def buckets(limit, *, fixed=False):
        setup = every_family("auto", memory_limit=limit)
        with spark.on_spark(engine, "looking") as session:
            task = spark._task(session, Files(rows, (past,)), setup, plan_of(setup))
        layout, task = bucketed._layout(tmp_path, task, fixed=fixed)
        layout.mkdir(exist_ok=True)
        assert layout.name.startswith(f"{task.buckets}-")
        return task.buckets

    # 320 rows of 600 bytes, twice, over 20,000 bytes a core: 20 buckets; and over 10,000, 39 and the next power of two.
    assert buckets("40KB", fixed=True) == 20
    assert (buckets("40KB"), buckets("60KB"), buckets("20KB")) == (20, 20, 64)
    assert (buckets("30KB"), buckets("2GB")) == (64, 20)
    assert sorted(layout.name.split("-")[0] for layout in tmp_path.glob("*-*")) == ["20", "64"]


def test_rows_that_no_store_owns_yet_are_kept_nowhere(tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    rows, past, _ = written(tmp_path, 6, [])
    files = in_days(tmp_path, past)
    draft = files[0].parents[1] / ".draft" / "ab" / files[-1].parent.name / "b1.parquet"
    draft.parent.mkdir(parents=True)
    files[-1] = files[-1].rename(draft)
    assert night(rows, files, every_family(1)).equals(here(rows, files, every_family(1)))
    days = {folder.name for folder in (draft.parents[3] / ".buckets").glob("*/date=*")}
    assert days == {file.parent.name for file in files[:-1]}


def test_the_rows_themselves_by_a_second_name_are_not_looked_at_again(tmp_path, monkeypatch):
    in_this_process(monkeypatch, spark)
    found = shared_out(monkeypatch)
    rows, past, _ = written(tmp_path, 8, [])
    files = in_days(tmp_path, past)
    night(rows, files, every_family(1))
    found.clear()
    draft = tmp_path / "history" / ".draft" / "date=2025-04-09" / "b2.parquet"
    draft.parent.mkdir(parents=True)
    draft.hardlink_to(rows)
    there = night(rows, [*files, draft], every_family(1))
    assert found == ["rows", "rows"]
    copied = draft.with_name("b3.parquet")
    shutil.copy(rows, copied)
    for own in (draft, copied):
        assert there.equals(here(rows, [*files, own], every_family(1)))


def test_a_task_that_fails_leaves_no_day_in_buckets(tmp_path, monkeypatch):
    def fail(folder, pieces):
        raise MemoryError("no room")

    rows, past, _ = written(tmp_path, 7, [])
    files = in_days(tmp_path, past)
    in_this_process(monkeypatch, spark)
    with monkeypatch.context() as patch:
        patch.setattr(bucketed, "_write", fail)
        with pytest.raises(MemoryError, match="no room"):
            night(rows, files, every_family(1))
    buckets = files[0].parents[1] / ".buckets"
    assert [[*layout.iterdir()] for layout in buckets.iterdir()] == [[]]
    assert night(rows, files, every_family(1)).equals(here(rows, files, every_family(1)))
    assert date.fromisoformat(next(buckets.glob("*/*")).name.removeprefix("date="))
