"""Delta, Iceberg and Hudi tables: dead files are no rows."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables.reading import content_digest, open_table

SETTINGS = TableConfig()


def add(folder, name, *numbers, **more):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"tx": pa.array(numbers, pa.int64())}), path)
    return {"add": {"path": name.replace(" ", "%20"), "partitionValues": {}, "size": 1, "dataChange": True, **more}}


def remove(name):
    return {"remove": {"path": name, "dataChange": True, "deletionTimestamp": 0}}


def commit(folder, version, *actions):
    log = folder / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    (log / f"{version:020d}.json").write_text("\n".join(map(json.dumps, actions)))


def numbers(folder):
    return sorted(pa.Table.from_batches(open_table(folder, SETTINGS).batches(100))["tx"].to_pylist())


def test_the_rows_of_a_delta_table_are_those_of_its_log(tmp_path):
    folder = tmp_path / "tx"
    head = {"protocol": {"minReaderVersion": 1}}, {"metaData": {"id": "0", "configuration": {}}}
    commit(folder, 0, *head, add(folder, "a.parquet", 1, 2), add(folder, "b c.parquet", 3))
    assert numbers(folder) == [1, 2, 3]
    before = content_digest(folder, SETTINGS)
    commit(folder, 1, remove("a.parquet"), add(folder, "a2.parquet", 20), {"commitInfo": {"operation": "UPDATE"}})
    add(folder, "stray.parquet", 99)  # of a write that failed
    assert numbers(folder) == [3, 20]
    assert content_digest(folder, SETTINGS) != before


def test_a_log_that_begins_with_a_checkpoint(tmp_path):
    folder = tmp_path / "tx"
    add(folder, "dead.parquet", 1)
    rows = [add(folder, "a.parquet", 2), add(folder, "b.parquet", 3), {"metaData": {"configuration": [("x", "y")]}}]
    commit(folder, 10, remove("dead.parquet"))
    commit(folder, 11, remove("b.parquet"), add(folder, "c.parquet", 4))
    kinds = {
        "add": pa.struct({"path": pa.string()}),
        "metaData": pa.struct({"configuration": pa.map_(pa.string(), pa.string())}),
    }
    cells = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
    pq.write_table(pa.table(cells), folder / "_delta_log" / f"{10:020d}.checkpoint.parquet")
    (folder / "_delta_log" / "_last_checkpoint").write_text('{"version": 10, "size": 3}')
    assert numbers(folder) == [2, 4]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"metaData": {"configuration": {"delta.columnMapping.mode": "name"}}}, "keeps its columns under other names"),
        ({"add": {"path": "s3://bucket/x.parquet"}}, "has files elsewhere"),
        ({"add": {"path": "a.parquet", "deletionVector": {"storageType": "u"}}}, "marks rows deleted inside files"),
        ({"protocol": {"readerFeatures": ["timestampNtz", "v2Checkpoint"]}}, r"not understood here \(v2Checkpoint\)"),
        ({"add": {}}, r"_delta_log can't be read \(KeyError\); export"),
    ],
)
def test_delta_tables_that_are_refused(tmp_path, action, message):
    commit(tmp_path, 0, add(tmp_path, "a.parquet", 1), action)
    with pytest.raises(InputError, match=message):
        open_table(tmp_path, SETTINGS)


def test_a_log_with_a_gap_and_one_that_is_no_json(tmp_path):
    commit(tmp_path, 0, add(tmp_path, "a.parquet", 1))
    commit(tmp_path, 2, remove("a.parquet"))
    with pytest.raises(InputError, match="_delta_log can't be read"):
        open_table(tmp_path, SETTINGS)
    shutil.rmtree(tmp_path / "_delta_log")
    commit(tmp_path, 0)
    (tmp_path / "_delta_log" / f"{0:020d}.json").write_text("{nonsense")
    with pytest.raises(InputError, match="_delta_log can't be read"):
        open_table(tmp_path, SETTINGS)


def test_a_delta_table_inside_a_folder_is_not_read_over(tmp_path):
    commit(tmp_path / "all" / "tx", 0, add(tmp_path / "all" / "tx", "a.parquet", 1))
    with pytest.raises(InputError, match=r"holds the Delta table .*tx beside others; name that folder"):
        open_table(tmp_path / "all", SETTINGS)


def test_iceberg_and_hudi_are_refused(tmp_path):
    add(tmp_path / "ice", "data/a.parquet", 1)
    (tmp_path / "ice" / "metadata").mkdir()
    (tmp_path / "ice" / "metadata" / "v1.metadata.json").write_text("{}")
    with pytest.raises(InputError, match="is an Iceberg table, whose folder holds files with rows"):
        open_table(tmp_path / "ice", SETTINGS)
    add(tmp_path / "hudi", "a.parquet", 1)
    (tmp_path / "hudi" / ".hoodie").mkdir()
    with pytest.raises(InputError, match="is a Hudi table"):
        open_table(tmp_path / "hudi", SETTINGS)
