"""Telling that fails: it is said, and the run goes on."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from flows import telling
from flows.stages import RunCancelled
from pipeline.errors import InputError
from pipeline.settings.config import Config
from pipeline.workspace.nightly import Nightly
from tests.processes import free_port


def make_config(folder: Path, **sections: object) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    return Config.model_validate({"contract": contract, "work_dir": str(folder / "work"), **sections})


def kinds(folder: Path) -> list[str]:
    (file,) = (folder / "work" / "lineage").glob("*.ndjson")
    return [json.loads(line)["eventType"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, "COMPLETE"),
        (InputError("empty"), "FAIL"),
        (RunCancelled("away"), "ABORT"),
        (KeyboardInterrupt(), "ABORT"),
    ],
)
def test_how_a_run_ends_is_told_and_what_it_raises_goes_on(
    error: BaseException | None, end: str, tmp_path: Path
) -> None:
    def work() -> None:
        if error:
            raise error

    expected = pytest.raises(type(error)) if error else nullcontext()
    with expected as caught, telling.lineage(make_config(tmp_path), "score", tmp_path / "day.csv") as run:
        assert run.parent is None  # without Prefect's engine
        work()
    assert (caught.value if caught else None) is error
    assert kinds(tmp_path) == ["START", end]


def test_an_address_that_does_not_answer_is_told_once_and_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(tmp_path, lineage={"url": f"http://127.0.0.1:{free_port()}/"})
    with telling.lineage(config, "score", tmp_path / "day.csv") as run:
        run.outputs.append(tmp_path / "none.parquet")
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("of lineage.url did not take an event") == 1
    assert "an event of lineage was not written" in said  # of an output that is not there
    assert kinds(tmp_path) == ["START"]


def test_nothing_is_written_where_the_sections_are_off(tmp_path: Path) -> None:
    config = make_config(tmp_path, lineage={"enabled": False}, metrics={"enabled": False})
    with telling.lineage(config, "score", tmp_path / "day.csv"):
        pass
    (tmp_path / "work").mkdir()
    telling.tell(config)
    telling.emit("scored", config, file="day.csv")
    assert list((tmp_path / "work").iterdir()) == []
    assert Nightly(config).state == "fine"


def test_a_textfile_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    telling.tell(make_config(tmp_path, metrics={"path": str(tmp_path / "none" / "cards.prom")}))
    assert "for the textfile of metrics.path; make it" in " ".join(capsys.readouterr().err.split())
