import numpy as np
import pytest

from models.audit import check_not_degenerate, movement
from models.dense import DenseAutoencoder
from models.registry import load
from models.sparse import SparseAutoencoder


def rows(n_rows=1000, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n_rows, 2)) @ np.random.default_rng(9).normal(size=(2, 6))).astype(np.float32)


def test_a_sound_model_passes():
    check_not_degenerate(DenseAutoencoder(max_epochs=5).fit(rows()), rows(seed=1))


def test_constant_scores_are_refused():
    model = DenseAutoencoder(max_epochs=1).fit(np.ones((100, 3)))
    with pytest.raises(ValueError, match="gives all 50 rows the same score"):
        check_not_degenerate(model, np.ones((50, 3)))


def test_a_collapsed_code_is_refused():
    model = SparseAutoencoder(penalty="l1", weight=1e4, learning_rate=0.05, batch_size=32).fit(rows())
    with pytest.raises(ValueError, match="the same code: it has collapsed"):
        check_not_degenerate(model, rows(seed=1))


def test_flagging_everything_is_refused():
    model = DenseAutoencoder(max_epochs=5).fit(rows())
    with pytest.raises(ValueError, match=r"flags 100 % of 200 normal rows, against 10 % of those"):
        check_not_degenerate(model, rows(200, seed=1) + 20)


def test_trimming_finds_the_rows_that_do_not_belong(tmp_path):
    rng = np.random.default_rng(3)
    data = rows()
    data[:60] = 3 * rng.normal(size=(60, 6))  # in a subspace of their own
    settings = {"code_size": 2, "hidden": (), "learning_rate": 0.02, "batch_size": 50, "residual_score": "mean_squared"}
    whole, trimmed = DenseAutoencoder(**settings).fit(data), DenseAutoencoder(trim=0.06, **settings).fit(data)
    assert whole.trimmed_ is None
    assert len(set(whole.suspects(data, 60)) & set(range(60))) > 50
    assert trimmed.trimmed_["rows"] == 60
    assert trimmed.trimmed_["median_after"] < trimmed.trimmed_["median_before"]
    kept = np.sort(np.argsort(whole.anomaly_score(data), kind="stable")[:940])
    again = DenseAutoencoder(**settings).fit(data[kept])
    np.testing.assert_array_equal(trimmed.anomaly_score(data), again.anomaly_score(data))
    assert trimmed.trimmed_ == {
        "rows": 60,
        **movement(whole.anomaly_score(data)[kept], again.anomaly_score(data)[kept]),
    }
    trimmed.save(tmp_path)
    assert load(tmp_path).trimmed_ == trimmed.trimmed_
    with pytest.raises(ValueError, match=r"trim=0\.5 must be 0 or more and below 0.5"):
        DenseAutoencoder(trim=0.5).fit(data)
