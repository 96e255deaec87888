"""Files that were packed: which CSV files are, by their names and first bytes, and the text in them as a stream."""

import lzma
import tempfile
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa

from pipeline.errors import InputError

_ENDINGS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zstd": "zstd", ".xz": "xz", ".zip": "zip"}
_STARTS = (
    (b"\x1f\x8b\x08", "gzip"), (b"BZh", "bz2"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"),
)  # fmt: skip
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED = 0x1
_PIECE_BYTES = 1 << 20
_TEXT = (".csv", ".txt", ".tsv")
PACKED = ".csv.gz, .csv.bz2, .csv.zst, .csv.xz or .zip"
"""Names of packed CSV files, for messages."""
FAULTS = (zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""What reading a packed file that is damaged may raise, beside Arrow's own errors."""


def is_csv(file: Path) -> bool:
    """Return whether a file is CSV by its name, packed or not; a ``.zip`` is taken to hold one.

    Examples
    --------
    >>> [is_csv(Path(name)) for name in ("tx.csv", "TX.CSV.GZ", "tx.csv.zst", "tx.zip", "tx.gz", "tx.parquet")]
    [True, True, True, True, False, False]
    """
    name = file.name.lower()
    return name.endswith((".csv", ".zip", *(f".csv{ending}" for ending in _ENDINGS)))


def is_packed(file: Path) -> bool:
    """Return whether a CSV file is packed, by its name and first bytes."""
    return _kind(file) is not None


def unpacked(file: Path) -> pa.NativeFile:
    """Return the bytes of a CSV file as a stream, unpacked on the way; only a part of them is in memory.

    A file whose name does not say that it is packed is known by its first bytes. The stream is to be read by the
    thread that opened it: where others read ahead, as Arrow's readers do, see `unpacked_ahead`.

    Raises
    ------
    InputError
        For a zip archive that holds no or several CSV files, is locked by a password or packed in a way of its own.
    """
    kind = _kind(file)
    if kind == "xz":
        return pa.PythonFile(lzma.open(file), mode="r")
    if kind == "zip":
        return pa.PythonFile(_member(file), mode="r")
    return pa.input_stream(str(file), compression=kind)


def unpacked_ahead(file: Path) -> pa.NativeFile:
    """Return what `unpacked` does as a stream that any thread may read.

    What Arrow itself does not unpack (xz, zip) goes to a temporary file without a name, in pieces: a thread of Arrow's
    that is still within Python when the process ends would abort it.
    """
    stream = unpacked(file)
    if not isinstance(stream, pa.PythonFile):
        return stream
    with stream, tempfile.TemporaryFile() as plain:
        while piece := stream.read(_PIECE_BYTES):
            plain.write(piece)
        plain.seek(0)
        return pa.OSFile(f"/dev/fd/{plain.fileno()}")


def _kind(file: Path) -> str | None:
    with file.open("rb") as stream:
        start = stream.read(8)
    kinds = (kind for sign, kind in _STARTS if start.startswith(sign) and (kind != "bz2" or start[3:4].isdigit()))
    return next(kinds, _ENDINGS.get(file.suffix.lower()))


def _member(file: Path) -> zipfile.ZipExtFile:
    with zipfile.ZipFile(file) as archive:  # which stays open for a member that is read
        members = [member for member in archive.infolist() if _is_table(member.filename)]
        if len(members) != 1:
            raise InputError(
                f"{file} holds {len(members)} CSV files, and a zip archive is read where it holds one; unpack it into "
                "a folder"
            )
        (member,) = members
        if member.flag_bits & _ENCRYPTED:
            raise InputError(f"{file} is locked by a password; unpack it, or pack it without one")
        if member.compress_type not in _METHODS:
            raise InputError(f"{file} is packed by a method that is not understood; unpack it, or write it as .csv.gz")
        return archive.open(member)  # type: ignore[return-value]


def _is_table(name: str) -> bool:
    parts = Path(name).parts
    return name.lower().endswith(_TEXT) and not any(part.startswith((".", "_")) for part in parts)
