"""One copy of what must be kept of a work folder, with a manifest of digests, and holding a copy against it.

Databases are copied by SQLite's own backup, so that the desk may write meanwhile. Files are copied while no run is at
work, so that history, results and ledger are of one mind.
"""

import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pipeline.errors import AssayError, InputError
from pipeline.settings.config import Config
from pipeline.tables.scratch import hidden
from pipeline.tables.writing import flush, write_text
from pipeline.tracking.client import is_server, store_uri
from pipeline.workspace.database import WAIT, database_url, shown_url

MANIFEST = "manifest.json"
FORMAT = 1
WORK = "work"
"""Folder of a copy that is what the work folder was."""
FOLDERS = ("batches", "history", "labels", "mlflow-artifacts")
FILES = ("pseudonyms.key",)
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a copy holds.

    Attributes
    ----------
    name : str
        Of the table.
    made_at : str
        UTC.
    work_dir, config_path : str
        Where all of it lay; absolute, as paths within it are.
    files : dict of str to list
        By path in the copy: SHA-256 and bytes.
    elsewhere : list of str
        What is not in the copy because a server has it, with what to do, a sentence each.
    """

    name: str
    made_at: str
    work_dir: str
    config_path: str
    files: dict[str, tuple[str, int]]
    elsewhere: list[str] = field(default_factory=list)
    assay: str = ""
    format: int = FORMAT

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        """By first name in the copy, or in its work folder: files and bytes."""
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for path, (_, size) in self.files.items():
            part = path.removeprefix(f"{WORK}/").split("/")[0]
            counts[part] += 1
            sizes[part] += size
        return {part: (counts[part], sizes[part]) for part in sorted(counts)}


def back_up(config: Config, config_path: Path, parent: Path, now: datetime | None = None) -> tuple[Path, Manifest]:
    """Make a copy in a new folder of a folder: it is there whole, or not at all.

    The caller holds the run lock (`pipeline.workspace.ledger.lock`) and that of the registry (`Intents.alone`), with no
    draft left.

    Parameters
    ----------
    config : Config
    config_path : Path
    parent : Path
        Made when it does not exist.
    now : datetime, optional
        UTC.

    Returns
    -------
    Path
        The copy, called after the table and the moment; it holds a key and clear rows, and is its owner's alone.
    Manifest

    Raises
    ------
    InputError
        When the copy would lie in the work folder, or one of the same moment is there.
    AssayError
        When a database can't be copied.
    """
    now, work = now or datetime.now(UTC), Path(config.work_dir).absolute()
    if parent.absolute().is_relative_to(work):
        raise InputError(f"{parent} lies in the work folder {work} that it would be a copy of; name another folder")
    parent.mkdir(parents=True, exist_ok=True)
    final = parent / f"{config.name}-{now:%Y%m%dT%H%M%S}"
    if final.exists():
        raise InputError(f"{final} is there already; run this again in a second")
    with hidden(parent, final.name) as scratch:
        folder = scratch / "copy"
        folder.mkdir(mode=0o700)
        databases, elsewhere = _databases(config)
        files = {name: _copy_database(source, folder / name) for name, source in databases.items()}
        files |= {name: _copy(source, folder / name) for name, source in _sources(config, config_path)}
        manifest = Manifest(
            name=config.name,
            made_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            work_dir=str(work),
            config_path=str(config_path.absolute()),
            files=dict(sorted(files.items())),
            elsewhere=elsewhere,
            assay=version("assay"),
        )
        write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1))
        flush(folder, *folder.rglob("*"))
        folder.rename(final)
    flush(parent)
    return final, manifest


def read_manifest(folder: Path) -> Manifest:
    """Return what a copy says that it holds.

    Raises
    ------
    InputError
        When the folder is no copy, or one of a newer Assay.
    """
    try:
        raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if raw["format"] > FORMAT:
            raise InputError(f"{folder} was made by a newer Assay ({raw['assay']}); check it with that one")
        return Manifest(**{**raw, "files": {path: (digest, size) for path, (digest, size) in raw["files"].items()}})
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(
            f"{folder} is no backup: it has no {MANIFEST} that can be read; name a folder that assay backup made"
        ) from None


def faults(folder: Path) -> list[str]:
    """Return what of a copy is not as its manifest says, a sentence each; nothing of a copy that can be relied on.

    Raises
    ------
    InputError
        When the folder is no copy.
    """
    manifest = read_manifest(folder)
    texts = []
    for path, (digest, size) in manifest.files.items():
        file = folder / path
        if not file.is_file():
            texts.append(f"{path} is missing")
        elif file.stat().st_size != size or _digest(file) != digest:
            texts.append(f"{path} is not what was copied")
        elif path.endswith(".db") and (cause := _damage(file)):
            texts.append(f"{path} is a damaged database: {cause}")
    present = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    extra = present - set(manifest.files) - {MANIFEST}
    return [*texts, *(f"{path} was not copied, and lies there since" for path in sorted(extra))]


def _databases(config: Config) -> tuple[dict[str, Path], list[str]]:
    """Return the SQLite databases by their name in the copy, and what to do about the others."""
    databases, elsewhere = {}, []
    url = database_url(config)
    if url.get_backend_name() == "sqlite":
        databases[f"{WORK}/ledger.db"] = Path(str(url.database))
    else:
        elsewhere.append(
            f"the ledger and the desk lie at {shown_url(url)}: back them up with pg_dump --format=custom now"
        )
    uri = store_uri(config)
    if uri.startswith("sqlite:///"):
        databases[f"{WORK}/mlflow.db"] = Path(uri.removeprefix("sqlite:///"))
    elif is_server(config):
        elsewhere.append("versions and models lie on the MLflow server of tracking.uri: back that up at the same time")
    else:
        elsewhere.append(
            "the MLflow store lies in the database of tracking.uri: back it up with pg_dump --format=custom"
        )
    return {name: path for name, path in databases.items() if path.is_file()}, elsewhere


def _sources(config: Config, config_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files to copy, with their names in the copy; hidden ones are locks and scratch."""
    work = Path(config.work_dir)
    yield config_path.name, config_path
    if config.validation.suite:
        yield f"suite/{Path(config.validation.suite).name}", Path(config.validation.suite)
    yield from ((f"{WORK}/{name}", work / name) for name in FILES if (work / name).is_file())
    for name in FOLDERS:
        for file in sorted((work / name).rglob("*")):
            path = file.relative_to(work)
            if file.is_file() and not any(part.startswith(".") for part in path.parts):
                yield f"{WORK}/{path}", file


def _copy_database(source: Path, target: Path) -> tuple[str, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT)) as database,
            closing(sqlite3.connect(target)) as copy,
        ):
            database.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whatever the source's is
    except sqlite3.Error as error:
        raise AssayError(f"the database {source} cannot be copied ({error}); mend it, and run this again") from None
    return _digest(target), target.stat().st_size


def _copy(source: Path, target: Path) -> tuple[str, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(BLOCK):
            digest.update(block)
            write.write(block)
            size += len(block)
    shutil.copystat(source, target)
    return digest.hexdigest(), size


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damage(file: Path) -> str:
    """Return what is wrong with a SQLite database; it is not written to."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            text = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return "" if text == "ok" else text.splitlines()[-1]
