"""Compare, promote, roll back and shadow end to end: a Prefect server, an MLflow store, SQLite, Parquet files."""

import re
import shutil
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner, Result

from flows import console
from flows.cli import app
from flows.run import run_flow
from pipeline.selection.records import AliasRecords
from pipeline.settings.file import read_config
from pipeline.tracking.aliases import find_aliases, move_aliases
from pipeline.tracking.client import start

PERIOD = {"first": date(2025, 1, 31), "last": date(2025, 2, 21)}
DAY = date(2025, 3, 1)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """So wide that no cell of a table is wrapped in among the others."""
    monkeypatch.setattr(console.OUT, "width", 300)


def score(config: Path, day: date = DAY, **more: Any) -> Any:
    return run_flow(config, "flows.score:score", table="", first=day, last=day, **more)


@pytest.fixture(scope="module")
def home(small: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """A folder with two versions: a champion that only sees when somebody was there last, and a better candidate."""
    folder = tmp_path_factory.mktemp("selection")
    shutil.copy(small / "transactions.parquet", folder)
    # Another fixture may have set the number of epochs before.
    text = re.sub(
        r"^(# )?max_epochs = .*$", "max_epochs = 6", (small / "assay.toml").read_text(), count=1, flags=re.MULTILINE
    )
    (folder / "assay.toml").write_text(text)
    blind = re.sub(r"^families = \[\"?.*?\]$", 'families = ["recency"]', text, count=1, flags=re.MULTILINE)
    assert blind != text
    (folder / "blind.toml").write_text(blind.replace("max_epochs = 6", "max_epochs = 5"))
    run_flow(folder / "blind.toml", "flows.train:train", table="", **PERIOD)
    run_flow(folder / "assay.toml", "flows.train:train", table="", **PERIOD)
    return folder


@pytest.fixture
def fresh(home: Path, tmp_path: Path) -> Path:
    """The configuration, in a copy of that folder: a test may move its aliases and score what it likes."""
    folder = tmp_path / "fresh"
    shutil.copytree(home / "assay-data" / "history", folder / "assay-data" / "history")
    shutil.copy(home / "transactions.parquet", folder)
    for name in ("mlflow.db", "ledger.db"):
        shutil.copy(home / "assay-data" / name, folder / "assay-data")
    shutil.copy(home / "assay.toml", folder)
    return folder / "assay.toml"


def test_compare_measures_both_on_rows_after_both_trainings_and_logs_it(fresh: Path) -> None:
    import mlflow

    config, home = fresh, fresh.parent
    result = run("compare", "--config", config)
    assert result.exit_code == 0, result.output
    words = said(result)
    assert "2025-02-22 to 2025-03-01" in words
    assert "version 1 (champion)" in words
    assert "assay promote candidate" in words
    assert "model.max_epochs 5 6" in words
    client = mlflow.MlflowClient(f"sqlite:///{home}/assay-data/mlflow.db")
    (experiment,) = [each for each in client.search_experiments() if each.name == "assay"]
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


def test_compare_refuses_rows_that_a_version_learned_from(home: Path) -> None:
    config = home / "assay.toml"
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


def test_a_better_version_is_promoted_a_worse_one_is_not_unless_forced_and_rollback_undoes_it(fresh: Path) -> None:
    config = read_config(fresh)
    better = run("promote", "candidate", "--config", fresh, "--why", "sees amounts")
    assert better.exit_code == 0, better.output
    assert "champion: version 2, was 1" in said(better)
    assert "FAILED" not in better.output
    assert find_aliases(config) == {"champion": "2", "previous": "1"}

    worse = run("promote", "1", "--config", fresh)
    assert worse.exit_code == 1
    assert "version 1 was not promoted" in said(worse)
    assert "Average precision" in said(worse)
    assert "FAILED" in worse.output
    assert find_aliases(config) == {"champion": "2", "previous": "1"}
    page = max((fresh.parent / "assay-data" / "comparisons").glob("*/comparison.html")).read_text()
    assert "is not promoted" in page
    assert '<span class="verdict fraud">failed</span>' in page

    without = run("promote", "1", "--config", fresh, "--force")
    assert without.exit_code == 1
    assert "--force needs a reason" in said(without)
    forced = run("promote", "1", "--config", fresh, "--force", "--why", "the feed is broken")
    assert forced.exit_code == 0, forced.output
    assert find_aliases(config) == {"champion": "1", "previous": "2"}

    back = run("rollback", "--config", fresh, "--why", "it is mended")
    assert back.exit_code == 0, back.output
    assert find_aliases(config) == {"champion": "2", "previous": "1"}
    again = run("promote", "2", "--config", fresh)
    assert again.exit_code == 1
    assert "is the champion already" in said(again)

    changes = [change for change in AliasRecords(config).all() if change.alias == "champion"]
    assert [(change.action, change.version) for change in changes] == [
        ("register", "1"),
        ("promote", "2"),
        ("force", "1"),
        ("rollback", "2"),
    ]
    assert "average precision" in changes[2].failed_gates
    told = said(run("history", "--config", fresh))
    for text in ("sees amounts", "the feed is broken (failed gates:", "it is mended", changes[0].who):
        assert " ".join(text.split()) in told


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
    score(fresh)
    table = pq.read_table(fresh.parent / "transactions.parquet")
    early = table.filter(pc.less(pc.cast(table["TX_DATETIME"], pa.date32()), date(2025, 2, 20)))
    pq.write_table(early, fresh.parent / "transactions.parquet")
    result = run("compare", "--config", fresh)
    assert result.exit_code == 0, result.output
    # Scoring a day takes the table's earlier rows into the history, too.
    assert "the history of scored rows, 2025-02-22 to 2025-03-01" in said(result)


def with_shadow(fresh: Path) -> Path:
    fresh.write_text(fresh.read_text().replace("shadow = false", "shadow = true"))
    return fresh


def test_the_candidate_scores_in_the_shadow_and_only_the_champions_alerts_are_published(fresh: Path) -> None:
    alone = Path(score(fresh).folder)
    before = pq.read_table(alone / "alerts.parquet").drop_columns("scored_at")
    shadowed = score(with_shadow(fresh), force=True)
    folder = Path(shadowed.folder)
    assert folder == alone
    names = {path.name for path in folder.iterdir()}
    assert names == {"scores.parquet", "alerts.parquet", "alerts.csv", "quarantine.parquet", "report.html",
                     "data-docs", "shadow.parquet"}  # fmt: skip
    assert set(pq.read_table(folder / "scores.parquet")["model_version"].to_pylist()) == {"1"}
    published = pq.read_table(folder / "alerts.parquet")
    assert published.drop_columns("scored_at").equals(before)
    ids = set(published["TRANSACTION_ID"].to_pylist())
    own = score(fresh, version="candidate")
    flagged = set(pq.read_table(Path(own.folder) / "alerts.parquet")["TRANSACTION_ID"].to_pylist())
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
    result = score(with_shadow(fresh))
    assert not any("shadow" in text for text in result.screen.sentences)
    assert not (Path(result.folder) / "shadow.parquet").exists()
