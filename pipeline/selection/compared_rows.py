"""The rows that versions are compared on: later than whatever any of them learned from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.errors import InputError, ResourceError
from pipeline.intake import ShowStep, accept, features_of, silent
from pipeline.labels.known import Labels
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.tables.parquet import filter_rows, read_batches, span
from pipeline.tables.period import Period, local_days
from pipeline.tables.writing import ParquetWriter
from pipeline.workspace.workspace import Workspace


@dataclass(frozen=True)
class ComparedRows:
    """Compared rows: those that versions are compared on.

    Parameters
    ----------
    rows : Path
        Accepted rows, typed (Parquet).
    past : sequence of Path
        What features may look back into beside the history.
    source : str
        Where they come from, for people.
    days : tuple of date
        First and last calendar day.
    """

    rows: Path
    past: Sequence[Path]
    source: str
    days: tuple[date, date]


def trained_until(detector: Detector) -> datetime:
    """Return the last timestamp (UTC) of the rows that a Detector was fitted, stopped and calibrated on."""
    return datetime.fromisoformat(str(detector.summary["last_timestamp"])[:26])


def trained_from(detector: Detector) -> datetime:
    """Return the first timestamp (UTC) of those rows."""
    return datetime.fromisoformat(str(detector.summary["first_timestamp"])[:26])


def period_after(
    detectors: Mapping[str, Detector], first: date | None, last: date | None, time_zone: str
) -> tuple[Period, bool]:
    """Return the period to compare on, and whether the user chose it.

    Parameters
    ----------
    detectors : mapping of str to Detector
        By what people call them.
    first, last : date, optional
        What the user asked for, both included; left out, it begins the day after the last training's last.
    time_zone : str

    Raises
    ------
    InputError
        When rows of the period took part in a training.
    """
    latest = max(detectors, key=lambda title: trained_until(detectors[title]))
    until = trained_until(detectors[latest])
    day = local_days(pa.array([until], pa.timestamp("us")), time_zone)[0].item()
    period = Period.of_days(first or min(day + timedelta(days=1), last or date.max), last, time_zone)
    if period.start is None or period.start <= until:
        raise InputError(
            f"{latest} was trained on rows up to {day}, so versions cannot be compared on days up to then; begin with "
            f"--from {day + timedelta(days=1)} or later"
        )
    return period, first is not None


def choose_rows(
    configs: Sequence[Config],
    period: Period,
    table: str,
    folder: Path,
    *,
    all_days: bool,
    step: ShowStep = silent,
) -> ComparedRows:
    """Validate a table and keep its accepted rows of the period: the latest days of which labels are known.

    Parameters
    ----------
    configs : sequence of Config
        What each version scores with; rows before the period are kept for the one that looks back furthest.
    period : Period
    table : str
        File or folder. Left empty: the configuration's table and, where that has no row in the period, the history.
    folder : Path
        Scratch.
    all_days : bool
        Whether to keep every day of the period, and not only the latest ``promotion.days`` labelled ones.
    step : callable
        Shows the progress of "validate".

    Raises
    ------
    InputError
        When no row lies in the period, or the table cannot be read.
    """
    config = max(configs, key=lambda each: each.features.max_window_days)
    workspace, source = Workspace(config), table or config.table.path
    past: list[Path] = []
    try:
        accepted, past = _from_table(source, workspace, period, folder, step=step)
    except (InputError, ResourceError):
        accepted = folder / "from-history.parquet"
        if table or not rows_of_history(workspace, period, accepted):
            raise
        source = "the history of scored rows"
    rows = folder / "compared.parquet"
    filter_rows(accepted, rows, _latest_labelled(accepted, workspace.labels, all_days=all_days))
    ends = local_days(pa.array(span(rows, config.contract.timestamp), pa.timestamp("us")), config.table.time_zone)
    return ComparedRows(rows, [*past, accepted], Path(source).name if source else "", (ends[0].item(), ends[1].item()))


def feature_tables(
    rows: Path, configs: Sequence[Config], folder: Path, *, name: str, lookback: Sequence[Path] = ()
) -> list[Path]:
    """Return the feature table of some rows for each configuration; those with the same features share one.

    Parameters
    ----------
    rows : Path
        Accepted rows, typed (Parquet).
    configs : sequence of Config
    folder : Path
        Where the tables go.
    name : str
        What their files' names begin with.
    lookback : sequence of Path
        Earlier rows that the history does not have.
    """
    tables: dict[str, Path] = {}
    keys = [json.dumps(config.features.model_dump(exclude={"memory_limit", "on_gap"})) for config in configs]
    for key, config in zip(keys, configs, strict=True):
        if key not in tables:
            out = folder / f"{name}-{len(tables)}.parquet"
            tables[key] = features_of(rows, Workspace(config), out, lookback=lookback)
    return [tables[key] for key in keys]


def training_rows(detector: Detector, workspace: Workspace, out: Path) -> Path | None:
    """Write the rows of a training's period that the history holds; None where it holds none."""
    start, last = trained_from(detector), trained_until(detector)
    period = Period(start, last + timedelta(microseconds=1))
    return out if rows_of_history(workspace, period, out) else None


def rows_of_history(workspace: Workspace, period: Period, out: Path, *, is_zoned: bool = False) -> bool:
    """Write the rows of a period that the history holds; return whether there is one.

    Parameters
    ----------
    workspace : Workspace
    period : Period
    out : Path
        Parquet file to write: the contract's columns, typed, day after day.
    is_zoned : bool
        Whether moments name their zone, which is UTC, so that the file may be taken in like anybody's table.
    """
    contract = workspace.config.contract
    files = workspace.history.files(period.start, period.end)
    if not files:
        return False
    # A label may have come with later deliveries only.
    stored = pa.unify_schemas([pq.read_schema(file) for file in files])
    moments = [name for name in (contract.timestamp, contract.labelled_at) if name in stored.names]
    schema, count = stored, 0
    for name in moments if is_zoned else ():
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.timestamp("us", "UTC")))
    with ParquetWriter(out, schema) as writer:
        for file in files:
            for batch in read_batches(file):
                rows = batch.filter(pa.array(period.holds(batch.column(contract.timestamp))))
                rows_of_all = pa.concat_tables([stored.empty_table(), pa.table(rows)], promote_options="default")
                writer.write(rows_of_all)
                count += rows.num_rows
    return bool(count)


def _from_table(
    source: str, workspace: Workspace, period: Period, folder: Path, *, step: ShowStep
) -> tuple[Path, list[Path]]:
    """Validate a table; return its accepted rows of the period, and those before it."""
    if not source:
        raise InputError("no table was given and table.path is empty; name a file or folder after the command")
    validated = accept(Batch.of(source, workspace.config, period), workspace, folder, step=step)
    return validated.accepted, [validated.lookback]


def _latest_labelled(accepted: Path, labels: Labels, *, all_days: bool) -> np.ndarray:
    """Return which rows to keep, shape (n_rows,)."""
    config, contract = labels.config, labels.config.contract
    names = pq.read_schema(accepted).names
    columns = dict.fromkeys((contract.id, contract.timestamp, contract.label, contract.labelled_at))
    rows = pq.read_table(accepted, columns=[name for name in columns if name in names])
    if all_days:
        return np.ones(rows.num_rows, dtype=bool)
    days = local_days(rows[contract.timestamp], config.table.time_zone)
    is_labelled = ~np.isnan(labels.known_now(rows))
    last = days[is_labelled].max() if is_labelled.any() else days.max()
    return (days <= last) & (days > last - np.timedelta64(config.promotion.days, "D"))
