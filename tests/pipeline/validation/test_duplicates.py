"""Ids that come twice, against a plain Python count."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.validation.duplicates import Rise, later_copies, same_elsewhere, seen_elsewhere


def keys(path: Path, ids: np.ndarray, rows: np.ndarray, kind: pa.DataType) -> Path:
    pq.write_table(pa.table({"id": pa.array(ids.tolist()).cast(kind), "row": rows}), path)
    return path


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
@pytest.mark.parametrize("seed", range(5))
def test_against_a_plain_count(tmp_path: Path, kind: pa.DataType, seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = random.integers(0, 300, 400)
    rows = np.sort(random.choice(1000, 400, replace=False))
    first = random.random(400) < 0.5  # the rows are spread over two files
    files = [keys(tmp_path / f"{i}.parquet", ids[part], rows[part], kind) for i, part in enumerate((first, ~first))]
    without = rows[random.random(400) < 0.2]
    seen: set[int] = set()
    copies = []
    for id_, row in zip(ids.tolist(), rows.tolist(), strict=True):
        if row in without:
            continue
        if id_ in seen:
            copies.append(row)
        seen.add(id_)
    found = later_copies(files, without, memory_limit="100MB", scratch=tmp_path)
    assert found.dtype == np.int64
    assert found.tolist() == copies

    old = random.integers(0, 400, 100)
    pq.write_table(pa.table({"tx": old}), tmp_path / "scores.parquet")  # numbers, whatever the ids are now
    again = seen_elsewhere(files[:1], [tmp_path / "scores.parquet"], "tx", memory_limit="100MB", scratch=tmp_path)
    assert again.tolist() == rows[first & np.isin(ids, old)].tolist()


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_ids_rise_where_each_is_above_the_one_before_however_they_are_cut(kind: pa.DataType) -> None:
    random, risen = np.random.default_rng(0), 0
    for _ in range(200):
        ids = random.choice(20, 4).tolist()
        ids = [None if random.random() < 0.2 else number for number in (sorted(ids) if random.random() < 0.7 else ids)]
        array, cut = pa.array(ids).cast(pa.int64()).cast(kind), int(random.integers(0, 5))
        rise, joined = Rise(), Rise()
        for part in (array[:cut], array[cut:]):
            rise.add(part)
        for start, end in pairwise(sorted({0, 1, cut, 4})):
            apart = Rise()
            apart.add(array[start:end])
            joined.join(apart)
        there = array.drop_null().to_pylist()
        assert rise.holds == joined.holds == (there == sorted(set(there)))
        risen += rise.holds
    assert 20 < risen < 180


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    empty = keys(tmp_path / "k.parquet", np.array([], dtype=int), np.array([], dtype=int), pa.int64())
    nothing = np.array([], dtype=np.int64)
    assert len(later_copies([empty], nothing, memory_limit="100MB", scratch=tmp_path)) == 0
    for elsewhere in ([], [tmp_path / "deleted" / "scores.parquet"]):
        assert len(seen_elsewhere([empty], elsewhere, "tx", memory_limit="100MB", scratch=tmp_path)) == 0


def test_a_row_is_the_same_where_every_column_is(tmp_path: Path) -> None:
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    pq.write_table(pa.table({"tx": ["a", "b"], 'the "eur"': [1.0, 2.0], "note": [1, 2]}), one)
    pq.write_table(pa.table({"tx": ["c"], 'the "eur"': [3.0], "note": [3]}), other)
    rows = pa.table({"tx": ["a", "b", "c", "d"], 'the "eur"': [1.0, 2.5, 3.0, 1.0], "row": [7, 8, 9, 10]})
    limits = {"memory_limit": "100MB", "scratch": tmp_path}
    assert same_elsewhere(rows, [one, other], ["tx", 'the "eur"'], **limits).tolist() == [7, 9]
    assert same_elsewhere(rows, [], ["tx", 'the "eur"'], **limits).tolist() == []
    assert same_elsewhere(rows.slice(0, 0), [one], ["tx", 'the "eur"'], **limits).tolist() == []
