"""What the desk refuses, one sentence each."""

from pipeline.errors import AssayError


class Refusal(AssayError):
    """Something that was asked of the desk and is not done; nothing has changed."""


class Forbidden(Refusal):
    """The person's role may not do this."""


class Missing(Refusal):
    """What was asked for is not there."""


class Conflict(Refusal):
    """Somebody else was there first.

    Attributes
    ----------
    key : str
        The alert.
    event : int
        Its last event by now.
    """

    def __init__(self, message: str, key: str, event: int) -> None:
        super().__init__(message)
        self.key, self.event = key, event
