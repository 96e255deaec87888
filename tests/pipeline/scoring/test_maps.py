"""Maps of a scored batch."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from pipeline.scoring import maps, score
from pipeline.scoring.maps import make_maps
from pipeline.scoring.score import score_table
from tests.pipeline.fitted import config, detector_of, feature_table, transactions


def scored(folder, features, detector):
    """A scored batch, and the rows drawn for its maps."""
    drawn, marks = maps.MapRows(detector), {"batch_id": "b", "model_version": "1", "scored_at": datetime(2025, 5, 1)}
    result = score_table(features, detector, folder, on_part=drawn.add, **marks)
    return drawn.rows(), result


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return feature_table(tmp_path_factory.mktemp("maps"), transactions(), config())


def fit(features, **model):
    return detector_of(features, config(model=model))


def test_rows_and_alerts_are_on_both_maps_and_directions_come_from_rows_without_a_flag(features, tmp_path):
    detector = fit(features)
    drawn, result = scored(tmp_path, features, detector)
    code, columns = make_maps(drawn, result, detector)
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


def test_a_small_code_is_its_own_map_and_a_model_without_one_has_only_that_of_the_columns(features, knn, tmp_path):
    detector = fit(features, code_size=2)
    code, _ = make_maps(*scored(tmp_path, features, detector), detector)
    matrix = detector.encoder.transform(pq.read_table(features))
    assert set(map(tuple, code.points)) == set(map(tuple, detector.model.encode(matrix).astype(float)))
    assert code.text == "Where the model puts the rows."
    line = fit(features, code_size=1)
    assert (make_maps(*scored(tmp_path, features, line), line)[0].points[:, 1] == 0).all()
    assert [found.title for found in make_maps(*scored(tmp_path, features, knn), knn)] == ["Map of the columns"]


def test_many_rows_are_sampled_alike_each_time_and_alerts_by_rank(features, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "NORMAL_POINTS", 100)
    monkeypatch.setattr(score, "FIRST_ALERTS", 9)
    detector = fit(features)
    once, again = (make_maps(*scored(tmp_path, features, detector), detector, tsne=True) for _ in range(2))
    assert [found.title for found in once] == ["Map of the code", "Map of the columns", "Map by neighbourhood"]
    for one, other in zip(once, again, strict=True):
        assert (one.ranks == 0).sum() == 100
        assert set(one.ranks[one.ranks > 0]) == set(range(1, 10))
        assert np.array_equal(one.points, other.points)


def test_a_batch_of_two_rows_has_no_map_and_one_of_three_has(features, tmp_path):
    detector = fit(features)
    for rows, maps_of_it in ((2, 0), (3, 2)):
        pq.write_table(pq.read_table(features).slice(0, rows), tmp_path / "few.parquet")
        drawn, result = scored(tmp_path, tmp_path / "few.parquet", detector)
        assert result.flagged == 0
        assert len(make_maps(drawn, result, detector)) == maps_of_it


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
        *_, last = make_maps(*scored(tmp_path, features, detector), detector, tsne=True)
        assert last.title == "Map by neighbourhood"
        assert last.text == f"t-SNE of the {of}: neighbours stay neighbours; distances between groups say nothing."


@pytest.mark.parametrize(("rows", "share"), [(20_000, 0.0), (20_000, 0.5), (900, 0.3), (900, 1.0)])
def test_rows_are_drawn_alike_in_whatever_parts_they_come(monkeypatch, knn, rows, share):
    monkeypatch.setattr(maps, "NORMAL_POINTS", 300)
    flags = np.random.default_rng(1).random(rows) < share
    draws = np.random.default_rng(knn.config.model.seed).random(rows)
    rest = np.flatnonzero(~flags)
    expected = sorted(rest[np.argsort(draws[rest])][:300].tolist())
    for size in (rows, 700, 33):
        drawn = maps.MapRows(knn)
        for start in range(0, rows, size):
            here = slice(start, min(start + size, rows))
            numbers = np.arange(here.start, here.stop)
            part = pa.record_batch(dict.fromkeys(columns_of(knn), numbers))
            drawn.add(part, np.ones(len(numbers)), flags[here])
        found = drawn.rows()
        assert ([] if found is None else found.column(0).to_pylist()) == expected


def columns_of(detector):
    return dict.fromkeys(feature.column for feature in detector.features)


@pytest.fixture(scope="module")
def knn(features):
    return fit(features, name="knn")
