"""Running a flow in this process, its steps shown in the terminal."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Protocol

from flows import console
from flows.console import Screen
from flows.environment import settle
from pipeline.errors import AssayError, ConfigError
from pipeline.settings.config import Config
from pipeline.settings.file import read_config


class FlowFailed(AssayError):
    """A flow failed.

    Attributes
    ----------
    screen : Screen
        What the terminal shows of what was done all the same.
    """

    def __init__(self, message: str, screen: Screen) -> None:
        super().__init__(message)
        self.screen = screen


class FlowResult(Protocol):
    """What a flow returns: besides what other code reads, what the terminal shows."""

    @property
    def screen(self) -> Screen:
        """What the terminal shows."""


def run_flow(config_path: Path, flow: str, **parameters: Any) -> Any:
    """Run a flow (``module:name``) in this process, its steps shown in the terminal.

    Parameters
    ----------
    config_path : Path
    flow : str
        Such as ``flows.train:train``; its module is imported here, for that takes seconds.
    **parameters
        Of the flow. An empty ``table`` stands for the configuration's.

    Returns
    -------
    FlowResult
        Of the type that the flow says.

    Raises
    ------
    FlowFailed
        With the flow's message, when it fails.
    """
    config = read_config(config_path)
    if "table" in parameters:
        parameters["table"] = table_or_default(parameters["table"], config)
    settle(config.work_dir)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # the terminal shows steps and the message instead
    module, name = flow.split(":")
    with console.live("" if "prefect.flows" in sys.modules else "start Prefect"):
        state = getattr(importlib.import_module(module), name)(
            config_path=str(config_path.resolve()), **parameters, return_state=True
        )
    if not state.is_completed():
        result = state.result(raise_on_failure=False)
        raise FlowFailed(state.message or f"the flow ended as {state.name}", getattr(result, "screen", Screen()))
    return state.result()


def table_or_default(table: str, config: Config) -> str:
    """Return the table that the user named, or the configuration's own.

    Raises
    ------
    ConfigError
        When there is neither, or a configuration was named in the place of a table.
    """
    if table.endswith(".toml"):
        raise ConfigError(f"{table} is a configuration, not a table; give it with --config {table}")
    if not (table or config.table.path):
        raise ConfigError("no table was given and table.path is empty; name a file or folder after the command")
    return table or config.table.path
