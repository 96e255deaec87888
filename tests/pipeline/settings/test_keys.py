"""pipeline/settings/keys.py: keys that are made once."""

import stat

import pytest

from pipeline.errors import ResourceError
from pipeline.settings.keys import make_key, secret_key


def test_a_key_is_made_once_for_its_owner_only_and_the_first_of_two_holds(tmp_path):
    path = tmp_path / "new" / "some.key"
    key = secret_key(path, "an example", "nothing is lost")
    assert (len(key), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    make_key(path)  # as a process does that saw no key a moment ago
    assert [file.name for file in path.parent.iterdir()] == ["some.key"]
    assert secret_key(path, "an example", "nothing is lost") == key
    assert secret_key(tmp_path / "other.key", "an example", "nothing is lost") != key


def test_a_key_that_is_none_is_said_in_a_sentence_with_what_its_loss_costs(tmp_path):
    (tmp_path / "some.key").write_bytes(b"short")
    with pytest.raises(ResourceError, match=r"some\.key is no key of 32 bytes; .* or delete it, and nothing is lost"):
        secret_key(tmp_path / "some.key", "an example", "nothing is lost")
    with pytest.raises(ResourceError, match=r"the key of an example, can't be read or made \(File exists\)"):
        secret_key(tmp_path / "some.key" / "below", "an example", "nothing is lost")
