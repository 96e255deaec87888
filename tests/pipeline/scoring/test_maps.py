"""Maps of a scored batch."""

from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from pipeline.scoring import maps
from pipeline.scoring.maps import make_maps
from pipeline.scoring.score import score_table
from tests.pipeline.fitted import config, detector_of, feature_table, transactions


def scored(folder, features, detector):
    return score_table(features, detector, folder, batch_id="b", model_version="1", scored_at=datetime(2025, 5, 1))


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return feature_table(tmp_path_factory.mktemp("maps"), transactions(), config())


def fit(features, **model):
    return detector_of(features, config(model=model))


def test_rows_and_alerts_are_on_both_maps_and_directions_come_from_rows_without_a_flag(features, tmp_path):
    detector = fit(features)
    result = scored(tmp_path, features, detector)
    code, columns = make_maps(features, result, detector)
    table = pq.read_table(features)
    flags = pq.read_table(result.scores)["is_flagged"].to_numpy(zero_copy_only=False)
    matrix = detector.encoder.transform(table).astype(np.float64)
    for found, values in ((code, detector.model.encode(matrix).astype(np.float64)), (columns, matrix)):
        assert len(found.points) == 1500
        assert sorted(found.ranks[found.ranks > 0]) == list(range(1, result.flagged + 1))
        expected = PCA(2, svd_solver="full").fit(values[~flags]).transform(values)
        np.testing.assert_allclose(found.points[found.ranks == 0], expected[~flags], atol=1e-9)
        np.testing.assert_allclose(found.points[found.ranks > 0], expected[flags], atol=1e-9)
    assert (code.title, columns.title) == ("Map of the code", "Map of the columns")
    assert code.text == "Where the model puts the rows: the two main directions of its code of 6 nodes."
    assert columns.text == "The same rows by the two main directions of the columns that the model sees (PCA)."
    ids = pq.read_table(result.alerts)["tx"].to_pylist()
    in_file = [table["tx"].to_pylist()[place] for place in np.flatnonzero(flags)]
    assert [ids[rank - 1] for rank in code.ranks[code.ranks > 0]] == in_file


def test_a_small_code_is_its_own_map_and_a_model_without_one_has_only_that_of_the_columns(features, tmp_path):
    detector = fit(features, code_size=2)
    code, _ = make_maps(features, scored(tmp_path, features, detector), detector)
    matrix = detector.encoder.transform(pq.read_table(features))
    assert set(map(tuple, code.points)) == set(map(tuple, detector.model.encode(matrix).astype(float)))
    assert code.text == "Where the model puts the rows."
    line = fit(features, code_size=1)
    assert (make_maps(features, scored(tmp_path, features, line), line)[0].points[:, 1] == 0).all()
    knn = fit(features, name="knn")
    assert [found.title for found in make_maps(features, scored(tmp_path, features, knn), knn)] == [
        "Map of the columns"
    ]


def test_many_rows_are_sampled_alike_each_time_and_alerts_by_rank(features, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "NORMAL_POINTS", 100)
    monkeypatch.setattr(maps, "ALERT_POINTS", 9)
    detector = fit(features)
    result = scored(tmp_path, features, detector)
    once, again = (make_maps(features, result, detector, tsne=True) for _ in range(2))
    assert [found.title for found in once] == ["Map of the code", "Map of the columns", "Map by neighbourhood"]
    for one, other in zip(once, again, strict=True):
        assert (one.ranks == 0).sum() == 100
        assert set(one.ranks[one.ranks > 0]) == set(range(1, 10))
        assert np.array_equal(one.points, other.points)


def test_a_batch_of_two_rows_has_no_map_and_one_of_three_has(features, tmp_path):
    detector = fit(features)
    for rows, maps_of_it in ((2, 0), (3, 2)):
        pq.write_table(pq.read_table(features).slice(0, rows), tmp_path / "few.parquet")
        result = scored(tmp_path, tmp_path / "few.parquet", detector)
        assert result.flagged == 0
        assert len(make_maps(tmp_path / "few.parquet", result, detector)) == maps_of_it


@pytest.mark.parametrize(("rows", "perplexity"), [(10, 3), (200, 30)])
@pytest.mark.parametrize(("columns", "start"), [(3, "pca"), (1, "random")])
def test_neighbours_are_a_third_of_the_rows_and_thirty_at_most(rows, perplexity, columns, start):
    values = np.random.default_rng(0).normal(size=(rows, columns))
    expected = TSNE(2, perplexity=perplexity, init=start, random_state=5).fit_transform(values)
    assert np.array_equal(maps._neighbourhood(values, 5), expected)


def test_two_columns_are_turned_where_it_is_asked_for_and_left_where_not():
    values = np.random.default_rng(1).normal(size=(20, 2))
    assert np.array_equal(maps._plane(values, 15), values)
    expected = PCA(2, svd_solver="full").fit(values[:15]).transform(values)
    np.testing.assert_allclose(maps._plane(values, 15, always=True), expected)


def test_a_map_by_neighbourhood_is_of_the_code_or_else_of_the_columns(features, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "NORMAL_POINTS", 60)
    for name, of in (("denoising", "code"), ("knn", "columns")):
        detector = fit(features, name=name)
        *_, last = make_maps(features, scored(tmp_path, features, detector), detector, tsne=True)
        assert last.title == "Map by neighbourhood"
        assert last.text == f"t-SNE of the {of}: neighbours stay neighbours; distances between groups say nothing."


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rows", [200_007, 3500, 50])  # many, of which few are drawn; fewer; no more than are drawn
def test_rows_are_drawn_of_those_that_were_not_flagged(rows, share):
    is_flagged = np.random.default_rng(1).random(rows) < share
    rest = np.flatnonzero(~is_flagged)
    found = maps._some(rows, np.flatnonzero(is_flagged), 5)
    assert found.dtype == np.int64
    assert (np.diff(found) > 0).all()
    assert len(found) == min(len(rest), 3000)
    assert np.isin(found, rest).all()
    drawn = np.random.default_rng(5).choice(rest, len(found), replace=False, shuffle=False)
    assert found.tolist() == sorted(drawn.tolist())


def test_each_row_has_the_same_chance_to_be_drawn(monkeypatch):
    monkeypatch.setattr(maps, "NORMAL_POINTS", 3)
    flagged = np.array([0, 4, 5])
    counts = sum(np.bincount(maps._some(12, flagged, seed), minlength=12) for seed in range(3000))
    assert counts[flagged].tolist() == [0, 0, 0]
    assert np.abs(np.delete(counts, flagged) - 1000).max() < 4.5 * np.sqrt(3000 * 2 / 9)
