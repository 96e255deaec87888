"""What `assay validate`, `features`, `encode` and `reconstruct` write and print: nothing is remembered or learned."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from flows import console
from flows.run import table_or_default
from pipeline.errors import ConfigError
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.period import Period

if TYPE_CHECKING:
    from pipeline.intake import TakenIn
    from pipeline.tables.batch import Batch


def validate_table(config_path: Path, table: str, *, period: tuple[date | None, date | None], out: Path) -> None:
    """Validate a table into a folder of its own; nothing is remembered, learned or scored.

    Parameters
    ----------
    config_path : Path
    table : str
        File or folder; the configuration's when empty.
    period : tuple of date or None
        First and last day, both included; None leaves a side open.
    out : Path
        Folder that gets a folder of the batch.
    """
    from pipeline.intake import accept
    from pipeline.pages.runs import count_rows
    from pipeline.pages.validation import data_docs
    from pipeline.workspace.workspace import Workspace

    config = read_config(config_path)
    with console.live():
        batch = _batch(config, table, period)
        folder = out / batch.id
        folder.mkdir(parents=True, exist_ok=True)
        try:
            docs = data_docs(batch, config, folder / "data-docs")
            validated = accept(batch, Workspace(config), folder, docs=docs, step=console.step)
        finally:
            with suppress(OSError):  # of a refused batch without Data Docs, nothing stays
                folder.rmdir()
        for path in (validated.accepted, validated.lookback):
            path.replace(folder / path.name)
        validated.accepted.parent.rmdir()
    console.table(f"Validated {batch.path}", {**count_rows(validated), "quarantine": folder / "quarantine.parquet"})
    if validated.rules:
        console.table("Rules broken", dict(validated.rules))
    if validated.docs:
        console.table("Data Docs", {"open": validated.docs})


def show_features(config_path: Path) -> None:
    """Print the features that a configuration declares, with a sentence each."""
    from pipeline.features import list_features

    features = list_features(read_config(config_path))
    console.table(f"{len(features)} features of {config_path}", {feature.name: feature.text for feature in features})
    console.say(
        "Families, windows and aggregates are set in [features]. assay features TABLE --out FILE.parquet writes them."
    )


def write_features(config_path: Path, table: str, *, period: tuple[date | None, date | None], out: Path | None) -> None:
    """Write the features of a table's accepted rows, as a Parquet file with nothing sensitive in clear."""
    from pipeline.features import list_features
    from pipeline.features.export import write_export

    config, target = read_config(config_path), _parquet(out)
    with _taken_in(config, table, period, target) as intake:
        left_out = write_export(intake.features, config, target)
    more: dict[str, object] = {"features": len(list_features(config))}
    more |= {"left out as sensitive": ", ".join(left_out)} if left_out else {}
    _wrote(target, intake, more, table=table, config_path=config_path)


def write_representation(
    command: str,
    config_path: Path,
    table: str,
    *,
    period: tuple[date | None, date | None],
    out: Path | None,
    version: str,
) -> None:
    """Write what a registered model makes of a table's accepted rows: their codes, or what it expects them to be."""
    from pipeline.scoring.representation import write_codes, write_expected
    from pipeline.tracking.store import load_detector

    today, target = read_config(config_path), _parquet(out)
    with console.live(), console.step("load the Detector"):
        detector, number = load_detector(today, version)
        config = detector.settle(today)
    write, what = (write_codes, "columns of code") if command == "encode" else (write_expected, "missing cells filled")
    with _taken_in(config, table, period, target) as intake, console.step(command) as on_rows:
        count = write(intake.features, replace(detector, config=config), target, on_rows)
    counts = {what: count, "model version": number}
    _wrote(target, intake, counts, table=table, config_path=config_path)


def _parquet(out: Path | None) -> Path:
    if out is None or out.suffix != ".parquet":
        raise ConfigError(f"--out {out or ''} must name a Parquet file to write, such as features.parquet")
    return out


def _batch(config: Config, table: str, period: tuple[date | None, date | None]) -> "Batch":
    from pipeline.tables.batch import Batch

    with console.step("read"):
        days = Period.of_days(*period, config.table.time_zone)
        return Batch.of(table_or_default(table, config), config, days)


@contextmanager
def _taken_in(config: Config, table: str, period: tuple[date | None, date | None], out: Path) -> Iterator["TakenIn"]:
    """Take a table in, its files in a hidden folder beside ``out``; nothing is remembered."""
    from pipeline.intake import take_in
    from pipeline.tables.scratch import hidden
    from pipeline.workspace.workspace import Workspace

    workspace, parent = Workspace(config), out.resolve().parent
    workspace.folder.make(parent)
    with console.live(), hidden(parent, out.name) as scratch:
        batch = _batch(config, table, period)
        yield take_in(batch, workspace, scratch, remember=False, step=console.step)


def _wrote(out: Path, intake: "TakenIn", more: dict[str, object], *, table: str, config_path: Path) -> None:
    """Say what was written, and how to see what was not."""
    from pipeline.pages.runs import count_rows

    console.table(f"Wrote {out}", {**count_rows(intake.validated), **more})
    if intake.validated.counts.quarantined:
        path = table_or_default(table, read_config(config_path))
        console.commands("To see which rows broke which rules", [f"assay validate {path} --config {config_path}"])
