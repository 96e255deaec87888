"""Packed CSV files, as the programs that write them do."""

import bz2
import gzip
import io
import lzma
import random
import subprocess
import sys
import zipfile
from textwrap import dedent

import pyarrow as pa
import pytest

from pipeline.errors import InputError
from pipeline.tables.packed import unpacked
from pipeline.tables.reading import open_table
from tests.pipeline.tables.table_files import SETTINGS, rows_of, write

DRAW = random.Random(0)
TEXT = ("a,b\n" + "".join(f"{DRAW.random()},{row}\n" for row in range(20_000))).encode()


def in_zip(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()


PACKED = {
    "a.CSV.gz": gzip.compress(TEXT),
    "a.csv.bz2": bz2.compress(TEXT),
    "a.csv.xz": lzma.compress(TEXT),
    "a.csv.zip": in_zip(tx_csv=TEXT),
    "export.zip": in_zip(bank__tx_CSV=TEXT, MACOSX__readme_md="no table"),
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_files_are_read_whatever_their_name(tmp_path, name):
    for path in (write(tmp_path / name, PACKED[name]), write(tmp_path / "plain.csv", PACKED[name])):
        rows = rows_of(path, rows=7000)
        assert rows["b"].to_pylist() == [str(row) for row in range(20_000)]
        assert set(rows["source_file"].to_pylist()) == {path.name}


@pytest.mark.parametrize("ending", ["zst", "zstd"])
def test_zstandard(tmp_path, ending):
    with pa.output_stream(str(tmp_path / "packed"), compression="zstd") as stream:
        stream.write(TEXT)
    path = (tmp_path / "packed").rename(tmp_path / f"a.csv.{ending}")
    assert rows_of(path)["b"][-1].as_py() == "19999"
    assert rows_of(path.rename(tmp_path / "a.csv"))["b"][-1].as_py() == "19999"


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_what_is_left_of_a_packed_file_is_refused_in_a_sentence(tmp_path, name, share):
    path = write(tmp_path / name, PACKED[name][: int(share * len(PACKED[name]))])
    with pytest.raises(InputError, match=r"cannot be read as CSV \(.*\); write it again") as error:
        list(open_table(path, SETTINGS).batches(1000))
    assert str(path) in str(error.value)
    path = write(tmp_path / name, TEXT)
    with pytest.raises(InputError, match=r"cannot be read as CSV \("):
        list(open_table(path, SETTINGS).batches(1000))


def test_zip_archives_that_are_refused(tmp_path):
    path = write(tmp_path / "two.zip", in_zip(one_csv=TEXT, two_csv=TEXT))
    with pytest.raises(InputError, match=r"two\.zip holds 2 CSV files, .* where it holds one; unpack it into a folder"):
        open_table(path, SETTINGS)
    path = write(tmp_path / "none.zip", in_zip(tx_xlsx=b"PK"))
    with pytest.raises(InputError, match=r"none\.zip holds 0 CSV files"):
        open_table(path, SETTINGS)
    data = bytearray(in_zip(tx_csv=TEXT))
    data[data.index(b"PK\x01\x02") + 8] |= 1  # what the directory says of a member with a password
    with pytest.raises(InputError, match=r"locked\.zip is locked by a password; unpack it"):
        open_table(write(tmp_path / "locked.zip", bytes(data)), SETTINGS)
    data = bytearray(in_zip(tx_csv=TEXT))
    data[data.index(b"PK\x01\x02") + 10] = 9
    with pytest.raises(InputError, match=r"own\.zip is packed by a method that is not understood"):
        open_table(write(tmp_path / "own.zip", bytes(data)), SETTINGS)


def test_a_header_is_read_without_unpacking_the_rest(tmp_path):
    path = write(tmp_path / "large.csv.xz", lzma.compress(b"a,b\n" + b"1,2\n" * 10_000_000, preset=0))
    before = pa.total_allocated_bytes()
    with unpacked(path) as stream:
        assert stream.read(8) == b"a,b\n1,2\n"
    assert pa.total_allocated_bytes() - before < 1e6


@pytest.mark.parametrize("name", ["a.csv.xz", "a.csv.zip"])
def test_a_process_ends_well_that_gave_up_reading(tmp_path, name):
    text = b"a,b\n" + b"1,2\n" * 8_000_000
    path = write(tmp_path / name, lzma.compress(text, preset=0) if name.endswith("xz") else in_zip(tx_csv=text))
    code = f"""
        from pipeline.settings.config import TableConfig
        from pipeline.tables.reading import open_table

        batches = open_table({str(path)!r}, TableConfig()).batches(1000)
        next(batches)
    """
    subprocess.run([sys.executable, "-c", dedent(code)], check=True)
