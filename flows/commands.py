"""What the commands do around the flows: write a configuration, run a flow in this process, show what came out."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flows import console
from flows.environment import settle
from pipeline.errors import AssayError, ConfigError
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.file import explain, read_config, write_config
from pipeline.tables.period import Period
from pipeline.tables.reading import content_digest, open_table
from pipeline.tables.writing import write_text

if TYPE_CHECKING:
    from pipeline.validation.validate import Validated


def initialise(table: str, out: Path, force: bool, reading: dict[str, Any], given: dict[str, Any]) -> None:
    """Infer the contract of a table and write the configuration.

    Parameters
    ----------
    table : str
    out : Path
        Configuration to write; an existing one is kept unless forced.
    force : bool
    reading : dict
        delimiter, encoding and time_zone.
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
        raise ConfigError(explain(error)) from None
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


def simulate_table(out: Path, *, rows: int, days: int, seed: int, malformed: bool) -> None:
    """Write a simulated table and say what is in it."""
    from pipeline.simulation import simulate

    with console.live(), console.step("simulate", total=rows) as on_rows:
        made = simulate(out, rows=rows, days=days, seed=seed, malformed=malformed, on_rows=on_rows)
    console.table(
        f"Wrote {out}",
        {
            "rows": made.rows,
            "days": f"{made.first_day} to {made.last_day}",
            "customers": made.customers,
            "terminals": made.terminals,
            "frauds": ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in made.scenarios.items()),
            "malformed": ", ".join(f"{count:,} {name}" for name, count in made.malformed.items()) or "none",
        },
    )
    console.commands("Next", [f"assay init {out} --label TX_FRAUD"])


def validate_table(config_path: Path, table: str, first: date | None, last: date | None, out: Path) -> None:
    """Validate a table into a folder of its own; nothing is remembered, learned or scored."""
    from pipeline.pages.runs import count_rows
    from pipeline.tables.batch import batch_id
    from pipeline.validation.validate import validate

    config = read_config(config_path)
    path = Path(_named(table, config))
    period = Period.of_days(first, last, config.table.time_zone)
    with console.live():
        with console.step("read"):
            opened = open_table(path, config.table)
            batch = batch_id(content_digest(path, config.table), period, config.contract)
        folder = out / batch
        with console.step("validate") as on_rows:
            validated = validate(
                opened,
                config,
                folder=folder,
                batch_id=batch,
                period=period,
                docs=folder / "data-docs",
                on_rows=on_rows,
            )
    console.table(f"Validated {path}", {**count_rows(validated), "quarantine": folder / "quarantine.parquet"})
    if validated.rules:
        console.table("Rules broken", dict(validated.rules))
    if validated.docs:
        console.table("Data Docs", {"open": validated.docs})


def show_features(config_path: Path) -> None:
    """Print the features that a configuration declares, with a sentence each."""
    from pipeline.features import list_features

    config = read_config(config_path)
    listed = list_features(config)
    console.table(f"{len(listed)} features of {config_path}", {feature.name: feature.text for feature in listed})
    console.say(
        "Families, windows and aggregates are set in [features]. assay features TABLE --out FILE.parquet writes them."
    )


def write_features(config_path: Path, table: str, first: date | None, last: date | None, out: Path | None) -> None:
    """Write the features of a table's accepted rows."""
    from pipeline.features import list_features

    config, target = read_config(config_path), _parquet(out)
    with _computed(config, table, first, last, target) as (validated, rows):
        rows.replace(target)
    _wrote(target, validated, {"features": len(list_features(config))}, table, config_path)


def write_representation(
    command: str, config_path: Path, table: str, first: date | None, last: date | None, out: Path | None, version: str
) -> None:
    """Write what a registered model makes of a table's accepted rows: their codes, or what it expects them to be."""
    from dataclasses import replace

    from pipeline.scoring.representation import write_codes, write_expected
    from pipeline.tracking.store import load_detector

    given, target = read_config(config_path), _parquet(out)
    with console.live(), console.step("load the Detector"):
        detector, number = load_detector(given, version)
        config = detector.settle(given)
    write, what = (write_codes, "columns of code") if command == "encode" else (write_expected, "missing cells filled")
    with _computed(config, table, first, last, target) as (validated, rows), console.step(command) as on_rows:
        found = write(rows, replace(detector, config=config), target, on_rows)
    _wrote(target, validated, {what: found, "model version": number}, table, config_path)


def _parquet(out: Path | None) -> Path:
    if out is None or out.suffix != ".parquet":
        raise ConfigError(f"--out {out or ''} must name a Parquet file to write, such as features.parquet")
    return out


