"""A library of one-class models. Knows NumPy, torch and scikit-learn, and nothing of the pipeline.

In goes a matrix of normal rows, out come one anomaly score a row and what each column has to do with it. Anyone may use
it; ``pipeline`` does. Each name below is imported, and torch with it, when it is first asked for:

>>> from models import DenoisingAutoencoder, load
>>> DenoisingAutoencoder(code_size=8)
DenoisingAutoencoder(code_size=8)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.base import Autoencoder
    from models.baselines import IsolationTrees, NearestNeighbours, OneClassSVM, PrincipalComponents
    from models.belief import DeepBeliefAutoencoder
    from models.committee import Committee
    from models.contractive import ContractiveAutoencoder
    from models.convolutional import ConvolutionalAutoencoder
    from models.denoising import DenoisingAutoencoder
    from models.dense import DenseAutoencoder, LinearAutoencoder
    from models.ensemble import EnsembleAutoencoder
    from models.memory import MemoryAutoencoder
    from models.one_class import OneClassModel
    from models.registry import MODELS, load, model_class
    from models.sparse import SparseAutoencoder
    from models.variational import VariationalAutoencoder

__all__ = [
    "MODELS",
    "Autoencoder",
    "Committee",
    "ContractiveAutoencoder",
    "ConvolutionalAutoencoder",
    "DeepBeliefAutoencoder",
    "DenoisingAutoencoder",
    "DenseAutoencoder",
    "EnsembleAutoencoder",
    "IsolationTrees",
    "LinearAutoencoder",
    "MemoryAutoencoder",
    "NearestNeighbours",
    "OneClassModel",
    "OneClassSVM",
    "PrincipalComponents",
    "SparseAutoencoder",
    "VariationalAutoencoder",
    "load",
    "model_class",
]

_CONTRACTS = {"Autoencoder": "models.base", "OneClassModel": "models.one_class"}


def __getattr__(name: str) -> Any:
    """Import what a name of ``__all__`` stands for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from models import registry

    if name in ("MODELS", "load", "model_class"):
        return getattr(registry, name)
    modules = {path.rpartition(".")[2]: path.rpartition(".")[0] for path in registry.MODELS.values()}
    return getattr(importlib.import_module((modules | _CONTRACTS)[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
