"""However many shards there are, features are the same to the last bit; and a shard that fails says why."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ResourceError
from pipeline.features import compute, shards
from tests.pipeline.features.by_hand import AGGREGATES, EVERY_FAMILY_AND_PAIR, START, config, reviews, transactions


def every_family(shards, contract=None, **features):
    """Settings with all families, of a pair too."""
    extra = {"families": EVERY_FAMILY_AND_PAIR, "aggregates": AGGREGATES, "label_delay_days": 2, **features}
    setup = config({"categorical": ("channel",), "numeric": ("lat", "lon"), **(contract or {})}, **extra)
    return setup.model_copy(update={"engine": setup.engine.model_copy(update={"shards": shards})})


def odd_rows(seed, rows=300):
    """Ties, gaps, late rows, rows without an entity, a shop with half of all rows, and amounts with large squares."""
    random, table = np.random.default_rng(seed), transactions(rows=rows, seed=seed)
    shops = np.where(random.random(rows) < 0.5, "heavy", table["shop"].to_numpy())
    for name, values in (
        ("shop", pa.array(shops, pa.string(), mask=random.random(rows) < 0.1)),
        ("channel", pa.array(random.choice(["web", "phone"], rows), pa.string(), mask=random.random(rows) < 0.3)),
        ("lat", pa.array(random.uniform(-90, 90, rows), mask=random.random(rows) < 0.2)),
        ("lon", pa.array(random.uniform(-180, 180, rows))),
        ("eur", pa.array(np.round(table["eur"].to_numpy() * 123.4567, 2))),
    ):
        place = table.column_names.index(name) if name in table.column_names else None
        table = table.append_column(name, values) if place is None else table.set_column(place, name, values)
    return table


def written(folder, seed, verdicts):
    """Files of the last third of some rows, of those before it, and of labels from review."""
    table = odd_rows(seed).sort_by("at")
    files = {"rows": table.slice(200), "past": table.slice(0, 220), "reviewed": reviews(verdicts)}
    for name, rows in files.items():
        pq.write_table(rows, folder / f"{name}.parquet")
    return [folder / f"{name}.parquet" for name in files]


def with_verdicts(folder, labelled_at):
    """What `written` writes, with labels from review, and the contract's part about when labels became known."""
    random = np.random.default_rng(0)
    verdicts = [(int(random.integers(0, 300)), int(label), START) for label in random.integers(0, 2, 40)]
    rows, past, reviewed = written(folder, 3, verdicts)
    if not labelled_at:
        return rows, past, reviewed, {}
    for file in (rows, past):
        table = pq.read_table(file)
        pq.write_table(table.append_column(labelled_at, table["at"]), file)
    return rows, past, reviewed, {"labelled_at": labelled_at}


def in_this_process(monkeypatch):
    """Let buckets be computed without processes of their own, which take a second each."""
    monkeypatch.setattr(shards, "_start", lambda folder, bucket: shards.compute_bucket(folder, bucket) or 0)


@pytest.mark.parametrize("labelled_at", [None, "known_at"])
def test_any_number_of_shards_gives_the_same_bits(tmp_path, monkeypatch, labelled_at):
    in_this_process(monkeypatch)
    monkeypatch.setattr(shards, "_at_once", lambda: 1)
    rows, past, reviewed, contract = with_verdicts(tmp_path, labelled_at)
    found = [
        pq.read_table(compute(rows, [past], every_family(number, contract), tmp_path / "out.parquet", reviewed=labels))
        for labels in ([], [reviewed])
        for number in (1, 2, 7)
    ]
    assert [table.equals(found[0]) for table in found[1:3]] == [True, True]
    assert [table.equals(found[3]) for table in found[4:]] == [True, True]
    assert not found[0].equals(found[3])


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(2, 9))
def test_shards_of_tables_drawn_by_chance_give_the_bits_of_one(tmp_path_factory, seed, number):
    folder = tmp_path_factory.mktemp("shards")
    rows, past, _ = written(folder, seed, [])
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        patch.setattr(shards, "_at_once", lambda: 1)
        one, many = (
            pq.read_table(compute(rows, [past], every_family(count), folder / "out.parquet")) for count in (1, number)
        )
    assert many.equals(one)


def test_processes_of_their_own_give_the_bits_of_one_and_leave_nothing_behind(tmp_path):
    rows, past, reviewed = written(tmp_path, 4, [(250, 1, START), (260, 0, START)])
    out = tmp_path / "it's [here] *"
    for number in (1, 3):
        compute(rows, [past], every_family(number), out / f"{number}.parquet", reviewed=[reviewed])
    one, three = (pq.read_table(out / f"{number}.parquet") for number in (1, 3))
    assert three.equals(one)
    assert sorted(path.name for path in out.iterdir()) == ["1.parquet", "3.parquet"]


def test_a_share_of_memory_that_is_too_small_is_named_with_its_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "bytes_of", lambda size: 2_000_000)
    rows, past, _ = written(tmp_path, 5, [])
    out = tmp_path / "out.parquet"
    with pytest.raises(ResourceError, match=r"'2GB' is less than a bucket of engine.shards = 2 needs at once; raise"):
        compute(rows, [past], every_family(2), out)
    assert not out.exists()


def test_a_shard_that_is_killed_keeps_the_features_from_being_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_start", lambda folder, bucket: -9 * bucket)
    rows, past, _ = written(tmp_path, 6, [])
    with pytest.raises(ResourceError, match="a process that computes features ended with status -9, so they"):
        compute(rows, [past], every_family(2), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
