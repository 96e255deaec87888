"""assay validate and assay features: what they write, and that they remember nothing."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.features import list_features
from pipeline.settings.file import read_config
from tests.flows.assay import run


def test_validate_writes_quarantine_and_data_docs_and_remembers_nothing(small: Path, tmp_path: Path) -> None:
    before = set((small / "assay-data").rglob("*")) if (small / "assay-data").exists() else set()
    result = run("validate", "--config", small / "assay.toml", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    files = {path.name for path in (tmp_path / "out").rglob("*")}
    assert {"quarantine.parquet", "index.html"} <= files
    assert "TX_AMOUNT: not negative" in result.output
    after = set((small / "assay-data").rglob("*")) if (small / "assay-data").exists() else set()
    assert after == before


def test_features_lists_them_or_writes_those_of_a_table(small: Path, tmp_path: Path) -> None:
    listed = run("features", "--config", small / "assay.toml")
    assert listed.exit_code == 0, listed.output
    assert "TX_AMOUNT against CUSTOMER_ID" in listed.output
    out = tmp_path / "features.parquet"
    days = ("--from", "2025-02-01", "--to", "2025-02-07")
    written = run("features", small / "transactions.parquet", "--config", small / "assay.toml", "--out", out, *days)
    assert written.exit_code == 0, written.output
    table = pq.read_table(out)
    names = [feature.column for feature in list_features(read_config(small / "assay.toml"))]
    assert set(names) <= set(table.column_names)
    assert f"{table.num_rows:,}" in written.output
    assert table["TX_DATETIME"].to_pylist()[0].day == 1
    assert [path.name for path in tmp_path.iterdir()] == ["features.parquet"]


@pytest.mark.parametrize("words", [("--out", "features.csv"), ("table.parquet",)])
def test_features_asks_for_a_parquet_file_to_write(small: Path, words: tuple[str, ...]) -> None:
    result = run("features", *words, "--config", small / "assay.toml")
    assert result.exit_code == 1
    assert "must name a Parquet file to write" in " ".join(result.output.split())
