"""The blocks of a search: rows to fit on, then rows to judge on, then the test block, which stays where it is."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import MATRIX_BYTES, Detector
from pipeline.detector.encoder import Encoder
from pipeline.detector.parts import EARLY_STOPPING, FIT, split
from pipeline.errors import InputError
from pipeline.evaluation.injection import CHANGES
from pipeline.features import core_features, list_features
from pipeline.intake import accept, take_in
from pipeline.numbers import minute
from pipeline.selection.figures import FAR_OUT
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.tables.parquet import filter_rows, span
from pipeline.tables.period import Period, local_days
from pipeline.workspace.workspace import Workspace

INJECTED = 1000
"""Anomalies of each kind."""
KINDS = (*FAR_OUT, "swap")
"""What is beyond all others most models see; a value of another row tells more of them apart."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of a search: whole calendar days, each block from its first day to before the next one's first.

    Parameters
    ----------
    fit, validation, test, end : date
        First days of the three blocks, and the day after the last.
    """

    fit: date
    validation: date
    test: date
    end: date

    @classmethod
    def of(cls, first: date, last: date, config: Config) -> Self:
        """Cut a period, both days included, as ``[tuning]`` says; a block has one day at least.

        Raises
        ------
        InputError
            When the period is too short.

        Examples
        --------
        >>> from pipeline.settings.config import Config
        >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
        >>> blocks = Blocks.of(date(2025, 1, 1), date(2025, 1, 20), config)
        >>> blocks.validation, blocks.test
        (datetime.date(2025, 1, 12), datetime.date(2025, 1, 17))
        """
        days, settings = (last - first).days + 1, config.tuning
        test = max(1, round(settings.test_share * days))
        validation = max(1, round(settings.validation_share * days))
        if days - test - validation < 1:
            raise InputError(
                f"{days} day{'s' * (days != 1)} from {first} to {last} are too few to fit, "
                "judge and test on; tune on a longer period"
            )
        end = last + timedelta(days=1)
        return cls(first, end - timedelta(days=test + validation), end - timedelta(days=test), end)

    def in_words(self) -> dict[str, str]:
        """Return the blocks for people."""
        ends = (self.validation, self.test, self.end)
        names = ("fitted on", "judged on", "left alone, to test on")
        starts = (self.fit, self.validation, self.test)
        return {
            name: f"{start} to {end - timedelta(days=1)}" for name, start, end in zip(names, starts, ends, strict=True)
        }


@dataclass(frozen=True)
class Material:
    """Material: what every trial of a search fits and is judged on, as files of a folder; `prepare` writes them.

    Parameters
    ----------
    fit, held_out : array of shape (n_rows, n_columns)
        Encoded normal rows to fit on, and to stop early by.
    validation : array of shape (n_validation_rows, n_columns)
    labels : array of shape (n_validation_rows,)
        1 fraud, 0 normal, nan not known.
    injected : array of shape (n_injected_rows, n_columns)
        Normal rows of the validation block, one number beyond all others, or one column with another row's value.
    column_groups : list of (kind, width)
    views : dict of str to list of int
        Which columns each part of a model looks at (`Encoder.views`).
    """

    fit: np.ndarray
    held_out: np.ndarray
    validation: np.ndarray
    labels: np.ndarray
    injected: np.ndarray
    column_groups: list[tuple[str, int]]
    views: dict[str, list[int]]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `prepare` wrote."""
        arrays: dict[str, Any] = {}
        for name in ("fit", "held_out", "validation", "labels", "injected"):
            path = folder / f"{name}.npy"
            from_disk = name == "fit" and path.stat().st_size > MATRIX_BYTES
            arrays[name] = np.load(path, mmap_mode="r" if from_disk else None, allow_pickle=False)
        columns = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        groups = [(kind, width) for kind, width in columns["groups"]]
        return cls(**arrays, column_groups=groups, views=columns["views"])


