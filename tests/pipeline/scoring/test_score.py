import csv
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.detector.artefact import Detector
from pipeline.scoring import score as scoring
from pipeline.scoring.audit import write_audit
from pipeline.scoring.reasons import REASONS_TYPE, explain, sentence
from pipeline.scoring.score import score_table
from pipeline.settings.columns import ColumnConfig
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.sensitive import MASK
from pipeline.tables.batch import WHOLE, batch_id, rules_digest
from pipeline.tables.parquet import read_batches
from pipeline.tracking.content import notable
from tests.pipeline.fitted import (
    START,
    config,
    contents,
    detector_of,
    feature_table,
    quiet_frauds,
    replace,
    transactions,
)

SCORED_AT = datetime(2025, 5, 1, 12, 30)
FIGURES = ["anomaly_score", "p_value", "tail_p_value", "one_class_p_value"]
SCORES = [*FIGURES, "is_flagged", "batch_id", "model_version", "scored_at"]
INPUT = ["tx", "at", "card", "eur", "channel", "note", "fraud"]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    settings = config(threshold={"false_alert_rate": 0.03})
    path = feature_table(tmp_path_factory.mktemp("training"), transactions(), settings)
    return detector_of(path, settings)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    rows = transactions(400, seed=1, first_id=90_000, start=START + timedelta(days=40), days=4)
    rows = replace(rows, "channel", ["fax"] * 3 + rows["channel"].to_pylist()[3:])
    return feature_table(tmp_path_factory.mktemp("batch"), rows, config())


def score(features, detector, folder, **marks):
    given = {"batch_id": "b-1", "model_version": "7", "scored_at": SCORED_AT, **marks}
    return score_table(features, detector, folder, **given)


@pytest.fixture(scope="module")
def scored(features, detector, tmp_path_factory):
    return score(features, detector, tmp_path_factory.mktemp("scored"))


def test_every_row_has_a_score_in_the_order_of_the_table(scored, features, detector):
    found, given = pq.read_table(scored.scores), pq.read_table(features)
    assert found.schema.names == ["tx", *SCORES]
    assert found["tx"].equals(given["tx"])
    own = detector.matrix_scores(detector.encoder.transform(given))
    assert (found["anomaly_score"].to_numpy() == own).all()
    assert (found["p_value"].to_numpy() == detector.calibration.p_value(own)).all()
    assert (found["is_flagged"].to_numpy(zero_copy_only=False) == (own > detector.threshold)).all()
    assert found["batch_id"].unique().to_pylist() == ["b-1"]
    assert found["model_version"].unique().to_pylist() == ["7"]
    assert found["scored_at"].unique().to_pylist() == [SCORED_AT.replace(tzinfo=UTC)]
    assert found.schema.field("scored_at").type == pa.timestamp("us", tz="UTC")


def test_alerts_are_the_flagged_rows_by_rank_with_the_input_and_no_features(scored, features, detector):
    alerts, scores = pq.read_table(scored.alerts), pq.read_table(scored.scores)
    assert alerts.schema.names == [
        *INPUT,
        *SCORES,
        "picked",
        "threshold",
        "rank",
        "like_frauds",
        "reasons",
        "unflagged_at",
        "reason",
    ]
    flagged = scores.filter(scores["is_flagged"]).sort_by([("anomaly_score", "descending"), ("tx", "ascending")])
    assert 5 < alerts.num_rows < 100
    assert alerts.select(["tx", *SCORES]).equals(flagged)
    assert alerts["rank"].to_pylist() == list(range(1, alerts.num_rows + 1))
    assert alerts["threshold"].unique().to_pylist() == [detector.threshold]
    given = pq.read_table(features)
    rows = given.take(pc.index_in(alerts["tx"].combine_chunks(), given["tx"].combine_chunks()))
    assert alerts.select(INPUT).equals(rows.select(INPUT))
    assert alerts["reasons"].combine_chunks().equals(explain(detector, rows))
    assert alerts["reason"].combine_chunks().equals(sentence(explain(detector, rows)))


def test_the_counts_are_those_of_the_files(scored, features):
    alerts, table = pq.read_table(scored.alerts), pq.read_table(features)
    assert (scored.scored, scored.flagged) == (400, alerts.num_rows)
    assert scored.unusual == sum(p_value <= 0.01 for p_value in pq.read_table(scored.scores)["p_value"].to_pylist()) > 0
    days = [moment.date() for moment in alerts["at"].to_pylist()]
    all_days = {moment.date() for moment in table["at"].to_pylist()}
    assert scored.alerts_per_day == {day: days.count(day) for day in sorted(all_days)}
    assert len(all_days) == 4
    assert scored.unseen == {"channel": 3}


