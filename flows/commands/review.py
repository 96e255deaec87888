"""`assay review`: the analysts' desk in the browser."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from flows import console
from pipeline.settings.file import read_config

if TYPE_CHECKING:
    from pipeline.review.desk import Desk
    from pipeline.review.web.serving import Door

GUEST = "demo"
"""The user of `assay demo --review`."""


def serve_desk(config_path: Path, door: "Door") -> None:
    """Serve the desk until it is told to end; where nobody can sign in yet, print the link of the first admin.

    Parameters
    ----------
    config_path : Path
    door : Door
    """
    from pipeline.review.desk import Desk

    desk = Desk(read_config(config_path))
    with console.live(), console.step("take in what was scored", unit="events") as on_events:
        on_events(desk.sync())
    _serve(desk, door, token=desk.invite())


def serve_demo(config_path: Path, door: "Door") -> None:
    """Serve the desk of the demo, with a user whose password is printed.

    Parameters
    ----------
    config_path : Path
    door : Door
    """
    from pipeline.review.desk import Desk
    from pipeline.review.people import ASSAY

    desk, password = Desk(read_config(config_path)), secrets.token_urlsafe(9)
    desk.sync()
    if any(user.name == GUEST for user in desk.users(ASSAY)):
        desk.change_user(GUEST, ASSAY, role="admin", password=password, is_ended=False)
    else:
        desk.add_user(GUEST, password, "admin", ASSAY)
    console.table("Sign in as", {"name": GUEST, "password": password})
    _serve(desk, door)


def _serve(desk: "Desk", door: "Door", token: str | None = None) -> None:
    """Say where the desk is, and serve it."""
    from pipeline.review.web.serving import listen, serve
    from pipeline.review.webhook import telling

    listener = listen(door)
    url = door.url(listener.getsockname()[1])
    try:
        if token:
            console.say("\nNobody can sign in yet. Whoever opens this link becomes the first admin; it works once:")
            console.commands("The first admin", [f"{url}/welcome/{token}"])
        with telling(desk):
            console.say(f"\nThe desk is at {url} (Ctrl-C ends it).")
            serve(desk, door, listener)
    finally:
        listener.close()
        desk.close()
