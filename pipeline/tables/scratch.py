"""Hidden folders for work in progress, and what killed processes left of them."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".assay-scratch"
"""Held by whoever works in a hidden folder, for as long as the process lives. Only folders that have it are removed."""

SETTLE_SECONDS = 60
"""Seconds after which a lock that nobody holds is one of a process that was killed, and not about to be taken."""


@contextmanager
def hidden(parent: Path, name: str) -> Iterator[Path]:
    """Give a hidden folder in ``parent`` that vanishes with the block.

    A process that is killed cannot clear up: what such processes left in ``parent`` is removed first.

    Parameters
    ----------
    parent : Path
        A folder that exists.
    name : str
        What the hidden folder's name begins with, after a dot.
    """
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    try:
        with FileLock(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove the hidden folders that killed processes left in ``parent``; where there is no such folder, nothing."""
    for lock in parent.glob(f".*/{LOCK}"):
        _remove_if_left(lock)


def _remove_if_left(lock: Path) -> None:
    try:
        if time.time() - lock.stat().st_mtime < SETTLE_SECONDS:
            return
        with FileLock(lock, timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)
    except (Timeout, OSError):  # at work, or gone meanwhile
        return