def test_days_are_those_of_the_tables_time_zone(features, detector, tmp_path):
    table = pq.read_table(features)
    zone = detector.config.table.model_copy(update={"time_zone": "Pacific/Auckland"})
    there = Detector(**{**vars(detector), "config": detector.config.model_copy(update={"table": zone})})
    found = score(features, there, tmp_path)
    # Auckland is 12 hours ahead in April (after 6 April 2025, when summer time ends).
    assert table["at"][0].as_py() > datetime(2025, 4, 6)
    expected = {(moment + timedelta(hours=12)).date() for moment in table["at"].to_pylist()}
    assert set(found.alerts_per_day) == expected
    assert sum(found.alerts_per_day.values()) == found.flagged


def test_rows_that_score_alike_are_ranked_by_id(features, detector, tmp_path):
    table = pq.read_table(features)
    highest = pq.read_table(score(features, detector, tmp_path / "one").alerts)["tx"][0].as_py()
    row = table.filter(pc.equal(table["tx"], highest))
    copies = pa.concat_tables([replace(row, "tx", [number]) for number in (7, 3, 5)])
    pq.write_table(pa.concat_tables([copies, table]), tmp_path / "copies.parquet")
    alerts = pq.read_table(score(tmp_path / "copies.parquet", detector, tmp_path / "two").alerts)
    assert alerts["tx"].to_pylist()[:4] == [3, 5, 7, highest]


def test_the_spreadsheet_is_harmless_and_flat(scored):
    alerts = pq.read_table(scored.alerts).to_pylist()
    with scored.alerts_csv.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(alerts)
    for cells, alert in zip(rows, alerts, strict=True):
        assert cells["tx"] == str(alert["tx"])
        assert cells["note"] == "'" + alert["note"]
        assert cells["reason"] == alert["reason"]
        texts = [reason["text"] for reason in alert["reasons"]]
        assert [cells[f"reason_{place}"] for place in (1, 2, 3)] == texts + [""] * (3 - len(texts))
    assert "reasons" not in rows[0]


def test_a_timestamp_named_like_an_output_is_the_one_that_days_are_counted_by(features, detector, tmp_path):
    table = pq.read_table(features)
    names = [{"at": "scored_at", "note": "reason_1"}.get(name, name) for name in table.schema.names]
    pq.write_table(table.rename_columns(names), tmp_path / "features.parquet")
    contract = detector.config.contract.model_copy(update={"timestamp": "scored_at"})
    renamed = Detector(**{**vars(detector), "config": detector.config.model_copy(update={"contract": contract})})
    found = score(tmp_path / "features.parquet", renamed, tmp_path / "scored")
    assert found.alerts_per_day == score(features, detector, tmp_path / "plain").alerts_per_day
    alerts = pq.read_table(found.alerts).to_pylist()
    with found.alerts_csv.open(newline="", encoding="utf-8-sig") as stream:
        for cells, alert in zip(csv.DictReader(stream), alerts, strict=True):
            assert cells["reason_1 (input)"] == "'" + alert["reason_1"]
            assert cells["reason_1"] == alert["reasons"][0]["text"]
            assert cells["scored_at (input)"] == str(alert["scored_at (input)"])


def test_sensitive_columns_are_clear_in_the_alerts_and_masked_in_the_spreadsheet(
    features, detector, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where the key of pseudonyms is made
    contract = detector.config.contract.model_copy(update={"sensitive": ("card", "eur")})
    hiding = Detector(**{**vars(detector), "config": detector.config.model_copy(update={"contract": contract})})
    found = score(features, hiding, tmp_path)
    alerts = pq.read_table(found.alerts)
    assert alerts["card"][0].as_py().startswith("card-")
    text = found.alerts_csv.read_text(encoding="utf-8-sig")
    assert "card-" not in text
    with found.alerts_csv.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["eur"] for row in rows} == {MASK}
    pseudonyms = Pseudonyms("assay-data")
    assert [row["card"] for row in rows] == [pseudonyms.of(card) for card in alerts["card"].to_pylist()]
    told = [reason for row in alerts["reasons"].to_pylist() for reason in row if reason["column"] == "eur"]
    assert told
    together = "the combination of eur with the rest of the row"
    assert {reason["text"] for reason in told} <= {f"eur {MASK}, not what was expected", together}


