"""The audit slice from scoring to the estimate: drawn, reviewed, taken in, told.

They are about scoring and about assay label; hence a file of their own.
"""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.commands.label import take_labels
from flows.run import run_flow

DAY = date(2025, 3, 1)


def test_an_audit_is_drawn_and_its_labels_tell_how_much_is_missed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = home / "assay.toml"
    text = config.read_text()
    assert "\nshare = 0.0" in text
    config.write_text(text.replace("\nshare = 0.0", "\nshare = 0.25"))
    # A table whose labels come from review only, as they do outside benchmarks.
    whole = pq.read_table(home / "transactions.parquet")
    blank = whole.set_column(whole.schema.get_field_index("TX_FRAUD"), "TX_FRAUD", [[None] * whole.num_rows])
    pq.write_table(blank.cast(whole.schema), home / "blank.parquet")
    result = run_flow(config, "flows.score:score", table=str(home / "blank.parquet"), first=DAY, last=DAY)
    folder = Path(result.folder)
    audit, scores = pq.read_table(folder / "audit.parquet"), pq.read_table(folder / "scores.parquet")
    flagged = set(scores.filter(scores["is_flagged"])["TRANSACTION_ID"].to_pylist())
    assert 0.15 < audit.num_rows / (scores.num_rows - len(flagged)) < 0.35
    assert not flagged & set(audit["TRANSACTION_ID"].to_pylist())
    assert result.screen.tables["Where"]["random audit"] == str(folder / "audit.csv")
    page = (folder / "report.html").read_text()
    assert f"{audit.num_rows:,} rows were drawn at random" in page
    assert "No label of them is known yet." in page
    ids = audit["TRANSACTION_ID"].to_pylist()
    lines = [f"{key},{int(place < 2)}" for place, key in enumerate(ids)]
    (home / "reviewed.csv").write_text("TRANSACTION_ID,TX_FRAUD\n" + "\n".join(lines) + "\n")
    take_labels(config, str(home / "reviewed.csv"))
    said = " ".join(capsys.readouterr().out.split())
    assert f"from 2 found in {len(ids)} audited rows" in said
    assert "about 8 frauds" in said
    assert f"among the {scores.num_rows - len(flagged):,} rows that were not flagged" in said
    watched = run_flow(config, "flows.monitor:monitor")
    (estimate,) = watched.screen.tables["Fraud missed, estimated from random audits"].values()
    assert "about 8 frauds" in estimate


def test_without_a_share_there_is_no_audit(home: Path) -> None:
    result = run_flow(home / "assay.toml", "flows.score:score", table="", first=DAY, last=DAY)
    assert not list(Path(result.folder).glob("audit*"))
    assert "Random audit" not in (Path(result.folder) / "report.html").read_text()
