"""How a number stands among everybody's: quantiles of the history's columns, kept beside its copy for timelines."""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.tables.writing import write_text
from pipeline.workspace.workspace import Workspace

PARTS = 1_000
SAMPLED = 1_000_000
"""Values that the quantiles are taken of; of more, every second one, every third one, and so on."""


@dataclass(frozen=True)
class Standing:
    """How a number of an alert stands.

    Attributes
    ----------
    own : float or None
        Share of the entity's earlier values that it is above; None without earlier ones.
    earlier : int
        How many those are.
    everybody : float or None
        The same of everybody's; None while nothing is known of them.
    """

    own: float | None
    earlier: int
    everybody: float | None


def keep_quantiles(copy: Path, workspace: Workspace) -> None:
    """Keep the quantiles of the numbers of a copy of the history, unless they are there already."""
    import numpy as np
    import pyarrow.parquet as pq

    file = _file(workspace)
    if file.is_file() and json.loads(file.read_text(encoding="utf-8"))["copy"] == copy.name:
        return
    columns, middles = {}, (np.arange(PARTS) + 0.5) / PARTS
    with pq.ParquetFile(copy) as reader:
        step = max(1, reader.metadata.num_rows // SAMPLED)
        for name in workspace.config.contract.numbers:
            if name not in reader.schema_arrow.names:
                continue
            parts = [
                batch.column(0).to_numpy(zero_copy_only=False)[::step] for batch in reader.iter_batches(columns=[name])
            ]
            values = np.concatenate(parts).astype(np.float64)
            values = values[np.isfinite(values)]
            columns[name] = np.quantile(values, middles, method="inverted_cdf").tolist() if len(values) else []
    write_text(file, json.dumps({"copy": copy.name, "columns": columns}))


def shares_below(workspace: Workspace, values: Mapping[str, float]) -> dict[str, float]:
    """Return the share of everybody's values that each is above, by column; without those of which nothing is known."""
    file = _file(workspace)
    columns = json.loads(file.read_text(encoding="utf-8"))["columns"] if file.is_file() else {}
    return {
        name: bisect_left(columns[name], value) / len(columns[name])
        for name, value in values.items()
        if columns.get(name)
    }


def _file(workspace: Workspace) -> Path:
    return workspace.folder.root / "timelines" / workspace.config.name / "quantiles.json"