def period_of(
    workspace: Workspace, table: str, folder: Path, *, first: date | None, last: date | None
) -> tuple[date, date]:
    """Return the first and last day to tune on: those asked for, else those of the table's accepted rows.

    Parameters
    ----------
    workspace : Workspace
    table : str
        File or folder.
    folder : Path
        Scratch.
    first, last : date, optional
        What the user asked for, both included.
    """
    config = workspace.config
    period = Period.of_days(first, last, config.table.time_zone)
    if first and last:
        return first, last
    batch = Batch.of(table, config, period)
    validated = accept(batch, workspace, _made(folder / "span"))
    moments = pa.array(span(validated.accepted, config.contract.timestamp), pa.timestamp("us"))
    days = local_days(moments, config.table.time_zone)
    return first or days[0].item(), last or days[1].item()


def prepare(
    workspace: Workspace,
    table: str,
    blocks: Blocks,
    folder: Path,
    *,
    on_rows: Callable[[int], None] = lambda n: None,
) -> None:
    """Write the material of a search. No row of the test block is validated, encoded or looked back into.

    Labels of the rows to fit on are those known once the label delay after them is over.

    Parameters
    ----------
    workspace : Workspace
    table : str
        File or folder.
    blocks : Blocks
    folder : Path
    on_rows : callable, optional
        Called with the number of rows validated since the last call.

    Raises
    ------
    AssayError
        When the table cannot be read, or has too few normal rows to fit on.
    """
    config, zone = workspace.config, workspace.config.table.time_zone
    before_test = Period.of_days(blocks.fit, blocks.test - timedelta(days=1), zone)
    batch = Batch.of(table, config, before_test)
    rows_folder = _made(folder / "rows")
    intake = take_in(batch, workspace, rows_folder, remember=False, step=lambda title: nullcontext(on_rows))
    boundary = Period.of_days(blocks.validation, None, zone).start or datetime.max
    to_fit, to_judge = _cut(intake.features, config, boundary, folder)

    delay = timedelta(days=config.features.label_delay_days)
    as_of = min(boundary + delay, datetime.now(UTC).replace(tzinfo=None))
    parts = split(to_fit, config, intake.labels, as_of)
    listed = list_features(config)
    columns = list(dict.fromkeys(feature.column for feature in listed))
    rows = parts.sample(to_fit, FIT).read(columns)
    encoder = Encoder.fit(rows, listed, config.encoding, unused=parts.unused(listed))
    matrix = encoder.transform(rows)
    encoder.put_unseen(matrix, config.model.seed)
    np.save(folder / "fit.npy", matrix)
    np.save(folder / "held_out.npy", encoder.transform(parts.sample(to_fit, EARLY_STOPPING).read(columns)))

    rows_to_judge = pq.read_table(to_judge)
    labels = intake.labels.known_now(rows_to_judge)
    validation = encoder.transform(rows_to_judge)
    np.save(folder / "validation.npy", validation)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "injected.npy", _injected(encoder, validation[labels != 1], config.model.seed))
    of_columns = {"groups": encoder.column_groups, "views": encoder.views(core_features(config))}
    (folder / "columns.json").write_text(json.dumps(of_columns), encoding="utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _cut(features: Path, config: Config, boundary: datetime, folder: Path) -> tuple[Path, Path]:
    """Write the rows before a moment, and those from it on."""
    paths = folder / "to-fit.parquet", folder / "to-judge.parquet"
    is_early = Period(None, boundary).holds(pq.read_table(features, columns=[config.contract.timestamp]).column(0))
    filter_rows(features, paths[0], is_early)
    if filter_rows(features, paths[1], ~is_early) < 2:
        raise InputError(f"there are no rows to judge on from {minute(boundary)} UTC; tune on a longer period")
    return paths


def _injected(encoder: Encoder, normal: np.ndarray, seed: int) -> np.ndarray:
    """Return normal rows, each with one column changed, the same for every trial."""
    # What an injection needs of a Detector does not depend on a model: there is none yet.
    unfitted = cast("Detector", SimpleNamespace(encoder=encoder, features=encoder.features))
    parts = [normal[:0]]
    for place, kind in enumerate(KINDS):
        if len(normal):
            parts.append(CHANGES[kind](unfitted, normal, INJECTED, np.random.default_rng([seed, place]))[0])
    return np.concatenate(parts)
