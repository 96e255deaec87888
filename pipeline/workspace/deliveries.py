"""What lies in the incoming folder: deliveries that are there as a whole, and names that are not looked at."""

import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path

from pipeline.errors import InputError
from pipeline.settings.config import Config
from pipeline.tables.files import printable
from pipeline.tables.manifest import beside


@dataclass(frozen=True)
class Deliveries:
    """The names in the incoming folder.

    Parameters
    ----------
    ready : tuple of Path
        Files and folders to be read, by name.
    skipped : int
        Names that are not looked at: hidden, or of files that are still being written.
    unfinished : mapping of str to str
        By name of what is not there as a whole yet, why that is known.
    """

    ready: tuple[Path, ...]
    skipped: int
    unfinished: Mapping[str, str]


def look(config: Config, *, waits: bool = False) -> Deliveries:
    """Return what lies in the folder that the configuration names.

    Parameters
    ----------
    config : Config
    waits : bool
        Whether files that have changed within ``incoming.quiet_seconds`` are waited for, at most that long; else they
        are unfinished.

    Raises
    ------
    InputError
        When there is no such folder.
    """
    incoming = Path(config.table.incoming)
    if not incoming.is_dir():
        raise InputError(
            f"the incoming folder {incoming} does not exist; make it, or name another one as table.incoming"
        )
    paths = [path for path in sorted(incoming.iterdir()) if not _is_beside(path, config)]
    ready = [path for path in paths if not is_ignored(path, config)]
    skipped = len(paths) - len(ready)
    unfinished = {path: text for path in ready if (text := _missing(path, config))}
    quiet = config.incoming.quiet_seconds
    changes = {path: _last_change(path) for path in ready if path not in unfinished}
    young = [path for path, at in changes.items() if quiet and at > time.time() - quiet]
    if young and waits:
        time.sleep(quiet)
        young = [path for path in young if _last_change(path) != changes[path]]
    unfinished |= dict.fromkeys(young, f"it has changed within {quiet:g} seconds")
    names = {printable(Path(path.name)): text for path, text in unfinished.items()}
    return Deliveries(tuple(path for path in ready if path not in unfinished), skipped, names)


def came_at(path: Path) -> datetime:
    """Return when a delivery was there as it is, UTC; of a folder, the last file in it.

    A copy may keep the time at which its original was written to, but not that at which it came to be.
    """
    stats = [file.stat() for file in (path, *(path.rglob("*") if path.is_dir() else ()))]
    at = max(max(each.st_mtime, each.st_ctime) for each in stats)
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


def put_away(path: Path, config: Config) -> None:
    """Move a delivery, and what lies beside it, to ``incoming.archive``, where that is set.

    What has its name there gets a number behind its own, so that a name leads to the latest delivery.
    """
    if not config.incoming.archive:
        return
    archive = Path(config.incoming.archive)
    archive.mkdir(parents=True, exist_ok=True)
    companions = [beside(path, ending) for ending in endings(config)]
    for source in filter(None, (path, *companions)):  # a companion alone is not looked at
        target = archive / source.name
        if target.exists():
            names = (target.with_name(f"{target.stem}-{number}{target.suffix}") for number in count(1))
            target.rename(next(name for name in names if not name.exists()))
        hidden = archive / f".{source.name}.{secrets.token_hex(4)}"  # the archive may lie on another disk
        shutil.move(source, hidden)
        hidden.rename(target)


def source_of(path: Path, config: Config) -> Path:
    """Return where a delivery came in: one of the archive is still known by the name that it had before."""
    archive = config.incoming.archive
    return Path(config.table.incoming) / path.name if archive and path.parent == Path(archive) else path


def endings(config: Config) -> Sequence[str]:
    """Return the endings of files that only say something of the delivery beside them."""
    markers = [marker for marker in config.incoming.markers if marker.startswith(".")]
    return [*markers, *filter(None, [config.incoming.manifest])]


def _is_beside(path: Path, config: Config) -> bool:
    return path.is_file() and path.name.endswith(tuple(endings(config)))


def is_ignored(path: Path, config: Config) -> bool:
    """Return whether a name is not looked at: hidden, or of a file that is still being written."""
    name = path.name.lower()
    return name.startswith((".", "_")) or any(fnmatchcase(name, each.lower()) for each in config.incoming.ignore)


def _missing(path: Path, config: Config) -> str:
    """Return what a delivery waits for; "" for one that is whole."""

    def has(name: str) -> bool:
        return beside(path, name) is not None if name.startswith(".") else (path / name).exists()

    return missing(has, config)


def missing(has: Callable[[str], bool], config: Config) -> str:
    """Return what a delivery waits for; "" for one that is whole.

    Parameters
    ----------
    has : callable
        Whether the delivery has a marker or a manifest.
    config : Config
    """
    markers, manifest = config.incoming.markers, config.incoming.manifest
    if markers and not any(map(has, markers)):
        return f"it has no {' or '.join(markers)} yet"
    return f"it has no {manifest} yet" if manifest and not has(manifest) else ""


def _last_change(path: Path) -> float:
    """Return when a delivery was written to last, in seconds since 1970; of a folder, any file in it."""
    try:
        return max(each.lstat().st_mtime for each in (path, *(path.rglob("*") if path.is_dir() else ())))
    except OSError:  # gone, or not to be looked into: whoever reads it says so
        return 0.0
