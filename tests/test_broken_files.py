"""Files that are broken by chance, by a seed: each a quarantined row, one sentence, or the same cells as the good file.

ASSAY_BROKEN_FILES says how many; a spread of them is tried where nothing is said.
"""

import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from pipeline.errors import AssayError
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.validation.validate import validate

COUNT = int(os.environ.get("ASSAY_BROKEN_FILES", "40"))
ROWS = 60
CONTRACT = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card"], "types": {"tx": "integer"}}
CONFIG = Config.model_validate({"contract": CONTRACT, "validation": {"max_rejected": 1.0}})
JUNK = (
    b"\0",
    b"\xff\xfe",
    b'"',
    b"\r",
    b"\n",
    b",",
    b";",
    b"\x1b[31m",
    "\u202e".encode(),
    b"NaN",
    b"1e999",
    b"-",
    b"=1+1",
)


def good() -> pa.Table:
    draw = random.Random(0)
    rows = [
        {"tx": row, "at": f"2026-06-{row % 28 + 1:02d} 12:{row % 60:02d}:00", "eur": draw.randrange(100, 9_999) / 100}
        for row in range(ROWS)
    ]
    return pa.Table.from_pylist([{**row, "card": f"c{row['tx'] % 7}"} for row in rows])


def broken(data: bytes, draw: random.Random) -> bytes:
    """Return a file with one to three faults: bytes cut, doubled, exchanged, put in or turned over."""
    for _ in range(draw.randint(1, 3)):
        place, length = draw.randrange(max(len(data), 1)), draw.choice((1, 2, 7, 40))
        part = data[place : place + length]
        change = {
            "cut": data[:place],
            "gone": data[:place] + data[place + length :],
            "twice": data[:place] + part + part + data[place + length :],
            "junk": data[:place] + draw.choice(JUNK) + data[place:],
            "over": data[:place] + draw.choice(JUNK) + data[place + 1 :],
            "turned": data[:place] + bytes(255 - byte for byte in part) + data[place + length :],
        }
        data = change[draw.choice(list(change))]
    return data


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_a_broken_file_is_told_or_read_as_it_stands(tmp_path: Path, kind: str) -> None:
    whole = tmp_path / f"good.{kind}"
    if kind == "parquet":
        pq.write_table(good(), whole, write_page_checksum=True)
    elif kind == "csv":
        pacsv.write_csv(good(), whole)
    else:
        with pa.CompressedOutputStream(str(whole), "gzip") as stream:
            pacsv.write_csv(good(), stream)
    data, refusals = whole.read_bytes(), dict[Path, str]()
    for seed in range(COUNT):
        draw = random.Random(f"{kind} {seed}")
        path = tmp_path / f"{seed}.{kind}"
        path.write_bytes(broken(data, draw))
        folder = tmp_path / f"out-{seed}"
        try:
            batch = Batch.of(path, CONFIG)
            table = batch.open()
            validated = validate(table, CONFIG, folder=folder, batch_id=batch.id)
        except AssayError as error:
            refusals[path] = str(error)
            continue
        counts = validated.counts
        assert counts.read == counts.accepted + counts.quarantined + counts.outside, seed
        accepted = pq.read_table(validated.accepted)
        assert accepted.num_rows == counts.accepted, seed
        assert pc.all(pc.is_finite(accepted["eur"])).as_py() is not False, seed
        if kind != "csv":  # whose bytes are held against a checksum
            assert accepted["eur"].to_pylist() == good()["eur"].to_pylist()[: counts.accepted], seed
    assert refusals
    assert all(str(path) in text and "\n" not in text for path, text in refusals.items())
