"""What the work folder remembers of a store: which batch each delivery was, and what is about to be removed there."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property

from pipeline.settings.config import Config
from pipeline.tables.writing import flush, write_text
from pipeline.workspace.folder import WorkFolder

Told = list[str]
"""What is noted of a file: path, size, tag and time."""


class Moves:
    """Deliveries that are in the archive and about to be removed, in a file of the work folder.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        self._path = WorkFolder(config).nightly / "moves.json"

    @property
    def noted(self) -> dict[str, list[Told]]:
        """By name, the files that are to be removed."""
        try:
            raw: dict[str, list[Told]] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return raw

    def note(self, name: str, files: Sequence[Told]) -> None:
        """Write down that the files of a delivery are to be removed, so that it survives a power cut."""
        self._write({**self.noted, name: files})
        flush(self._path, self._path.parent)

    def drop(self, name: str) -> None:
        """Take a delivery out, all of which is removed."""
        self._write({other: files for other, files in self.noted.items() if other != name})

    def _write(self, moves: Mapping[str, Sequence[Told]]) -> None:
        write_text(self._path, json.dumps(moves))


class Known:
    """Which batch each delivery of a store was, a line each in a file of the work folder.

    Nothing depends on it but what is copied: without it a delivery is copied again, and known by its content.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        self._path = WorkFolder(config).nightly / "store.ndjson"

    @cached_property
    def _lines(self) -> dict[str, list[str]]:
        try:
            texts = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return {}
        lines = {}
        for text in texts:
            with suppress(ValueError):  # the last line of a run that was killed
                name, *values = json.loads(text)
                lines[name] = values
        return lines

    def of(self, name: str, mark: str) -> tuple[str, str] | None:
        """Return the digests of a delivery and of its manifest; None where it isn't known by this mark."""
        found, *digests = self._lines.get(name, [""])
        return (digests[0], digests[1]) if mark and found == mark else None

    def note(self, name: str, mark: str, digest: str, manifest: str) -> None:
        """Remember a delivery."""
        self._lines[name] = [mark, digest, manifest]
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps([name, mark, digest, manifest])}")

    def keep(self, names: Mapping[str, object]) -> None:
        """Forget every delivery but these."""
        lines = {name: values for name, values in self._lines.items() if name in names}
        if len(lines) < len(self._lines):
            with suppress(OSError):
                write_text(self._path, "\n".join(json.dumps([name, *values]) for name, values in lines.items()))
            self._lines = lines