@contextmanager
def _computed(
    config: Config, table: str, first: date | None, last: date | None, out: Path
) -> Iterator[tuple["Validated", Path]]:
    """Validate a table and give its features in a scratch file beside ``out``; nothing is remembered or learned."""
    from pipeline.features import compute
    from pipeline.labels.reviewed import ReviewedLabels
    from pipeline.tables.batch import batch_id
    from pipeline.tables.parquet import span
    from pipeline.tables.scratch import hidden
    from pipeline.validation.validate import validate
    from pipeline.workspace.folder import WorkFolder
    from pipeline.workspace.history import History

    path, work = Path(_named(table, config)), WorkFolder(config)
    period = Period.of_days(first, last, config.table.time_zone)
    work.make(out.resolve().parent)
    with console.live(), hidden(out.resolve().parent, out.name) as scratch:
        with console.step("read"):
            opened = open_table(path, config.table)
            batch = batch_id(content_digest(path, config.table), period, config.contract)
        with console.step("validate") as on_rows:
            validated = validate(opened, config, folder=scratch, batch_id=batch, period=period, on_rows=on_rows)
        with console.step("features"):
            stored = History(work.history, config).behind(*span(validated.accepted, config.contract.timestamp))
            reviewed = ReviewedLabels(work.labels, config).files()
            rows = scratch / "features.parquet"
            compute(validated.accepted, [*stored, validated.lookback], config, rows, reviewed)
        yield validated, rows


def _wrote(out: Path, validated: "Validated", more: dict[str, object], table: str, config_path: Path) -> None:
    """Say what was written, and how to see what was not."""
    from pipeline.pages.runs import count_rows

    console.table(f"Wrote {out}", {**count_rows(validated), **more})
    if validated.counts.quarantined:
        path = _named(table, read_config(config_path))
        console.commands("To see which rows broke which rules", [f"assay validate {path} --config {config_path}"])


def take_labels(config_path: Path, labels: str) -> None:
    """Take in a table of labels from review, and say what is in it and what becomes of it."""
    from flows.missed import missed_by_version
    from pipeline.labels.reviewed import ReviewedLabels
    from pipeline.workspace.folder import WorkFolder
    from pipeline.workspace.history import History

    config = read_config(config_path)
    work, path = WorkFolder(config), Path(_named(labels, config))
    work.make(work.labels)
    with console.live(), console.step("take in the labels"):
        history = History(work.history, config).files(None, None)
        taken = ReviewedLabels(work.labels, config).append(path, history)
    counts = {"labels": taken.rows, "frauds": taken.frauds, "ids not in the history": taken.unknown}
    if taken.is_new:
        console.table(f"Took in {path}", {**counts, "kept as": taken.file})
        console.say("They are used from their moment on, by the features of later batches and by the next training.")
    else:
        console.table(f"{path} was taken in before; nothing was done", {**counts, "kept as": taken.file})
    if taken.unknown:
        console.warning(
            f"the history has no row of {taken.unknown:,} of the ids; their labels are kept and count once such rows "
            f"come, so check the column {config.contract.id!r} if they should be there already"
        )
    missed = missed_by_version(config)
    if missed:
        console.table("Fraud missed, estimated from random audits", missed)
    if taken.is_new:
        console.commands("Next", [f"assay train --config {config_path}"])


def _named(table: str, config: Config) -> str:
    """Return the table that was given, or the configuration's own."""
    if table.endswith(".toml"):
        raise ConfigError(f"{table} is a configuration, not a table; give it with --config {table}")
    if not (table or config.table.path):
        raise ConfigError("no table was given and table.path is empty; name a file or folder after the command")
    return table or config.table.path


def run_flow(config_path: Path, flow: str, **parameters: Any) -> dict[str, Any]:
    """Run a flow (``module:name``) in this process, its steps shown in the terminal.

    Raises
    ------
    AssayError
        With the flow's message, when it fails.
    """
    config = read_config(config_path)
    if "table" in parameters:
        parameters["table"] = _named(parameters["table"], config)
    settle(config.work_dir)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # the terminal shows steps and the message instead
    module, name = flow.split(":")
    with console.live("" if "prefect.flows" in sys.modules else "start Prefect"):
        state = getattr(importlib.import_module(module), name)(
            config_path=str(config_path.resolve()), **parameters, return_state=True
        )
    if not state.is_completed():
        raise AssayError(state.message or f"the flow ended as {state.name}")
    result: dict[str, Any] = state.result()
    return result


def show(result: dict[str, Any]) -> None:
    """Print what a flow returned: grids and tables by title, messages, and the next commands."""
    for text in result.get("say", []):
        console.say(text)
    for title, lines in result.get("grids", {}).items():
        console.grid(title, lines)
    for text in result.get("notes", []):
        console.say(f"\n{text}")
    for title, rows in result.get("tables", {}).items():
        console.table(title, rows)
    if result.get("next"):
        console.commands("Next", result["next"])
