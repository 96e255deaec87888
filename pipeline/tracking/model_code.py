"""The model that MLflow serves: rows in the contract's columns in; score, p-value and flag out.

MLflow runs this file by its path when it loads a registered version. Rows take the way of every batch:
parsing, features over the rows and the history, the Detector. A row that cannot be scored gets no score and
a note that says why; the others are scored all the same. A request that cannot be answered gets one sentence, without
paths of this machine: the server shows callers the trace of any other error.
"""

import logging
import os
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from pipeline.detector.artefact import Detector
from pipeline.errors import AssayError, ConfigError, InputError
from pipeline.intake import features_of
from pipeline.settings.config import Config
from pipeline.settings.output import FIGURES
from pipeline.tables.frame import text_cells
from pipeline.tables.made import parts_of, with_made
from pipeline.tables.parsing import check_columns, parse
from pipeline.tables.period import TIMESTAMP, Period
from pipeline.tables.reading import SOURCE_ROW
from pipeline.workspace.workspace import Workspace

ALLOWED = "ASSAY_HISTORY"
"""The environment variable that names the folder within which callers may name a history."""
_log = logging.getLogger(__name__)


class ServedDetector(PythonModel):
    """A Detector behind MLflow's pyfunc interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the Detector from the model's artefacts.

        Raises
        ------
        ConfigError
            When its threshold is drawn for each batch as a whole, or `ALLOWED` names no folder.
        """
        root = os.environ.get(ALLOWED, "")
        if root and not Path(root).is_dir():
            raise ConfigError(f"{ALLOWED} = {root!r} is no folder; name the one that histories are in, or unset it")
        self.detector = Detector.load(Path(context.artifacts["detector"]))
        if self.detector.cut.is_per_batch:
            raise ConfigError(
                f"threshold.strategy = {self.detector.cut.strategy!r} draws the line for a batch as a whole, so that "
                "a served model, which is asked for single rows, cannot flag them; make a version with a fixed cut "
                "(assay threshold --capacity 100), or score batches with assay score"
            )

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score rows.

        Parameters
        ----------
        context : PythonModelContext
        model_input : pandas.DataFrame
            n_rows rows in the contract's columns, typed or as text; timestamps may be ISO 8601 text.
        params : dict, optional
            ``history``: folder of the history store, such as ``assay-data/history/assay``; labels from review are
            read from ``assay-data/labels/assay`` then. Without one the entities have no past, and the notes say so.
            A folder is read only where whoever runs this process allows it: the environment variable `ALLOWED` names
            it, or one that it is in. Any other is refused, whether it exists or not.

        Returns
        -------
        pandas.DataFrame
            n_rows rows in the order given: the id, the columns `FIGURES`, is_flagged, note.
            A row that cannot be scored has missing values and a note.

        Raises
        ------
        mlflow.exceptions.MlflowException
            With one sentence, when the request as a whole cannot be answered.
        """
        try:
            return self._answer(model_input, _allowed((params or {}).get("history", "")))
        except AssayError as error:
            raise MlflowException(_without_paths(error), INVALID_PARAMETER_VALUE) from None
        except Exception as error:  # noqa: BLE001 (the server shows callers the trace)
            _log.exception("rows could not be scored")
            name = type(error).__name__
            message = f"the rows can't be scored ({name}); the log of the server says where it went wrong"
            raise MlflowException(message, INTERNAL_ERROR) from None

    def _answer(self, model_input: pd.DataFrame, folder: str) -> pd.DataFrame:
        """Return the scores of rows, with a folder of the history store, or "" for none."""
        detector = self.detector
        rows, notes = _typed(model_input, detector)
        values = {name: np.full(len(model_input), np.nan) for name in FIGURES}
        scored = np.flatnonzero(notes == "")
        if len(scored):
            try:
                has_past = _score(rows.take(pa.array(scored)), detector, folder, values)
                notes[scored] = "" if has_past else "no history: entities have no past"
            except AssayError as error:
                notes[scored] = f"not scored: {_without_paths(error)}"
        cuts = detector.cuts(values["anomaly_score"], _segments(rows, notes, detector))
        flags, _ = detector.flag(values["anomaly_score"], cuts=cuts)
        missing = np.isnan(values["anomaly_score"])
        # Missing values of these types become null in JSON, where NaN would be no JSON at all.
        ids = model_input[detector.config.contract.id].convert_dtypes()
        return pd.DataFrame(
            {
                detector.config.contract.id: ids.astype(object).where(ids.notna(), None).to_numpy(),
                **{name: pd.array(column, dtype="Float64") for name, column in values.items()},
                "is_flagged": pd.arrays.BooleanArray(flags, missing),
                "note": notes,
            }
        )


def _allowed(folder: str) -> str:
    """Return a folder that a caller names, or "" where none is named; one that is not to be read is refused."""
    root = os.environ.get(ALLOWED, "")
    if not folder:
        return ""
    is_within = root and "\0" not in folder and Path(folder).resolve().is_relative_to(Path(root).resolve())
    if not is_within or not Path(folder).is_dir():
        # The same sentence for each reason, so that nobody learns what is on this machine.
        raise InputError(
            f"the history that the request names is no folder within the one that {ALLOWED} names where the model is "
            "served; name one of those, or leave history out"
        )
    return folder


def _without_paths(error: Exception) -> str:
    """Return an error's sentence with the names of files for their paths."""
    return re.sub(r"(?<![\w/])/(?:[^\s/'\"]+/)*([^\s/'\"]*)", r"\1", str(error))


