"""The sample of a table, and what each of its columns holds."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.inference.profiles import read_sample, sniff
from pipeline.settings.config import TableConfig
from pipeline.tables.reading import open_table
from tests.pipeline.inference.transactions import infer_file, save, transactions


def test_uniqueness_is_judged_on_the_whole_table(tmp_path, monkeypatch):
    # Every 4th row is in the sample; the column repeats its values only outside of it.
    monkeypatch.setattr("pipeline.inference.profiles.SAMPLE_ROWS", 1_000)
    frame = transactions(4_000)
    frame["TRANSACTION_ID"] = np.where(np.arange(4_000) % 4 == 0, np.arange(4_000), -1)
    frame["code"] = [f"c{i}" for i in range(4_000)]
    path = save(tmp_path, frame, "tx.parquet")
    sample = read_sample(open_table(path, TableConfig()))
    assert sample["code"].to_pylist() == [f"c{i}" for i in range(0, 4_000, 4)]
    config, _, _ = infer_file(path)
    assert config.contract.id == "code"


def test_a_table_of_broken_lines(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(InputError, match=r"a\.csv has no row with as many cells as its header"):
        infer_file(tmp_path / "a.csv")


@pytest.mark.parametrize("kind", [pa.uint64(), pa.decimal128(38, 0)])
def test_an_id_beyond_64_bits_is_text(tmp_path, kind):
    frame = transactions(300)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    ids = pa.array([2**63 + row for row in range(300)], kind)
    pq.write_table(table.set_column(0, "TRANSACTION_ID", ids), tmp_path / "tx.parquet")
    contract = infer_file(tmp_path / "tx.parquet", label="TX_FRAUD")[0].contract
    assert (contract.id, contract.types["TRANSACTION_ID"]) == ("TRANSACTION_ID", "text")


def test_sniffing_leaves_parquet_and_single_columns_alone(tmp_path):
    pq.write_table(pa.table({"a;b": [1]}), tmp_path / "a.parquet")
    assert sniff(tmp_path / "a.parquet") == TableConfig()
    for text, delimiter in (("a\n1\n", ","), ('"a,b,c";d\n', ";"), ("\ufeff\na\tb,c\td\n", "\t"), ("a|b", "|")):
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        assert sniff(tmp_path / "a.csv").delimiter == delimiter
    assert sniff(tmp_path / "none.csv") == TableConfig()
    assert sniff(tmp_path / "a.csv", TableConfig(delimiter=",")).delimiter == ","
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.csv").write_text("a;b\n1;2\n")
    assert sniff(tmp_path / "in", TableConfig(time_zone="Europe/Berlin")) == TableConfig(
        delimiter=";", time_zone="Europe/Berlin"
    )
