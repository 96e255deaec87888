"""The watch on real parts: days scored by a real flow, held against the training, stopped and let through."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.run import FlowFailed, run_flow
from pipeline.settings.file import read_config
from pipeline.workspace.watch import WatchEvents
from tests.flows.assay import run, said


def deliver(home: Path, day: date, **columns: Any) -> Path:
    """Write the rows of a day as a file, with more columns."""
    rows = pq.read_table(home / "transactions.parquet")
    on_day = pc.equal(pc.cast(rows["TX_DATETIME"], pa.date32()), day)
    rows = rows.filter(pc.and_(on_day, pc.is_finite(rows["TX_AMOUNT"])))
    for name, value in columns.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    path = home / "incoming" / f"{day}.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(rows, path)
    return path


def score(home: Path, table: Path, **more: Any) -> Any:
    return run_flow(home / "assay.toml", "flows.score:score", table=str(table), first=None, last=None, **more)


def test_scored_days_have_a_section_a_page_and_a_state(home: Path) -> None:
    assert "has scored no batch since" in said(run("monitor", "--config", home / "assay.toml"))
    folders = [score(home, deliver(home, date(2025, 2, day))).folder for day in (22, 23)]
    assert all((folder / "watch.json").is_file() for folder in folders)
    assert "the last days against the training" in (folders[1] / "report.html").read_text()
    result = run_flow(home / "assay.toml", "flows.monitor:monitor")
    assert result.seen.days == [date(2025, 2, 22), date(2025, 2, 23)]
    scores = [pq.read_table(folder / "scores.parquet") for folder in folders]
    assert [result.seen.profiles[day].flagged for day in result.seen.days] == [
        pc.sum(table["is_flagged"]).as_py() for table in scores
    ]
    assert sum(week.rows for week in result.weeks) == sum(table.num_rows for table in scores)
    assert "2 days from 2025-02-22 to 2025-02-23" in result.page.read_text()
    printed = said(run("monitor", "--config", home / "assay.toml"))
    assert "As of 2025-02-23 schema ok: The columns are those of the training." in printed
    assert str(result.page.name) in printed
    assert WatchEvents(read_config(home / "assay.toml")).latest() == {}


def test_a_new_column_is_named_before_scoring_and_stops_the_batch_where_it_shall(home: Path) -> None:
    config = home / "assay.toml"
    table = deliver(home, date(2025, 2, 26), CHANNEL_CODE="x")
    config.write_text(config.read_text().replace("stop_on = []", 'stop_on = ["schema"]'))
    with pytest.raises(FlowFailed, match=r"keeps its alerts back \(schema\)\. New column 'CHANNEL_CODE'"):
        score(home, table)
    assert not list((home / "assay-data" / "batches").glob("*"))
    events = WatchEvents(read_config(config))
    assert [(event.check, event.state, event.day) for event in events.all()] == [("schema", "stop", date(2025, 2, 26))]
    status = run("status", "--config", config)
    assert status.exit_code == 2
    assert "the watch has kept alerts back since 2025-02-26 (schema)" in said(status)
    assert score(home, table, force=True).counts["scored"] > 0
    config.write_text(config.read_text().replace('stop_on = ["schema"]', "stop_on = []"))
    score(home, deliver(home, date(2025, 2, 27)))
    assert events.latest()["schema"].state == "ok"


def test_the_candidate_or_another_version_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(FlowFailed, match="99"):
        run_flow(home / "assay.toml", "flows.monitor:monitor", version="99")
