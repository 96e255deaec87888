"""Hidden folders for work in progress, and what killed processes left of them."""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".assay-scratch"
"""How the lock beside a hidden folder is called after the folder's name. Only folders that have one are removed.

It is there before the folder and goes after it, so that a process may be killed anywhere and no folder is without one.
"""

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
    folder = parent / f".{name}-{secrets.token_hex(4)}"
    lock = folder.with_name(folder.name + LOCK)
    try:
        with FileLock(lock):
            folder.mkdir(mode=0o700)
            yield folder
    finally:
        _remove(folder, lock)


def sweep(parent: Path) -> None:
    """Remove the hidden folders that killed processes left in ``parent``; where there is no such folder, nothing."""
    for lock in parent.glob(f".*{LOCK}"):
        _remove_if_left(lock)


def in_use(folder: Path) -> bool:
    """Return whether the process that made a hidden folder is still at work in it."""
    lock = folder.with_name(folder.name + LOCK)
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _remove_if_left(lock: Path) -> None:
    try:
        if time.time() - lock.stat().st_mtime < SETTLE_SECONDS:
            return
        with FileLock(lock, timeout=0):
            _remove(lock.with_name(lock.name.removesuffix(LOCK)), lock)
    except (Timeout, OSError):  # at work, or gone meanwhile
        return


def _remove(folder: Path, lock: Path) -> None:
    """Remove a hidden folder and then its lock; what can't be removed now is left to the next process."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        if not folder.exists():
            lock.unlink(missing_ok=True)
