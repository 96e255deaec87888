"""`assay user`, `assay audit` and what is done to the desk at the terminal: users, the chain of events, packets."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flows import console
from pipeline.errors import ConfigError, ResourceError
from pipeline.settings.file import read_config

if TYPE_CHECKING:
    from pipeline.review.desk import Desk
    from pipeline.review.people import Person
    from pipeline.settings.review import Role


@contextmanager
def opened(config_path: Path) -> Iterator["Desk"]:
    """Give the desk of a configuration, and close it."""
    from pipeline.review.desk import Desk

    desk = Desk(read_config(config_path))
    try:
        yield desk
    finally:
        desk.close()


def operator() -> "Person":
    """Return who is at the terminal: whoever can write the database may do everything."""
    from pipeline.review.people import Person

    return Person(f"{getuser()} at the terminal", "admin")


def new_password() -> str:
    """Ask for a password, twice; where nobody can be asked, take the first line of what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def add_user(config_path: Path, name: str, role: "Role") -> None:
    """Add a user, whose password is asked for."""
    with opened(config_path) as desk:
        desk.add_user(name, new_password(), role, operator())
    console.say(f"{name} may log in as {role}.")


def change_user(config_path: Path, name: str, *, role: "Role | None", password: bool, is_ended: bool | None) -> None:
    """Give a user another role or password, or end or open their access."""
    if role is None and not password and is_ended is None:
        raise ConfigError(f"nothing is to be changed of {name!r}; say --role, --password, --end or --open")
    with opened(config_path) as desk:
        text = new_password() if password else None
        desk.change_user(name, operator(), role=role, password=text, is_ended=is_ended)
    console.say(f"{name} is changed, and logged out everywhere.")


def list_users(config_path: Path) -> None:
    """Say who may log in, and as what."""
    with opened(config_path) as desk:
        users = {user.name: f"{user.role}{', ended' if user.ended_at else ''}" for user in desk.users(operator())}
    if users:
        console.table("Users of the desk", users)
    else:
        console.say("Nobody may log in yet; add somebody with: assay user add NAME --role admin")


def verify_events(config_path: Path, head: str) -> None:
    """Say whether the chain of events is whole, and what its last event is."""
    with opened(config_path) as desk:
        verdict = desk.verify(_head(head))
    if verdict.fault:
        raise ResourceError(
            f"{verdict.fault}; {verdict.number:,} events before it are whole. Bring back a copy of the database, and "
            "find out who has written to it"
        )
    console.say(f"All {verdict.number:,} events are as they were written; the last one is:")
    console.say(f"{verdict.number}:{verdict.hash}")
    console.say("Note it elsewhere: assay audit verify --head with it shows later that nothing up to it has changed.")


def _head(text: str) -> tuple[int, str] | None:
    number, _, digest = text.partition(":")
    if not text:
        return None
    if not number.isdigit() or not digest:
        raise ConfigError(
            f"--head is {text!r}, and it is what assay audit verify says, such as 12:5f3c…; copy it whole"
        )
    return int(number), digest


def rebuild_queue(config_path: Path) -> None:
    """Make the queue's tables again from the events and the results of scored batches."""
    with opened(config_path) as desk, console.live(), console.step("make the queue again"):
        count = desk.rebuild()
    console.say(f"The queue is made again from {count:,} events.")


def export_packet(config_path: Path, out: Path, *, user: str, day: date | None, view: str) -> None:
    """Write a packet of open alerts for a user: a page that works without the desk.

    Parameters
    ----------
    config_path, out : Path
    user : str
        In whose name it is decided.
    day : date or None
        Of the transactions; None for all.
    view : str
        The part behind "?" of an address of the queue, or all of it; "" for all open alerts, highest score first.
    """
    from dataclasses import replace
    from urllib.parse import parse_qsl

    from pipeline.review.packets import Packet
    from pipeline.review.web.addresses import read_view
    from pipeline.review.web.packet import packet_page
    from pipeline.tables.writing import write_text

    part = read_view(dict(parse_qsl(view.rpartition("?")[2])))
    part = replace(part, first_day=day, last_day=day) if day else part
    with opened(config_path) as desk, console.live(), console.step("write the packet", unit="alerts") as on_alerts:
        desk.sync()

        def leave(packet: Packet) -> None:
            write_text(out, packet_page(packet, desk.config.review))
            out.chmod(0o600)

        packet = desk.make_packet(part, user, operator(), leave)
        on_alerts(len(packet.alerts))
    left = packet.total - len(packet.alerts)
    console.say(
        f"{out} has {len(packet.alerts):,} alerts for {user}" + (f"; {left:,} more are left out." if left else ".")
    )
    console.say(f"Its decisions are taken in until {packet.until:%Y-%m-%d %H:%M} UTC, once: assay review import-packet")


def import_packet(config_path: Path, file: Path) -> None:
    """Take in the file of decisions of a packet, and say which were left out."""
    from pipeline.review.web.words import many

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or "it is no text"
        raise ConfigError(f"{file} can't be read ({reason}); name the file that the packet's page saved") from None
    with opened(config_path) as desk:
        desk.sync()
        arrival = desk.take_packet(text, operator())
    console.say(f"{many(len(arrival.events), 'decision')} of {arrival.user} taken in, from packet {arrival.packet}.")
    if arrival.clashes:
        rows = [[clash.id, clash.time, clash.why] for clash in arrival.clashes]
        console.columns("Left out, and as they were", ["alert", "time", "why"], rows)
