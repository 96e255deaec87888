"""The most suspect of the rows that were taken for normal and fitted on: what to look at where labels may be wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.detector.parts import FIT, Parts
from pipeline.scoring.reasons import explain, sentence
from pipeline.tables.parquet import read_batches, take_rows
from pipeline.tables.writing import ParquetWriter

SUSPECTS = 20


def write_suspects(features: Path, detector: Detector, parts: Parts, out: Path, *, n: int = SUSPECTS) -> Path:
    """Write the fit rows that the fitted model finds most anomalous, the most anomalous first.

    A row that is no normal one, for want of a label or through a wrong one, teaches the model that such rows are
    normal. The table has the contract's key columns, timestamp and amount, ``rank``, ``anomaly_score``, ``p_value``
    (against the calibration block), ``reasons`` and ``reason``, as the alerts table has them. Score, p-value and
    reasons are those of the one-class model, whatever known frauds add.

    Parameters
    ----------
    features : Path
        The feature table that the detector was fitted on.
    detector : Detector
    parts : Parts
        Which rows it was fitted on.
    out : Path
        Parquet file to write.
    n : int
        Rows at most.

    Returns
    -------
    Path
        ``out``.
    """
    contract = detector.config.contract
    is_fit_row = parts.role == FIT
    scores, worst, start = np.empty(0), np.empty(0, dtype=np.int64), 0
    columns = list(dict.fromkeys(feature.column for feature in detector.features))
    for batch in read_batches(features, columns=columns):
        places = np.flatnonzero(is_fit_row[start : start + batch.num_rows])
        if len(places):
            rows = detector.encoder.transform(batch.take(pa.array(places)))
            scores = np.append(scores, detector.model.fit_row_scores(rows))
            worst = np.append(worst, start + places)
            first = np.argsort(-scores, kind="stable")[:n]
            scores, worst = scores[first], worst[first]
        start += batch.num_rows
    rows = take_rows(features, worst)
    reasons = explain(replace(detector, feedback=None), rows)
    keys = dict.fromkeys([*contract.key_columns, contract.timestamp, contract.amount])
    table = pa.table(
        {
            **{name: rows.column(name) for name in keys},
            "rank": np.arange(1, len(worst) + 1),
            "anomaly_score": scores,
            "p_value": detector.one_class.p_value(scores),
            "reasons": reasons,
            "reason": sentence(reasons),
        }
    )
    with ParquetWriter(out, table.schema) as writer:
        writer.write(table)
    return out
