"""What `from models import …` gives, and when torch is imported for it."""

import importlib
import sys
from pathlib import Path

import pytest

import models
from models.registry import MODELS
from tests.processes import run

ROOT = Path(models.__file__).parents[1]


def loaded_after(code):
    """The heavy packages that some code has imported, in a process of its own."""
    code += "\nimport sys; print(*sorted({'torch', 'sklearn', 'numpy', 'sympy'} & sys.modules.keys()))"
    process = run(sys.executable, "-c", code, cwd=ROOT)
    assert process.status == 0, process
    return process.output.split()


def test_the_library_and_its_list_of_models_come_without_torch():
    assert loaded_after("import models; from models import MODELS, load, model_class; MODELS['knn']; dir(models)") == []


def test_a_network_brings_torch_with_it_but_not_its_symbolic_shapes():
    code = "import torch; from models.layers import dense_layers; dense_layers([2, 1], generator=torch.Generator())"
    loaded = loaded_after(code)
    assert "torch" in loaded
    assert "sympy" not in loaded


def test_every_model_is_there_under_its_name():
    for path in MODELS.values():
        module, _, name = path.rpartition(".")
        assert getattr(models, name) is getattr(importlib.import_module(module), name)
        assert name in models.__all__
    others = set(models.__all__) - {path.rpartition(".")[2] for path in MODELS.values()}
    assert others == {"MODELS", "load", "model_class", "Autoencoder", "OneClassModel"}
    assert set(models.__all__) <= set(dir(models))
    assert {name: getattr(models, name) for name in others}["MODELS"] is MODELS


def test_another_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'models' has no attribute 'Autoencoders'"):
        _ = models.Autoencoders
    with pytest.raises(ImportError, match="cannot import name 'Forest' from 'models'"):
        exec("from models import Forest")  # noqa: S102 - the statement is what is tested
