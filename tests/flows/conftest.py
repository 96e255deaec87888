"""What the tests of the flows and of their commands share: a new table, a champion and a better candidate."""

import re
import shutil
from pathlib import Path

import pytest

from flows.run import run_flow
from tests.flows.assay import PERIOD


@pytest.fixture(scope="session")
def two_versions(small: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """A folder with two versions: a champion that only sees when somebody was there last, and a better candidate."""
    folder = tmp_path_factory.mktemp("two_versions")
    shutil.copy(small / "transactions.parquet", folder)
    # Another fixture may have set the number of epochs before.
    text = re.sub(
        r"^(# )?max_epochs = .*$", "max_epochs = 6", (small / "assay.toml").read_text(), count=1, flags=re.MULTILINE
    )
    (folder / "assay.toml").write_text(text)
    blind = re.sub(r"^families = \[\"?.*?\]$", 'families = ["recency"]', text, count=1, flags=re.MULTILINE)
    assert blind != text
    blind = re.sub(r"^core = \[.*?\]$", "core = []", blind, count=1, flags=re.MULTILINE)
    (folder / "blind.toml").write_text(blind.replace("max_epochs = 6", "max_epochs = 5"))
    run_flow(folder / "blind.toml", "flows.train:train", table="", **PERIOD)
    run_flow(folder / "assay.toml", "flows.train:train", table="", **PERIOD)
    return folder


@pytest.fixture
def fresh(two_versions: Path, tmp_path: Path) -> Path:
    """The configuration, in a copy of that folder: a test may move its aliases and score what it likes."""
    folder = tmp_path / "fresh"
    shutil.copytree(two_versions / "assay-data" / "history", folder / "assay-data" / "history")
    shutil.copy(two_versions / "transactions.parquet", folder)
    for name in ("mlflow.db", "ledger.db"):
        shutil.copy(two_versions / "assay-data" / name, folder / "assay-data")
    shutil.copy(two_versions / "assay.toml", folder)
    return folder / "assay.toml"


@pytest.fixture
def new_table(small: Path, tmp_path: Path, prefect_server: str) -> Path:
    """A folder of the test's own with a table, its configuration, and nothing trained."""
    shutil.copy(small / "transactions.parquet", tmp_path)
    shutil.copy(small / "assay.toml", tmp_path)
    return tmp_path
