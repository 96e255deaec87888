"""Settings from assay.toml and to it, with a comment each; every mistake in them ends as one sentence."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import tomlkit
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError
from pipeline.settings.config import Config, FeaturesConfig, ModelConfig, TableConfig
from pipeline.settings.contract import Contract
from pipeline.settings.stores import is_address, without_login

EXAMPLES = {
    "columns": (
        "A table for each column that has one, below this line, such as:",
        "[columns.TX_AMOUNT]",
        'title = "Amount"',
        'unit = "EUR"',
        'description = "What was paid, taxes included."',
    )
}
"""Sections whose tables the user names, and what they may look like."""


def read_config(path: str | Path) -> Config:
    """Read a configuration file; relative paths in it start at the file's folder.

    Raises
    ------
    ConfigError
        With one sentence: the file, the key, the value found and, for an unknown key, the nearest valid one.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; make a configuration with: assay init TABLE --out {path}")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not a valid TOML file: {error}; mend it there, or make it again with assay init"
        ) from None
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_fault(error)}") from None
    base = path.resolve().parent

    def absolute(value: str) -> str:
        return value if is_address(value) else str((base / value).resolve()) if value else ""

    table = config.table.model_copy(
        update={"path": absolute(config.table.path), "incoming": absolute(config.table.incoming)}
    )
    incoming = config.incoming.model_copy(update={"archive": absolute(config.incoming.archive)})
    validation = config.validation.model_copy(update={"suite": absolute(config.validation.suite)})
    metrics = config.metrics.model_copy(update={"path": absolute(config.metrics.path)})
    sections = {"table": table, "incoming": incoming, "validation": validation, "metrics": metrics}
    return config.model_copy(update={"work_dir": absolute(config.work_dir), **sections})


def with_settings(config: Config, **sections: Any) -> Config:
    """Return a configuration with some settings changed, checked as a file's are.

    Parameters
    ----------
    config : Config
    **sections
        A mapping of settings for each section to change, or a value for ``name`` and ``work_dir``.

    Raises
    ------
    ConfigError
        With one sentence: the key, the value and, for an unknown key, the nearest valid one.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> with_settings(config, model={"max_epochs": 5}).model.max_epochs
    5
    >>> with_settings(config, features={"history_day": 30})
    Traceback (most recent call last):
    pipeline.errors.ConfigError: unknown key 'features.history_day'; did you mean 'history_days'?
    """
    raw = config.model_dump()
    for name, value in sections.items():
        raw[name] = raw[name] | dict(value) if isinstance(value, Mapping) and name in raw else value
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(first_fault(error)) from None


def first_fault(error: ValidationError) -> str:
    """Return the most telling error of a failed validation, an unknown key before others, as one sentence."""
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        section: Any = Config
        for part in location[:-1]:
            # A mapping's sections have names that the user gives, which are no fields.
            section = section.model_fields[part].annotation if not get_args(section) else get_args(section)[1]
        near = difflib.get_close_matches(location[-1], section.model_fields, 1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(section.model_fields)}"
        if section is ModelConfig:
            hint += " (what only one family has goes into model.options)"
        return f"unknown key {key!r}; {hint}"
    if first["type"] == "missing":
        return f"{key!r} is missing; add it, or make the file again with assay init"
    message = first["msg"].removeprefix("Value error, ")
    where = (
        f"{key} = {without_login(repr(first['input']))}: " if location and not isinstance(first["input"], dict) else ""
    )
    return where + message[0].lower() + message[1:]


def write_config(config: Config, reasons: dict[str, str] | None = None) -> str:
    """Return the text of a configuration file: every setting, its default included, with a comment.

    Parameters
    ----------
    config : Config
    reasons : dict, optional
        For a role of the contract (``"id"``, ``"entities"``, ...), why its columns were chosen, and for
        ``"families"`` why these features were; written as a comment above it.
    """
    document = tomlkit.document()
    document.add(
        tomlkit.comment("Assay: what this table is, and how it is watched. Every setting is here; edit what you like.")
    )
    document.add(tomlkit.nl())
    _add_fields(document, config, reasons or {})
    return tomlkit.dumps(document)


def _add_fields(container: Any, section: BaseModel, reasons: dict[str, str]) -> None:
    sections = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel) or (isinstance(section, Config) and name in EXAMPLES):
            sections.append((name, value))
            continue
        container.add(tomlkit.comment(field.description or ""))
        if name in reasons and isinstance(section, (Contract, FeaturesConfig, TableConfig)):
            container.add(tomlkit.comment(f"  chosen: {reasons[name]}"))
        if value is None:
            example = tomlkit.item(_toml((field.examples or [""])[0]))
            container.add(tomlkit.comment(f"{name} = {example.as_string()}"))
        else:
            container.add(name, tomlkit.item(_toml(value)))
    for name, value in sections:
        table = tomlkit.table()
        if isinstance(value, BaseModel):
            table.add(tomlkit.comment((value.__doc__ or "").strip().splitlines()[0]))
            _add_fields(table, value, reasons)
        else:
            for line in (type(section).model_fields[name].description, *EXAMPLES[name]):
                table.add(tomlkit.comment(line or ""))
            for key, item in value.items():
                table.add(key, tomlkit.item(item.model_dump(exclude_defaults=True)))
        container.add(tomlkit.nl())
        container.add(name, table)


def _toml(value: Any) -> Any:
    return [_toml(item) for item in value] if isinstance(value, tuple) else value
