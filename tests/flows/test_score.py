"""Scoring on real parts: a Prefect server, an MLflow store, SQLite, Parquet files."""

import html
import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from pipeline.errors import AssayError
from pipeline.scoring.adapted_cut import CutRecord
from pipeline.settings.file import read_config
from pipeline.tracking.aliases import move_aliases
from pipeline.tracking.client import start
from pipeline.workspace.ledger import Ledger
from tests.flows.assay import DAY, review, said
from tests.flows.assay import run as run_command


def score(home: Path, table: str | Path = "", day: date | None = DAY, **more: Any) -> Any:
    return run_flow(home / "assay.toml", "flows.score:score", table=str(table), first=day, last=day, **more)


def day_of(home: Path, day: date = DAY) -> pa.Table:
    rows = pq.read_table(home / "transactions.parquet")
    on_day = pc.equal(pc.cast(rows["TX_DATETIME"], pa.date32()), day)
    return rows.filter(pc.and_(on_day, pc.is_finite(rows["TX_AMOUNT"])))


def test_a_scored_day_has_every_row_once_and_the_counts_add_up(home: Path) -> None:
    result = score(home)
    folder, counts = Path(result.folder), result.counts
    scores, alerts = pq.read_table(folder / "scores.parquet"), pq.read_table(folder / "alerts.parquet")
    assert counts["read"] == sum(
        counts[name] for name in ("accepted", "quarantined", "outside the period", "in a refused batch")
    )
    assert counts["read"] == pq.read_metadata(home / "transactions.parquet").num_rows
    assert scores.num_rows == counts["accepted"] == counts["scored"]
    assert pc.count_distinct(scores["TRANSACTION_ID"]).as_py() == scores.num_rows
    assert alerts.num_rows == counts["flagged"] == pc.sum(scores["is_flagged"]).as_py() > 0
    assert alerts["rank"].to_pylist() == list(range(1, alerts.num_rows + 1))
    assert all(reason for reason in alerts["reason"].to_pylist())
    assert {"alerts.csv", "report.html", "quarantine.parquet"} <= {path.name for path in folder.iterdir()}
    quarantine = pq.read_table(folder / "quarantine.parquet")
    assert quarantine.num_rows == counts["quarantined"]
    assert all(quarantine["rules"].to_pylist())


def test_the_same_file_again_is_recognised_also_under_another_name_and_force_gives_the_same_scores(
    home: Path,
) -> None:
    first = score(home)
    scores = pq.read_table(Path(first.folder) / "scores.parquet").drop_columns("scored_at")
    again = score(home)
    assert "scored before" in again.screen.sentences[0]
    renamed = home / "renamed.parquet"
    shutil.copy(home / "transactions.parquet", renamed)
    assert "scored before" in score(home, renamed).screen.sentences[0]
    ledger = Ledger(read_config(home / "assay.toml"))
    ledger.mark_removed(ledger.entries(), datetime(2031, 1, 2))
    shutil.rmtree(first.folder)
    assert score(home).screen.sentences[1] == "Its results were removed on 2031-01-02 for their age."
    forced = score(home, force=True)
    assert ledger.entries()[0].removed_at is None
    assert forced.folder == first.folder
    assert pq.read_table(Path(forced.folder) / "scores.parquet").drop_columns("scored_at").equals(scores)
    assert len(list((home / "assay-data" / "batches").iterdir())) == 1


def test_a_changed_file_under_the_same_name_replaces_its_rows(home: Path) -> None:
    rows = day_of(home)
    file = home / "day.parquet"
    pq.write_table(rows, file)
    old = score(home, file, day=None)
    pq.write_table(rows.slice(1), file)
    new = score(home, file, day=None)
    assert new.counts["quarantined"] == old.counts["quarantined"]
    assert new.counts["scored"] == old.counts["scored"] - 1
    assert not Path(old.folder).exists()
    assert (home / "assay-data" / "replaced" / Path(old.folder).name / "scores.parquet").exists()
    gone = rows["TRANSACTION_ID"][0].as_py()
    history = f"{home}/assay-data/history/*/date={DAY}/*.parquet"
    found = duckdb.sql(f"SELECT count(*) FROM '{history}' WHERE TRANSACTION_ID = {gone}").fetchall()
    assert found == [(0,)]


