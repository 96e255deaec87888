"""assay backfill: past days get the scores that they would have been published with, beside what was published."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from pipeline.settings.file import read_config
from pipeline.upkeep import backfill
from pipeline.workspace.ledger import Ledger
from tests.flows.assay import run, said

FIRST, SECOND = date(2025, 2, 26), date(2025, 2, 27)
KEY = "TRANSACTION_ID"


def fill(home: Path, *words: str | Path) -> str:
    result = run("backfill", *words, "--from", FIRST, "--to", SECOND, "--config", home / "assay.toml")
    assert result.exit_code == 0, result.output
    return said(result)


def place(home: Path, day: date) -> Path:
    (folder,) = (home / "assay-data" / "backfills").glob("*/v1")
    return folder / str(day)


def scores(folder: Path) -> dict[object, float]:
    table = pq.read_table(folder / "scores.parquet")
    return dict(zip(table[KEY].to_pylist(), table["anomaly_score"].to_pylist(), strict=True))


def only_until(home: Path, last: date) -> str:
    """Write the table without what came later."""
    rows = pq.read_table(home / "transactions.parquet")
    early = rows.filter(pc.less_equal(pc.cast(rows["TX_DATETIME"], pa.date32()), last))
    pq.write_table(early, home / "early.parquet")
    return str(home / "early.parquet")


def test_scores_are_those_that_would_have_been_published_and_nothing_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home / "assay-data" / "history").rglob("*.parquet")}
    score_day = backfill.score_day

    def stopped(rows: Path, day: date, *values: object, **named: object) -> backfill.Day:
        if day == SECOND:
            raise KeyboardInterrupt
        return score_day(rows, day, *values, **named)

    monkeypatch.setattr(backfill, "score_day", stopped)
    result = run("backfill", "--from", FIRST, "--to", SECOND, "--config", home / "assay.toml")
    assert result.exit_code == 130
    monkeypatch.undo()
    first = scores(place(home, FIRST))
    assert [path.name for path in place(home, FIRST).parent.iterdir()] == [str(FIRST)]
    written = place(home, FIRST).stat().st_mtime_ns
    assert "2 days" in fill(home)
    assert place(home, FIRST).stat().st_mtime_ns == written  # it went on where it was
    assert {path: path.stat().st_mtime_ns for path in (home / "assay-data" / "history").rglob("*.parquet")} == before
    assert not (home / "assay-data" / "batches").exists()
    assert Ledger(read_config(home / "assay.toml")).entries() == []

    # As of its day: with a table that has nothing later, published.
    result = run_flow(home / "assay.toml", "flows.score:score", table=only_until(home, FIRST), first=FIRST, last=FIRST)
    assert scores(result.folder) == first
    alerts = pq.read_table(place(home, FIRST) / "alerts.parquet")
    assert alerts[KEY].to_pylist() == pq.read_table(result.folder / "alerts.parquet")[KEY].to_pylist()


def test_only_what_has_no_scores_is_published_and_once(home: Path) -> None:
    run_flow(home / "assay.toml", "flows.score:score", table=only_until(home, FIRST), first=FIRST, last=FIRST)
    ledger = Ledger(read_config(home / "assay.toml"))
    (published,) = ledger.entries()
    text = fill(home, "--missing")
    assert "1 day, " in text
    assert "days without rows to score 1" in text
    assert [path.name for path in place(home, SECOND).parent.iterdir()] == [str(SECOND)]
    expected = scores(place(home, SECOND))
    text = fill(home, "--publish")
    assert "Published version 1" in text
    kept, new = ledger.entries()
    assert kept == published
    assert scores(Path(new.folder)) == expected
    assert "days without rows to score 2" in fill(home, "--publish")
    assert ledger.entries() == [kept, new]
    # What was published is in the history by now, so that no table is needed.
    config = (home / "assay.toml").read_text()
    path = next(line for line in config.splitlines() if line.startswith("path = "))
    (home / "assay.toml").write_text(config.replace(path, 'path = ""'))
    (place(home, SECOND) / "scores.parquet").unlink()
    (place(home, SECOND) / backfill.FACTS).unlink()
    assert "rows from the history of accepted rows" in fill(home)
    assert scores(place(home, SECOND)) == expected


def test_days_that_nobody_has_rows_of_are_told(home: Path) -> None:
    result = run("backfill", "--from", "2031-01-01", "--to", "2031-01-02", "--config", home / "assay.toml")
    assert result.exit_code == 1
    assert "neither the history nor table.path has a row of the days asked for, 2031-01-01 00:00" in said(result)
