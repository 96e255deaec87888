"""pipeline/settings/pseudonyms.py: what stands for a sensitive entity."""

import hashlib
import hmac
import stat

import pyarrow as pa
import pytest

from pipeline.errors import ResourceError
from pipeline.settings.pseudonyms import Pseudonyms


def test_a_pseudonym_is_the_beginning_of_the_values_hmac(tmp_path):
    (tmp_path / "pseudonyms.key").write_bytes(b"k" * 32)
    expected = hmac.new(b"k" * 32, "Käse-4711".encode(), hashlib.sha256).hexdigest()[:8]
    assert Pseudonyms(tmp_path).of("Käse-4711") == expected
    assert hashlib.sha256("Käse-4711".encode()).hexdigest()[:8] != expected


def test_the_key_is_made_once_for_its_owner_only_and_another_folder_has_another_one(tmp_path):
    one, other = Pseudonyms(tmp_path / "one"), Pseudonyms(tmp_path / "other")
    pseudonym = one.of(4711)
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    assert [path.name for path in one.path.parent.iterdir()] == ["pseudonyms.key"]
    assert Pseudonyms(tmp_path / "one").of("4711") == pseudonym
    assert other.of(4711) != pseudonym


def test_no_key_is_made_before_it_is_asked_for(tmp_path):
    Pseudonyms(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_cell_has_a_pseudonym_that_no_word_for_it_shares(tmp_path):
    pseudonyms = Pseudonyms(tmp_path)
    values = [None, "None", "", "missing", "\ud800"]
    assert len({pseudonyms.of(value) for value in values}) == len(values)


@pytest.mark.parametrize("column", [pa.chunked_array([["a", None], ["b", "a"]]), pa.chunked_array([[3, 3, None]])])
def test_a_column_is_its_cells(tmp_path, column):
    pseudonyms = Pseudonyms(tmp_path)
    assert pseudonyms.of_column(column).to_pylist() == [pseudonyms.of(value) for value in column.to_pylist()]


def test_a_column_without_rows_is_text(tmp_path):
    assert Pseudonyms(tmp_path).of_column(pa.chunked_array([], pa.int64())).type == pa.string()


def test_a_key_that_is_none_is_said_in_a_sentence(tmp_path):
    (tmp_path / "pseudonyms.key").write_bytes(b"")
    with pytest.raises(ResourceError, match=r"pseudonyms\.key is no key of 32 bytes; bring back a copy of it, or"):
        Pseudonyms(tmp_path).of("a")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"can't be read or made \(File exists\); mend its rights"):
        Pseudonyms(tmp_path / "file").of("a")