def test_a_late_file_names_the_batches_that_did_not_see_it_and_the_command_makes_up_for_it(home: Path) -> None:
    files = [home / "incoming" / name for name in ("a.parquet", "b.parquet")]
    files[0].parent.mkdir()

    def deliver(place: int) -> Any:
        pq.write_table(day_of(home, date(2025, 2, 27 + place)), files[place])
        return run_flow(home / "assay.toml", "flows.score:score_incoming")

    def scores() -> pa.Table:
        with closing(sqlite3.connect(home / "assay-data" / "ledger.db")) as ledger:
            ((folder,),) = ledger.execute("SELECT folder FROM batches WHERE source LIKE '%/b.parquet'").fetchall()
        return pq.read_table(Path(folder) / "scores.parquet").drop_columns("scored_at")

    def start_again() -> None:
        shutil.rmtree(home / "assay-data")
        shutil.copytree(home / "history", home / "assay-data" / "history")
        for file in files:
            file.unlink()

    shutil.copytree(home / "assay-data" / "history", home / "history")
    assert [deliver(place).screen.commands for place in (0, 1)] == [[], []]
    in_order = scores()
    start_again()
    deliver(1)
    assert not scores().equals(in_order)
    late = deliver(0)
    outdated = late.batches["a.parquet"].outdated
    assert outdated.startswith("1 batch scored before (b.parquet) has rows of later days")
    assert f"a.parquet: {outdated}" in late.screen.sentences
    report = (late.batches["a.parquet"].folder / "report.html").read_text()
    assert "1 batch scored before (b.parquet)" in report
    (command,) = late.screen.commands
    result = run_command(*shlex.split(command)[1:])
    assert result.exit_code == 0, said(result)
    assert scores().equals(in_order)


def test_ids_that_another_batch_has_are_quarantined(home: Path) -> None:
    rows = day_of(home)
    pq.write_table(rows, home / "day.parquet")
    score(home, home / "day.parquet", day=None)
    shifted = pa.array([value.as_py() + 10_000_000 for value in rows["TRANSACTION_ID"]], pa.int64())
    fresh = rows.set_column(rows.schema.get_field_index("TRANSACTION_ID"), "TRANSACTION_ID", shifted)
    pq.write_table(pa.concat_tables([fresh, rows.slice(0, 3)]), home / "later.parquet")
    result = score(home, home / "later.parquet", day=None)
    quarantine = pq.read_table(Path(result.folder) / "quarantine.parquet")
    came_before = [row for row in quarantine.to_pylist() if "TRANSACTION_ID: not delivered before" in row["rules"]]
    assert len(came_before) == 3
    note = "3 rows were delivered before, as they are, and kept the scores of then; they lie in quarantine."
    assert note in result.screen.sentences
    assert result.counts["scored"] + result.counts["quarantined"] == rows.num_rows + 3


def test_a_failure_in_the_middle_leaves_nothing_and_the_next_run_does_it_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.score

    def broken(report: object) -> str:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(flows.score, "render", broken)
        with pytest.raises(AssayError, match="disk full"):
            score(home)
    batches = home / "assay-data" / "batches"
    assert list(batches.iterdir()) == []
    result = score(home)
    assert result.counts["scored"] > 0
    assert [path.name for path in batches.iterdir()] == [Path(result.folder).name]


