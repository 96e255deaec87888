"""Sealed folders: what is written comes back, and nothing else does."""

import hashlib
import json

import numpy as np
import pytest

from pipeline.detector.files import check_finite, read_json, seal, unseal
from pipeline.errors import ResourceError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"abc")
    (tmp_path / "encoder.json").write_text('{"a": 1}')
    seal(tmp_path, {"threshold": 0.1, "days": [1, 2]})
    return tmp_path


def test_what_was_sealed_comes_back_and_sealing_again_changes_nothing(folder):
    before = (folder / "detector.json").read_bytes()
    assert unseal(folder) == {"format": 5, "threshold": 0.1, "days": [1, 2]}
    seal(folder, {"threshold": 0.1, "days": [1, 2]})
    assert (folder / "detector.json").read_bytes() == before
    digest = hashlib.sha256(b"abc").hexdigest()
    assert json.loads(before)["files"]["model/weights"] == digest


def test_a_file_beside_those_that_were_sealed_is_nobodys_business(folder):
    (folder / "notes.txt").write_text("by hand")
    assert unseal(folder)["threshold"] == 0.1


@pytest.mark.parametrize("text", ["", "[]", "3", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "{", "[" * 100_000])
def test_what_is_no_object_of_finite_numbers_is_damaged(tmp_path, text):
    (tmp_path / "encoder.json").write_text(text)
    with pytest.raises(ResourceError, match=r"encoder\.json is damaged: it is not what training wrote; bring"):
        read_json(tmp_path / "encoder.json")


def test_text_in_another_encoding_is_damaged(tmp_path):
    (tmp_path / "encoder.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ResourceError, match="is damaged"):
        read_json(tmp_path / "encoder.json")


def test_numbers_that_are_not_finite_cannot_be_sealed(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        seal(tmp_path, {"threshold": float("nan")})
    assert not list(tmp_path.iterdir())


def test_missing_and_infinite_numbers_are_refused_with_their_file(tmp_path):
    check_finite(tmp_path / "scores", np.array([0.0, 1e300]))
    for number in (np.nan, np.inf):
        with pytest.raises(ResourceError, match="scores holds numbers that are not finite"):
            check_finite(tmp_path / "scores", np.array([0.0, number]))
