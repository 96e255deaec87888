"""Range windows over a table in memory: what DuckDB's range frames give, to the last bit, in a fraction of the time.

The rows of one party lie side by side, in the order of time, so that the frame of a row is a range of them: two
binary searches, which all aggregates of the window share. Over such a range

- sums are the difference of two running totals. They are of whole numbers and exact, in limbs of 32 bits where 64 do
  not hold them, and rounded once: neither other parties' rows nor the order of rows of one moment moves a bit.
- the highest amount is that of two overlapping ranges whose lengths are a power of two, from a table that is doubled
  level by level (Bender and Farach-Colton, "The LCA Problem Revisited", 2000).
- ranks, quartiles and numbers of different values come from a wavelet matrix of the amounts' ranks, or of the places at
  which each value came last before: a value is new to the range where that lies before it.
- the last known place is that of the last row before the frame's end that has one, if it lies in the frame.

Where DuckDB and this part: its cast of a sum to DOUBLE rounds twice beyond 2^64, and below -2^54; this rounds once. Of
the amounts 0.0 and -0.0, which are equal, the highest is 0.0 here, and either there. What lies between two amounts may
be another in the last bit.

Beside the rows and the results, 8 bytes a row and window, it takes 4 bytes a row and key column, some 25 a row, and
some 500 for each of the `BLOCK` rows that a thread works on, or of the `TILE` of a party that has more, which is worked
on by stretches of time, each with the rows that it looks back to.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.features.plan import RARE, Window
from pipeline.features.wavelet import WaveletMatrix

SUMMED = {
    "sum": "x",
    "squares": "x",
    "night": "night",
    "weekend": "weekend",
    "cosines": "clock_cosine",
    "sines": "clock_sine",
    "frauds": "fraud",
    "labels": "fraud",
    "verdicts": "fraud",
}
"""The column whose values, or what is made of them, an aggregate sums up; `verdicts` is sum(fraud), `labels` is
count(fraud). All are 0 over no row."""
PLACED = {"latitude": "lat{}", "longitude": "lon{}", "there": "lat{}"}
"""The column, by the place's number, whose last value that is not null an aggregate is of."""
RANKED = {"place": False, "place_from_above": True}
"""Whether the rank of the row's own amount among those of its frame is from above; 1 where none is less, or more."""
QUARTILES = {"q25": 0.25, "q50": 0.5, "q75": 0.75}
BLOCK = 1 << 16
"""Rows that are worked on at once, so that what is made of them stays in the processor's cache."""
TILE = 1 << 18
"""Rows of a single party that are worked on at once, beside those that they look back to: one may have most of all."""
LIMB = 32
MASK = (1 << LIMB) - 1
PLAIN = 1 << 62
"""Sums that stay below are kept in one whole number."""


def windowed(
    rows: pa.Table, windows: Mapping[str, Window], asks: np.ndarray | None = None, *, threads: int = 1
) -> dict[str, np.ndarray]:
    """Return windows' values: what `Window.sql` says, over these rows.

    Parameters
    ----------
    rows : Table
        Ordered by `us`, and rows of one moment by their id: the events, or labels, with the columns that the windows
        need. `us`, `amount`, `x` (-10^15 to 10^15), `night`, `weekend`, `clock_cosine` and `clock_sine` have no null;
        in `fraud`, `lat0` and so on, and in keys, it is what is not known. `us` is int64; keys are of any type.
    windows : mapping of str to Window
        By alias.
    asks : ndarray of bool, shape (rows,), optional
        The rows whose values are wanted; all by default. The others are seen, and cost little.
    threads : int
        How many blocks of rows are worked on at once.

    Returns
    -------
    dict of str to ndarray of float64, shape (rows asked for,)
        By alias, in the order of the rows; NaN for what is not known.

    Raises
    ------
    ValueError
        When the rows are not in the order of time, or a number is null that must not be.

    Examples
    --------
    >>> rows = pa.table({"us": [1, 2, 3, 9], "e0": ["a", "b", "a", "a"], "x": [5, 7, 11, 13]})
    >>> windowed(rows, {"total": Window(("e0",), "sum", 7, 1), "last": Window(("e0",), "previous", 5, 1)})
    {'total': array([ 0.,  0.,  5., 11.]), 'last': array([nan, nan,  1., nan])}
    """
    us = _numbers(rows, "us")
    if np.any(us[1:] < us[:-1]):
        raise ValueError("rows must be in the order of us; sort them first")
    source = _Source(rows, us, asks, {})
    groups: dict[tuple[str, ...], dict[str, Window]] = {}
    for alias, window in windows.items():
        groups.setdefault(tuple(sorted(set(window.keys))), {})[alias] = window
        source.read(window)
    codes = {key: _codes(rows[key]) for key in dict.fromkeys(key for keys in groups for key in keys)}
    size = len(us) if asks is None else int(np.count_nonzero(asks))
    values = {alias: np.empty(size) for alias in windows}
    with ThreadPoolExecutor(threads) as pool:
        for keys, group in groups.items():
            _party(source, [codes[key] for key in keys], group, values=values, pool=pool)
    _forget(rows, windows, asks, values)
    return values


