"""What a row adds to the memory of a fit, from two sizes of a wide table."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipeline.fitted import config, detector_of, transactions

NUMBERS = tuple(f"n{number}" for number in range(30))


def wide(path: Path, rows: int) -> int:
    """Write a table with many numeric columns and return its bytes in memory."""
    random, table = np.random.default_rng(0), transactions(rows)
    for name in NUMBERS:
        table = table.append_column(name, pa.array(random.standard_normal(rows)))
    pq.write_table(table, path, row_group_size=65_536)
    return table.nbytes


def peak(path: Path) -> int:
    """Return the most bytes that NumPy, Python and Arrow held while a table was fitted on."""
    model = {"max_epochs": 1, "batch_size": 4096}
    settings = config(contract={"numeric": NUMBERS}, features={"families": ("columns",)}, model=model)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        detector_of(path, settings)
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch):
    """Make small what is bounded anyway, so that what grows shows."""
    monkeypatch.setattr("pipeline.detector.artefact.ENCODER_ROWS", 10_000)
    monkeypatch.setattr("pipeline.detector.artefact.EARLY_STOPPING_ROWS", 2_000)
    monkeypatch.setattr("pipeline.detector.feedback.TREE_ROWS", 4_000)
    monkeypatch.setattr("models.networks.SCORE_CELLS", 10**6)
    monkeypatch.setattr("models.training.WINDOW_CELLS", 2**20)


def test_a_row_of_a_table_on_disk_adds_a_fraction_of_its_size(tmp_path, monkeypatch):
    small, large = tmp_path / "small.parquet", tmp_path / "large.parquet"
    size = (wide(large, 240_000) - wide(small, 140_000)) / 100_000  # both of more than two batches
    in_memory = (peak(large) - peak(small)) / 100_000
    monkeypatch.setattr("pipeline.detector.artefact.MATRIX_BYTES", 0)
    on_disk = (peak(large) - peak(small)) / 100_000
    assert on_disk < 0.25 * size
    # Held in memory, each of the two thirds of the rows that are fitted on adds 4 bytes a column.
    assert in_memory > on_disk + 0.6 * 4 * len(NUMBERS)
