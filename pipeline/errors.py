"""The errors that a user reads: one sentence that names the thing, the rule, the value found and the remedy."""


class AssayError(Exception):
    """An error with a message for the user; the commands print it without a traceback."""


class ConfigError(AssayError):
    """The configuration is wrong: an unknown key, a value out of range, a column in two roles."""


class InputError(AssayError):
    """A table cannot be read or used at all: missing, empty, truncated, in another encoding."""


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


class TrainingError(AssayError):
    """Too few rows to train or calibrate, no normal rows, or a training that went wrong."""