def test_scheduled_scoring_takes_every_new_file_once_and_a_bad_one_wakes_nobody_twice(home: Path) -> None:
    incoming = home / "incoming"
    incoming.mkdir()
    pq.write_table(day_of(home), incoming / "a.parquet")
    pq.write_table(day_of(home, date(2025, 2, 28)), incoming / "b.parquet")
    (incoming / "bad.parquet").write_bytes(b"PAR1 cut off")
    (incoming / "dangling.parquet").symlink_to(incoming / "nowhere")
    (incoming / ".partial").write_bytes(b"")

    def run() -> dict[str, Any]:
        return run_flow(home / "assay.toml", "flows.score:score_incoming")

    says = r"1 of 4 new files refused: .*bad\.parquet.*; 1 of 4 new files not scored .*dangling\.parquet"
    with pytest.raises(AssayError, match=says):
        run()
    assert len(list((home / "assay-data" / "batches").iterdir())) == 2
    with pytest.raises(AssayError, match=r"1 of 1 new files not scored .*dangling\.parquet does not exist"):
        run()
    (incoming / "dangling.parquet").unlink()
    assert "no new file" in run().screen.sentences[0]
    pq.write_table(day_of(home, date(2025, 2, 27)), incoming / "c.parquet")
    assert run().screen.sentences[0] == "1 new file scored"


def test_a_contract_that_changed_after_training_is_refused(home: Path) -> None:
    config = home / "assay.toml"
    text = config.read_text().replace('categorical = ["CHANNEL", "COUNTRY"]', 'categorical = ["CHANNEL"]')
    config.write_text(text.replace('COUNTRY = "text"', ""))
    with pytest.raises(AssayError, match=r"contract .* differs .* in categorical.*; train again"):
        score(home)


def test_a_period_without_rows_is_refused(home: Path) -> None:
    with pytest.raises(AssayError, match=r"no row of 30,000 lies in the period asked for, 2026-01-01"):
        score(home, day=date(2026, 1, 1))


def test_a_gap_in_the_history_is_said_in_the_terminal_and_the_report(home: Path) -> None:
    shutil.rmtree(home / "assay-data" / "history")
    pq.write_table(day_of(home), home / "day.parquet")
    result = score(home, home / "day.parquet", day=None)
    assert "The history lacks 60 of the 60 days before these rows" in result.screen.sentences[0]
    assert "The history lacks 60 of the 60 days" in (Path(result.folder) / "report.html").read_text()
    # The table starts 58 days before this day.
    assert "The history lacks 2 of the 60 days" in score(home, day=date(2025, 2, 28)).screen.sentences[0]


def test_a_gap_in_the_history_refuses_the_batch_where_the_configuration_says_so(home: Path) -> None:
    text = (home / "assay.toml").read_text()
    (home / "assay.toml").write_text(text.replace('on_gap = "report"', 'on_gap = "refuse"'))
    stored = sorted(file.name for file in (home / "assay-data" / "history").rglob("*.parquet"))
    with pytest.raises(AssayError, match=r"the history lacks 2 of the 60 days .* or accept it with features\.on_gap"):
        score(home, day=date(2025, 2, 28))
    assert sorted(file.name for file in (home / "assay-data" / "history").rglob("*.parquet")) == stored
    with closing(sqlite3.connect(home / "assay-data" / "ledger.db")) as ledger:
        found = ledger.execute("SELECT status, read, refused FROM batches").fetchall()
    assert found == [("refused", 30_000, 30_000)]


def test_a_batch_whose_results_were_deleted_is_scored_again(home: Path) -> None:
    first = score(home)
    shutil.rmtree(first.folder)
    assert score(home).counts == first.counts


def test_columns_named_like_features_are_carried_along(home: Path) -> None:
    rows = day_of(home).append_column("TERMINAL_ID: risk over 1 day", pa.array(["Sat"] * day_of(home).num_rows))
    pq.write_table(rows.append_column("day_", rows["TX_AMOUNT"]), home / "day.parquet")
    alerts = pq.read_table(Path(score(home, home / "day.parquet", day=None).folder) / "alerts.parquet")
    assert set(alerts["TERMINAL_ID: risk over 1 day (input)"].to_pylist()) == {"Sat"}


