"""Blocks of whole lines of a CSV file: where it can be cut so that each part is read as it is in the whole."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from pipeline.settings.config import TableConfig
from pipeline.tables.files import BLOCK_BYTES, Header, codec
from pipeline.tables.packed import is_packed

_ONE_BYTE_ENDS = {"ascii", "cp1252", "iso8859-1", "iso8859-15", "utf-8", "utf-8-sig"}
"""Encodings in which the byte of a line's end is no part of another sign."""


class Block(NamedTuple):
    """Bytes of a file, from the first to the one behind the last, and how many lines they are."""

    start: int
    end: int
    lines: int


def line_blocks(file: Path, settings: TableConfig, header: Header) -> list[Block]:
    """Return blocks of the lines below the header, none where it takes all that is before to tell what a line is.

    So it is where a quoted cell holds a quote or the end of a line, a line is blank or ends by a sign of its own, the
    file is packed, or its encoding is none of the usual ones. Whether each line has as many cells as the header is not
    looked at.

    Parameters
    ----------
    file : Path
    settings : TableConfig
        Encoding.
    header : Header
        From `read_header`.
    """
    if is_packed(file) or codec(settings) not in _ONE_BYTE_ENDS or not header.delimiter.isascii():
        return []
    blocks, above = [], header.skipped + (not header.is_row)
    with file.open("rb") as stream:
        for start, text in _whole_lines(stream):
            is_marked = start == 0 and text.startswith(BOM_UTF8)
            if not _is_plain(text[len(BOM_UTF8) * is_marked :], header.delimiter):
                return []
            skipped = min(above, text.count(b"\n")) if above else 0
            begin = _behind(text, skipped)
            above -= skipped
            lines = text.count(b"\n", begin) + (not text.endswith(b"\n"))
            if begin < len(text):
                blocks.append(Block(start + begin, start + len(text), lines))
    return blocks


def _whole_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of each so many bytes, and where they begin."""
    start, rest = 0, b""
    while piece := stream.read(BLOCK_BYTES):
        text = rest + piece
        end = text.rfind(b"\n") + 1
        if end:
            yield start, text[:end]
        start, rest = start + end, text[end:]
    if rest:
        yield start, rest


def _is_plain(text: bytes, delimiter: str) -> bool:
    """Return whether each line of a text is one by itself, whatever is before it."""
    # Single bytes are looked for first: that is faster by far, and most texts have few of them.
    if text.startswith((b"\n", b"\r\n")) or b"\n\n" in text:
        return False
    if b"\r" in text and (b"\n\r\n" in text or text.count(b"\r") != text.count(b"\r\n")):
        return False
    if BOM_UTF8[:1] in text and BOM_UTF8 in text:
        return False
    return b'"' not in text or _quotes_close(np.frombuffer(text, np.uint8), ord(delimiter))


def _quotes_close(signs: np.ndarray, delimiter: int) -> bool:
    """Return whether each quote of a text opens a cell, or closes it before the line ends."""
    end = ord("\n")
    quotes, ends = (np.flatnonzero(signs == sign) for sign in (ord('"'), end))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = signs[opening[opening > 0] - 1]
    behind = signs[closing[closing < len(signs) - 1] + 1]
    is_open_at_end = np.searchsorted(quotes, ends) % 2
    opens = (before == delimiter) | (before == end)
    closes = (behind == delimiter) | (behind == end) | (behind == ord("\r"))
    return bool(opens.all() and closes.all() and not is_open_at_end.any())


def _behind(text: bytes, lines: int) -> int:
    """Return the place behind so many lines of a text."""
    place = 0
    for _ in range(lines):
        place = text.index(b"\n", place) + 1
    return place
