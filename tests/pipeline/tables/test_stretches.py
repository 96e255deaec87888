"""Stretches of a table hold every row once, begin where batches do, and are read as the same batches."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables import lines
from pipeline.tables.reading import open_table
from pipeline.tables.stretches import Groups, NotByItself, row_groups_of, table_stretches


def groups_of(files: dict[Path, list[int]]) -> list[Groups]:
    """Row groups of so many rows, by file."""
    return [
        Groups(file, (number,), sum(sizes[:number]), size)
        for file, sizes in files.items()
        for number, size in enumerate(sizes)
        if size
    ]


@given(
    sizes=st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5),
    batch_rows=st.integers(1, 12),
    rows=st.integers(1, 30),
)
def test_every_row_is_in_one_stretch_and_every_batch_too(sizes: list[list[int]], batch_rows: int, rows: int) -> None:
    files = {Path(f"{number}.parquet"): some for number, some in enumerate(sizes)}
    found = table_stretches(groups_of(files), batch_rows, rows)
    in_order = [(file, place) for file, some in files.items() for place in range(sum(some))]
    held = []
    for stretch in found:
        assert stretch.first == len(held)
        assert stretch.first % batch_rows == 0
        own = []
        for groups in stretch.groups:
            some = files[groups.file]
            assert (
                groups.numbers
                == tuple(number for number in range(min(groups.numbers), len(some)) if some[number])[
                    : len(groups.numbers)
                ]
            )
            assert groups.first == sum(some[: groups.numbers[0]])
            assert groups.rows == sum(some[number] for number in groups.numbers)
            own += [(groups.file, groups.first + place) for place in range(sum(some[n] for n in groups.numbers))]
        held += own[stretch.skipped : stretch.skipped + stretch.rows]
    assert held == in_order


def test_a_stretch_is_about_as_long_as_is_asked_for_and_a_long_group_is_one() -> None:
    def ends(sizes: list[int], batch_rows: int, rows: int) -> list[int]:
        return [stretch.first for stretch in table_stretches(groups_of({Path("a"): sizes}), batch_rows, rows)]

    assert ends([10] * 6, 5, 20) == [0, 20, 40]
    assert ends([10] * 6, 25, 20) == [0, 25, 50]
    assert ends([100, 7, 3], 5, 20) == [0, 100]
    assert ends([7] * 4, 4, 1) == [0, 8, 16, 24]
    assert ends([], 4, 1) == ends([0, 0], 4, 1) == []


def test_only_the_groups_that_hold_its_rows_are_of_a_stretch() -> None:
    first, second = table_stretches(groups_of({Path("a"): [4, 0, 4], Path("b"): [4]}), 3, 6)
    assert first.groups == (Groups(Path("a"), (0, 2), 0, 8), Groups(Path("b"), (0,), 0, 4))
    assert (first.rows, first.skipped) == (9, 0)
    assert second.groups == (Groups(Path("b"), (0,), 0, 4),)
    assert (second.rows, second.skipped) == (3, 1)


def test_a_table_by_stretches_is_the_table_in_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random, first = np.random.default_rng(3), 0
    for number, count in enumerate((50, 3, 70)):
        folder = tmp_path / "in" / f"day={number}"
        folder.mkdir(parents=True)
        kind = pa.int32() if number else pa.int64()
        table = pa.table({"tx": pa.array(range(first, first + count), kind), "eur": random.normal(size=count)})
        pq.write_table(table, folder / "part.parquet", row_group_size=13)
        first += count
    monkeypatch.chdir(tmp_path)
    table = open_table("in", TableConfig())
    found = table.stretches(10, 20)
    monkeypatch.chdir("/")  # where a process of the cluster may be
    parts = [batch for stretch in found for batch in table.batches(10, stretch)]
    monkeypatch.chdir(tmp_path)
    assert len(found) > 4
    assert all(stretch.is_there() for stretch in found)
    assert parts == list(table.batches(10))
    assert [groups.rows for groups in row_groups_of(tmp_path / "in" / "day=0" / "part.parquet")] == [13, 13, 13, 11]
    (tmp_path / "in" / "day=1" / "part.parquet").rename(tmp_path / "elsewhere.parquet")
    assert [stretch.is_there() for stretch in found].count(False) == 1


def test_csv_by_stretches_is_the_table_in_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 40)
    (tmp_path / "in").mkdir()
    first = 0
    for number, count in enumerate((50, 3, 70)):
        rows = "".join(f"t{first + row},{row}.5,caf\u00e9\n" for row in range(count))
        (tmp_path / "in" / f"{number}.csv").write_text(f"tx,eur,note\n{rows}", encoding="utf-8")
        first += count
    monkeypatch.chdir(tmp_path)
    table = open_table("in", TableConfig())
    found = table.stretches(10, 20)
    assert sum(stretch.rows for stretch in found) == first
    assert len(found) > 4
    monkeypatch.chdir("/")
    parts = [batch for stretch in found for batch in table.batches(10, stretch)]
    monkeypatch.chdir(tmp_path)
    assert parts == list(table.batches(10))


@pytest.mark.parametrize(
    ("line", "then"),
    [(b"t,1\n", b"t,1\n"), (b"t,1,2,3\n", b"t,1,2,3\n"), (b"t,1,e\n", b"t,1,\xe9\n"), (b"t,1,n\n", b"")],
    ids=["too short", "too long", "no UTF-8", "gone meanwhile"],
)
def test_csv_that_is_otherwise_than_its_lines_say_is_not_read_by_itself(
    tmp_path: Path, line: bytes, then: bytes
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"tx,eur,note\n" + b"t,1,n\n" * 9 + line)
    table = open_table(path, TableConfig())
    [stretch] = table.stretches(4, 100)
    assert stretch.rows == 10
    path.write_bytes(b"tx,eur,note\n" + b"t,1,n\n" * 9 + then)
    with pytest.raises(NotByItself):
        list(table.batches(4, stretch))


def test_a_file_that_is_damaged_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    pq.write_table(pa.table({"tx": [1]}), tmp_path / "in.parquet")
    table = open_table(tmp_path / "in.parquet", TableConfig())
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"in.parquet is truncated or no Parquet file"):
        table.stretches(10, 20)
