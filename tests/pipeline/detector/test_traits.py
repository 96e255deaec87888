import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.optimize import minimize

from pipeline.detector.artefact import Detector
from pipeline.detector.parts import CALIBRATION, EARLY_STOPPING, split
from pipeline.detector.traits import COUNTS, PULL, Traits, column_levels, fit_weights
from pipeline.labels.known import Labels
from tests.pipeline.fitted import AFTER, config, contents, detector_of, feature_table, quiet_frauds, replace

ROWS = 1500


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def features(folder):
    """A feature table of which twelve frauds are known, none of them in the calibration block."""
    table = pq.read_table(feature_table(folder, quiet_frauds(ROWS), config()))
    labels = table["fraud"].to_numpy()
    hidden = (labels == 1) & ((np.cumsum(labels) > 12) | (np.arange(ROWS) >= 1125))
    pq.write_table(replace(table, "fraud", pa.array(labels, mask=hidden)), folder / "few.parquet")
    return folder / "few.parquet"


@pytest.fixture(scope="module")
def detector(features):
    return detector_of(features, config())


@pytest.fixture(scope="module")
def matrix(detector, features):
    return detector.encoder.transform(pq.read_table(features))


def levels_of(n_rows=400, seed=0):
    random = np.random.default_rng(seed)
    return random.exponential(size=(n_rows, 3)), random.exponential(size=(12, 3)) + np.array([5, 1, 0])


def test_levels_are_counts_of_reference_rows_as_high_and_as_low():
    random = np.random.default_rng(0)
    reference, rows = random.integers(0, 6, size=(50, 4)), random.integers(-1, 8, size=(30, 4))
    levels = column_levels(np.sort(reference, axis=0), rows)
    as_high = (reference[None] >= rows[:, None]).sum(axis=1)
    as_low = (reference[None] <= rows[:, None]).sum(axis=1)
    expected = -np.log((1 + np.concatenate([as_high, as_low], axis=1)) / 51)
    np.testing.assert_allclose(levels, expected)


def test_weights_minimise_the_penalised_likelihood():
    normal, frauds = levels_of()

    def cost(values):
        base, slopes = values[0], np.exp(values[1:])  # above zero in another way
        hits, misses = np.logaddexp(0, -base - frauds @ slopes), np.logaddexp(0, base + normal @ slopes)
        return hits.sum() + 12 * misses.mean() + PULL / 2 * (slopes**2).sum()

    best = min((minimize(cost, [-1, *start]) for start in ([-1, -1, -1], [0, -2, -4])), key=lambda result: result.fun)
    np.testing.assert_allclose(fit_weights(normal, frauds), np.exp(best.x[1:]), atol=5e-3)


def test_a_column_counts_the_more_the_more_frauds_say_so_and_never_less_than_nothing():
    normal, frauds = levels_of()
    few, many = fit_weights(normal, frauds[:5]), fit_weights(normal, np.tile(frauds, (20, 1)))
    assert few[0] > few[1] >= few[2] >= 0
    assert many[0] > few[0]
    # What only normal rows have much of counts nothing.
    assert fit_weights(normal + 9, frauds).max() == 0


def test_a_few_known_frauds_raise_what_looks_like_them(detector, features, matrix):
    parts, traits = split(features, config(), Labels(config()), AFTER), detector.feedback
    assert isinstance(traits, Traits)
    normal, frauds = matrix[parts.role == EARLY_STOPPING], matrix[parts.labels == 1]
    reference = np.sort(normal, axis=0)
    np.testing.assert_array_equal(traits.reference, reference)
    levels = column_levels(reference, matrix)
    expected = fit_weights(column_levels(reference, normal), column_levels(reference, frauds))
    np.testing.assert_allclose(traits.weights.ravel(), expected, atol=1e-6)
    likeness = traits.tails["columns"](levels @ expected)
    alone = detector.model.anomaly_score(matrix)
    scores, one_class = traits.both(detector.model, matrix)
    assert (one_class == alone).all()
    np.testing.assert_allclose(scores, traits.tails["model"](alone) * (1 + COUNTS * likeness), rtol=1e-4)
    assert likeness[parts.labels == 1].min() > np.median(likeness)
    assert "12 known frauds raise what stands out as they do, most of all in" in detector.summary["feedback"]


def test_a_row_scores_the_same_in_any_batch_and_the_block_as_new_rows_do(detector, features, matrix):
    block = split(features, config(), Labels(config()), AFTER).role == CALIBRATION
    scores = detector.matrix_scores(matrix)
    assert (detector.matrix_scores(matrix[3:40]) == scores[3:40]).all()
    assert (detector.held_out.scores == scores[block]).all()


def test_no_row_falls_behind_by_being_more_like_the_frauds(detector, matrix):
    traits = detector.feedback
    alone = traits.tails["model"](np.asarray(detector.model.anomaly_score(matrix), dtype=np.float64))
    scores = traits.both(detector.model, matrix)[0]
    assert (scores >= alone).all()
    assert (scores[alone == 0] == 0).all()


def test_the_strongest_features_are_those_whose_columns_count_most():
    traits = Traits(np.zeros((1, 4)), np.array([[0.0, 1, 2, 0], [0, 2.5, 0, 0]]), {}, None)
    assert traits.strongest(["eur", "hour", "phone", "hour"]) == ["hour", "phone"]
    assert traits.strongest(["a", "b", "c", "d"], limit=1) == ["b"]


def test_a_saved_detector_scores_as_before(detector, features, tmp_path):
    detector.save(tmp_path / "artefact")
    again = Detector.load(tmp_path / "artefact")
    rows = pq.read_table(features)
    assert (again.anomaly_scores(rows) == detector.anomaly_scores(rows)).all()
    again.save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "artefact")


def test_without_ten_frauds_nothing_changes(features, folder):
    table = pq.read_table(features)
    labels = table["fraud"].to_pylist()
    places = [place for place, label in enumerate(labels) if label == 1]
    nine = [None if place in places[9:] else label for place, label in enumerate(labels)]
    pq.write_table(replace(table, "fraud", nine), folder / "nine.parquet")
    few, none = (
        detector_of(folder / "nine.parquet", config(feedback=settings)) for settings in ({}, {"enabled": False})
    )
    assert few.feedback is None
    assert (few.anomaly_scores(table) == none.anomaly_scores(table)).all()


def test_traits_that_rank_the_block_worse_count_nothing(folder, monkeypatch):
    path = feature_table(folder, quiet_frauds(4000), config(), "many")

    def misled(normal, frauds):
        return np.maximum(normal.mean(axis=0) - frauds.mean(axis=0), 0)

    monkeypatch.setattr("pipeline.detector.traits.fit_weights", misled)
    worse = detector_of(path, config(feedback={"min_frauds": 1000}))
    assert worse.feedback is None
    assert "trees learn from 1,000" in worse.summary["feedback"]
