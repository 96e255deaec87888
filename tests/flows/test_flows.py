"""The flows on real parts: a Prefect server, an MLflow store, SQLite, Parquet files."""

import json
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

from flows.commands.label import take_labels
from flows.run import run_flow
from pipeline.errors import AssayError

DAY = date(2025, 3, 1)


def score(home: Path, table: str | Path = "", day: date | None = DAY, **more: Any) -> Any:
    return run_flow(home / "assay.toml", "flows.score:score", table=str(table), first=day, last=day, **more)


def day_of(home: Path, day: date = DAY) -> pa.Table:
    rows = pq.read_table(home / "transactions.parquet")
    on_day = pc.equal(pc.cast(rows["TX_DATETIME"], pa.date32()), day)
    return rows.filter(pc.and_(on_day, pc.is_finite(rows["TX_AMOUNT"])))


def test_training_registers_a_champion_then_candidates_and_leaves_no_pickle(trained: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{trained}/assay-data/mlflow.db")
    name = client.search_registered_models()[0].name
    version = client.get_model_version_by_alias(name, "champion")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert {"auroc", "average_precision", "threshold"} <= run.data.metrics.keys()
    assert run.data.params["threshold.strategy"] == "false_alert_rate"
    assert run.inputs.dataset_inputs[0].dataset.digest
    files = [path.name for path in (trained / "assay-data").rglob("*") if path.is_file()]
    assert not [file for file in files if file.endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib"))]
    assert any(file.endswith(".safetensors") for file in files)
    folder = next((trained / "assay-data" / "runs").iterdir())
    again = run_flow(
        trained / "assay.toml", "flows.train:train", table="", first=date(2025, 2, 1), last=date(2025, 2, 14)
    )
    assert client.get_model_version_by_alias(name, "candidate").version == int(again.version)
    assert client.get_model_version_by_alias(name, "champion").version == version.version
    assert "<html" in (folder / "report.html").read_text()[:200]


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
    forced = score(home, force=True)
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


def test_ids_that_another_batch_has_are_quarantined(home: Path) -> None:
    rows = day_of(home)
    pq.write_table(rows, home / "day.parquet")
    score(home, home / "day.parquet", day=None)
    shifted = pa.array([value.as_py() + 10_000_000 for value in rows["TRANSACTION_ID"]], pa.int64())
    fresh = rows.set_column(rows.schema.get_field_index("TRANSACTION_ID"), "TRANSACTION_ID", shifted)
    pq.write_table(pa.concat_tables([fresh, rows.slice(0, 3)]), home / "later.parquet")
    result = score(home, home / "later.parquet", day=None)
    quarantine = pq.read_table(Path(result.folder) / "quarantine.parquet")
    came_before = [row for row in quarantine.to_pylist() if any("earlier batch" in rule for rule in row["rules"])]
    assert len(came_before) == 3
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

    with pytest.raises(AssayError, match=r"2 of 4 new files refused: .*bad\.parquet.*dangling\.parquet"):
        run()
    assert len(list((home / "assay-data" / "batches").iterdir())) == 2
    assert "no new file" in run().screen.sentences[0]
    pq.write_table(day_of(home, date(2025, 2, 27)), incoming / "c.parquet")
    assert run().screen.sentences == ["1 new file scored"]


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


def label(home: Path, ids: list[int], labels: list[int], day: str) -> None:
    given = pa.table({"TRANSACTION_ID": ids, "TX_FRAUD": labels, "labelled_at": [f"{day}T08:00:00Z"] * len(ids)})
    pq.write_table(given, home / f"labels-{day}.parquet")
    take_labels(home / "assay.toml", str(home / f"labels-{day}.parquet"))


def test_labels_from_review_are_used_by_the_next_training_from_their_moment_on(home: Path) -> None:
    def train() -> dict[str, Any]:
        days = {"first": date(2025, 2, 7), "last": DAY, "as_of": datetime(2025, 3, 4, 12)}
        folder = Path(run_flow(home / "assay.toml", "flows.train:train", table="", **days).folder)
        assert "Labels known" in (folder / "report.html").read_text()
        return json.loads((folder / "detector" / "detector.json").read_text())["summary"]

    ids = pq.read_table(Path(score(home).folder) / "scores.parquet")["TRANSACTION_ID"].to_pylist()
    before = train()
    assert before["unknown_label_rows"] > len(ids) > 50
    label(home, ids[:40], [1] * 15 + [0] * 25, "2025-03-04")
    label(home, ids[40:], [1] * len(ids[40:]), "2025-03-05")
    after = train()
    assert after["unknown_label_rows"] == before["unknown_label_rows"] - 40
    assert after["fraud_rows"] == before["fraud_rows"] + 15


def test_a_batch_without_labels_is_measured_once_review_has_some(home: Path) -> None:
    rows = day_of(home)
    pq.write_table(rows.drop_columns(["TX_FRAUD"]), home / "day.parquet")
    first = score(home, home / "day.parquet", day=None)
    assert "auroc" not in first.screen.tables["Alerts"]
    ids = pq.read_table(Path(first.folder) / "scores.parquet")["TRANSACTION_ID"].to_pylist()
    label(home, ids[:50], [1] * 5 + [0] * 45, "2025-03-02")
    again = score(home, home / "day.parquet", day=None, force=True)
    assert 0 <= float(again.screen.tables["Alerts"]["auroc"].split()[0]) <= 1
