"""What lies in the incoming folder: deliveries that are there as a whole, and names that are not looked at."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.settings.config import Config

UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
"""Endings of the names that copying programs and browsers give to a file until it is there as a whole."""


@dataclass(frozen=True)
class Deliveries:
    """The names in the incoming folder.

    Parameters
    ----------
    ready : tuple of Path
        Files and folders to be read, by name.
    skipped : int
        Names that are not looked at: hidden, or of files that are still being written.
    """

    ready: tuple[Path, ...]
    skipped: int


def look(config: Config) -> Deliveries:
    """Return what lies in the folder that the configuration names.

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
    paths = sorted(incoming.iterdir())
    ready = [path for path in paths if not path.name.startswith((".", "_")) and path.suffix.lower() not in UNFINISHED]
    return Deliveries(tuple(ready), len(paths) - len(ready))
