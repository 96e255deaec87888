import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from models.dense import LinearAutoencoder
from models.ensemble import EnsembleAutoencoder
from models.memory import MemoryAutoencoder

SMALL = {
    LinearAutoencoder: {"code_size": 2, "max_epochs": 5},
    MemoryAutoencoder: {"code_size": 3},
    EnsembleAutoencoder: {"n_steps": 10, "hidden": (8,)},
}
WIDTHS = {LinearAutoencoder: 2, MemoryAutoencoder: 3, EnsembleAutoencoder: 2}
EVERY_KIND = pytest.mark.parametrize("kind", SMALL)


def frame(n_rows=200, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 5)), columns=list("abcde"))


@EVERY_KIND
def test_transform_gives_the_code_with_a_name_a_column(kind):
    model = kind(**SMALL[kind]).fit(frame())
    np.testing.assert_array_equal(model.transform(frame()), model.encode(frame()), strict=True)
    names = model.get_feature_names_out()
    assert names.tolist() == [f"{kind.__name__.lower()}{place}" for place in range(WIDTHS[kind])]
    codes = model.set_output(transform="pandas").transform(frame())
    assert codes.columns.tolist() == names.tolist()
    np.testing.assert_array_equal(codes.to_numpy(), model.encode(frame()))


@EVERY_KIND
def test_an_unfitted_model_has_no_names(kind):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        kind().get_feature_names_out()


def test_fit_transform_is_fit_and_transform():
    model = LinearAutoencoder(**SMALL[LinearAutoencoder])
    codes = model.fit_transform(frame())
    np.testing.assert_array_equal(codes, model.transform(frame()))


def test_a_code_is_the_input_of_another_estimator():
    rows = frame()
    is_large = (rows @ np.ones(5) > 0).to_numpy()
    steps = make_pipeline(LinearAutoencoder(code_size=2, learning_rate=0.02, batch_size=32), LogisticRegression())
    assert steps.fit(rows, is_large).score(rows, is_large) > 0.9
    assert steps[:-1].get_feature_names_out().tolist() == ["linearautoencoder0", "linearautoencoder1"]