def _typed(request: pd.DataFrame, detector: Detector) -> tuple[pa.Table, np.ndarray]:
    """Return the rows as the pipeline types them, and for each that cannot be scored a note that says why."""
    config = detector.config
    contract = config.contract
    names = parts_of(contract.required, config.table)
    batch = pa.record_batch([_cells(request[name], config.table.decimal) for name in names], names=list(names))
    batch = with_made(batch, config.table)
    notes = np.full(len(request), "", dtype=object)
    try:
        check_columns(batch.schema, config, "the request")
    except AssayError as error:
        notes[:] = f"not scored: {error}"
        return pa.table({}), notes
    typed, broken = parse(batch, config)
    for name in contract.obligatory:
        missing = np.asarray(typed[name].is_null())
        for mask in broken.values():
            missing = missing & ~mask
        broken[f"{name}: not missing"] = missing
    for name in contract.numbers:
        broken[f"{name}: finite"] = np.isinf(typed[name].to_numpy(zero_copy_only=False))
    broken |= _implausible(typed, config)
    ids = pd.Series(typed[contract.id].to_pylist(), dtype=object)
    broken[f"{contract.id}: unique"] = (ids.duplicated() & ids.notna()).to_numpy()
    for rule, mask in broken.items():
        notes[mask] += np.where(notes[mask] == "", f"not scored: {rule}", f", {rule}").astype(object)
    return pa.Table.from_batches([typed]).append_column(SOURCE_ROW, pa.array(np.arange(len(request)))), notes


def _implausible(typed: pa.RecordBatch, config: Config) -> dict[str, np.ndarray]:
    """Return by rule the rows that a batch would quarantine for a moment or an amount that nobody means."""
    contract, limits = config.contract, config.validation
    start = Period.of_days(limits.earliest, None, config.table.time_zone).start or datetime.min
    now = datetime.now(UTC).replace(tzinfo=None)
    end = now + min(timedelta(days=limits.latest_days_ahead), datetime.max - now)
    first, last = pa.scalar(start, TIMESTAMP), pa.scalar(end, TIMESTAMP)
    moments, amounts = typed[contract.timestamp], typed[contract.amount]
    rules = {
        f"{contract.timestamp}: plausible": pc.or_(pc.less(moments, first), pc.greater(moments, last)),
        f"{contract.amount}: not beyond max_amount": pc.and_(
            pc.greater(pc.abs(amounts), limits.max_amount), pc.is_finite(amounts)
        ),
    }
    if not limits.negative_amounts:
        rules[f"{contract.amount}: not negative"] = pc.and_(pc.less(amounts, 0), pc.is_finite(amounts))
    return {name: np.asarray(mask.fill_null(fill_value=False)) for name, mask in rules.items()}


def _segments(rows: pa.Table, notes: np.ndarray, detector: Detector) -> pa.Array | None:
    """Return the values that the threshold goes by; missing for all where the request could not be read."""
    segment = detector.cut.segment
    if not segment:
        return None
    return rows[segment].combine_chunks() if rows.num_columns else pa.nulls(len(notes), pa.string())


def _cells(column: pd.Series, decimal: str) -> pa.Array:
    """Return a column as Arrow has it; one of any other kind than numbers and times as text, judged cell by cell."""
    try:
        return pa.array(column, from_pandas=True) if column.dtype.kind in "biufM" else text_cells(column, decimal)
    except UnicodeError:
        raise InputError(f"column {column.name!r} holds a cell that is no text in UTF-8; leave it empty") from None


def _score(rows: pa.Table, detector: Detector, folder: str, values: dict[str, np.ndarray]) -> bool:
    """Write the rows' scores into `values`; return whether there was a history to look back into."""
    config = detector.config
    moments = rows[config.contract.timestamp]
    with tempfile.TemporaryDirectory() as scratch:
        # Path("") is the current folder.
        stored = Path(folder) if folder else Path(scratch) / "history" / config.name
        workspace = Workspace.of_history(stored, config)
        has_past = bool(workspace.history.behind(pc.min(moments).as_py(), pc.max(moments).as_py()))
        typed = Path(scratch) / "rows.parquet"
        pq.write_table(rows, typed)
        table = pq.read_table(features_of(typed, workspace, Path(scratch) / "features.parquet"))
    places = table[SOURCE_ROW].to_numpy()
    scores = pa.Table.from_batches(detector.score(table.to_batches()))
    for name in FIGURES:
        values[name][places] = scores[name].to_numpy()
    return has_past


set_model(ServedDetector())