def test_a_batch_without_labels_is_measured_once_review_has_some(home: Path) -> None:
    rows = day_of(home)
    pq.write_table(rows.drop_columns(["TX_FRAUD"]), home / "day.parquet")
    first = score(home, home / "day.parquet", day=None)
    assert "auroc" not in first.screen.tables["Alerts"]
    ids = pq.read_table(Path(first.folder) / "scores.parquet")["TRANSACTION_ID"].to_pylist()
    review(home, ids[:50], [1] * 5 + [0] * 45, "2025-03-02")
    again = score(home, home / "day.parquet", day=None, force=True)
    assert 0 <= float(again.screen.tables["Alerts"]["auroc"].split()[0]) <= 1


def with_shadow(fresh: Path) -> Path:
    """Let the candidate of a configuration score in the champion's shadow."""
    fresh.write_text(fresh.read_text().replace("shadow = false", "shadow = true"))
    return fresh


def test_the_candidate_scores_in_the_shadow_and_only_the_champions_alerts_are_published(fresh: Path) -> None:
    alone = Path(score(fresh.parent).folder)
    before = pq.read_table(alone / "alerts.parquet").drop_columns("scored_at")
    shadowed = score(with_shadow(fresh).parent, force=True)
    folder = Path(shadowed.folder)
    assert folder == alone
    names = {path.name for path in folder.iterdir()}
    assert names == {"scores.parquet", "alerts.parquet", "alerts.csv", "quarantine.parquet", "report.html",
                     "data-docs", "shadow.parquet", "watch.json"}  # fmt: skip
    assert set(pq.read_table(folder / "scores.parquet")["model_version"].to_pylist()) == {"1"}
    published = pq.read_table(folder / "alerts.parquet")
    assert published.drop_columns("scored_at").equals(before)
    own = score(fresh.parent, version="candidate")
    both = (published, pq.read_table(Path(own.folder) / "alerts.parquet"))
    # Which rows explore is a version's own, and no difference between two lines.
    ids, flagged = (set(alerts.filter(pc.field("picked") == "score")["TRANSACTION_ID"].to_pylist()) for alerts in both)
    differences = pq.read_table(folder / "shadow.parquet").to_pandas()
    entering = set(differences.TRANSACTION_ID[differences.change == "enters"])
    leaving = set(differences.TRANSACTION_ID[differences.change == "leaves"])
    assert entering == flagged - ids
    assert leaving == ids - flagged
    assert entering
    report = (folder / "report.html").read_text()
    assert "In the champion&#39;s shadow" in report or "In the champion's shadow" in report
    assert f"{len(entering):,} enter, so that version 2 has {len(flagged):,}" in report
    assert "version 2 scored this batch" in shadowed.screen.sentences[-1]
    assert not (Path(own.folder) / "shadow.parquet").exists()


def test_a_candidate_that_cannot_score_fails_no_batch_and_is_reported(fresh: Path, tmp_path: Path) -> None:
    incoming = fresh.parent / "incoming"
    incoming.mkdir()
    table = pq.read_table(fresh.parent / "transactions.parquet")
    on_day = pc.equal(pc.cast(table["TX_DATETIME"], pa.date32()), DAY)
    pq.write_table(table.filter(on_day), incoming / "day.parquet")
    config = read_config(with_shadow(fresh))
    # The candidate's files point to nowhere in this test's own copy of the store.
    uri = start(config).get_model_version_download_uri(config.name, "2")
    with closing(sqlite3.connect(fresh.parent / "assay-data" / "mlflow.db")) as connection:
        for name, column in (("model_versions", "storage_location"), ("logged_models", "artifact_location")):
            connection.execute(f"UPDATE {name} SET {column} = ? WHERE {column} = ?", (f"{tmp_path}/nowhere", uri))
        connection.commit()
    result = run_flow(fresh, "flows.score:score_incoming")
    assert "version 2 did not score this batch: version 2 of model" in " ".join(result.screen.sentences)
    (folder,) = (fresh.parent / "assay-data" / "batches").iterdir()
    assert pq.read_table(folder / "alerts.parquet").num_rows > 0
    assert "did not score this batch" in (folder / "report.html").read_text()
    assert not (folder / "shadow.parquet").exists()