@dataclass(frozen=True)
class _Source:
    """The rows: their moments, which of them are asked for, and the columns that are read."""

    rows: pa.Table
    us: np.ndarray
    asks: np.ndarray | None
    columns: dict[str, np.ndarray]

    def read(self, window: Window) -> None:
        """Take the columns that a window is made of out of the table; " known" behind a name: where it has a value."""
        of_amounts = window.aggregate in {"max", *RANKED, *QUARTILES}
        name = "amount" if of_amounts else SUMMED.get(window.aggregate, "")
        if window.aggregate in {*PLACED, "distinct"}:
            name = {**PLACED, "distinct": "e{}"}[window.aggregate].format(window.of)
        if not name or name in self.columns:
            return
        if window.aggregate == "distinct":
            self.columns[f"{name} known"] = self.rows[name].is_valid().to_numpy()
            self.columns[name] = _codes(self.rows[name])
        elif name == "fraud" or window.aggregate in PLACED:
            self.columns[f"{name} known"] = self.rows[name].is_valid().to_numpy()
            self.columns[name] = self.rows[name].fill_null(0).to_numpy()
        else:
            self.columns[name] = _numbers(self.rows, name)


def _numbers(rows: pa.Table, name: str) -> np.ndarray:
    if rows[name].null_count:
        raise ValueError(f"column {name!r} must not have nulls, but has {rows[name].null_count:,}")
    return rows[name].to_numpy()


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number for each value, the same for the same one; null and NaN are values, too."""
    if pa.types.is_floating(column.type):
        column = pc.add(column, pa.scalar(0, column.type))  # -0.0 is 0.0
    encoded = pc.dictionary_encode(column, null_encoding="encode")
    return np.concatenate([np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in encoded.chunks)])


def _forget(
    rows: pa.Table, windows: Mapping[str, Window], asks: np.ndarray | None, values: dict[str, np.ndarray]
) -> None:
    """Make values unknown where a key that they need is."""
    absent: dict[tuple[str, ...], np.ndarray] = {}
    for alias, window in windows.items():
        needed = tuple(key for key in window.needed if rows[key].null_count)
        if needed and needed not in absent:
            some = np.logical_or.reduce([rows[key].is_null().to_numpy() for key in needed])
            absent[needed] = some if asks is None else some[asks]
        if needed:
            values[alias][absent[needed]] = np.nan


def _party(
    source: _Source,
    codes: Sequence[np.ndarray],
    windows: Mapping[str, Window],
    *,
    values: dict[str, np.ndarray],
    pool: ThreadPoolExecutor,
) -> None:
    """Write the values of windows that have their keys in common."""
    longest = max(window.first for window in windows.values())
    order = _reach(source, codes, longest)
    if not len(order):
        return
    for code in codes:
        for digits in range(0, max(int(code.max()).bit_length(), 1), 16):
            # NumPy sorts whole numbers of 16 bits by their digits: stable, and in a time that grows as the rows do.
            order = order[np.argsort((code[order] >> digits).astype(np.uint16), kind="stable")]
    changes = np.logical_or.reduce([np.diff(code[order]) != 0 for code in codes])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(order)]])
    clock = _clock(source.us, longest)
    step = int(clock[-1]) + longest + 1  # from a party to the next one: no window reaches across
    place = None if source.asks is None else np.cumsum(source.asks) - 1

    def work(stretch: tuple[int, int, int]) -> None:
        seen, first, end = stretch
        chosen = order[seen:end]
        party = np.cumsum(np.concatenate([[False], changes[seen : end - 1]]))
        at: np.ndarray | slice = slice(first - seen, None)
        if source.asks is not None:
            at = first - seen + np.flatnonzero(source.asks[chosen[at]])
        target = chosen[at] if place is None else place[chosen[at]]
        block = _Block(source, chosen, party * step + clock[chosen], at, {}, [])
        for alias, found in block.values(windows):
            values[alias][target] = found

    def stretches() -> Iterator[tuple[int, int, int]]:
        for first, last in _blocks(starts, max(PLAIN // step, 1)):
            start, end = int(starts[first]), int(starts[last])
            tiles = [(0, 0, end - start)]
            if last == first + 1 and end - start > TILE:
                tiles = list(_tiles(clock[order[start:end]], longest))
            yield from ((start + seen, start + own, start + until) for seen, own, until in tiles)

    list(pool.map(work, stretches()))


def _reach(source: _Source, codes: Sequence[np.ndarray], longest: int) -> np.ndarray:
    """Return which rows a row that is asked for may see, and these themselves, in the order of time."""
    if source.asks is None:
        return np.arange(len(source.us))
    asked = np.flatnonzero(source.asks)
    if not len(asked):
        return asked
    first = np.searchsorted(source.us, source.us[asked[0]] - longest)
    seen = np.ones(asked[-1] + 1 - first, bool)
    for code in codes:
        present = np.zeros(int(code.max()) + 1, bool)
        present[code[asked]] = True
        seen &= present[code[first : asked[-1] + 1]]
    return np.flatnonzero(seen) + first


def _clock(us: np.ndarray, longest: int) -> np.ndarray:
    """Return moments from 0 on in which a gap that no window reaches across is only just too long for them."""
    gaps = np.diff(us, prepend=us[:1])
    return np.cumsum(np.minimum(gaps, longest + 1, out=gaps), out=gaps)


def _blocks(starts: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of parties that have about `BLOCK` rows together, `most` of them at most."""
    first = 0
    while first < len(starts) - 1:
        last = int(np.searchsorted(starts, starts[first] + BLOCK, side="right")) - 1
        last = min(max(last, first + 1), first + most)
        yield first, last
        first = last


