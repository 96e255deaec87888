"""assay label: what it says of labels from review."""

import shutil
from pathlib import Path

from tests.flows.assay import run


def test_label_says_what_it_took_in_and_what_becomes_of_it_and_refuses_in_one_sentence(
    small: Path, tmp_path: Path
) -> None:
    config = tmp_path / "assay.toml"
    shutil.copy(small / "assay.toml", config)
    (tmp_path / "labels.csv").write_text("TRANSACTION_ID,TX_FRAUD,labelled_at\n1,1,2025-03-02\n2,0,2025-03-02\n")
    taken = run("label", tmp_path / "labels.csv", "--config", config)
    assert taken.exit_code == 0, taken.output
    words = " ".join(taken.output.split())
    assert "labels 2 frauds 1 ids not in the history 2" in words
    assert "used from their moment on, by the features of later batches and by the next training" in words
    assert "the history has no row of 2 of the ids" in words
    again = run("label", tmp_path / "labels.csv", "--config", config)
    assert again.exit_code == 0
    assert "was taken in before; nothing was done" in " ".join(again.output.split())
    assert len(list((tmp_path / "assay-data" / "labels").rglob("*.parquet"))) == 1
    (tmp_path / "bad.csv").write_text("TRANSACTION_ID,TX_FRAUD\n1,perhaps\n")
    for words, message in {
        ("label", tmp_path / "bad.csv", "--config", config): "'TX_FRAUD' holds 'perhaps' in bad.csv, source_row 0",
        ("label", tmp_path / "none.csv", "--config", config): "none.csv does not exist",
        ("label", config, "--config", config): "is a configuration, not a table",
    }.items():
        result = run(*words)
        assert result.exit_code == 1, words
        assert message in " ".join(result.output.split()), result.output
        assert "Traceback" not in result.output
