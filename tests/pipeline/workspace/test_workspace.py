from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.settings.config import Config
from pipeline.workspace.workspace import Workspace

ROLES = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud", "types": {"tx": "integer"}}


def workspace(folder, name="cards"):
    return Workspace(Config.model_validate({"contract": ROLES, "name": name, "work_dir": str(folder / "work")}))


def test_nothing_is_made_before_it_is_asked_for(tmp_path):
    space = workspace(tmp_path)
    assert (space.history.files(None, None), space.labels.reviewed) == ([], ())
    assert not (tmp_path / "work").exists()
    assert space.ledger.find("a", "1") is None
    assert (tmp_path / "work" / "ledger.db").is_file()


def test_labels_are_those_of_the_moment_at_which_they_were_asked_for(tmp_path):
    space = workspace(tmp_path)
    before = space.labels
    pq.write_table(pa.table({"tx": [7], "fraud": [1]}), tmp_path / "review.parquet")
    space.reviewed.append(tmp_path / "review.parquet", now=datetime(2025, 1, 2))
    rows = pa.table({"tx": [7], "at": [datetime(2025, 1, 1)], "fraud": pa.nulls(1, pa.int8())})
    assert (str(before.known_now(rows)), space.labels.known_now(rows).tolist()) == ("[nan]", [1.0])


def test_labels_know_the_audit_slices_of_the_batches(tmp_path):
    space = workspace(tmp_path)
    for batch in ("b2", "b1"):
        folder = space.folder.batches / batch
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"tx": [7], "inclusion_probability": [0.1]}), folder / "audit.parquet")
    assert [path.parent.name for path in space.labels.audits] == ["b1", "b2"]


def test_a_history_folder_brings_the_labels_that_lie_beside_it(tmp_path):
    space = workspace(tmp_path)
    pq.write_table(pa.table({"tx": [7], "at": [datetime(2025, 1, 1)], "eur": [1.0]}), tmp_path / "rows.parquet")
    space.history.append(tmp_path / "rows.parquet", "b1")
    pq.write_table(pa.table({"tx": [7], "fraud": [1]}), tmp_path / "review.parquet")
    space.reviewed.append(tmp_path / "review.parquet", now=datetime(2025, 1, 2))
    other = Workspace.of_history(tmp_path / "work" / "history" / "cards", workspace(tmp_path / "elsewhere", "x").config)
    assert other.history.files(None, None) == space.history.files(None, None) != []
    assert other.labels.reviewed == space.labels.reviewed != ()
