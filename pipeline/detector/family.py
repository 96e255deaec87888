"""Which model a configuration asks for: a family of the library by its short name, with the settings it takes."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ConfigError
from pipeline.settings.config import ModelConfig

if TYPE_CHECKING:
    from models.one_class import OneClassModel
    from models.settings import OnEpoch

# Parameters of the library's models, by the setting of every family's that they come from.
SETTINGS = {
    "hidden": "hidden",
    "code_size": "code_size",
    "loss": "loss",
    "score": "residual_score",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "max_epochs": "max_epochs",
    "patience": "patience",
    "seed": "random_state",
    "trim": "trim",
}
# Parameters that no configuration sets: they follow from the table and the run.
GIVEN = ("column_groups", "core", "behaviour", "above", "ignored", "checkpoint", "on_epoch", "contamination")
# Where a family does better on transactions with another value than the library's, chosen on development weeks.
OWN: dict[str, dict[str, Any]] = {"denoising": {"noise": 0.02, "learning_rate": 3e-3}}


def build_model(
    settings: ModelConfig,
    column_groups: Sequence[tuple[str, int]] | None = None,
    on_epoch: "OnEpoch | None" = None,
    checkpoint: Path | None = None,
    *,
    views: Mapping[str, Sequence[int]] | None = None,
) -> "OneClassModel":
    """Return the model that a configuration asks for, not fitted.

    A setting that the family has no use for is not passed on; imports the library, and with it torch.

    Parameters
    ----------
    settings : ModelConfig
    column_groups : sequence of (kind, width), optional
        What the matrix's columns are (`Encoder.column_groups`); passed on where the loss is by column type.
    on_epoch : callable, optional
        Called after each epoch with its number, the most there can be, and the losses.
    checkpoint : Path, optional
        Folder that a killed training goes on from.
    views : mapping of str to sequence of int, optional
        Which of the matrix's columns each part of a model looks at (`Encoder.views`), for a model of several parts.

    Raises
    ------
    ConfigError
        For a family that is not there, an option or a score that it does not have, an option of another type, and
        for ``trim`` where the family cannot refit.

    Examples
    --------
    >>> build_model(ModelConfig(name="knn", options={"n_neighbors": 3}))
    NearestNeighbours(n_neighbors=3)
    """
    from models.registry import MODELS, model_class, parameter_names

    if settings.name not in MODELS:
        raise ConfigError(f"model.name = {settings.name!r} is no family of models; {_nearest(settings.name, MODELS)}")
    family = model_class(settings.name)
    parameters = parameter_names(family)
    options = _options(settings, family, parameters)
    shared = {
        parameter: getattr(settings, name)
        for name, parameter in SETTINGS.items()
        if parameter in parameters and getattr(settings, name) is not None
    }
    scores, score = family.score_names, shared.get("residual_score")
    if scores and score is not None and score not in scores:
        raise ConfigError(f"model.score = {score!r} is no score of {settings.name!r}; {_nearest(score, scores)}")
    if settings.trim and "trim" not in parameters:
        raise ConfigError(
            f"model.trim = {settings.trim:g} asks for a second fit, which {settings.name!r} does not have; "
            "set it to 0, or choose an autoencoder"
        )
    model = family(**OWN.get(settings.name, {}) | options | shared)
    run: dict[str, Any] = {"on_epoch": on_epoch, "checkpoint": checkpoint, **(views or {})}
    if model.get_params().get("loss", "mixed") == "mixed":
        run["column_groups"] = column_groups
    return model.set_params(**{name: value for name, value in run.items() if name in parameters})


def can_ignore(settings: ModelConfig) -> bool:
    """Return whether the model that a configuration asks for can leave columns of its matrix out."""
    from models.registry import MODELS, model_class, parameter_names

    return settings.name in MODELS and "ignored" in parameter_names(model_class(settings.name))


def parameters_of(model: "OneClassModel") -> dict[str, Any]:
    """Return what a model was made with, those parameters left out that follow from the table and the run."""
    return {name: value for name, value in model.get_params(deep=False).items() if name not in GIVEN}


def _options(settings: ModelConfig, family: type, parameters: Sequence[str]) -> dict[str, Any]:
    """Return the options, each of the type that the family takes."""
    names = [name for name in parameters if name not in (*SETTINGS.values(), *GIVEN)]
    hints, options = get_type_hints(family), {}
    for name, value in settings.options.items():
        key = f"model.options.{name} = {value!r}"
        if name in SETTINGS or name in SETTINGS.values():
            setting = next(setting for setting, parameter in SETTINGS.items() if name in (setting, parameter))
            raise ConfigError(f"{key} is no option of {settings.name!r}, but a setting: write it as model.{setting}")
        if name not in names:
            raise ConfigError(f"{key} is no option of {settings.name!r}; {_nearest(name, names)}")
        try:
            options[name] = TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise ConfigError(f"{key} of {settings.name!r}: {message[0].lower()}{message[1:]}") from None
    return options


def _nearest(name: str, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(choices), 1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(choices) or 'none'}"
