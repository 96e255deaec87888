"""The random audit slice: rows that were not flagged, drawn with known chances."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.labels.known import AUDIT, PROBABILITY
from pipeline.scoring.alerts import for_spreadsheets
from pipeline.scoring.parts import with_marks
from pipeline.scoring.score import Scored, beside_input, input_columns
from pipeline.settings.output import FIGURES
from pipeline.settings.titles import second_header
from pipeline.tables.parquet import read_batches, take_rows
from pipeline.tables.writing import ParquetWriter, write_csv


def chances(ids: pa.Array | pa.ChunkedArray, name: str) -> np.ndarray:
    """Return each row's place in the draw, a number in 0..1 that depends on its id and the table's name only.

    A row is drawn where it is below the share: a larger share draws the same rows and more, the order of the rows and
    the batch that they come in change nothing.

    Parameters
    ----------
    ids : pa.Array of shape (n_rows,)
    name : str
        `Config.name`.

    Examples
    --------
    >>> chances(pa.array([1, 2, 3]), "cards").round(3).tolist()
    [0.326, 0.835, 0.323]
    """
    from pandas.util import hash_array

    secret = hashlib.sha256(f"audit of {name}".encode()).hexdigest()[:16]
    texts = np.asarray(pc.cast(ids, pa.string()), dtype=object)
    if not len(texts):
        return np.empty(0)
    # SipHash, as pandas computes it for text: the upper 53 bits are a float's.
    return (hash_array(texts, hash_key=secret, categorize=False) >> np.uint64(11)) / 2.0**53


def write_audit(features: Path, scored: Scored, detector: Detector, folder: Path) -> Path | None:
    """Draw the audit slice of a scored batch, ``audit.share`` of the rows that are not in the queue.

    Writes ``audit.parquet`` and, for a spreadsheet, ``audit.csv`` (sensitive columns masked, no scores: who reviews
    should not know them). They hold the rows in a random order, so that a team may stop anywhere. `rank` is the place
    in it, ``inclusion_probability`` the chance that the row had to be drawn.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scored : Scored
    detector : Detector
        With today's settings.
    folder : Path

    Returns
    -------
    Path or None
        ``audit.parquet``; None where the share is 0.
    """
    config, share = detector.config, detector.config.audit.share
    if not share:
        return None
    rows, places = _draw(features, scored, detector)
    figures = take_rows(scored.scores, places, FIGURES)
    added = with_marks(figures, np.zeros(len(places), bool), scored.marks)
    added = added.append_column("rank", pa.array(np.arange(1, len(places) + 1)))
    added = added.append_column(PROBABILITY, pa.array(np.full(len(places), share)))
    table = beside_input(rows, added, detector)
    with ParquetWriter(folder / AUDIT, table.schema) as writer:
        writer.write(table)
    hidden = [name for name in added.column_names if name != PROBABILITY]
    spreadsheet = for_spreadsheets(table.drop_columns(hidden), config)
    titles = second_header(spreadsheet.column_names, config)
    write_csv(folder / "audit.csv", [spreadsheet], spreadsheet.schema, second=titles)
    return folder / AUDIT


def _draw(features: Path, scored: Scored, detector: Detector) -> tuple[pa.Table, np.ndarray]:
    """Return the input's columns of the rows drawn, in their random order, and where they stand in the table."""
    config, schema = detector.config, pq.read_schema(features)
    columns, queue = input_columns(schema.names, detector), np.sort(scored.alert_places)
    batches, places, draws, start = [], [np.empty(0, np.int64)], [np.empty(0)], 0
    for batch in read_batches(features, columns):
        draw = chances(batch.column(config.contract.id), config.name)
        drawn = np.flatnonzero(draw < config.audit.share)
        drawn = drawn[~np.isin(start + drawn, queue)]
        batches.append(batch.take(pa.array(drawn)))
        places.append(start + drawn)
        draws.append(draw[drawn])
        start += batch.num_rows
    order = np.argsort(np.concatenate(draws), kind="stable")
    schema = pa.schema([schema.field(name) for name in columns], schema.metadata)
    return pa.Table.from_batches(batches, schema).take(pa.array(order)), np.concatenate(places)[order]
