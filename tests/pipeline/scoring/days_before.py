"""Days that a version has scored, with scores made up, for the tests of what a cut adapts to."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.workspace.ledger import Entry
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import START, transactions

TRAINED = START + timedelta(days=30)
"""The first day after the training."""
ROWS = 200


def scored_day(workspace: Workspace, number: int, scores: np.ndarray, cut: float) -> Entry:
    """Remember the rows of a day, counted from the end of the training, and write what they scored."""
    start, name = TRAINED + timedelta(days=number), f"day-{number}"
    rows = transactions(ROWS, seed=100 + number, first_id=50_000 + number * ROWS, start=start, days=1)
    folder = Path(workspace.config.work_dir) / name
    folder.mkdir(parents=True)
    pq.write_table(rows, folder / "rows.parquet")
    workspace.history.append(folder / "rows.parquet", name)
    order = np.random.default_rng(number).permutation(ROWS)  # the scores' order is not the history's
    table = pa.table({"tx": rows["tx"].take(pa.array(order)), "anomaly_score": scores[order]})
    pq.write_table(table.append_column("is_flagged", pa.array(scores[order] > cut)), folder / "scores.parquet")
    times = rows["at"].to_pylist()
    return Entry(
        batch_id=name, source=f"/tmp/{name}.parquet", digest=name, period_start=None, period_end=None,
        model_name="assay", model_version="1", scored_at=datetime(2025, 6, 1), folder=str(folder),
        first_timestamp=min(times), last_timestamp=max(times),
    )  # fmt: skip


def usual_scores(detector: Detector, seed: int) -> np.ndarray:
    """Scores of a day, drawn from those of the rows held out."""
    return np.random.default_rng(seed).choice(detector.held_out.scores, ROWS)
