"""What lies in the incoming folder: what is whole, what is not yet, and what becomes of it."""

import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.settings.config import Config
from pipeline.workspace.deliveries import look, put_away, source_of


def make_config(folder: Path, **incoming: Any) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    table = {"incoming": str(folder / "incoming")}
    raw = {"contract": contract, "work_dir": str(folder / "work"), "table": table, "incoming": incoming}
    return Config.model_validate(raw)


def deliver(folder: Path, *names: str, age: float = 60) -> None:
    for name in names:
        path = folder / "incoming" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        for each in (path, path.parent):
            os.utime(each, (time.time() - age,) * 2)


def ready(config: Config, *, waits: bool = False) -> list[str]:
    return [path.name for path in look(config, waits=waits).ready]


def test_hidden_names_and_those_of_copying_programs_are_not_looked_at(tmp_path: Path) -> None:
    deliver(tmp_path, "b.csv", "a.parquet", ".hidden.csv", "_SUCCESS", "c.csv.tmp", "c.csv.PART", "tmp.csv")
    config = make_config(tmp_path)
    assert ready(config) == ["a.parquet", "b.csv", "tmp.csv"]
    assert look(config).skipped == 4
    assert ready(make_config(tmp_path, ignore=["b.*"])) == ["a.parquet", "c.csv.PART", "c.csv.tmp", "tmp.csv"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"incoming does not exist; make it, or name another one as table\.incoming"):
        look(make_config(tmp_path))


def test_a_delivery_with_a_marker_is_whole(tmp_path: Path) -> None:
    names = ["a.csv", "a.csv.done", "b.csv", "b.done", "c.csv", "day/part-0.csv", "day/_SUCCESS", "half/part-0.csv"]
    deliver(tmp_path, *names)
    deliveries = look(make_config(tmp_path, markers=[".done", "_SUCCESS"]))
    assert [path.name for path in deliveries.ready] == ["a.csv", "b.csv", "day"]
    assert dict(deliveries.unfinished) == dict.fromkeys(["c.csv", "half"], "it has no .done or _SUCCESS yet")
    assert deliveries.skipped == 0


def test_a_delivery_waits_for_its_manifest(tmp_path: Path) -> None:
    deliver(tmp_path, "a.csv", "a.csv.json", "b.csv")
    deliveries = look(make_config(tmp_path, manifest=".json"))
    assert [path.name for path in deliveries.ready] == ["a.csv"]
    assert dict(deliveries.unfinished) == {"b.csv": "it has no .json yet"}


def test_a_file_that_changed_a_moment_ago_is_unfinished_until_it_is_quiet(tmp_path: Path) -> None:
    deliver(tmp_path, "old.csv")
    deliver(tmp_path, "new.csv", "day/part-0.csv", "ahead.csv", age=-30)  # of a clock that is ahead
    config = make_config(tmp_path, quiet_seconds=0.2)
    assert ready(config) == ["old.csv"]
    assert look(config).unfinished["new.csv"] == "it has changed within 0.2 seconds"
    assert ready(config, waits=True) == ["ahead.csv", "day", "new.csv", "old.csv"]
    assert ready(make_config(tmp_path, quiet_seconds=0)) == ["ahead.csv", "day", "new.csv", "old.csv"]


def test_a_file_that_is_being_written_is_left_to_the_next_run(tmp_path: Path) -> None:
    deliver(tmp_path, "old.csv", "growing.csv", age=0)
    stop = threading.Event()

    def grow() -> None:
        while not stop.wait(0.01):
            with (tmp_path / "incoming" / "growing.csv").open("a") as file:
                file.write("a row\n")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        assert ready(make_config(tmp_path, quiet_seconds=1), waits=True) == ["old.csv"]
    finally:
        stop.set()
        writer.join()


def test_a_scored_delivery_and_what_lies_beside_it_go_to_the_archive(tmp_path: Path) -> None:
    config = make_config(tmp_path, archive=str(tmp_path / "archive"), markers=[".done"], manifest=".json")
    incoming, archive = tmp_path / "incoming", tmp_path / "archive"
    for text in ("first", "second", "third"):
        deliver(tmp_path, "a.csv", "a.csv.done", "a.json", "b.csv")
        (incoming / "a.csv").write_text(text)
        put_away(incoming / "a.csv", config)
        assert [path.name for path in incoming.iterdir()] == ["b.csv"]
    texts = {path.name: path.read_text() for path in archive.glob("a*.csv")}
    assert texts == {"a.csv": "third", "a-1.csv": "first", "a-2.csv": "second"}
    assert (archive / "a.json").exists()
    assert not [path for path in archive.iterdir() if path.name.startswith(".")]
    assert source_of(archive / "a.csv", config) == incoming / "a.csv"
    assert source_of(tmp_path / "a.csv", config) == tmp_path / "a.csv"


def test_without_an_archive_a_delivery_stays(tmp_path: Path) -> None:
    deliver(tmp_path, "a.csv")
    put_away(tmp_path / "incoming" / "a.csv", make_config(tmp_path))
    assert ready(make_config(tmp_path)) == ["a.csv"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"markers": ["a/b"]}, "'a/b' is no name; write an ending such as .done"),
        ({"markers": [" "]}, "' ' is no name"),
        ({"manifest": "json"}, "'json' is no ending of a name; write one such as .manifest.json"),
    ],
)
def test_settings_that_name_no_file_are_refused(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        make_config(tmp_path, **settings)
