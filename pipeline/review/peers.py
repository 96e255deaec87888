"""How an amount stands among everybody's: quantiles of the history's amounts, kept beside its copy for timelines."""

import json
from bisect import bisect_left
from pathlib import Path

from pipeline.tables.writing import write_text
from pipeline.workspace.workspace import Workspace

PARTS = 1_000
SAMPLED = 1_000_000
"""Amounts that the quantiles are taken of; of more, every second one, every third one, and so on."""


def keep_amounts(copy: Path, workspace: Workspace) -> None:
    """Keep the quantiles of the amounts of a copy of the history, unless they are there already."""
    import numpy as np
    import pyarrow.parquet as pq

    file = _file(workspace)
    if file.is_file() and json.loads(file.read_text(encoding="utf-8"))["copy"] == copy.name:
        return
    column = workspace.config.contract.amount
    with pq.ParquetFile(copy) as reader:
        step = max(1, reader.metadata.num_rows // SAMPLED)
        parts = [
            batch.column(0).to_numpy(zero_copy_only=False)[::step] for batch in reader.iter_batches(columns=[column])
        ]
    amounts = np.concatenate(parts).astype(np.float64)
    amounts = amounts[np.isfinite(amounts)]
    quantiles = np.quantile(amounts, np.arange(PARTS + 1) / PARTS).tolist() if len(amounts) else []
    write_text(file, json.dumps({"copy": copy.name, "amounts": quantiles}))


def share_below(workspace: Workspace, amount: float) -> float | None:
    """Return the share of everybody's amounts that an amount is above; None while nothing is known of them."""
    file = _file(workspace)
    amounts = json.loads(file.read_text(encoding="utf-8"))["amounts"] if file.is_file() else []
    return bisect_left(amounts, amount) / len(amounts) if amounts else None


def _file(workspace: Workspace) -> Path:
    return workspace.folder.root / "timelines" / workspace.config.name / "amounts.json"
