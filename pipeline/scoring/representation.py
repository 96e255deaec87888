"""What a model makes of rows, as tables: their codes, and what it expects them to be."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.detector.encoder import Rows
from pipeline.errors import InputError
from pipeline.settings.output import name_beside
from pipeline.settings.sensitive import is_sensitive, is_telling
from pipeline.tables.parquet import read_batches
from pipeline.tables.writing import ParquetWriter

ROUNDS = 10
"""A missing cell is reconstructed this often, each time from the row with the last value filled in."""

OnRows = Callable[[int], None]


def write_codes(features: Path, detector: Detector, out: Path, on_rows: OnRows = lambda n: None) -> int:
    """Write each row's code, for use as features of other models; return its size.

    The table has the id, unless it is sensitive, and ``code_1`` to ``code_k`` as float32.

    Parameters
    ----------
    features : Path
        Feature table (Parquet).
    detector : Detector
    out : Path
        Parquet file to write.
    on_rows : callable, optional
        Called with the number of rows after each batch.

    Raises
    ------
    InputError
        For a model without a code.
    """
    from models.capabilities import WithCode

    model = detector.model
    if not isinstance(model, WithCode):
        raise _unable(detector, "makes no code of a row")

    def codes(batch: Rows) -> dict[str, Any]:
        code = np.asarray(model.encode(detector.encoder.transform(batch)), dtype=np.float32)
        return {f"code_{place}": column for place, column in enumerate(code.T, 1)}

    return _write(features, detector, out, columns_of=codes, on_rows=on_rows)


def write_expected(features: Path, detector: Detector, out: Path, on_rows: OnRows = lambda n: None) -> int:
    """Write what the model expects each row to be, and the row's numbers with missing cells filled in.

    The table has the id; for each feature ``<feature> (expected)``, in its raw unit (float64, or text for a
    category); and the contract's numeric columns that the model sees, missing cells taken from what is expected.
    Sensitive columns, and features that would show one, are left out. Return the number of cells that were filled in.

    A missing number starts at its mean and is reconstructed ten times, each time from the row with the last value
    filled in (Rezende, Mohamed and Wierstra, "Stochastic backpropagation and approximate inference in deep generative
    models", 2014, appendix F, without the noise). Limits: what is filled in is one likely value, not a draw, and
    varies less than real values do; a model with a wide code restores what it is given, so that little but the mean
    is filled in, where a small code, the memory or masking noise learn one column from the others; what depends on
    the missing cell through other features stays as it is; missing categories are not filled in.

    Parameters
    ----------
    features, detector, out, on_rows
        As for `write_codes`.

    Raises
    ------
    InputError
        For a model that does not reconstruct.
    """
    from models.capabilities import WithReconstruction

    if not isinstance(detector.model, WithReconstruction):
        raise _unable(detector, "does not reconstruct rows")
    contract = detector.config.contract
    shown = [item for item in detector.features if not is_telling(item.source, contract)]
    numeric = {item.name: item.column for item in shown if item.column in contract.numeric}
    filled = 0

    def expected(batch: Rows) -> dict[str, Any]:
        nonlocal filled
        raw = expect(detector, batch)
        columns: dict[str, Any] = {}
        for name, values in ((item.name, raw[item.name]) for item in shown):
            if values.dtype == object:
                values = pa.array([None if value is None else str(value) for value in values], pa.string())
            columns[f"{name} (expected)"] = values
        for name, column in numeric.items():
            values = batch.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
            missing = ~np.isfinite(values)
            filled += int(missing.sum())
            columns[column] = np.where(missing, raw[name], values)
        return columns

    _write(features, detector, out, columns_of=expected, on_rows=on_rows)
    return filled


def expect(detector: Detector, rows: Rows) -> dict[str, np.ndarray]:
    """Return what the model expects of each feature, in its raw unit, shape (n_rows,); numbers are never missing."""
    from models.capabilities import WithReconstruction

    encoder, model = detector.encoder, detector.model
    if not isinstance(model, WithReconstruction):
        raise _unable(detector, "does not reconstruct rows")
    matrix, missing = encoder.transform(rows), encoder.missing(rows)
    indicators = [place for place, column in enumerate(encoder.columns) if column.role == "missing"]
    matrix[:, indicators] = 0
    lacking = missing.any(axis=1)
    for _ in range(ROUNDS if lacking.any() else 0):
        part = matrix[lacking]
        matrix[lacking] = np.where(missing[lacking], model.reconstruct(part), part)
    expected = np.array(model.reconstruct(matrix))
    expected[:, indicators] = 0
    return encoder.inverse(expected)


def _unable(detector: Detector, lack: str) -> InputError:
    return InputError(
        f"the model of {detector.config.name!r} is {detector.summary['model']!r}, which {lack}; name a version "
        "that is an autoencoder with --version, or train one (model.name in the configuration)"
    )


def _write(
    features: Path, detector: Detector, out: Path, *, columns_of: Callable[[Rows], dict[str, Any]], on_rows: OnRows
) -> int:
    """Write the id of each row, unless it is sensitive, and further columns; return how many these are."""
    identity = detector.config.contract.id
    read = dict.fromkeys([identity, *(feature.column for feature in detector.features)])
    n_columns = 0
    with ExitStack() as stack:
        writer: ParquetWriter | None = None
        for batch in read_batches(features, columns=list(read)):
            columns = columns_of(batch)
            n_columns = len(columns)
            name = name_beside(identity, columns)
            ids = {} if is_sensitive(detector.config.contract, identity) else {name: batch.column(identity)}
            table = pa.table({**ids, **columns})
            writer = writer or stack.enter_context(ParquetWriter(out, table.schema))
            writer.write(table)
            on_rows(batch.num_rows)
    return n_columns
