"""What stands for a sensitive entity where people read: a keyed pseudonym, the same for one card in every batch.

Alerts of one card can be put together by it, and nobody without the key learns which card it is. The key is made once
in the work folder. Who has it can try all card numbers: it is as confidential as the table.
"""

import hmac
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.settings.keys import secret_key

if TYPE_CHECKING:
    import pyarrow as pa

KEY_FILE = "pseudonyms.key"
"""In the work folder, readable by its owner only."""
DIGITS = 8
"""Hexadecimal digits of the HMAC-SHA256 that are shown."""


class Pseudonyms:
    """The pseudonyms of a work folder's entities. The key is read, or made, when the first one is asked for.

    Parameters
    ----------
    work_dir : str or Path

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     one, other = Pseudonyms(folder), Pseudonyms(folder)
    ...     (one.of(4711) == other.of("4711"), one.of(4711) == one.of(4712), len(one.of(None)))
    (True, False, 8)
    """

    def __init__(self, work_dir: str | Path) -> None:
        self.path = Path(work_dir) / KEY_FILE

    def of(self, value: Any) -> str:
        """Return what stands for a value; a missing one has a pseudonym, too.

        Raises
        ------
        ResourceError
            When the key can't be read or made, or is none.
        """
        # A byte that no text begins with, so that a missing cell is not taken for one that says "None".
        text = b"\xff" if value is None else str(value).encode(errors="surrogatepass")
        return hmac.new(self._key, text, "sha256").hexdigest()[:DIGITS]

    def of_column(self, column: "pa.ChunkedArray") -> "pa.Array":
        """Return the pseudonyms of a column's cells, as text, in its order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values = column.unique()
        texts = pa.array([self.of(value) for value in values.to_pylist()], pa.string())
        places = pc.index_in(column, value_set=values)
        return texts.take(places.combine_chunks() if isinstance(places, pa.ChunkedArray) else places)

    @cached_property
    def _key(self) -> bytes:
        return secret_key(
            self.path, "the pseudonyms of sensitive entities", "sensitive entities get other pseudonyms from then on"
        )
