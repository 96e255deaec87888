"""The fit rows to look at again."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.detector.parts import FIT, split
from pipeline.labels.known import Labels
from pipeline.scoring.suspects import write_suspects
from tests.pipeline.fitted import AFTER, config, detector_of, feature_table, quiet_frauds, replace, transactions


def fitted(folder, table):
    features = feature_table(folder, table, config())
    return features, detector_of(features, config())


def parts_of(features, detector):
    return split(features, detector.config, Labels(detector.config), AFTER)


def test_frauds_that_were_labelled_normal_are_found_among_the_fit_rows(tmp_path):
    table = transactions()
    first = np.flatnonzero(np.arange(1500) < 900)
    hidden = first[table["fraud"].to_numpy()[first] == 1]
    labels = table["fraud"].to_numpy().copy()
    labels[hidden] = 0
    features, detector = fitted(tmp_path, replace(table, "fraud", labels))
    found = pq.read_table(
        write_suspects(features, detector, parts_of(features, detector), tmp_path / "suspects.parquet")
    )
    assert found.num_rows == 20
    assert np.isin(found["tx"].to_numpy(), hidden).sum() > 10
    assert all(reason.startswith("eur ") for reason in found["reason"].to_pylist()[:5])


def test_they_are_the_one_class_models_whatever_known_frauds_add(tmp_path):
    tables = []
    for enabled in (True, False):
        features = feature_table(tmp_path, quiet_frauds(), config())
        detector = detector_of(features, config(feedback={"enabled": enabled}))
        assert (detector.feedback is not None) == enabled
        out = write_suspects(features, detector, parts_of(features, detector), tmp_path / "suspects.parquet")
        tables.append(pq.read_table(out))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("n", [7, 5000])
def test_they_are_the_fit_rows_with_the_highest_scores_in_order(tmp_path, n):
    features, detector = fitted(tmp_path, transactions())
    parts = parts_of(features, detector)
    found = pq.read_table(write_suspects(features, detector, parts, tmp_path / "suspects.parquet", n=n))
    rows = pq.read_table(features)
    fit = rows.filter(pa.array(parts.role == FIT))
    scores = detector.model.anomaly_score(detector.encoder.transform(fit))
    best = np.argsort(-scores, kind="stable")[:n]
    assert found["tx"].to_pylist() == fit["tx"].take(best).to_pylist()
    assert found["anomaly_score"].to_pylist() == scores[best].tolist()
    assert found["rank"].to_pylist() == list(range(1, min(n, fit.num_rows) + 1))
    assert found["p_value"].to_pylist() == detector.one_class.p_value(scores[best]).tolist()
    assert pc.max(found["at"]).as_py() < detector.calibration_start
