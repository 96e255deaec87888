"""Who uses the desk, and who may do what: one table for the store, the web application and its tests."""

from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.review.refusals import Forbidden
from pipeline.settings.review import Role

Right = Literal["see", "decide", "bulk", "export", "assign others", "lead", "unmask", "verify", "people"]
ROLES: tuple[Role, ...] = get_args(Role)
RIGHTS: dict[Right, tuple[Role, ...]] = {
    "see": ("viewer", "analyst", "lead", "admin"),
    "decide": ("analyst", "lead", "admin"),
    "bulk": ("analyst", "lead", "admin"),
    "export": ("analyst", "lead", "admin"),
    "unmask": ("analyst", "lead", "admin"),
    "assign others": ("lead", "admin"),
    "lead": ("lead", "admin"),
    "verify": ("lead", "admin"),
    "people": ("admin",),
}
"""By right, the roles that have it. "decide" is also snooze, escalate, comment, undo and to take an alert oneself;
"lead" is to decide what was escalated, and to see the quality of reviews and who decided what."""


@dataclass(frozen=True)
class Person:
    """Somebody at the desk.

    Parameters
    ----------
    name : str
    role : {"viewer", "analyst", "lead", "admin"}
    address : str
        The network address that the request came from; empty for a command.

    Examples
    --------
    >>> Person("ann", "analyst").may("decide"), Person("bob", "viewer").may("decide")
    (True, False)
    """

    name: str
    role: Role
    address: str = ""

    def may(self, right: Right) -> bool:
        """Whether the person's role has a right."""
        return self.role in RIGHTS[right]

    def need(self, right: Right) -> None:
        """Refuse a person without a right.

        Raises
        ------
        Forbidden
        """
        if not self.may(right):
            raise Forbidden(
                f"{self.name} is {self.role}, and {right!r} needs {' or '.join(RIGHTS[right])}; ask an admin"
            )


def decider(name: str, who: Person) -> str:
    """Return who decided an alert, as a person may know it: of colleagues only a lead does; "" otherwise.

    Somebody who looks up what others decided no longer decides unawares, as second reviews and golden rows ask.

    Examples
    --------
    >>> [decider("bob", who) for who in (Person("bob", "analyst"), Person("ann", "analyst"), Person("lea", "lead"))]
    ['bob', '', 'bob']
    """
    return name if name == who.name or who.may("lead") else ""


COLLEAGUE = "a colleague"
"""Whoever decided, to those who may not know more."""
ASSAY = Person("assay", "admin")
"""The desk itself: who takes in batches and wakes alerts."""