def _tiles(moments: np.ndarray, longest: int) -> Iterator[tuple[int, int, int]]:
    """Yield stretches of one party's rows: where what they see begins, and where they begin and end themselves.

    A stretch has as many rows as it looks back to, at least, so that no row is worked on often.
    """
    first = 0
    while first < len(moments):
        seen = int(np.searchsorted(moments, moments[first] - longest))
        end = min(first + max(TILE, first - seen), len(moments))
        yield seen, first, end
        first = end


@dataclass(frozen=True)
class _Block:
    """Some parties' rows, one party's after another's, each in the order of time.

    `rows` says which of the table's they are, `moments` grow over all of them and tell the parties apart, `at` says
    which of them are asked for. `edges` are the ends of frames that were looked up, `ranks` what was
    made of the amounts.
    """

    source: _Source
    rows: np.ndarray
    moments: np.ndarray
    at: np.ndarray | slice
    edges: dict[int, np.ndarray]
    ranks: list[tuple[np.ndarray, np.ndarray, WaveletMatrix]]

    def values(self, windows: Mapping[str, Window]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each window's alias and its values for the rows asked for."""
        kinds: dict[tuple[str, int | None], dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for alias, window in windows.items():
            kinds.setdefault((window.aggregate, window.of), {})[alias] = self.frame(window)
        for (aggregate, of), frames in kinds.items():
            if aggregate == "max":
                yield from zip(frames, _highest(self.column("amount") + 0.0, list(frames.values())), strict=True)
                continue
            value = self.value(aggregate, of)
            for alias, (first, end) in frames.items():
                yield alias, value(first, end)

    def frame(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return where each frame begins and ends, the end left out."""
        first, end = self.edge(window.first), self.edge(window.last - 1)
        return first, end if window.last <= window.first else first

    def edge(self, before: int) -> np.ndarray:
        """Return the first row that is no more than so many microseconds before each row asked for."""
        if before not in self.edges:
            self.edges[before] = np.searchsorted(self.moments, self.moments[self.at] - before)
        return self.edges[before]

    def column(self, name: str) -> np.ndarray:
        """Return a column's values."""
        return self.source.columns[name][self.rows]

    def value(self, aggregate: str, of: int | None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the function that gives an aggregate's value of each frame."""
        if aggregate == "distinct":
            return self.distinct(f"e{of}")
        if aggregate in RANKED:
            return self.rank(from_above=RANKED[aggregate])
        if aggregate in QUARTILES:
            return self.quantile(QUARTILES[aggregate])
        return self.last(aggregate, of) if aggregate in {*PLACED, "previous"} else self.total(aggregate)

    def distinct(self, name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the function that counts the different values of a frame."""
        codes, n_rows = self.column(name), len(self.rows)
        order = np.argsort(codes, kind="stable")
        is_again = codes[order[1:]] == codes[order[:-1]]
        after = np.zeros(n_rows, dtype=np.int64)  # the place behind the value's last one, 0 where it is new
        after[order[1:]] = np.where(is_again, order[:-1] + 1, 0)
        matrix = WaveletMatrix(np.where(self.column(f"{name} known"), after, n_rows + 1), n_rows + 1)
        return lambda first, end: matrix.below(first, end, first + 1).astype(np.float64)

    def amounts(self) -> tuple[np.ndarray, np.ndarray, WaveletMatrix]:
        """Return the amounts in the order of size, each once, the place of each row's among them, and their matrix."""
        if not self.ranks:
            sizes, places = np.unique(self.column("amount") + 0.0, return_inverse=True)
            self.ranks.append((sizes, places, WaveletMatrix(places, len(sizes))))
        return self.ranks[0]

    def rank(self, *, from_above: bool) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the function that ranks the row's own amount among those of its frame."""
        _, places, matrix = self.amounts()
        own = places[self.at]

        def value(first: np.ndarray, end: np.ndarray) -> np.ndarray:
            beyond = end - first - matrix.below(first, end, own + 1) if from_above else matrix.below(first, end, own)
            return (beyond + 1).astype(np.float64)

        return value

    def quantile(self, share: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the function that gives a quantile of a frame's amounts, straight between two of them."""
        sizes, _, matrix = self.amounts()

        def value(first: np.ndarray, end: np.ndarray) -> np.ndarray:
            place = share * np.maximum(end - first - 1, 0)
            below = np.floor(place)
            low, high = (
                sizes[np.minimum(matrix.smallest(first, end, at.astype(np.int64)), len(sizes) - 1)]
                for at in (below, np.ceil(place))
            )
            part = place - below
            with np.errstate(invalid="ignore", over="ignore"):  # between amounts that are infinite
                between = np.where(low == high, low, low + (high - low) * part)
            return np.where(end > first, between, np.nan)

        return value

    def total(self, aggregate: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the function that sums up a frame."""
        if aggregate in ("count", "known"):
            return lambda first, end: (end - first).astype(np.float64)
        limbs = _limbs(self.summands(aggregate), squared=aggregate == "squares")
        running = [np.concatenate([[0], np.cumsum(limb)]) for limb in limbs]
        return lambda first, end: _rounded([limb[end] - limb[first] for limb in running])

    def summands(self, aggregate: str) -> np.ndarray:
        """Return the whole numbers that are summed, or whose squares are."""
        if aggregate == "labels":
            return self.column("fraud known").astype(np.int64)
        values = self.column(SUMMED[aggregate]).astype(np.int64, copy=False)
        return np.where(self.column("fraud known"), RARE * values, 1) if aggregate == "frauds" else values

    def last(self, aggregate: str, of: int | None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the function that takes what the last row of a frame says, or the last one whose place is known."""
        name = "" if aggregate == "previous" else PLACED[aggregate].format(of)
        values = self.source.us[self.rows] if aggregate in ("previous", "there") else self.column(name)
        latest = np.arange(len(self.rows))
        if name:
            latest = np.maximum.accumulate(np.where(self.column(f"{name} known"), latest, -1))

        def value(first: np.ndarray, end: np.ndarray) -> np.ndarray:
            found = latest[end - 1]  # of a frame at the very start it is the block's last row, which lies in no frame
            return np.where((first <= found) & (found < end), values[found].astype(np.float64), np.nan)

        return value


def _limbs(values: np.ndarray, *, squared: bool = False) -> list[np.ndarray]:
    """Return values, or their squares, as whole numbers whose running totals fit into 64 bits, the lowest first.

    One where it is enough, else limbs of 32 bits of which only the last may be larger, or negative; the totals of 2^26
    squares of 10^15 fit.
    """
    largest = max(int(values.max()), -int(values.min()))
    if len(values) * (largest**2 if squared else largest) < PLAIN:
        return [values * values if squared else values]
    if not squared:
        return [values & MASK, values >> LIMB]
    size = np.abs(values)
    low, high = size & MASK, size >> LIMB
    square, twice = low.astype(np.uint64) ** 2, 2 * low * high
    carried = (square >> np.uint64(LIMB)).astype(np.int64)
    lowest = (square & np.uint64(MASK)).astype(np.int64)
    return [lowest, carried + (twice & MASK), (twice >> LIMB) + high * high]


def _rounded(limbs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the doubles that are nearest to numbers given by limbs, ties to even."""
    if len(limbs) == 1:
        return limbs[0].astype(np.float64)
    middle = limbs[1] + (limbs[0] >> LIMB)
    high = (middle >> LIMB) + (limbs[2] if len(limbs) > 2 else 0)
    low = ((middle & MASK).astype(np.uint64) << np.uint64(LIMB)) | (limbs[0] & MASK).astype(np.uint64)
    negative = high < 0
    high = np.where(negative, ~high + (low == 0), high)
    low = np.where(negative, ~low + np.uint64(1), low)
    # The first 63 bits, the last of them set where any is after them: enough to round once.
    bits = np.frexp(high.astype(np.float64))[1].astype(np.int64)
    left, right = (63 - bits).astype(np.uint64), (bits + 1).astype(np.uint64)
    first = (high.astype(np.uint64) << left) | (low >> right) | ((low << left) != 0)
    size = np.where(high == 0, low.astype(np.float64), np.ldexp(first.astype(np.float64), bits + 1))
    return np.where(negative, -size, size)


def _highest(values: np.ndarray, frames: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Return the highest value in each frame, of several windows in one pass over the levels; NaN where it is empty."""
    found = [np.full(len(first), np.nan) for first, _ in frames]
    levels = [np.frexp((end - first).astype(np.float64))[1] - 1 for first, end in frames]
    width = 1
    for level in range(max((int(own.max(initial=-1)) for own in levels), default=-1) + 1):
        if level:
            values = np.maximum(values[:-width], values[width:])
            width *= 2
        for some, own, (first, end) in zip(found, levels, frames, strict=True):
            at = np.flatnonzero(own == level)
            some[at] = np.maximum(values[first[at]], values[end[at] - width])
    return found
