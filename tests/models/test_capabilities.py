import numpy as np
import pytest

from models import capabilities
from models.capabilities import (
    WithCode,
    WithContributions,
    WithEarlyStopping,
    WithEpochs,
    WithProgress,
    WithReconstruction,
    WithResiduals,
    WithTrim,
)
from models.registry import MODELS, model_class

SURFACE = {WithCode, WithContributions, WithReconstruction, WithResiduals}
EXPECTED = {
    **dict.fromkeys(MODELS, SURFACE | {WithEarlyStopping, WithEpochs, WithProgress, WithTrim}),
    "ensemble": SURFACE | {WithEarlyStopping, WithEpochs, WithProgress},
    "memory": SURFACE,
    "committee": {WithEarlyStopping, WithEpochs, WithProgress},
    **{name: set() for name in ("pca", "knn", "isolation_forest", "one_class_svm")},
}
ALL = {kind for kind in vars(capabilities).values() if getattr(kind, "_is_runtime_protocol", False)} - {
    capabilities.RowSource
}
SMALL = {"max_epochs": 2, "n_steps": 10, "hidden": (8,), "code_size": 2, "batch_size": 32}


def rows(n_rows=100, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, 4)).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_each_model_has_the_capabilities_of_its_kind_and_they_work(name):
    family = model_class(name)
    model = family(**{key: value for key, value in SMALL.items() if key in family().get_params()})
    after_fit = {WithEpochs, WithTrim}
    assert {capability for capability in ALL if isinstance(model, capability)} == EXPECTED[name] - after_fit
    passes = []
    if isinstance(model, WithProgress):
        model.set_params(on_epoch=lambda epoch, max_epochs, losses: passes.append(losses))
    if isinstance(model, WithEarlyStopping):
        model.fit(rows(), X_held_out=rows(20, seed=1))
    else:
        with pytest.raises(TypeError, match="unexpected keyword argument 'X_held_out'"):
            model.fit(rows(), X_held_out=rows(20, seed=1))
        model.fit(rows())
    assert {capability for capability in ALL if isinstance(model, capability)} == EXPECTED[name]
    if isinstance(model, WithEpochs):
        assert [set(losses) for losses in passes] == [{"train_loss", "held_out_loss"}] * len(model.epochs_)
        assert passes
    if isinstance(model, WithTrim):
        assert model.trimmed_ is None
    if isinstance(model, WithCode):
        assert model.encode(rows()).shape == (100, 2)
