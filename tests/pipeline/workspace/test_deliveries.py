"""What lies in the incoming folder."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.settings.config import Config
from pipeline.workspace.deliveries import look


def make_config(folder: Path) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    table = {"incoming": str(folder / "incoming")}
    return Config.model_validate({"contract": contract, "work_dir": str(folder / "work"), "table": table})


def test_hidden_names_and_those_of_copying_programs_are_not_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    for name in ("b.csv", "a.parquet", ".hidden.csv", "_SUCCESS", "c.csv.tmp", "c.csv.PART", "tmp.csv"):
        (folder / name).write_text("")
    (folder / "day").mkdir()
    deliveries = look(make_config(tmp_path))
    assert [path.name for path in deliveries.ready] == ["a.parquet", "b.csv", "day", "tmp.csv"]
    assert deliveries.skipped == 4


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"incoming does not exist; make it, or name another one as table\.incoming"):
        look(make_config(tmp_path))
