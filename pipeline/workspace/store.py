"""The incoming folder where it lies in a store, such as s3://bucket/in: what is in it, and copies to read it from.

A store says of each of its files how large it is, when it was written, and often a checksum. Together they are the
delivery's mark: one whose mark was seen before is known without being read. What became of it is the ledger's to say.
"""

import base64
import hashlib
import json
import posixpath
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from pipeline.errors import UNPRINTABLE, AssayError, ConfigError, InputError, ResourceError, plain, sentence
from pipeline.settings.config import Config
from pipeline.tables.batch import WHOLE, Batch, batch_id, rules_digest, with_manifest
from pipeline.tables.manifest import names_beside
from pipeline.workspace.deliveries import Deliveries, endings, is_ignored, missing
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.landed import Known, Moves, Told
from pipeline.workspace.ledger import Handled

EXTRAS = {"s3": "s3", "s3a": "s3"}
"""By a store's kind, the extra of Assay that reaches it."""
MOMENTS = ("LastModified", "last_modified", "mtime", "updated", "created")
"""What stores call the moment at which a file was written."""
MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class ChangedMeanwhile(AssayError):
    """A delivery was written to while it was copied; the next run looks at it again."""


@dataclass(frozen=True)
class Stored:
    """What a store says of one of its files.

    Parameters
    ----------
    path : str
        As the store calls it.
    size : int
        Bytes.
    tag : str
        What changes with the content; "" where the store has none.
    at : datetime or None
        When it was written, UTC; None where the store doesn't say.
    md5 : str
        Of the content, in hexadecimal digits; "" where the store has none. An entity tag of S3 only looks like one
        where the store encrypts with a key of its owner.
    """

    path: str
    size: int
    tag: str
    at: datetime | None
    md5: str

    @classmethod
    def of(cls, path: str, info: Mapping[str, Any]) -> "Stored":
        """Read what fsspec gives, whose words differ from store to store."""
        tag = str(info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("content_md5") or "")
        at = next(filter(None, (_moment(info.get(name)) for name in MOMENTS)), None)
        return cls(path, int(info.get("size") or 0), tag, at, _md5(info))


