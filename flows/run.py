"""Running a flow in this process, its steps shown in the terminal."""

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from flows import console
from flows.console import Screen
from flows.environment import settle
from pipeline.errors import AssayError, ConfigError, sentence
from pipeline.settings.config import Config
from pipeline.settings.file import read_config

if TYPE_CHECKING:
    from prefect.states import State

HEAVY = ("duckdb", "torch", "sklearn.linear_model")  # each flow needs them, and importing takes seconds
OF_A_SUITE = ("great_expectations",)  # the same where the table has a suite of its own


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
    parameters["config_path"] = str(config_path.resolve())
    with console.live("" if "prefect.flows" in sys.modules else "start Prefect" if config.prefect else "start"):
        packages = (*HEAVY, *(OF_A_SUITE if config.validation.suite else ()))
        state = _with_engine(flow, parameters, packages) if config.prefect else _without_engine(flow, parameters)
    if not state.is_completed():
        result = state.result(raise_on_failure=False)
        raise FlowFailed(state.message or f"the flow ended as {state.name}", getattr(result, "screen", Screen()))
    return state.result()


def _with_engine(flow: str, parameters: dict[str, Any], packages: Iterable[str]) -> "State[Any]":
    """Run a flow through Prefect's engine; a server that it has to start does so while packages are imported."""
    from flows.server import start_server

    server = start_server()
    function = _imported(flow)
    if server:
        for package in packages:
            importlib.import_module(package)
        server.wait()
    return cast("State[Any]", function(**parameters, return_state=True))


def _without_engine(flow: str, parameters: dict[str, Any]) -> "State[Any]":
    """Run the same stages as plain functions."""
    function = _imported(flow)
    from prefect.states import Completed, Failed, State

    console.warning(
        "prefect = false: without Prefect's engine nothing is tried a second time, and no page shows this run"
    )
    try:
        result = function.fn(**parameters)
    except Exception as error:  # noqa: BLE001 - as the engine does it, too
        return Failed(message=sentence(error))
    return result if isinstance(result, State) else Completed(data=result)


def _imported(flow: str) -> Any:
    module, name = flow.split(":")
    return getattr(importlib.import_module(module), name)


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
