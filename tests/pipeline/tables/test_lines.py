"""A CSV file is cut only where each part is read as it is in the whole."""

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables import lines
from pipeline.tables.headers import read_header
from pipeline.tables.lines import line_blocks
from pipeline.tables.reading import open_table
from pipeline.tables.stretches import NotByItself


def blocks(path: Path, content: bytes, **table: object) -> list[tuple[bytes, int]]:
    """Write a file, and return the texts that it is cut into, each with its number of lines."""
    path.write_bytes(content)
    config = TableConfig.model_validate(table)
    found = line_blocks(path, config, read_header(path, config))
    return [(content[block.start : block.end], block.lines) for block in found]


def test_whole_lines_below_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.csv"
    monkeypatch.setattr(lines, "BLOCK_BYTES", 12)
    assert blocks(path, b"a,b\n1,2\n3,4\n5,6\r\n77777777,8\n9,0") == [
        (b"1,2\n3,4\n", 2),
        (b"5,6\r\n", 1),
        (b"77777777,8\n", 1),
        (b"9,0", 1),
    ]
    monkeypatch.setattr(lines, "BLOCK_BYTES", 100)
    assert blocks(path, b"\xef\xbb\xbfa,b\n1,2\n") == [(b"1,2\n", 1)]
    assert blocks(path, b"sep=;\na;b\n1;2\n") == [(b"1;2\n", 1)]
    assert blocks(path, b"1,2\n3,4\n", columns=["a", "b"]) == [(b"1,2\n3,4\n", 2)]
    assert blocks(path, b'\xef\xbb\xbf"a","b"\n"1","2, 3"\r\n"",4') == [
        (b'"1","2, 3"\r\n', 1),
        (b'"",4', 1),
    ]
    assert blocks(path, b"a,b\n") == []


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n"1,2\n',
        b'a,b\n1,"2"3\n',
        b'a,b\n1"2",3\n',
        b'a,b\n"1""2",3\n',
        b'a,b\n"1\n2",3\n',
        b'a,b\n1"2,"3\n',
        b"a,b\n1,2\n\n3,4\n",
        b"a,b\n1,2\n\r\n3,4\n",
        b"\na,b\n1,2\n",
        b"a,b\n1,2\r3,4\n",
        b"a,b\n1,2\n\xef\xbb\xbf3,4\n",
        gzip.compress(b"a,b\n1,2\n"),
    ],
    ids=[
        *("open", "behind a quote", "before a quote", "quote in quotes", "end in quotes", "two that are no pair"),
        "blank",
        *("blank of two signs", "blank first", "another end", "mark", "packed"),
    ],
)
def test_where_it_takes_all_that_is_before_there_are_none(tmp_path: Path, content: bytes) -> None:
    assert blocks(tmp_path / "in.csv", content) == []


def test_in_an_encoding_whose_line_ends_are_more_than_a_byte_there_are_none(tmp_path: Path) -> None:
    assert blocks(tmp_path / "in.csv", "a,b\n1,2\n".encode("utf-16"), encoding="utf-16") == []
    assert blocks(tmp_path / "in.csv", "a,b\n\u00e9,2\n".encode("latin-1"), encoding="latin-1") == [(b"\xe9,2\n", 1)]


PLAIN = ("1,2", "x,", ",", '"1",2', '"",""', '"a, b","c"', "\u00e9,\u00df")
ODD = ("1,2,3", "1", "", '"', '"1","2', 'a"b,"c', 'a"b,c"d', '"a""b",2', '"a\nb",2', ' "1",2', "\ufeff1,2", "a\rb,c")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    cells=st.lists(st.sampled_from(PLAIN + ODD), max_size=12) | st.lists(st.sampled_from(PLAIN), max_size=20),
    ends=st.sampled_from(["\n", "\r\n"]),
    is_ended=st.booleans(),
    sizes=st.tuples(st.integers(5, 40), st.integers(1, 6), st.integers(1, 6)),
)
def test_stretches_of_any_text_are_its_batches_or_it_says_that_they_are_not(
    tmp_path: Path, *, cells: list[str], ends: str, is_ended: bool, sizes: tuple[int, int, int]
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes((ends.join(["a,b", *cells]) + ends * is_ended).encode())
    block, batch_rows, rows = sizes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", block)
        try:
            table = open_table(path, TableConfig())
            found = table.stretches(batch_rows, rows)
            by_stretch = [batch for stretch in found for batch in table.batches(batch_rows, stretch)]
        except (NotByItself, InputError):  # or whoever opens it says what is wrong
            return
    if found:
        assert by_stretch == list(table.batches(batch_rows))
        assert table.broken == []
