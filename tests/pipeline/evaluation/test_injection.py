"""Injected anomalies: what is changed, what is counted, and that the first reason names the column."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from pipeline.evaluation.injection import CHANGES, KINDS, Injected, inject, inject_into, share
from pipeline.labels.known import Labels
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.scoring.reasons import assign


def calm_rows(fitted):
    _, detector, block, _ = fitted
    matrix = detector.encoder.transform(pq.read_table(block))
    return detector, matrix[detector.model.anomaly_score(matrix) <= detector.threshold]


def places(detector, name):
    return detector.encoder.places_of(name)


@pytest.mark.parametrize(("kind", "step"), [("plus", 6), ("minus", -6)])
def test_one_value_goes_six_standard_deviations_beyond_all_others(fitted, kind, step):
    detector, calm = calm_rows(fitted)
    perturbed, features = CHANGES[kind](detector, calm, 300, np.random.default_rng(0))
    assert len(features) == 300
    for row, name in zip(perturbed, features, strict=True):
        end = calm.max(axis=0) if step > 0 else calm.min(axis=0)
        moved = [place for place in places(detector, name) if np.isclose(row[place], end[place] + step, atol=1e-4)]
        others = [place for place in range(len(row)) if place not in moved]
        assert len(moved) == 1
        assert (calm[:, others] == row[others]).all(axis=1).any()
    names = {column.feature for column in detector.encoder.columns if column.role == "value"}
    low = {feature.name for feature in detector.features if feature.direction == "both"}
    assert set(features) == (names if step > 0 else names & low)


def test_a_swap_takes_another_rows_value_and_leaves_the_rest(fitted):
    detector, calm = calm_rows(fitted)
    perturbed, features = CHANGES["swap"](detector, calm, 300, np.random.default_rng(0))
    assert 100 < len(features) <= 300  # where the other row has the same value, nothing is changed
    for row, name in zip(perturbed[:50], features[:50], strict=True):
        own = places(detector, name)
        rest = [place for place in range(len(row)) if place not in own]
        assert (calm[:, rest] == row[rest]).all(axis=1).any()
        assert (calm[:, own] == row[own]).all(axis=1).any()
        assert not (calm == row).all(axis=1).any()


def test_a_rare_value_is_the_encoders_last_column(fitted):
    detector, calm = calm_rows(fitted)
    perturbed, features = CHANGES["rare"](detector, calm, 50, np.random.default_rng(0))
    assert set(features) == {"channel"}
    assert detector.encoder.inverse(perturbed, ["channel"])["channel"].tolist() == ["(another value)"] * 50


def test_counts_are_those_of_the_threshold_and_of_the_first_reason(fitted):
    detector, calm = calm_rows(fitted)
    found = {item.kind: item for item in inject(detector, calm, rows=200, seed=5)}
    assert list(found) == list(KINDS)
    perturbed, features = CHANGES["plus"](detector, calm, 200, np.random.default_rng([5, 0]))
    sources = {feature.name: feature.source for feature in detector.features}
    flagged = detector.matrix_scores(perturbed) > detector.threshold
    right = assign(detector, perturbed).top == np.array([sources[name] for name in features])
    assert found["plus"] == Injected("plus", 200, flagged.sum(), right.sum(), (flagged & right).sum())
    assert inject(detector, calm, rows=200, seed=5) == list(found.values())
    assert inject(detector, calm, rows=200, seed=6) != list(found.values())


def test_the_first_reason_is_the_perturbed_column(fitted):
    detector, calm = calm_rows(fitted)
    for item in inject(detector, calm, rows=400)[:2]:
        assert item.top_reason.value >= 0.95
        assert item.figures == {
            f"injected_{item.kind}_recall": item.flagged / 400,
            f"injected_{item.kind}_top_reason": item.named / 400,
        }


def test_frauds_and_flagged_rows_are_never_perturbed(fitted, tmp_path):
    _, detector, block, _ = fitted
    rows = pq.read_table(block)

    def injected(path, labels):
        rows = pq.read_table(path)
        scores = detector.anomaly_scores(rows)
        return inject_into(path, detector, scores, labels.known(rows, detector.as_of), rows=100)

    labels = Labels(detector.config).known(rows, detector.as_of)
    normal = detector.encoder.transform(rows.filter(pa.array(labels == 0)))
    assert injected(block, Labels(detector.config)) == inject(detector, normal, rows=100)
    frauds = rows.filter(pa.array(labels == 1))
    flagged = detector.model.anomaly_score(detector.encoder.transform(frauds)) > detector.threshold
    assert flagged.any()
    assert inject(detector, detector.encoder.transform(frauds.filter(pa.array(flagged)))) == []
    # Without labels every row is taken for normal, as training takes it.
    pq.write_table(rows.drop_columns(["fraud"]), tmp_path / "rows.parquet")
    everything = inject(detector, detector.encoder.transform(rows), rows=100)
    assert injected(tmp_path / "rows.parquet", Labels(detector.config)) == everything
    # Also where review has found some of them, the most unusual ones as a rule, to be normal.
    key = frauds["tx"].filter(pa.array(flagged))[0].as_py()
    verdict = {"tx": [key], "fraud": [0], "labelled_at": [detector.as_of]}
    review = ReviewedLabels(tmp_path / "review", detector.config)
    pq.write_table(pa.table(verdict), tmp_path / "verdict.parquet")
    review.append(tmp_path / "verdict.parquet")
    assert injected(tmp_path / "rows.parquet", Labels(detector.config, tuple(review.files()))) == everything
    # And of rows that came after the fit, whose labels nobody knew then.
    later = pc.add(pc.cast(rows["at"], pa.timestamp("us")), pa.scalar(timedelta(days=365)))
    pq.write_table(rows.set_column(rows.schema.get_field_index("at"), "at", later), tmp_path / "later.parquet")
    assert injected(tmp_path / "later.parquet", Labels(detector.config)) == everything
    pq.write_table(rows.slice(0, 0), tmp_path / "none.parquet")
    assert injected(tmp_path / "none.parquet", Labels(detector.config)) == []


def test_a_share_has_wilsons_interval():
    found, z = share(30, 40), norm.ppf(0.95)
    centre, half = 30 + z**2 / 2, z * np.sqrt(30 * 10 / 40 + z**2 / 4)
    assert (found.low, found.high) == pytest.approx(((centre - half) / (40 + z**2), (centre + half) / (40 + z**2)))
    assert str(share(0, 0)) == "undefined"
