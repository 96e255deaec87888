"""The rows that versions are compared on: later than whatever any of them learned from."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.errors import InputError
from pipeline.features import compute
from pipeline.labels.known import known_labels
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.settings.config import Config
from pipeline.tables.batch import batch_id
from pipeline.tables.parquet import filter_rows, span
from pipeline.tables.period import Period, local_days
from pipeline.tables.reading import open_table
from pipeline.validation.validate import validate
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.history import History


@dataclass(frozen=True)
class Chosen:
    """Rows to compare on.

    Parameters
    ----------
    rows : Path
        Accepted rows, typed (Parquet).
    past : sequence of Path
        What features may look back into.
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
    on_rows: Callable[[int], None] = lambda n: None,
) -> Chosen:
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
    on_rows : callable, optional
        Called with the number of rows validated since the last call.

    Raises
    ------
    InputError
        When no row lies in the period, or the table cannot be read.
    """
    config = max(configs, key=lambda each: each.features.max_window_days)
    work = WorkFolder(config)
    history = History(work.history, config)
    reach = timedelta(days=config.features.max_window_days)
    start = period.start or datetime.min
    past = history.files(start - min(reach, start - datetime.min), period.end)
    source = table or config.table.path
    try:
        if not source:
            raise InputError("no table was given and table.path is empty; name a file or folder after the command")
        opened = open_table(source, config.table)
        batch = batch_id(opened.digest(), period, config.contract)
        found = validate(opened, config, folder=folder, batch_id=batch, period=period, on_rows=on_rows)
        accepted, past = found.accepted, [*past, found.lookback]
    except InputError:
        accepted = folder / "from-history.parquet"
        if table or not _from_history(config, history.files(period.start, period.end), period, accepted):
            raise
        source = "the history of scored rows"
    rows = folder / "compared.parquet"
    kept = _latest_labelled(accepted, config, ReviewedLabels(work.labels, config).files(), all_days)
    filter_rows(accepted, rows, kept)
    ends = local_days(pa.array(span(rows, config.contract.timestamp), pa.timestamp("us")), config.table.time_zone)
    return Chosen(rows, [*past, accepted], Path(source).name if source else "", (ends[0].item(), ends[1].item()))


def feature_tables(rows: Path, past: Sequence[Path], configs: Sequence[Config], folder: Path, name: str) -> list[Path]:
    """Return the feature table of some rows for each configuration; those with the same features share one."""
    made: dict[str, Path] = {}
    keys = [json.dumps(config.features.model_dump(exclude={"memory_limit", "on_gap"})) for config in configs]
    for key, config in zip(keys, configs, strict=True):
        if key not in made:
            reviewed = ReviewedLabels(WorkFolder(config).labels, config).files()
            made[key] = compute(rows, past, config, folder / f"{name}-{len(made)}.parquet", reviewed)
    return [made[key] for key in keys]


def training_rows(detector: Detector, config: Config, out: Path) -> Path | None:
    """Write the rows of a training's period that the history holds; None where it holds none."""
    start, last = trained_from(detector), trained_until(detector)
    period = Period(start, last + timedelta(microseconds=1))
    files = History(WorkFolder(config).history, config).files(period.start, period.end)
    return out if _from_history(config, files, period, out) else None


def _from_history(config: Config, files: Sequence[Path], period: Period, out: Path) -> bool:
    """Write the rows of a period that some files hold; return whether there is one."""
    if not files:
        return False
    at = pc.field(config.contract.timestamp)
    inside = at >= pa.scalar(period.start, pa.timestamp("us"))
    if period.end is not None:
        inside &= at < pa.scalar(period.end, pa.timestamp("us"))
    found = ds.dataset([str(file) for file in files]).to_table(filter=inside)
    if found.num_rows:
        pq.write_table(found, out)
    return bool(found.num_rows)


def _latest_labelled(accepted: Path, config: Config, reviewed: Sequence[Path], all_days: bool) -> np.ndarray:
    """Return which rows to keep, shape (n_rows,)."""
    contract = config.contract
    names = pq.read_schema(accepted).names
    wanted = dict.fromkeys((contract.id, contract.timestamp, contract.label, contract.labelled_at))
    rows = pq.read_table(accepted, columns=[name for name in wanted if name in names])
    if all_days:
        return np.ones(rows.num_rows, dtype=bool)
    days = local_days(rows[contract.timestamp], config.table.time_zone)
    known = ~np.isnan(known_labels(rows, config, datetime.now(UTC).replace(tzinfo=None), reviewed))
    last = days[known].max() if known.any() else days.max()
    return (days <= last) & (days > last - np.timedelta64(config.promotion.days, "D"))
