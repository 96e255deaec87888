"""Work done by a thread of its own: what comes next made ahead, and what is done with put away behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield items in their order, each made by another thread, `depth` of them ahead at most.

    For work that leaves Python's lock to others, as reading, encoding and products of matrices do. What fails in the
    thread is raised where its item would have come. Whoever stops early waits for what is being made.

    Parameters
    ----------
    items : iterable
        Used by the other thread alone.
    depth : int
        How many items wait at most, beside the one that is worked on.

    Examples
    --------
    >>> list(ahead(number**2 for number in range(4)))
    [0, 1, 4, 9]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, iterator, _END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, iterator, _END))
                yield item  # type: ignore[misc]  # next says that it may be the end
        finally:
            for future in waiting:
                future.cancel()
            # The thread that began a generator ends it, too, before whoever stopped goes on.
            pool.submit(getattr(iterator, "close", lambda: None)).result()


@contextmanager
def behind(work: Callable[[T], object], depth: int = 1) -> Iterator[Callable[[T], None]]:
    """Hand items to another thread, which does the work on them in their order while the caller goes on.

    For work that leaves Python's lock to others, as writing does. All of it is done when the block ends well; what
    fails in the thread is raised where a later item is handed over, or at the end. Where the block itself fails, what
    waits is left out.

    Parameters
    ----------
    work : callable
        Called by the other thread alone.
    depth : int
        How many items wait at most, beside the one that is worked on.

    Yields
    ------
    callable
        Takes an item, once there is room for it.

    Examples
    --------
    >>> squares = []
    >>> with behind(lambda number: squares.append(number**2)) as put:
    ...     for number in range(4):
    ...         put(number)
    >>> squares
    [0, 1, 4, 9]
    """
    waiting: deque[Future[object]] = deque()
    with ThreadPoolExecutor(1) as pool:

        def put(item: T) -> None:
            if len(waiting) > depth:
                waiting.popleft().result()
            waiting.append(pool.submit(work, item))

        try:
            yield put
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
