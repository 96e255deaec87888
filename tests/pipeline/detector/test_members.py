import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.optimize import minimize

from models.baselines import PrincipalComponents
from pipeline.detector.artefact import Detector
from pipeline.detector.members import PULL, MemberWeights, combine, fit_shares, members_of
from pipeline.detector.parts import EARLY_STOPPING, split
from pipeline.labels.known import Labels
from tests.pipeline.fitted import AFTER, config, contents, detector_of, feature_table, quiet_frauds, replace

ENSEMBLE = {"name": "ensemble", "options": {"n_steps": 100, "n_networks": 2}}
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


def fitted(features, **feedback):
    return detector_of(features, config(model=ENSEMBLE, feedback=feedback))


@pytest.fixture(scope="module")
def detector(features):
    return fitted(features)


def drawn(n_rows=400, seed=0):
    random = np.random.default_rng(seed)
    return random.exponential(size=(n_rows, 3)), random.exponential(size=(12, 3)) + np.array([5, 1, 0])


def test_shares_minimise_the_penalised_likelihood():
    normal, frauds = drawn()

    def cost(values):
        base, slopes = values[0], np.exp(values[1:])  # above zero in another way
        hits, misses = np.logaddexp(0, -base - frauds @ slopes), np.logaddexp(0, base + normal @ slopes)
        return hits.sum() + 12 * misses.mean() + PULL / 2 * ((slopes - slopes.mean()) ** 2).sum()

    best = min((minimize(cost, [-1, *start]) for start in ([-1, -1, -1], [0, -2, -4])), key=lambda found: found.fun)
    slopes = np.exp(best.x[1:])
    np.testing.assert_allclose(fit_shares(normal, frauds), slopes / slopes.sum(), atol=5e-3)


def test_what_frauds_stand_out_in_counts_more_and_the_more_frauds_the_more():
    normal, frauds = drawn()
    few, many = fit_shares(normal, frauds[:5]), fit_shares(normal, np.tile(frauds, (20, 1)))
    for shares in (few, many):
        assert shares.min() >= 0
        assert shares.sum() == pytest.approx(1)
        assert shares[0] > shares[1] >= shares[2]
    assert 1 / 3 < few[0] < many[0]
    # A member that only normal rows stand out in counts nothing, never less.
    assert fit_shares(normal + np.array([0, 0, 9]), np.tile(frauds, (50, 1)))[2] == 0
    assert fit_shares(normal + 9, frauds).tolist() == [1 / 3] * 3


def test_equal_shares_are_the_models_own_score(detector, features):
    rows = detector.encoder.transform(pq.read_table(features))
    levels = members_of(detector.model, rows)
    np.testing.assert_allclose(combine(levels, np.full(5, 0.2)), detector.model.anomaly_score(rows), rtol=1e-5)
    assert (combine(levels[3:9], np.full(5, 0.2)) == combine(levels, np.full(5, 0.2))[3:9]).all()


def test_a_few_known_frauds_weigh_the_members_on_rows_that_they_were_not_fitted_on(detector, features):
    table = pq.read_table(features)
    parts = split(features, config(), Labels(config()), AFTER)
    levels = members_of(detector.model, detector.encoder.transform(table))
    expected = fit_shares(levels[parts.role == EARLY_STOPPING], levels[parts.labels == 1])
    assert isinstance(detector.feedback, MemberWeights)
    np.testing.assert_allclose(detector.feedback.shares, expected, atol=1e-3)
    assert np.ptp(expected) > 0.01
    scores = combine(levels, detector.feedback.shares)
    assert (detector.matrix_scores(detector.encoder.transform(table)) == scores).all()
    assert (detector.held_out.scores == scores[1125:]).all()
    assert "12 known frauds; the model's members count" in detector.summary["feedback"]


def test_a_saved_detector_scores_as_before(detector, features, tmp_path):
    detector.save(tmp_path / "artefact")
    again = Detector.load(tmp_path / "artefact")
    rows = pq.read_table(features)
    assert (again.anomaly_scores(rows) == detector.anomaly_scores(rows)).all()
    again.save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "artefact")


def test_without_ten_frauds_or_without_members_nothing_changes(features, folder):
    table = pq.read_table(features)
    labels = table["fraud"].to_pylist()
    places = [place for place, label in enumerate(labels) if label == 1]
    nine = [None if place in places[9:] else label for place, label in enumerate(labels)]
    pq.write_table(replace(table, "fraud", nine), folder / "nine.parquet")
    few, none = fitted(folder / "nine.parquet"), fitted(folder / "nine.parquet", enabled=False)
    assert few.feedback is None
    assert (few.anomaly_scores(table) == none.anomaly_scores(table)).all()
    assert detector_of(features, config()).feedback is None
    with pytest.raises(TypeError, match="PrincipalComponents has no members"):
        members_of(PrincipalComponents(), np.zeros((2, 2)))


def test_members_that_rank_the_block_worse_are_not_weighed(folder, monkeypatch):
    path = feature_table(folder, quiet_frauds(4000), config(), "many")
    settings = config(model=ENSEMBLE, feedback={"min_frauds": 1000})
    monkeypatch.setattr(
        "pipeline.detector.feedback.fit_shares",
        lambda normal, frauds: np.eye(5)[np.argmin(frauds.mean(axis=0) - normal.mean(axis=0))],
    )
    worse = detector_of(path, settings)
    assert worse.feedback is None
    assert "trees learn from 1,000" in worse.summary["feedback"]
