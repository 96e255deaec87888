"""What a row adds to the memory of a fit: two sizes of a wide table, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fitted import transactions

NUMBERS = [f"n{number}" for number in range(40)]
FIT = """
import sys, tracemalloc
from pathlib import Path

import pyarrow as pa
from fitted import AFTER, config

import models.base, models.training
import pipeline.detector as module

# What is bounded anyway is made small, so that what grows shows.
module.MATRIX_BYTES, module.ENCODER_ROWS, module.EARLY_STOPPING_ROWS = int(sys.argv[2]), 10_000, 2_000
models.base.SCORE_CELLS, models.training.WINDOW_CELLS = 10**6, 2**20
numbers = sys.argv[3].split()
model = {"max_epochs": 1, "batch_size": 4096}
settings = config(contract={"numeric": numbers}, features={"families": ("columns",)}, model=model)
tracemalloc.start()
module.Detector.fit(Path(sys.argv[1]), settings, AFTER)
print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory())
"""


def wide(path: Path, rows: int) -> int:
    """Write a table with 40 numeric columns and return its bytes in memory."""
    random, size = np.random.default_rng(0), 0
    table = transactions(rows)
    for name in NUMBERS:
        table = table.append_column(name, pa.array(random.standard_normal(rows)))
    size = table.nbytes
    pq.write_table(table, path, row_group_size=65_536)
    return size


def peak(path: Path, matrix_bytes: int) -> int:
    """Return the most bytes that NumPy, Python and Arrow held at a time while a table was fitted on."""
    words = [sys.executable, "-c", FIT, str(path), str(matrix_bytes), " ".join(NUMBERS)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_row_of_a_table_on_disk_adds_a_fraction_of_its_size(tmp_path):
    small, large = tmp_path / "small.parquet", tmp_path / "large.parquet"
    more = wide(large, 400_000) - wide(small, 150_000)
    added = (peak(large, 0) - peak(small, 0)) / 250_000
    print(added, more / 250_000)
    assert added < 80
    assert added < 0.2 * more / 250_000
    # Held in memory, each of the two thirds of the rows that are fitted on adds 4 bytes a column to it at least.
    assert (peak(large, 2**40) - peak(small, 2**40)) / 250_000 > added + 0.6 * 4 * len(NUMBERS)
