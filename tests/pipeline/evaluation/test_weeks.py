"""Weeks of scored batches against the labels known by then, measured by hand."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from pipeline.evaluation.measures import K
from pipeline.evaluation.weeks import by_week
from pipeline.workspace.ledger import Entry
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import config, transactions

MONDAY = datetime(2025, 3, 3)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A workspace whose history has two batches of ten days, their entries, and all rows with their scores."""
    folder = tmp_path_factory.mktemp("weeks")
    workspace = Workspace(config(work_dir=str(folder / "work")))
    entries, rows = [], []
    for number, start in enumerate((MONDAY, MONDAY + timedelta(days=10))):
        table = transactions(600, seed=number, first_id=1000 * number, start=start, days=10)
        pq.write_table(table, folder / "rows.parquet")
        workspace.history.append(folder / "rows.parquet", f"b{number}")
        generator = np.random.default_rng(number)
        scores = generator.gamma(2, 1, 600) + 3 * table["fraud"].to_numpy() * generator.random(600)
        results = folder / f"b{number}"
        results.mkdir()
        named = {"tx": table["tx"], "anomaly_score": scores, "is_flagged": scores > 5}
        order = pa.array(generator.permutation(600))
        pq.write_table(pa.table(named).take(order), results / "scores.parquet")
        moments = table["at"].to_pylist()
        entries.append(
            Entry(
                batch_id=f"b{number}", source="in.csv", digest="", period_start=None, period_end=None,
                model_name="assay", model_version="1", scored_at=start, folder=str(results),
                first_timestamp=moments[0], last_timestamp=moments[-1],
            )
        )  # fmt: skip
        rows += [{**row, "score": score} for row, score in zip(table.to_pylist(), scores.tolist(), strict=True)]
    return workspace, entries, rows


def test_a_week_begins_on_monday_and_takes_the_rows_of_every_batch(stored):
    workspace, entries, rows = stored
    weeks = by_week(entries, workspace, MONDAY + timedelta(days=60))
    assert [week.first for week in weeks] == [date(2025, 3, 3), date(2025, 3, 10), date(2025, 3, 17)]
    for week in weeks:
        mine = [row for row in rows if week.first <= row["at"].date() < week.first + timedelta(days=7)]
        fraud = [row["fraud"] for row in mine]
        assert (week.rows, week.labelled, week.frauds, week.k) == (len(mine), len(mine), sum(fraud), K)
        expected = average_precision_score(fraud, [row["score"] for row in mine])
        assert week.average_precision.value == pytest.approx(expected)
        assert 0 < week.card_precision.value < 1


def test_only_labels_that_are_known_by_then_count(stored):
    workspace, entries, rows = stored
    as_of = MONDAY + timedelta(days=7 + 3)  # a label takes seven days
    (week,) = by_week(entries, workspace, as_of)
    known = [row for row in rows if row["at"] <= as_of - timedelta(days=7)]
    assert (week.first, week.labelled) == (MONDAY.date(), len(known))
    assert week.labelled < week.rows
    assert by_week(entries, workspace, MONDAY) == []


def test_a_batch_whose_rows_left_the_history_says_nothing(stored, tmp_path):
    _, entries, _ = stored
    empty = Workspace(config(work_dir=str(tmp_path)))
    assert by_week(entries, empty, MONDAY + timedelta(days=60)) == []


def test_a_week_has_what_audits_of_its_own_batches_say_of_missed_fraud(stored, tmp_path):
    workspace, entries, rows = stored
    assert all(week.missed is None for week in by_week(entries, workspace, MONDAY + timedelta(days=60)))
    folder = tmp_path / "audited"
    folder.mkdir()
    of_week = [row for row in rows if date(2025, 3, 10) <= row["at"].date() < date(2025, 3, 17)]
    scores = {name: [row[name] for row in of_week] for name in ("tx",)}
    scores |= {"anomaly_score": [row["score"] for row in of_week], "is_flagged": [False] * len(of_week)}
    pq.write_table(pa.table(scores), folder / "scores.parquet")
    audited = of_week[::3]
    columns = {name: [row[name] for row in audited] for name in ("tx", "at", "fraud")}
    audit = pa.table({**columns, "inclusion_probability": [0.5] * len(audited)})
    pq.write_table(audit, folder / "audit.parquet")
    pq.write_table(audit.slice(0, 0).drop_columns(["inclusion_probability"]), folder / "alerts.parquet")
    first, last = (end(row["at"] for row in of_week) for end in (min, max))
    entry = replace(entries[0], folder=str(folder), first_timestamp=first, last_timestamp=last)
    (week,) = by_week([entry], workspace, MONDAY + timedelta(days=60))
    found = sum(row["fraud"] for row in audited)
    assert found < 5  # of more, the scores of all count, too
    assert (week.missed.labelled, week.missed.found) == (len(audited), found)
    assert week.missed.missed.value == pytest.approx(2 * found)
