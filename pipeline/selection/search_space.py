"""What tuning tries: a family of models and the settings that it takes, as ``[tuning]`` allows."""

import json
from typing import TYPE_CHECKING, Any

from pipeline.detector.family import SETTINGS, build_model
from pipeline.errors import ConfigError
from pipeline.settings.config import Config, ModelConfig

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial


def check_space(config: Config) -> None:
    """Refuse a family or an option that is not there, before the table is read.

    Raises
    ------
    ConfigError
    """
    tuning = config.tuning
    strange = [family for family in tuning.options if family not in tuning.families]
    unused = {"denoising", "memory"} & set(strange)  # options that are there by default
    if set(strange) - unused:
        name = min(set(strange) - unused)
        raise ConfigError(
            f"tuning.options names {name!r}, which is not among tuning.families: {', '.join(tuning.families)}; add it "
            "there, or take its options out"
        )
    for family in tuning.families:
        options = {name: values[0] for name, values in tuning.options.get(family, {}).items()}
        build_model(ModelConfig(name=family, options=options))


def suggest(trial: "Trial", config: Config) -> ModelConfig:
    """Return the settings that a trial tries.

    What the search does not vary stays as ``[model]`` has it, as far as the family takes it.

    Parameters
    ----------
    trial : optuna.Trial
    config : Config
    """
    from models.registry import model_class, parameter_names

    tuning = config.tuning
    family = str(trial.suggest_categorical("family", list(tuning.families)))
    parameters = parameter_names(model_class(family))
    if tuning.hidden and SETTINGS["hidden"] in parameters:
        trial.suggest_categorical("hidden", [json.dumps(layers) for layers in tuning.hidden])
    if tuning.code_size and SETTINGS["code_size"] in parameters:
        trial.suggest_int("code_size", *map(int, tuning.code_size), log=True)
    if tuning.learning_rate and SETTINGS["learning_rate"] in parameters:
        trial.suggest_float("learning_rate", *tuning.learning_rate, log=True)
    for name, values in tuning.options.get(family, {}).items():
        _suggest_option(trial, f"{family}.{name}", values)
    return settings_of(trial, config)


def settings_of(trial: "Trial | FrozenTrial", config: Config) -> ModelConfig:
    """Return the settings that a trial tried, from its parameters."""
    from models.registry import model_class, parameter_names

    values, base = trial.params, config.model
    family = values["family"]
    parameters = parameter_names(model_class(family))
    settings: dict[str, Any] = {"name": family, "seed": base.seed}
    for name in ("batch_size", "max_epochs", "patience", "loss"):
        if SETTINGS[name] in parameters:
            settings[name] = getattr(base, name)
    if "trim" in parameters:
        settings["trim"] = base.trim
    if family == base.name:
        settings |= {name: getattr(base, name) for name in ("hidden", "code_size", "learning_rate", "score", "options")}
    for name in ("code_size", "learning_rate"):
        if name in values:
            settings[name] = values[name]
    if "hidden" in values:
        settings["hidden"] = json.loads(values["hidden"])
    options = {
        name.removeprefix(f"{family}."): json.loads(value) if isinstance(value, str) else value
        for name, value in values.items()
        if name.startswith(f"{family}.")
    }
    return ModelConfig.model_validate({**settings, "options": {**settings.get("options", {}), **options}})


def _suggest_option(trial: "Trial", name: str, values: list[Any]) -> None:
    """Try a range where two numbers are given, else the values as they are listed, each as JSON."""
    kinds = {type(value) for value in values}
    if len(values) == 2 and kinds == {int} and 0 < values[0] <= values[1]:
        trial.suggest_int(name, *values, log=True)
    elif len(values) == 2 and kinds <= {int, float} and 0 < values[0] <= values[1]:
        trial.suggest_float(name, float(values[0]), float(values[1]), log=True)
    else:
        trial.suggest_categorical(name, [json.dumps(value) for value in values])
