"""Stretches of other people's Parquet files: rows of a table that lie side by side, for whoever reads them by parts."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from pathlib import Path

from pipeline.tables.files import parquet_file


@dataclass(frozen=True)
class Groups:
    """Row groups of a file that lie side by side, each with a row at least.

    Parameters
    ----------
    file : Path
    numbers : tuple of int
    first : int
        Number of their first row in the file.
    """

    file: Path
    numbers: tuple[int, ...]
    first: int


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


def group_sizes(file: Path) -> list[int]:
    """Return how many rows each row group of a file has."""
    with parquet_file(file) as reader:
        return [reader.metadata.row_group(number).num_rows for number in range(reader.num_row_groups)]


def table_stretches(sizes: Mapping[Path, Sequence[int]], batch_rows: int, rows: int) -> list[TableStretch]:
    """Return the stretches of a table, in order: of so many rows where its row groups are smaller, else of one group.

    Each begins where a batch does when the whole table is read in batches, so that whoever reads a stretch in such
    batches meets the same ones.

    Parameters
    ----------
    sizes : mapping of Path to sequence of int
        How many rows each row group has, by file, in the table's order.
    batch_rows : int
        Rows of a batch.
    rows : int
        Rows of a stretch, about.
    """
    groups = [group for file, some in sizes.items() for group in _groups_of(file, some)]
    begins = [0, *accumulate(size for _, size in groups)]
    cuts, held = {0}, 0
    for begin, (_, size) in zip(begins, groups, strict=False):
        if held >= rows:
            cuts.add(-(-begin // batch_rows) * batch_rows)
            held = 0
        held += size
    ends = [*sorted(cut for cut in cuts if cut < begins[-1]), begins[-1]]
    folder, found = Path.cwd(), []
    for first, end in pairwise(ends):
        start, stop = bisect_right(begins, first) - 1, bisect_left(begins, end)
        side_by_side = _joined([group for group, _ in groups[start:stop]])
        found.append(TableStretch(first, end - first, side_by_side, first - begins[start], folder))
    return found


def _groups_of(file: Path, sizes: Sequence[int]) -> Iterator[tuple[Groups, int]]:
    """Yield the row groups of a file that have rows, each with its number of rows."""
    for number, (first, size) in enumerate(zip(accumulate(sizes, initial=0), sizes, strict=False)):
        if size:
            yield Groups(file, (number,), first), size


def _joined(groups: Sequence[Groups]) -> tuple[Groups, ...]:
    """Return row groups, those of one file together."""
    return tuple(
        Groups(file, tuple(number for group in some for number in group.numbers), some[0].first)
        for file, some in ((file, list(some)) for file, some in groupby(groups, key=lambda group: group.file))
    )
