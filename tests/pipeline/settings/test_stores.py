"""Addresses of stores in assay.toml: where files come in, without keys in them, and nowhere else."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.settings.config import Config
from pipeline.settings.file import read_config, with_settings, write_config
from pipeline.settings.stores import is_address

CONFIG = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/in", True),
        ("simplecache::s3://b", True),
        ("in", False),
        ("/a:b//c", False),
        ("C:\\in", False),
        ("", False),
    ],
)
def test_an_address_is_told_from_a_path(text: str, expected: bool) -> None:  # noqa: FBT001 - a row of the table
    assert is_address(text) is expected


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"work_dir": "s3://b/work"}, "work_dir = 's3://b/work': a store has no lock and renames no folder at once"),
        ({"table": {"path": "s3://b/t.csv"}}, "table.path = 's3://b/t.csv': it is read more than once"),
        ({"table": {"incoming": "s3://key:hush@b/in"}}, "'s3://***@b/in': a store's keys come from the environment"),
        ({"table": {"incoming": "https://h/in"}}, "a web server has no list of its files; name a store"),
        ({"table": {"incoming": "zip::s3://b/in"}}, "it is an address such as s3://bucket/in, without ?, #, *"),
        ({"table": {"incoming": "s3://b/in?versionId=1"}}, "it is an address such as s3://bucket/in, without ?, #, *"),
        ({"table": {"incoming": "s3://b/in/../out"}}, "it is an address such as s3://bucket/in, without ?, #, *"),
        ({"table": {"incoming": "s3://"}}, "it names no place in the store"),
        ({"incoming": {"archive": "s3://b/done"}}, "lie in one store or both on a disk; mend one of them"),
        ({"table": {"incoming": "s3://b/in"}, "incoming": {"archive": "done"}}, "lie in one store or both on a disk"),
        ({"table": {"incoming": "s3://b/in"}, "incoming": {"archive": "gs://b/done"}}, "lie in one store; mend one"),
        ({"table": {"incoming": "s3://b/in"}, "incoming": {"archive": "s3://b/in/done"}}, "lies in s3://b/in, where"),
    ],
)
def test_what_a_store_cannot_promise_is_refused_in_one_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as error:
        with_settings(CONFIG, **settings)
    assert "\n" not in str(error.value)
    assert "hush" not in str(error.value)


def test_an_address_stays_as_it_is_in_a_file_and_one_of_this_machine_is_a_path(tmp_path: Path) -> None:
    settings = {"table": {"incoming": "s3://b/in/"}, "incoming": {"archive": "s3://b/done"}}
    (tmp_path / "assay.toml").write_text(write_config(with_settings(CONFIG, **settings)))
    config = read_config(tmp_path / "assay.toml")
    assert (config.table.incoming, config.incoming.archive) == ("s3://b/in", "s3://b/done")
    assert with_settings(CONFIG, table={"incoming": "file:///srv/in%20box"}).table.incoming == "/srv/in box"
