import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from pipeline.scoring.queue import queue_change, write_differences
from pipeline.settings.pseudonyms import Pseudonyms
from tests.pipeline.fitted import config

TITLES = ("version 1", "version 2")


def read(scored):
    return pq.read_table(scored.scores).to_pandas().set_index("tx")


def test_what_enters_and_leaves_are_the_rows_that_one_version_flags(two, tmp_path):
    later, ((_, one), (_, other)) = two
    table = pq.read_table(later)
    labels = np.asarray(table["fraud"]).astype(float)
    labels[::3] = np.nan
    change = queue_change(one, other, config(), titles=TITLES, labels=labels)
    first, second = read(one), read(other)
    enter, leave = second.is_flagged & ~first.is_flagged, first.is_flagged & ~second.is_flagged
    assert change.enter == enter.sum() > 0
    assert change.leave == leave.sum()
    assert change.stay == (first.is_flagged & second.is_flagged).sum() > 0
    assert (change.before, change.after) == (first.is_flagged.sum(), second.is_flagged.sum())
    assert change.overlap == pytest.approx(change.stay / (first.is_flagged | second.is_flagged).sum())
    assert change.rank_correlation == pytest.approx(spearmanr(first.anomaly_score, second.anomaly_score).statistic)
    assert change.fraud_enters == (labels[enter.to_numpy()] == 1).sum()
    assert change.labelled_enter == (~np.isnan(labels[enter.to_numpy()])).sum()
    back = queue_change(other, one, config(), titles=TITLES, labels=labels)
    assert (back.leave, back.fraud_leaves, back.labelled_leave) == (
        change.enter,
        change.fraud_enters,
        change.labelled_enter,
    )
    assert (back.enter, back.fraud_enters, back.labelled_enter) == (
        change.leave,
        change.fraud_leaves,
        change.labelled_leave,
    )
    shown = {int(row.id) for row in change.entering}
    assert shown <= set(enter[enter].index)
    assert all(row.reasons for row in change.entering)
    write_differences(one, other, config(), tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet").to_pandas()
    assert set(written.tx[written.change == "enters"]) == set(enter[enter].index)
    assert set(written.tx[written.change == "leaves"]) == set(leave[leave].index)
    assert set(written.columns) == {*pq.read_table(one.alerts).column_names, "change"}
    for version, way in ((other, "enters"), (one, "leaves")):
        alerts = pq.read_table(version.alerts).to_pandas().set_index("tx")
        part = written[written.change == way].set_index("tx")
        assert part.anomaly_score.equals(alerts.anomaly_score[part.index])
    assert (change.champion, change.candidate, change.scored) == ("version 1", "version 2", 600)
    assert change.sentence == (
        f"Of {change.before} alerts of version 1, {change.stay} stay and {change.leave} leave; {change.enter} enter, "
        f"so that version 2 has {change.after}. Known frauds among them: {change.fraud_enters} enter (of "
        f"{change.labelled_enter} labelled), {change.fraud_leaves} leave (of {change.labelled_leave})."
    )


def test_the_first_ten_that_enter_are_shown_by_rank_with_what_the_table_has_of_their_labels(two):
    _, ((_, one), (_, other)) = two
    change = queue_change(one, other, config(), titles=TITLES)
    alerts = pq.read_table(other.alerts).to_pandas()
    entering = alerts[~alerts.tx.isin(pq.read_table(one.alerts)["tx"].to_pylist())]
    assert len(entering) == change.enter > 10
    assert [row.rank for row in change.entering] == entering["rank"].tolist()[:10]
    assert [row.is_fraud for row in change.entering] == (entering.fraud == 1).tolist()[:10]
    assert len(queue_change(other, one, config(), titles=TITLES).leaving) == 10


def with_column(scored, name, values, folder):
    """The same scored batch with another column in its scores."""
    table = pq.read_table(scored.scores)
    pq.write_table(table.set_column(table.column_names.index(name), name, values), folder / "scores.parquet")
    return dataclasses.replace(scored, scores=folder / "scores.parquet")


def test_scores_that_are_all_alike_have_no_order_to_correlate(two, tmp_path):
    _, ((_, one), _) = two
    alike = with_column(one, "anomaly_score", pa.repeat(2.5, one.scored), tmp_path)
    for champion, candidate in ((one, alike), (alike, one)):
        assert np.isnan(queue_change(champion, candidate, config(), titles=TITLES).rank_correlation)


def test_a_version_beside_itself_changes_nothing(two, tmp_path):
    _, ((_, one), _) = two
    change = queue_change(one, one, config(), titles=TITLES)
    assert (change.enter, change.leave, change.overlap) == (0, 0, 1.0)
    assert change.rank_correlation == pytest.approx(1)
    assert change.labelled_enter == 0
    assert "Known frauds" not in change.sentence
    write_differences(one, one, config(), tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_queues_without_an_alert_are_alike(two, tmp_path):
    _, ((_, one), _) = two
    quiet = with_column(one, "is_flagged", pa.array(np.zeros(one.scored, dtype=bool)), tmp_path)
    assert queue_change(quiet, quiet, config(), titles=TITLES).overlap == 1
    change = queue_change(quiet, one, config(), titles=TITLES)
    assert (change.overlap, change.before, change.stay, change.enter) == (0, 0, 0, change.after)


def test_for_sensitive_entities_stand_pseudonyms(two, tmp_path):
    _, ((_, one), (_, other)) = two
    hiding = config(contract={"sensitive": ("card",)}, work_dir=str(tmp_path))
    change, plain = (queue_change(one, other, each, titles=TITLES) for each in (hiding, config()))
    assert change.entering
    cards = [[dict(row.keys)["card"] for row in each.entering] for each in (change, plain)]
    assert cards[0] == [Pseudonyms(tmp_path).of(card) for card in cards[1]]


def test_versions_that_scored_other_rows_are_refused(two, tmp_path):
    _, ((_, one), (_, other)) = two
    pq.write_table(pq.read_table(other.scores).slice(1), tmp_path / "scores.parquet")
    with pytest.raises(ValueError, match="did not score the same rows"):
        queue_change(one, dataclasses.replace(other, scores=tmp_path / "scores.parquet"), config(), titles=TITLES)
