"""Stretches of other people's tables: rows that lie side by side, for whoever reads a table by parts."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from pathlib import Path

from pipeline.tables.files import parquet_file
from pipeline.tables.lines import Block


@dataclass(frozen=True)
class Groups:
    """Row groups of a Parquet file, or blocks of lines of CSV, that lie side by side, each with a row at least.

    Parameters
    ----------
    file : Path
    numbers : tuple of int
    first, rows : int
        Number of their first row in the file, and how many they have.
    within : pair of int, optional
        Of CSV, the bytes that they are.
    """

    file: Path
    numbers: tuple[int, ...]
    first: int
    rows: int
    within: tuple[int, int] | None = None


class NotByItself(Exception):
    """Rows of CSV turned out to be such that it takes all that is before to tell which they are."""


@dataclass(frozen=True)
class TableStretch:
    """Rows of a table that lie side by side.

    Parameters
    ----------
    first, rows : int
        Number of the first row in the table, and how many there are.
    groups : tuple of Groups
        The row groups that hold them, in order.
    skipped : int
        Rows of these groups before the first.
    folder : Path
        The folder from which the files' paths count, on every machine.
    """

    first: int
    rows: int
    groups: tuple[Groups, ...]
    skipped: int
    folder: Path

    def is_there(self) -> bool:
        """Return whether its files are to be seen from here."""
        return all((self.folder / groups.file).exists() for groups in self.groups)


def row_groups_of(file: Path) -> list[Groups]:
    """Return the row groups of a Parquet file that have rows."""
    with parquet_file(file) as reader:
        sizes = [reader.metadata.row_group(number).num_rows for number in range(reader.num_row_groups)]
    numbered = enumerate(zip(accumulate(sizes, initial=0), sizes, strict=False))
    return [Groups(file, (number,), first, size) for number, (first, size) in numbered if size]


def blocks_of(file: Path, blocks: Sequence[Block]) -> list[Groups]:
    """Return blocks of lines of a CSV file."""
    firsts = accumulate((block.lines for block in blocks), initial=0)
    return [
        Groups(file, (number,), first, block.lines, (block.start, block.end))
        for number, (first, block) in enumerate(zip(firsts, blocks, strict=False))
    ]


def table_stretches(groups: Sequence[Groups], batch_rows: int, rows: int) -> list[TableStretch]:
    """Return the stretches of a table, in order: of so many rows where its row groups are smaller, else of one group.

    Each begins where a batch does when the whole table is read in batches, so that whoever reads a stretch in such
    batches meets the same ones.

    Parameters
    ----------
    groups : sequence of Groups
        Of the table, one by one, in its order.
    batch_rows : int
        Rows of a batch.
    rows : int
        Rows of a stretch, about.
    """
    begins = [0, *accumulate(group.rows for group in groups)]
    cuts, held = {0}, 0
    for begin, group in zip(begins, groups, strict=False):
        if held >= rows:
            cuts.add(-(-begin // batch_rows) * batch_rows)
            held = 0
        held += group.rows
    ends = [*sorted(cut for cut in cuts if cut < begins[-1]), begins[-1]]
    folder, found = Path.cwd(), []
    for first, end in pairwise(ends):
        start, stop = bisect_right(begins, first) - 1, bisect_left(begins, end)
        found.append(TableStretch(first, end - first, _joined(groups[start:stop]), first - begins[start], folder))
    return found


def _joined(groups: Sequence[Groups]) -> tuple[Groups, ...]:
    """Return groups, those of one file together."""
    together = []
    for file, found in groupby(groups, key=lambda group: group.file):
        some = list(found)
        within = (some[0].within[0], some[-1].within[1]) if some[0].within and some[-1].within else None
        numbers = tuple(number for group in some for number in group.numbers)
        together.append(Groups(file, numbers, some[0].first, sum(group.rows for group in some), within))
    return tuple(together)