def test_nothing_is_shadowed_without_a_candidate(fresh: Path) -> None:
    move_aliases(read_config(fresh), {"candidate": None}, {})
    result = score(with_shadow(fresh).parent)
    assert not any("shadow" in text for text in result.screen.sentences)
    assert not (Path(result.folder) / "shadow.parquet").exists()


def test_a_batch_unlike_the_training_is_refused_until_it_is_forced(home: Path) -> None:
    incoming = home / "incoming"
    incoming.mkdir()
    rows = day_of(home)
    place = rows.schema.get_field_index("TX_AMOUNT")
    cents = rows.set_column(place, "TX_AMOUNT", pc.multiply(rows["TX_AMOUNT"], 100.0))
    pq.write_table(cents, incoming / "cents.parquet")
    pq.write_table(day_of(home, date(2025, 2, 28)).slice(0, 60), incoming / "half.parquet")
    with pytest.raises(AssayError, match=r"1 of 2 new files refused: .*cents\.parquet: half of the 'TX_AMOUNT'"):
        run_flow(home / "assay.toml", "flows.score:score_incoming")
    assert "no new file" in run_flow(home / "assay.toml", "flows.score:score_incoming").screen.sentences[0]
    (batch,) = (home / "assay-data" / "batches").iterdir()
    assert "2025-02-28 has 60 rows, " in (batch / "report.html").read_text()
    result = score(home, incoming / "cents.parquet", day=None, force=True)
    assert result.counts["scored"] == rows.num_rows


def test_a_cut_that_adapts_has_a_record_and_a_batch_keeps_the_cut_that_it_had(home: Path) -> None:
    config = home / "assay.toml"
    fixed = config.read_text()
    adapting = re.sub(r"^(# )?adapt = false$", "adapt = true", fixed, count=1, flags=re.MULTILINE)
    adapting = re.sub(r"^(# )?adapt_days = \d+$", "adapt_days = 2", adapting, count=1, flags=re.MULTILINE)
    config.write_text(adapting)
    days = [date(2025, 2, 27), date(2025, 2, 28)]
    results = [score(home, day=day) for day in days]
    first, second = (CutRecord.read(Path(result.folder)) for result in results)
    assert first is not None
    assert second is not None
    assert first.threshold.value == first.before  # no day was scored before it
    assert second.before == first.threshold.value != second.threshold.value
    assert second.why in results[1].screen.sentences
    assert second.why in html.unescape((Path(results[1].folder) / "report.html").read_text())
    entry = Ledger(read_config(config)).entries()[-1]
    assert (entry.threshold, entry.message) == (second.threshold.value, second.why)
    scores = pq.read_table(Path(results[1].folder) / "scores.parquet")
    above = pc.greater(scores["anomaly_score"], second.threshold.value)
    assert scores["is_flagged"].combine_chunks().equals(above.combine_chunks())
    printed = said(run_command("status", "--config", config))
    assert second.why in printed
    # What is set today, and what was scored since, changes nothing of a batch that is scored again.
    config.write_text(fixed)
    again = score(home, day=days[1], force=True)
    assert CutRecord.read(Path(again.folder)) == second
    assert (
        pq.read_table(Path(again.folder) / "scores.parquet")
        .drop_columns("scored_at")
        .equals(scores.drop_columns("scored_at"))
    )
