"""The errors that a user reads: one sentence that names the thing, the rule, the value found and the remedy.

An error's class says whose fault it is. `InputError` lies in a table: the same table fails again, so that a batch is
refused for it, and remembered. Whatever else comes up, an error of a library included, is not held against the table:
it may do better the next time.
"""

import re

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, line ends among them, and what turns the direction of writing: a terminal acts on them."""


def plain(text: str) -> str:
    r"""Return a text that is only shown, wherever it is: what would be acted on, such as an escape, is spelled out.

    Names of files and columns, and cells, may hold anything.

    Examples
    --------
    >>> print(plain("a\x1b[31mb\r"), plain("\u202eb"))
    a\x1b[31mb\r \u202eb
    """
    return UNPRINTABLE.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)


class AssayError(Exception):
    """An error with a message for the user, in one line; the commands print it without a traceback.

    Names and cells in the message are plain: it goes to terminals, logs, servers and databases.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class ConfigError(AssayError):
    """The configuration is wrong: an unknown key, a value out of range, a column in two roles."""


class InputError(AssayError):
    """A table cannot be read or used at all: empty, truncated, in another encoding."""


class BatchRefused(InputError):
    """A batch was read but refused as a whole, so nothing of it was scored or learned from.

    Attributes
    ----------
    read : int
        Rows read from the batch; all of them count as "in a refused batch".
    """

    def __init__(self, message: str, read: int = 0) -> None:
        super().__init__(message)
        self.read = read


class HistoryGap(BatchRefused):
    """A batch was refused for days that the history lacks before it; it can be scored once they are there."""


class UnlikeTraining(BatchRefused):
    """A batch was refused because it is no longer what the training was; after another training it may be."""


class ResourceError(AssayError):
    """What a run needs besides a table's content is not there: a file, a permission, disk space, memory, a network."""


class TrainingError(AssayError):
    """Too few rows to train or calibrate, no normal rows, or a training that went wrong."""


INTERRUPTED = "Query interrupted"
"""All that the RuntimeError says which DuckDB makes of a Ctrl-C."""


def sentence(error: Exception) -> str:
    """Return what went wrong in one line, also for an error that was not written for the user.

    Examples
    --------
    >>> sentence(InputError("in.csv is empty; give it a table with rows"))
    'in.csv is empty; give it a table with rows'
    >>> sentence(OSError(28, "No space left on device", "scores.parquet"))
    'scores.parquet: no space left on device'
    >>> sentence(MemoryError())
    'there is not enough memory'
    >>> sentence(KeyError("Rows"))
    "KeyError: 'Rows'"
    """
    if isinstance(error, AssayError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror[0].lower() + error.strerror[1:]
        return plain(f"{error.filename}: {reason}") if error.filename else reason
    lines = str(error).strip().splitlines()
    return plain(f"{type(error).__name__}: {lines[0]}") if lines else type(error).__name__
