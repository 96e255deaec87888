"""The files of an artefact: sealed with their digests when they are written, believed only as they were sealed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ResourceError
from pipeline.tables.writing import write_text

FORMAT = 5
"""Version of an artefact's format; a reader refuses any other."""
MAIN = "detector.json"
"""The file that names all others, and is written last."""
REMEDY = "bring the whole folder back from a copy, or train again with: assay train"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write finite numbers, texts, lists and mappings as JSON."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def seal(folder: Path, content: Mapping[str, Any]) -> None:
    """Write detector.json: the content, the format, the SHA-256 of every other file, and one of all that.

    Parameters
    ----------
    folder : Path
        Holds every other file of the artefact already, so that one that was interrupted has no detector.json.
    content : mapping
        JSON types; every number is finite.
    """
    files = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop(MAIN, None)
    whole = {"format": FORMAT, **content, "files": files}
    write_json(folder / MAIN, {**whole, "digest": _digest_of(whole)})


def unseal(folder: Path) -> dict[str, Any]:
    """Return the content of detector.json, once every file of the artefact is as it was sealed.

    Raises
    ------
    ResourceError
        When the folder holds no artefact or one of another format, or a file was cut, changed or taken away.
    """
    path = folder / MAIN
    if not path.is_file():
        raise ResourceError(f"{folder} holds no detector, for {MAIN} is missing; give a folder that training wrote")
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise ResourceError(
            f"{path} has format version {content.get('format')!r} and this version of Assay reads {FORMAT}; "
            "use the version of Assay that wrote it, or train again"
        )
    if content.pop("digest", None) != _digest_of(content):
        raise damaged(path)
    for name, digest in content.pop("files").items():
        if not (folder / name).is_file():
            raise ResourceError(f"the model's file {folder / name} is missing; {REMEDY}")
        if _digest(folder / name) != digest:
            raise damaged(folder / name)
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object whose numbers are all finite.

    Raises
    ------
    ResourceError
        When the file holds anything else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, allow_nan=False)
    except (ValueError, RecursionError):
        raise damaged(path) from None
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def damaged(path: Path) -> ResourceError:
    """Return the error for a file that is not as training wrote it."""
    return ResourceError(f"the model's file {path} is damaged: it is not what training wrote; {REMEDY}")


def check_finite(path: Path, numbers: np.ndarray) -> None:
    """Refuse a file of the artefact that holds numbers which are none.

    Raises
    ------
    ResourceError
        When one of them is missing or infinite.
    """
    if not np.isfinite(numbers).all():
        raise ResourceError(
            f"the model's file {path} holds numbers that are not finite, so nothing can be scored with it; {REMEDY}"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