@dataclass(frozen=True)
class Delivery:
    """A file or folder of the incoming folder, with what lies beside it.

    Parameters
    ----------
    files : dict of str to Stored
        By the path below the incoming folder.
    beside : dict of str to Stored
        Markers and manifest, by name.
    """

    files: Mapping[str, Stored]
    beside: Mapping[str, Stored]

    @property
    def every(self) -> dict[str, Stored]:
        """All of its files, and what lies beside it, by the path below the incoming folder."""
        return {**self.files, **self.beside}

    @property
    def mark(self) -> str:
        """By which it is known again; "" where the store says too little for that."""
        if not all(file.tag or file.at for file in self.every.values()):
            return ""
        parts = [(name, file.size, file.tag, str(file.at)) for name, file in sorted(self.every.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def at(self) -> datetime:
        """When it was there as it is, UTC; now where the store doesn't say."""
        moments = [file.at for file in self.files.values() if file.at]
        return max(moments, default=datetime.now(UTC).replace(tzinfo=None))


class Store:
    """The incoming folder of a configuration whose ``table.incoming`` is an address.

    Keys and endpoints are taken from the environment, as fsspec's library for the store does.

    Parameters
    ----------
    config : Config

    Raises
    ------
    ConfigError
        When nothing that is installed reaches such a store.
    """

    def __init__(self, config: Config) -> None:
        from fsspec.core import url_to_fs

        self.config, self.address = config, config.table.incoming
        kind = self.address.partition("://")[0]
        try:
            self._files, self._root = url_to_fs(self.address)
            self._archive = url_to_fs(config.incoming.archive)[1] if config.incoming.archive else ""
        except ImportError as error:
            install = f"'assay[{EXTRAS[kind]}]'" if kind in EXTRAS else _package(error)
            raise ConfigError(
                f"{self.address} needs a package that is not installed; install it with: pip install {install}"
            ) from None
        except ValueError as error:
            raise ConfigError(
                f"{self.address} is of no kind of store that is known ({plain(str(error))}); name one such as s3://..."
            ) from None
        self._known, self._moves = Known(config), Moves(config)
        self._deliveries: dict[str, Delivery] = {}
        self._places: dict[str, str] = {}  # of those that were found by name

    def look(self, *, waits: bool = False) -> Deliveries:
        """Return what lies in the store, as `pipeline.workspace.deliveries.look` does; the paths are names.

        Raises
        ------
        ResourceError
            When the store does not answer.
        """
        found = self._list()
        ready = {name: each for name, each in found.items() if not is_ignored(Path(name), self.config)}
        unfinished = {name: text for name, each in ready.items() if (text := self._missing(name, each))}
        unfinished |= dict.fromkeys(self._half_removed(ready), "it was scored, and is not removed yet")
        quiet = self.config.incoming.quiet_seconds
        since = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=quiet)
        young = [name for name in ready if name not in unfinished and quiet and ready[name].at > since]
        if young and waits:
            time.sleep(quiet)
            later = self._list()
            young = [name for name in young if name not in later or later[name] != ready[name]]
        unfinished |= dict.fromkeys(young, f"it has changed within {quiet:g} seconds")
        self._deliveries = ready
        shown = {plain(name): text for name, text in unfinished.items()}
        return Deliveries(
            tuple(Path(name) for name in sorted(ready) if name not in unfinished), len(found) - len(ready), shown
        )

    def has(self, name: str) -> bool:
        """Return whether a delivery of this name is there."""
        return name in self._deliveries

    def waiting(self, ready: Iterable[Path], handled: Handled) -> Iterator[tuple[Path, datetime]]:
        """Yield the deliveries that the next run copies, with the moment since which they are there."""
        for path in ready:
            batch = self.known(path.name)
            if batch is None or handled.entry_of(batch) is None:
                yield path, self.came_at(path.name)

    def source(self, name: str) -> str:
        """Return the address of a delivery, or of a file below the folder."""
        return f"{self.address}/{name}"

    def came_at(self, name: str) -> datetime:
        """Return when a delivery was there as it is, UTC."""
        return self._deliveries[name].at

    def known(self, name: str) -> Batch | None:
        """Return the batch of a delivery that was copied before, and is as it was; None where it has to be copied."""
        seen = self._known.of(name, self._deliveries[name].mark)
        if seen is None:
            return None
        digest, manifest = seen
        rules = rules_digest(self.config)
        return Batch(
            path=self._copies / name,
            period=WHOLE,
            digest=digest,
            id=batch_id(digest, WHOLE, self.config.contract),
            settings=self.config.table,
            rules=with_manifest(rules, manifest) if manifest else rules,
            source=self.source(name),
        )

    @contextmanager
    def copied(self, name: str) -> Iterator[Path]:
        """Give a copy of a delivery, with what lies beside it, that is gone after the block.

        The caller holds the run lock (`pipeline.workspace.ledger.lock`): copies that a killed run left are removed.

        Raises
        ------
        InputError
            When it can't lie on a disk: a name that leads elsewhere, a file and a folder of one name.
        ChangedMeanwhile
            When it is no longer what it was when the store was looked at.
        ResourceError
            When the store does not answer, or there is no room.
        """
        delivery = self._deliveries[name]
        self._refuse_odd(name, delivery)
        shutil.rmtree(self._copies, ignore_errors=True)
        try:
            for below, file in delivery.every.items():
                self._copy(file, self._copies / below, name)
            if self._list(name, self._places.get(name, self._root)).get(name) != delivery:
                raise ChangedMeanwhile("it changed while it was copied")
            yield self._copies / name
        finally:
            shutil.rmtree(self._copies, ignore_errors=True)

    def note(self, name: str, batch: Batch) -> None:
        """Remember which batch a delivery is, so that it need not be copied to know that."""
        delivery, ending = self._deliveries[name], self.config.incoming.manifest
        own = [self._copies / each for each in names_beside(Path(name), ending)] if ending else []
        manifest = next((hashlib.sha256(path.read_bytes()).hexdigest() for path in own if path.is_file()), "")
        self._known.note(name, delivery.mark, batch.digest, manifest)

    def forget_others(self) -> None:
        """Keep in mind only what the store has."""
        self._known.keep(self._deliveries)

    def settle(self) -> None:
        """Remove what a run that was killed has left of deliveries in the archive; what can't be removed stays noted.

        The caller holds the run lock.
        """
        for name, files in self._moves.noted.items():
            with suppress(ResourceError):
                self._remove(name, files)

    def find(self, address: str) -> str:
        """Return the name of the delivery at an address, also of one that is in the archive by now.

        Raises
        ------
        InputError
            When the address is not in ``table.incoming``, or nothing lies there.
        """
        name = address.removeprefix(f"{self.address}/")
        if name == address or not name or "/" in name:
            raise InputError(
                f"{address} is no file or folder of table.incoming, {self.address}; name one there, or one on a disk"
            )
        self.settle()
        for place in filter(None, (self._root, self._archive)):
            self._places[name], found = place, self._list(name, place)
            if name in found:
                break
        else:
            raise InputError(f"{address} does not exist; see what lies in {self.address}")
        self._deliveries[name] = found[name]
        return name

    def put_away(self, name: str) -> None:
        """Move a delivery, and what lies beside it, to the archive, where there is one: copied first, then removed.

        What has its name there gets a number behind its own. One that was copied by a run that was killed is not copied
        again. What is to be removed is noted before: half of a folder, which a run that is killed may leave, shall not
        be taken for a new one.

        Raises
        ------
        ResourceError
            When the store does not answer, or does not allow it.
        """
        if not self._archive:
            return
        delivery = self._deliveries[name]
        with self._answering("moved within"):
            moves = {below: file.path for below, file in delivery.every.items()}
            if any(not self._is_same(path, f"{self._archive}/{below}") for below, path in moves.items()):
                self._number({name, *delivery.beside})
                for below, path in moves.items():
                    self._files.makedirs(posixpath.dirname(f"{self._archive}/{below}"), exist_ok=True)
                    self._files.cp_file(path, f"{self._archive}/{below}")
            if self._list(name).get(name) != delivery:  # a new one of that name, which has yet to be scored
                return
        files = list(map(_told, delivery.every.values()))
        self._moves.note(name, files)
        self._remove(name, files)

    def _half_removed(self, deliveries: Mapping[str, Delivery]) -> set[str]:
        """Return the names of those of which no more is there than what is to be removed."""
        noted = self._moves.noted
        return {
            name
            for name, each in deliveries.items()
            if name in noted and all(_told(file) in noted[name] for file in each.files.values())
        }

    def _remove(self, name: str, files: Sequence[Told]) -> None:
        """Remove files that are as they were noted, a delivery's own before what lies beside it."""
        with self._answering("moved within"):
            self._files.invalidate_cache()
            for file in files:
                with suppress(FileNotFoundError):
                    if _told(Stored.of(file[0], self._files.info(file[0]))) == file:
                        self._files.rm_file(file[0])
        self._moves.drop(name)

    @cached_property
    def _copies(self) -> Path:
        return WorkFolder(self.config).landed

    def _list(self, name: str = "", root: str = "") -> dict[str, Delivery]:
        """Return what lies in a folder of the store; with a name, of those whose names begin with its stem."""
        root = root or self._root
        with self._answering("listed"):
            self._files.invalidate_cache()
            found: dict[str, dict[str, Any]] = {}
            if not name:
                found = self._files.find(root, detail=True)
            else:
                names = {name, *(each for ending in endings(self.config) for each in names_beside(Path(name), ending))}
                for each in names:
                    path = f"{root}/{each}"
                    with suppress(FileNotFoundError):
                        info = self._files.info(path)
                        found |= self._files.find(path, detail=True) if info["type"] == "directory" else {path: info}
        files = {
            path.removeprefix(f"{root}/"): Stored.of(path, info)
            for path, info in found.items()
            if info.get("type") != "directory" and not path.endswith("/")
        }
        return _deliveries(files, self.config)

    def _missing(self, name: str, delivery: Delivery) -> str:
        def has(mark: str) -> bool:
            if mark.startswith("."):
                return any(each in delivery.beside for each in names_beside(Path(name), mark))
            return f"{name}/{mark}" in delivery.files

        return missing(has, self.config)

    def _refuse_odd(self, name: str, delivery: Delivery) -> None:
        if name in delivery.files and len(delivery.files) > 1:
            raise InputError(f"{self.source(name)} is a file and a folder at once; give one of them another name")
        for below in delivery.every:
            parts = below.split("/")
            if any(part in ("", ".", "..") for part in parts) or "\\" in below or UNPRINTABLE.search(below):
                raise InputError(f"{self.source(below)} can't be the name of a file on a disk; give it another one")

    def _copy(self, file: Stored, path: Path, name: str) -> None:
        """Copy a file, and hold the copy against its size and checksum."""
        path.parent.mkdir(parents=True, exist_ok=True)
        sums: list[str] = []
        while not sums or (file.md5 and sums[-1] != file.md5 and len(sums) == 1):
            with self._answering("read"):
                try:
                    self._files.get_file(file.path, str(path))
                except FileNotFoundError:
                    raise ChangedMeanwhile("it was taken away before it was copied") from None
            if path.stat().st_size != file.size:
                raise ChangedMeanwhile("it changed while it was copied")
            with path.open("rb") as stream:
                sums.append(hashlib.file_digest(stream, _md5_sum).hexdigest() if file.md5 else "")
        # A tag that is no MD5, as of S3 with a key of one's own: two copies have to agree.
        if len(set(sums)) > 1 and sums[-1] != file.md5:
            raise ResourceError(f"{self.source(name)} came in two copies that differ; see to the connection")

    def _number(self, names: set[str]) -> None:
        """Give what has one of these names in the archive a number behind its own."""
        for name in sorted(names):
            old = f"{self._archive}/{name}"
            if not self._files.exists(old):
                continue
            path = Path(name)
            others = (f"{self._archive}/{path.stem}-{number}{path.suffix}" for number in count(1))
            new = next(other for other in others if not self._files.exists(other))
            for each in self._files.find(old):
                target = new + each.removeprefix(old)
                self._files.makedirs(posixpath.dirname(target), exist_ok=True)
                self._files.cp_file(each, target)
                self._files.rm_file(each)

    def _is_same(self, path: str, other: str) -> bool:
        """Return whether two files of the store hold the same."""
        if not self._files.isfile(other):
            return False
        one, two = (Stored.of(each, self._files.info(each)) for each in (path, other))
        if one.size != two.size:
            return False
        if one.md5 and one.md5 == two.md5:
            return True
        with self._files.open(path) as stream, self._files.open(other) as second:
            return hashlib.file_digest(stream, "sha256").digest() == hashlib.file_digest(second, "sha256").digest()

    @contextmanager
    def _answering(self, done: str) -> Iterator[None]:
        """Say of whatever a store's library raises what was not possible."""
        try:
            yield
        except (AssayError, MemoryError):
            raise
        except Exception as error:
            raise ResourceError(f"{self.address} can't be {done} ({_reason(error)}); mend that") from error


def _deliveries(files: Mapping[str, Stored], config: Config) -> dict[str, Delivery]:
    """Return the files of a folder as deliveries, by name, each with what lies beside it."""
    ends = tuple(endings(config))
    companions = {name: file for name, file in files.items() if "/" not in name and ends and name.endswith(ends)}
    parts: dict[str, dict[str, Stored]] = {}
    for below, file in files.items():
        if below not in companions:
            parts.setdefault(below.partition("/")[0], {})[below] = file
    deliveries = {}
    for name, own in parts.items():
        names = [each for ending in ends for each in names_beside(Path(name), ending)]
        deliveries[name] = Delivery(own, {each: companions[each] for each in names if each in companions})
    return deliveries


def _told(file: Stored) -> Told:
    return [file.path, str(file.size), file.tag, str(file.at)]


def _md5_sum() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _md5(info: Mapping[str, Any]) -> str:
    tag = str(info.get("ETag") or "")
    with suppress(TypeError, ValueError):
        tag = tag or base64.b64decode(info.get("md5Hash") or "", validate=True).hex()
    found = MD5.fullmatch(tag)
    return found[1] if found else ""


def _moment(value: object) -> datetime | None:
    """Return a moment as stores give it, UTC: one with a zone, seconds since 1970, or ISO 8601."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)):
        value = datetime.fromtimestamp(value, UTC)
    if not isinstance(value, datetime):
        return None
    return (value.astimezone(UTC) if value.tzinfo else value).replace(tzinfo=None)


def _reason(error: Exception) -> str:
    text = sentence(error)
    return text.partition(": ")[2] or text if text.startswith(type(error).__name__) else text


def _package(error: ImportError) -> str:
    found = re.search(r"[Ii]nstall[: ]+([a-z0-9_-]+)", str(error))
    return found[1] if found else "what fsspec asks for"
