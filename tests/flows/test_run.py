"""Running a flow with Prefect's engine and without it."""

import os
import re
from pathlib import Path

import pyarrow.parquet as pq

from flows.run import run_flow
from tests import processes
from tests.flows.assay import DAY


def test_without_the_engine_the_same_stages_give_the_same(home: Path, assay: Path) -> None:
    config = home / "assay.toml"
    through_engine = run_flow(config, "flows.score:score", table="", first=DAY, last=DAY)
    outputs = {name: pq.read_table(through_engine.folder / name) for name in ("scores.parquet", "quarantine.parquet")}
    config.write_text(config.read_text().replace("prefect = true", "prefect = false"))
    # No server is asked: there is none at this address.
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    words = ["--config", config, "--from", DAY.isoformat(), "--to", DAY.isoformat()]
    process = processes.run(assay, "score", *words, "--force", env=environment)
    assert process.status == 0, process
    assert "prefect = false: without Prefect's engine nothing is tried a second time" in process.errors
    for name, table in outputs.items():
        again = pq.read_table(through_engine.folder / name)
        moments = [column for column in again.column_names if column == "scored_at"]
        assert again.drop_columns(moments).equals(table.drop_columns(moments))
    refused = processes.run(assay, "score", home / "none.parquet", *words, env=environment)
    assert refused.status == 1
    warning, error = refused.errors.splitlines()  # and nothing behind it
    assert warning.startswith("Warning: prefect = false")
    assert re.match("Error: .*none.parquet does not exist", error)
