"""Every model by its short name, and saved models read back; imports torch only when one is asked for."""

import importlib
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.one_class import OneClassModel

MODELS = {
    "denoising": "models.denoising.DenoisingAutoencoder",
    "dense": "models.dense.DenseAutoencoder",
    "linear": "models.dense.LinearAutoencoder",
    "sparse": "models.sparse.SparseAutoencoder",
    "contractive": "models.contractive.ContractiveAutoencoder",
    "variational": "models.variational.VariationalAutoencoder",
    "convolutional": "models.convolutional.ConvolutionalAutoencoder",
    "belief": "models.belief.DeepBeliefAutoencoder",
    "memory": "models.memory.MemoryAutoencoder",
    "ensemble": "models.ensemble.EnsembleAutoencoder",
    "committee": "models.committee.Committee",
    "pca": "models.baselines.PrincipalComponents",
    "knn": "models.baselines.NearestNeighbours",
    "isolation_forest": "models.baselines.IsolationTrees",
    "one_class_svm": "models.baselines.OneClassSVM",
}
"""Each model's short name, as configurations have it, and its class: the only ones that an artefact may name."""


def model_class(name: str) -> "type[OneClassModel]":
    """Return the class behind a short name of ``MODELS``; imports its module.

    Raises
    ------
    ValueError
        When no model has that name.

    Examples
    --------
    >>> model_class("denoising").__name__
    'DenoisingAutoencoder'
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; known are {', '.join(MODELS)}")
    module, _, class_name = MODELS[name].rpartition(".")
    return getattr(importlib.import_module(module), class_name)


def parameter_names(family: "type[OneClassModel]") -> list[str]:
    """Return the names of the parameters that a model is made with, in the order of its constructor.

    Examples
    --------
    >>> parameter_names(model_class("knn"))
    ['n_neighbors', 'contamination']
    """
    return [field.name for field in fields(family) if field.init]


def load(folder: str | Path) -> "OneClassModel":
    """Read a model that ``save`` wrote; it scores bit for bit as before.

    Raises
    ------
    ValueError
        When the folder was written in another format, or names a class that is not one of ours.
    FileNotFoundError
        When ``model.json`` or ``model.safetensors`` is not there.
    """
    import numpy as np
    from safetensors.numpy import load_file

    from models.one_class import MODEL_FORMAT

    folder = Path(folder)
    path = folder / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("format") != MODEL_FORMAT:
        raise ValueError(f"{path} has format {content.get('format')!r}, and this version reads {MODEL_FORMAT}")
    names = {path.rpartition(".")[2]: name for name, path in MODELS.items()}
    if content.get("class") not in names:
        raise ValueError(f"{path} names the class {content.get('class')!r}; known are {', '.join(names)}")
    family = model_class(names[content["class"]])
    model = family(**{name: _as_tuple(value) for name, value in content["parameters"].items()})
    model.n_features_in_ = content["n_features_in"]
    if content["feature_names_in"]:
        model.feature_names_in_ = np.array(content["feature_names_in"], dtype=object)
    model.offset_ = content["offset"]
    model._restore(content, load_file(folder / "model.safetensors"))
    return model


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value
