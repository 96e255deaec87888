"""`assay init` and `assay simulate`: a table to begin with, and a configuration for it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows import console
from pipeline.errors import ConfigError
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.file import first_fault, write_config
from pipeline.tables.writing import write_text


def initialise(table: str, out: Path, *, force: bool, reading: dict[str, Any], given: dict[str, Any]) -> None:
    """Infer the contract of a table and write the configuration.

    Parameters
    ----------
    table : str
    out : Path
        Configuration to write; an existing one is kept unless forced.
    force : bool
    reading : dict
        delimiter, encoding, time_zone, label_fraud and label_normal.
    given : dict
        Roles that the user named; they win over what is inferred.

    Raises
    ------
    AssayError
        When the table cannot be read or lacks an id, a timestamp or an amount, or ``out`` exists.
    """
    from pipeline.inference.roles import infer

    if out.exists() and not force:
        raise ConfigError(f"{out} exists already; edit it, write another file with --out, or replace it with --force")
    try:
        settings = TableConfig.model_validate({name: value for name, value in reading.items() if value})
    except ValidationError as error:
        raise ConfigError(first_fault(error)) from None
    config, reasons, warnings = infer(table, settings=settings, **given)
    config = _relative(config, Path(table), out)
    write_text(out, write_config(config, reasons))
    console.table(f"What {table} looks like", reasons)
    for text in warnings:
        console.warning(text)
    console.commands(
        f"Wrote {out}. Read it, mend what is wrong, then:",
        [
            f"assay validate --config {out}",
            f"assay train --config {out}",
            f"assay score NEW_TABLE --config {out}",
        ],
    )


def _relative(config: Config, table: Path, out: Path) -> Config:
    """Name the table relative to the configuration's folder, so that both may move together."""
    path = os.path.relpath(table.resolve(), out.resolve().parent)
    return config.model_copy(update={"table": config.table.model_copy(update={"path": path})})


def simulate_table(
    out: Path,
    *,
    rows: int,
    days: int,
    seed: int,
    malformed: bool,
    scenarios: Sequence[str] = (),
    scenario_column: bool = False,
) -> None:
    """Write a simulated table, with its usual frauds where no scenario is named, and say what is in it."""
    from pipeline.simulation import FRAUD_SHARES, simulate

    with console.live(), console.step("simulate", total=rows) as on_rows:
        simulation = simulate(
            out,
            rows=rows,
            days=days,
            seed=seed,
            malformed=malformed,
            scenarios=scenarios or tuple(FRAUD_SHARES),
            scenario_column=scenario_column,
            on_rows=on_rows,
        )
    console.table(
        f"Wrote {out}",
        {
            "rows": simulation.rows,
            "days": f"{simulation.first_day} to {simulation.last_day}",
            "customers": simulation.customers,
            "terminals": simulation.terminals,
            "frauds": ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in simulation.scenarios.items()),
            "malformed": ", ".join(f"{count:,} {name}" for name, count in simulation.malformed.items()) or "none",
        },
    )
    ignore = " --ignore TX_FRAUD_SCENARIO" if scenario_column else ""
    console.commands("Next", [f"assay init {out} --label TX_FRAUD{ignore}"])
