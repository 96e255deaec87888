import hashlib
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError, ResourceError
from pipeline.settings.config import Config
from pipeline.settings.file import with_settings
from pipeline.tables.batch import Batch
from pipeline.tables.period import Period
from pipeline.tables.reading import content_digest

CONFIG = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})


def test_a_batch_is_known_by_its_content_and_not_by_its_name(tmp_path):
    for name, value in (("monday", 1), ("copy", 1), ("changed", 2)):
        pq.write_table(pa.table({"tx": [value]}), tmp_path / f"{name}.parquet")
    monday, copy, changed = (Batch.of(tmp_path / f"{name}.parquet", CONFIG) for name in ("monday", "copy", "changed"))
    assert monday.digest == copy.digest == content_digest(tmp_path / "monday.parquet", CONFIG.table)
    assert monday.id == copy.id != changed.id
    assert copy.open().path == tmp_path / "copy.parquet"
    period = Period.of_days(None, None, "UTC")
    assert Batch.of(tmp_path / "copy.parquet", CONFIG, period).id == copy.id


def test_a_table_that_cannot_be_read_is_one_batch_as_long_as_the_reason_is_the_same(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    batch = Batch.of(tmp_path / "pipe.csv", CONFIG)
    reason = f"{tmp_path / 'pipe.csv'} is a named pipe and no file; take it away, and deliver a file"
    assert batch.digest == hashlib.sha256(reason.encode()).hexdigest()
    assert batch == Batch.of(tmp_path / "pipe.csv", CONFIG)
    with pytest.raises(InputError, match=r"pipe\.csv is a named pipe and no file"):
        batch.open()


def test_the_rules_of_a_batch_are_those_that_may_refuse_it(tmp_path):
    (tmp_path / "suite.json").write_text("{}")
    (tmp_path / "in.csv").write_text("tx,at,eur\n")
    suite = {"suite": str(tmp_path / "suite.json")}

    def rules(**sections):
        return Batch.of(tmp_path / "in.csv", with_settings(CONFIG, **sections)).rules

    base = rules()
    assert rules(table={"path": "other", "incoming": "elsewhere"}) == base
    assert rules(validation={"batch_rows": 7}, features={"memory_limit": "3GB"}, work_dir="other") == base
    changes = [
        rules(table={"delimiter": ";"}),
        rules(contract={"entities": ("card",)}),
        rules(validation={"max_rejected": 0.9}),
        rules(validation=suite),
    ]
    (tmp_path / "suite.json").write_text('{"expectations": []}')
    assert len({base, *changes, rules(validation=suite)}) == 6


def test_a_table_that_is_not_there_is_no_batch(tmp_path):
    (tmp_path / "dangling.parquet").symlink_to(tmp_path / "none.parquet")
    for name in ("none", "dangling"):
        with pytest.raises(ResourceError, match=rf"{name}\.parquet does not exist; check the path"):
            Batch.of(tmp_path / f"{name}.parquet", CONFIG)