def test_a_batch_without_alerts_writes_empty_tables_of_the_same_columns(features, detector, scored, tmp_path):
    quiet = Detector(**{**vars(detector), "cut": type(detector.cut)(**{**vars(detector.cut), "value": 1e12})})
    found = score(features, quiet, tmp_path)
    assert (found.scored, found.flagged) == (400, 0)
    assert set(found.alerts_per_day.values()) == {0}
    assert pq.read_schema(found.alerts) == pq.read_schema(scored.alerts)
    assert pq.read_table(found.alerts).num_rows == 0
    assert pq.read_schema(found.alerts).field("reasons").type == REASONS_TYPE
    header = found.alerts_csv.read_text(encoding="utf-8-sig").strip()
    assert header == scored.alerts_csv.read_text(encoding="utf-8-sig").splitlines()[0]


def test_an_empty_table_and_one_where_every_row_is_flagged(features, detector, tmp_path):
    pq.write_table(pq.read_table(features).slice(0, 0), tmp_path / "none.parquet")
    found = score(tmp_path / "none.parquet", detector, tmp_path / "none")
    assert (found.scored, found.flagged, found.alerts_per_day) == (0, 0, {})
    assert pq.read_table(found.scores).schema.names == ["tx", *SCORES]
    loud = Detector(**{**vars(detector), "cut": type(detector.cut)(**{**vars(detector.cut), "value": -1.0})})
    found = score(features, loud, tmp_path / "all")
    assert found.flagged == 400
    assert sorted(pq.read_table(found.alerts)["tx"].to_pylist()) == pq.read_table(features)["tx"].to_pylist()


def test_scoring_again_writes_the_same_and_leaves_nothing_else(features, detector, scored, tmp_path):
    seen = []
    folder = tmp_path / "new" / "folder"
    score(features, detector, folder, on_rows=seen.append)
    assert sum(seen) == 400
    assert set(contents(folder)) == {"scores.parquet", "alerts.parquet", "alerts.csv"}
    assert contents(folder) == contents(scored.scores.parent)


def test_scores_and_flags_are_handed_on_as_they_are_written(scored):
    scores, alerts = pq.read_table(scored.scores), pq.read_table(scored.alerts)
    assert scored.column("anomaly_score").tolist() == scores["anomaly_score"].to_pylist()
    assert np.concatenate(list(scored.each_score())).tolist() == scores["anomaly_score"].to_pylist()
    assert scored.flagged_places.tolist() == np.flatnonzero(scored.column("is_flagged")).tolist()
    assert scores["tx"].take(pa.array(scored.alert_places)).to_pylist() == alerts["tx"].to_pylist()


def test_scores_that_are_known_are_not_computed_again_and_give_the_same_files(features, detector, scored, tmp_path):
    known, one_class = detector.both_scores(pq.read_table(features))
    score(features, detector, tmp_path, known_scores=(known, one_class))
    assert contents(tmp_path) == contents(scored.scores.parent)
    score(features, detector, tmp_path, known_scores=(known[::-1].copy(), known))
    assert pq.read_table(tmp_path / "scores.parquet")["anomaly_score"].to_pylist() == known[::-1].tolist()


