"""Secret keys that are made once in the work folder, readable by their owner only."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from pipeline.errors import ResourceError

KEY_BYTES = 32


def secret_key(path: Path, what: str, loss: str) -> bytes:
    """Return the key of a file, which is made where there is none.

    Parameters
    ----------
    path : Path
    what : str
        What it is the key of, for messages.
    loss : str
        What deleting it costs, in the words of a sentence.

    Returns
    -------
    bytes
        Of the length `KEY_BYTES`.

    Raises
    ------
    ResourceError
        When the key can't be read or made, or is none.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     one, other = (secret_key(Path(folder) / "a.key", "an example", "nothing is lost") for _ in range(2))
    ...     (one == other, len(one))
    (True, 32)
    """
    try:
        if not path.exists():
            make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise ResourceError(
            f"{path}, the key of {what}, can't be read or made ({error.strerror}); mend its rights, or those of its "
            "folder"
        ) from None
    if len(key) != KEY_BYTES:
        raise ResourceError(f"{path} is no key of {KEY_BYTES} bytes; bring back a copy of it, or delete it, and {loss}")
    return key


def make_key(path: Path) -> None:
    """Make a key, whole before it has its name; of several processes at it, the first one's holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
    finally:
        Path(beside).unlink()
