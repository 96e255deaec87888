"""assay compare end to end: a Prefect server, an MLflow store, SQLite, Parquet files."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from flows.run import run_flow
from tests.flows.assay import DAY, client_of, run, said


def test_compare_measures_both_on_rows_after_both_trainings_and_logs_it(fresh: Path) -> None:
    config, home = fresh, fresh.parent
    result = run("compare", "--config", config)
    assert result.exit_code == 0, result.output
    words = said(result)
    assert "2025-02-22 to 2025-03-01" in words
    assert "version 1 (champion)" in words
    assert "assay promote candidate" in words
    assert "model.max_epochs 5 6" in words
    client = client_of(home)
    (experiment,) = [each for each in client.search_experiments() if each.name == "transactions"]
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'compared version'")
    assert {each.data.tags["version"] for each in runs} == {"1", "2"}
    one, two = sorted(runs, key=lambda each: each.data.tags["version"])
    names = {"average_precision", "average_precision_low", "auroc", "card_precision_at_100", "fit_seconds", "threshold"}
    assert names | {"recall", "alerts_per_day", "injected_recall", "top_reason"} <= one.data.metrics.keys()
    assert one.data.metrics.keys() <= two.data.metrics.keys()
    assert one.data.params.keys() == two.data.params.keys()
    assert one.data.params["features.families"] == '["recency"]'
    less = two.data.metrics["average_precision"] - one.data.metrics["average_precision"]
    assert two.data.metrics["average_precision_less_baseline"] == pytest.approx(less)
    for each in (one, two):
        assert len(client.get_metric_history(each.info.run_id, "precision_at_recall")) == 100
        assert len(client.get_metric_history(each.info.run_id, "alerts_on_day")) == 8
        plots = {file.path for file in client.list_artifacts(each.info.run_id, "plots")}
        assert plots == {"plots/scores.svg", "plots/precision_recall.svg"}
    (page,) = (home / "assay-data" / "comparisons").glob("*/comparison.html")
    text = page.read_text()
    for part in ("The queue under version 2", "Alerts that enter", "Settings that differ", "features.families"):
        assert part in text
    assert "://" not in text
    # The same rows, scored as batches by each version, give the same figure by hand.
    scores: dict[str, list[pa.Table]] = {"champion": [], "candidate": []}
    for version, found in scores.items():
        folder = Path(run_flow(
            config, "flows.score:score", table="", first=date(2025, 2, 22), last=DAY, version=version
        ).folder)  # fmt: skip
        found.append(pq.read_table(folder / "scores.parquet").select(["TRANSACTION_ID", "anomaly_score"]))
    table = pq.read_table(home / "transactions.parquet", columns=["TRANSACTION_ID", "TX_FRAUD"]).to_pandas()
    labels = table.drop_duplicates("TRANSACTION_ID").set_index("TRANSACTION_ID")["TX_FRAUD"]
    for version, logged in (("champion", one), ("candidate", two)):
        frame = pa.concat_tables(scores[version]).to_pandas()
        by_hand = average_precision_score(labels[frame["TRANSACTION_ID"]], frame["anomaly_score"])
        assert logged.data.metrics["average_precision"] == pytest.approx(by_hand)


def test_compare_refuses_rows_that_a_version_learned_from(two_versions: Path) -> None:
    config = two_versions / "assay.toml"
    for words in (("--from", "2025-02-20"), ("--to", "2025-02-10")):
        result = run("compare", "--config", config, *words)
        assert result.exit_code == 1
        assert "trained on rows up to 2025-02-21" in said(result)
        assert "--from 2025-02-22 or later" in said(result)
    for asked, message in {
        ("1",): "is one version, 1; name two or more",
        ("1", "champion"): "1 and champion are one version, 1",
        ("1", "9"): "has no version or alias '9'",
    }.items():
        result = run("compare", *asked, "--config", config)
        assert result.exit_code == 1
        assert message in said(result)


def test_a_table_without_labels_is_compared_by_volume_agreement_and_injected_anomalies(fresh: Path) -> None:
    rows = pq.read_table(fresh.parent / "transactions.parquet").drop_columns(["TX_FRAUD"])
    pq.write_table(rows, fresh.parent / "unlabelled.parquet")
    result = run("compare", "--config", fresh, "--table", fresh.parent / "unlabelled.parquet")
    assert result.exit_code == 0, result.output
    words = said(result)
    assert "no label is known" in words
    assert "Average precision" not in words
    for text in ("Alerts a day", "Injected anomalies flagged", "scores correlate by"):
        assert text in words
    promoted = run("promote", "2", "--config", fresh, "--table", fresh.parent / "unlabelled.parquet")
    assert promoted.exit_code == 0, promoted.output


def test_rows_after_the_trainings_come_from_the_history_where_the_table_has_none(fresh: Path) -> None:
    run_flow(fresh, "flows.score:score", table="", first=DAY, last=DAY)
    table = pq.read_table(fresh.parent / "transactions.parquet")
    early = table.filter(pc.less(pc.cast(table["TX_DATETIME"], pa.date32()), date(2025, 2, 20)))
    pq.write_table(early, fresh.parent / "transactions.parquet")
    result = run("compare", "--config", fresh)
    assert result.exit_code == 0, result.output
    # Scoring a day takes the table's earlier rows into the history, too.
    assert "the history of scored rows, 2025-02-22 to 2025-03-01" in said(result)