def test_a_failure_on_the_way_leaves_no_file(features, detector, tmp_path):
    def stop(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_table(features, detector, tmp_path, batch_id="b", model_version="1", scored_at=SCORED_AT, on_rows=stop)
    assert contents(tmp_path) == {}


def test_columns_of_a_table_that_was_scored_before_are_kept_under_another_name(features, detector, tmp_path):
    table = pq.read_table(features)
    for name in ("rank", "p_value", "reason"):
        table = table.append_column(name, pa.array([f"old {name}"] * 400))
    nested = pa.array([{"a": 1}] * 400)
    table = table.append_column("nested", nested).append_column("kind", pa.array(["x"] * 400).dictionary_encode())
    pq.write_table(table, tmp_path / "before.parquet")
    contract = detector.config.contract.model_copy(update={"ignored": ("reason",), "sensitive": ("reason",)})
    hiding = Detector(**{**vars(detector), "config": detector.config.model_copy(update={"contract": contract})})
    found = score(tmp_path / "before.parquet", hiding, tmp_path / "scored")
    alerts = pq.read_table(found.alerts)
    assert alerts["rank"].to_pylist() == list(range(1, found.flagged + 1))
    assert alerts["rank (input)"].unique().to_pylist() == ["old rank"]
    assert alerts["nested"][0].as_py() == {"a": 1}
    text = found.alerts_csv.read_text(encoding="utf-8-sig")
    assert "old rank" in text
    assert "old reason" not in text
    header = text.splitlines()[0]
    assert '"p_value (input)"' in header
    assert '"kind"' in header
    assert "nested" not in header


def test_many_batches_give_the_same_files_as_one(features, detector, scored, *, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(scoring, "read_batches", lambda path, columns=None: read_batches(path, columns, rows=33))
    found = score(features, detector, tmp_path, on_rows=seen.append)
    assert seen == [33] * 12 + [4]
    assert pq.read_table(found.scores).equals(pq.read_table(scored.scores))
    assert pq.read_table(found.alerts).equals(pq.read_table(scored.alerts))


def test_rows_that_explore_come_behind_the_alerts_and_are_told_from_them(tmp_path):
    settings = config(feedback={"explore": 0.3}, audit={"share": 0.9})
    detector = detector_of(feature_table(tmp_path, quiet_frauds(), settings), settings)
    later = feature_table(tmp_path, quiet_frauds(1000, seed=1, first_id=4000), settings, "later")
    scored = score(later, detector, tmp_path / "scored")
    alerts, scores = pq.read_table(scored.alerts), pq.read_table(scored.scores)
    flags = scores["is_flagged"].to_numpy(zero_copy_only=False)
    assert 0 < scored.exploring == alerts.num_rows - scored.flagged
    assert alerts["picked"].to_pylist() == ["score"] * scored.flagged + ["exploring"] * scored.exploring
    assert alerts["is_flagged"].to_pylist() == [True] * scored.flagged + [False] * scored.exploring
    assert alerts["rank"].to_pylist() == list(range(1, alerts.num_rows + 1))
    assert sum(scored.alerts_per_day.values()) == scored.flagged == flags.sum()
    # They are the rows with the lowest one-class p-values that are not flagged, the lowest first.
    chosen = pc.is_in(scores["tx"], value_set=alerts["tx"].combine_chunks()).to_numpy()
    alone = scores["one_class_p_value"].to_numpy()
    assert alone[chosen & ~flags].max() <= alone[~chosen].min()
    exploring = alerts.slice(scored.flagged)
    assert (np.diff(exploring["one_class_p_value"].to_numpy()) >= 0).all()
    assert scores["tx"].take(pa.array(scored.alert_places)).to_pylist() == alerts["tx"].to_pylist()
    assert exploring["anomaly_score"].to_numpy().max() <= detector.threshold
    audit = pq.read_table(write_audit(later, scored, detector, tmp_path))
    assert audit.num_rows > 700
    assert not set(audit["tx"].to_pylist()) & set(alerts["tx"].to_pylist())


def test_titles_change_the_spreadsheet_and_nothing_else(features, detector, scored, tmp_path):
    columns = {"eur": ColumnConfig(title="Amount", unit="EUR", description="What was paid.")}
    config = detector.config.model_copy(update={"columns": columns})
    titled = Detector(**{**vars(detector), "config": config})
    found = score(features, titled, tmp_path / "titled")
    for file in ("scores.parquet", "alerts.parquet"):
        assert (found.alerts.parent / file).read_bytes() == (scored.alerts.parent / file).read_bytes()
    with found.alerts_csv.open(newline="", encoding="utf-8-sig") as stream:
        names, titles, *rows = csv.reader(stream)
    assert dict(zip(names, titles, strict=True))["eur"] == "Amount (EUR)"
    assert [title for title in titles if title not in names] == ["Amount (EUR)"]
    assert len(rows) == found.flagged
    assert any(cell.startswith("Amount ") and " EUR" in cell for row in rows for cell in row)
    assert batch_id("ab", WHOLE, config.contract) == batch_id("ab", WHOLE, detector.config.contract)
    assert rules_digest(config) == rules_digest(detector.config)
    for folder, one in (("with", titled), ("without", detector)):
        one.save(tmp_path / folder)
    assert contents(tmp_path / "with") == contents(tmp_path / "without")
    assert notable(config) == notable(detector.config)
