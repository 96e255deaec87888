"""Work done ahead: what comes next is made by a thread of its own while what is there is worked on."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
