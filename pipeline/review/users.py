"""Who gets into the desk: users with passwords, sessions that end, tokens for programs, and the first admin's link."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pipeline.numbers import minute
from pipeline.review.people import ASSAY, ROLES, Person
from pipeline.review.refusals import Missing, Refusal
from pipeline.review.store import Reading, Store, Writing
from pipeline.settings.review import Role
from pipeline.workspace.schema import REVIEW_ATTEMPTS, REVIEW_SESSIONS, REVIEW_TOKENS, REVIEW_USERS

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LEAST = 10
"""Characters of a password, at least."""
LONGEST = 1_000
"""And at most: a hash of a text without end takes a time without end."""
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
WINDOW = timedelta(minutes=15)
ATTEMPTS = {"both": 5, "name": 20, "address": 50}
"""Failed logins within `WINDOW`, of a user from an address, of a user, and from an address, after which all fail."""
SCOPES = ("list", "next", "decide", "export")
"""What a token may be for."""
LINK = "link"
"""The scope of the one-time link that makes the first admin."""
LINK_HOURS = 24
SEEN_EVERY = timedelta(minutes=1)
"""How long a session may be used before that is written down: not every request writes."""
WRONG = "the name or the password is wrong"


@dataclass(frozen=True)
class User:
    """A user, without the password. Moments are UTC; ``ended_at`` is None for one who may log in."""

    name: str
    role: Role
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Session:
    """A login that has not ended. ``mark`` names it to `end_session`, and lets nobody in."""

    mark: str
    name: str
    address: str
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class Token:
    """What a program is let in by. ``mark`` names it to `end_token`, and lets nobody in."""

    mark: str
    title: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    until: datetime | None


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher()  # argon2id, with the parameters of RFC 9106 for little memory


@cache
def _nobody() -> str:
    """Return a hash that no password has: a login as somebody unknown takes as long as one that is known."""
    return _hasher().hash(secrets.token_hex(32))


def is_right(password: str, stored: str) -> bool:
    """Whether a password is that of a stored hash; of an empty one, whatever it is, not."""
    from argon2.exceptions import VerificationError

    try:
        _hasher().verify(stored or _nobody(), password[:LONGEST])
    except VerificationError:
        return False
    return bool(stored)


def checked(name: str, password: str) -> str:
    """Return the hash of a new password.

    Raises
    ------
    Refusal
        When the name or the password can't be one.
    """
    if not NAME.fullmatch(name) or name == ASSAY.name:
        raise Refusal(
            f"{name!r} can't be a user's name: it begins with a small letter or a digit, has those and . _ @ - behind, "
            "64 characters at most, and is not assay"
        )
    if not LEAST <= len(password) <= LONGEST:
        raise Refusal(f"a password has {LEAST} to {LONGEST:,} characters, and this one has {len(password):,}")
    if password.lower() == name:
        raise Refusal("the password is the user's name; take another one")
    return _hasher().hash(password)


def add(writing: Writing, name: str, who: Person, *, role: str, password_hash: str) -> None:
    """Add a user.

    Raises
    ------
    Refusal
        When there is one of this name, or the role is none.
    """
    if role not in ROLES:
        raise Refusal(f"{role!r} is no role; roles are {', '.join(ROLES)}")
    if _user(writing, name) is not None:
        raise Refusal(f"there is a user {name!r} already; change that one, or take another name")
    row = {"name": name, "password": password_hash, "role": role, "created_at": writing.at, "ended_at": None}
    writing.connection.execute(sa.insert(REVIEW_USERS).values(row))
    writing.journal.append("user", name, who, after={"role": role, "is_ended": False})


def change(
    writing: Writing, name: str, who: Person, *, role: str | None, password_hash: str | None, is_ended: bool | None
) -> None:
    """Give a user another role or password, or no access any more; what they are logged in by ends.

    Raises
    ------
    Missing
        When there is no such user.
    Refusal
        When the role is none, or no admin would be left.
    """
    user = _user(writing, name)
    if user is None:
        raise Missing(f"there is no user {name!r}")
    if role is not None and role not in ROLES:
        raise Refusal(f"{role!r} is no role; roles are {', '.join(ROLES)}")
    before = {"role": user.role, "is_ended": user.ended_at is not None}
    after = {"role": role or user.role, "is_ended": before["is_ended"] if is_ended is None else is_ended}
    is_admin = user.role == "admin" and user.ended_at is None
    if is_admin and (after["role"] != "admin" or after["is_ended"]) and _admins(writing) == 1:
        raise Refusal(f"{name} is the last admin; make another one first")
    values: dict[str, Any] = {
        "role": after["role"],
        "ended_at": (user.ended_at or writing.at) if after["is_ended"] else None,
    }
    values |= {"password": password_hash} if password_hash else {}
    writing.connection.execute(sa.update(REVIEW_USERS).where(REVIEW_USERS.c.name == name).values(values))
    if after["is_ended"] or password_hash or after["role"] != before["role"]:
        writing.connection.execute(sa.delete(REVIEW_SESSIONS).where(REVIEW_SESSIONS.c.name == name))
    if after["is_ended"]:
        writing.connection.execute(sa.delete(REVIEW_TOKENS).where(REVIEW_TOKENS.c.name == name))
    writing.journal.append("user", name, who, before=before, after={**after, "password": bool(password_hash)})


def _user(reading: Reading, name: str) -> User | None:
    columns = [REVIEW_USERS.c[field] for field in ("name", "role", "created_at", "ended_at")]
    row = reading.connection.execute(sa.select(*columns).where(REVIEW_USERS.c.name == name)).first()
    return User(*row) if row else None


def _admins(reading: Reading) -> int:
    here = (REVIEW_USERS.c.role == "admin", REVIEW_USERS.c.ended_at.is_(None))
    return reading.connection.scalar(sa.select(sa.func.count()).select_from(REVIEW_USERS).where(*here)) or 0


def all_users(reading: Reading) -> list[User]:
    """Return every user, by name."""
    columns = [REVIEW_USERS.c[field] for field in ("name", "role", "created_at", "ended_at")]
    return [User(*row) for row in reading.connection.execute(sa.select(*columns).order_by(REVIEW_USERS.c.name))]


def log_in(store: Store, name: str, password: str, address: str) -> str:
    """Let a user in, and return the token that the browser holds from then on; it is new at every login.

    Raises
    ------
    Refusal
        When name and password don't fit, or too many logins failed of late.
    """
    name = name.strip()[:64]
    with store.reading() as reading:
        _throttle(reading, name, address)
        query = sa.select(REVIEW_USERS.c.password, REVIEW_USERS.c.role).where(
            REVIEW_USERS.c.name == name, REVIEW_USERS.c.ended_at.is_(None)
        )
        user = reading.connection.execute(query).first()
    fits = is_right(password, user.password if user else "")
    with store.writing() as writing:
        old = REVIEW_ATTEMPTS.c.at < writing.at - WINDOW
        writing.connection.execute(sa.delete(REVIEW_ATTEMPTS).where(old))
        if not fits or user is None:
            attempt = {"name": name, "address": address[:64], "at": writing.at}
            writing.connection.execute(sa.insert(REVIEW_ATTEMPTS).values(attempt))
            writing.journal.append("refuse", name, Person(name, "viewer", address))
        else:
            token = _open_session(writing, name, address)
            writing.journal.append("login", name, Person(name, user.role, address))
            mine = (REVIEW_ATTEMPTS.c.name == name, REVIEW_ATTEMPTS.c.address == address)
            writing.connection.execute(sa.delete(REVIEW_ATTEMPTS).where(*mine))
    if not fits:
        raise Refusal(WRONG)
    return token


def enter(writing: Writing, name: str, role: Role | None, address: str) -> str:
    """Let in whom a provider has named, and return the token that the browser holds from then on.

    A user that is made by that has no password, and nobody gets in as them by one.

    Parameters
    ----------
    writing : Writing
    name : str
    role : {"viewer", "analyst", "lead", "admin"} or None
        The provider's; None leaves the role to the desk.
    address : str

    Raises
    ------
    Refusal
        When there is no such user and none is made, or the user is ended.
    """
    user = _user(writing, name)
    if user is None:
        if role is None or not writing.config.review.oidc_new_users or not NAME.fullmatch(name) or name == ASSAY.name:
            raise Refusal(f"the desk has no user {name[:64]!r}; ask an admin to add you")
        add(writing, name, ASSAY, role=role, password_hash="")
    elif user.ended_at is not None:
        raise Refusal(f"{name} may not log in any more; ask an admin")
    elif role is not None and role != user.role:
        change(writing, name, ASSAY, role=role, password_hash=None, is_ended=None)
    token = _open_session(writing, name, address)
    person = Person(name, role or (user.role if user else "viewer"), address)
    writing.journal.append("login", name, person, after={"by": writing.config.review.oidc_issuer})
    return token


def _throttle(reading: Reading, name: str, address: str) -> None:
    of_name, of_address = REVIEW_ATTEMPTS.c.name == name, REVIEW_ATTEMPTS.c.address == address
    recent = REVIEW_ATTEMPTS.c.at > reading.at - WINDOW
    for kind, where in (("both", [of_name, of_address]), ("name", [of_name]), ("address", [of_address])):
        query = sa.select(sa.func.count(), sa.func.max(REVIEW_ATTEMPTS.c.at)).where(recent, *where)
        count, last = reading.connection.execute(query).one()
        if count >= ATTEMPTS[kind]:
            raise Refusal(f"too many logins have failed; wait until {minute(last + WINDOW)} UTC, and try again")


def _open_session(writing: Writing, name: str, address: str) -> str:
    token = secrets.token_urlsafe(32)
    row = {"token": digest(token), "name": name, "address": address[:64]}
    moments = {"created_at": writing.at, "seen_at": writing.at}
    writing.connection.execute(sa.insert(REVIEW_SESSIONS).values({**row, **moments}))
    return token


def person_of(store: Store, token: str, address: str) -> Person | None:
    """Return who is logged in by a token; None where that has ended, or never was."""
    with store.reading() as reading:
        query = (
            sa.select(REVIEW_SESSIONS, REVIEW_USERS.c.role)
            .join(REVIEW_USERS, REVIEW_USERS.c.name == REVIEW_SESSIONS.c.name)
            .where(REVIEW_SESSIONS.c.token == digest(token), REVIEW_USERS.c.ended_at.is_(None), *_is_live(reading))
        )
        session = reading.connection.execute(query).first()
        if session is None:
            return None
        is_due = session.seen_at < reading.at - SEEN_EVERY
    if is_due:
        with store.writing() as writing:
            here = REVIEW_SESSIONS.c.token == digest(token)
            writing.connection.execute(sa.update(REVIEW_SESSIONS).where(here).values(seen_at=writing.at))
    return Person(session.name, session.role, address)


def _is_live(reading: Reading) -> tuple[sa.ColumnElement[bool], ...]:
    settings = reading.config.review
    return (
        REVIEW_SESSIONS.c.created_at > reading.at - timedelta(hours=settings.login_hours),
        REVIEW_SESSIONS.c.seen_at > reading.at - timedelta(minutes=settings.idle_minutes),
    )


def sessions(reading: Reading, who: Person) -> list[Session]:
    """Return the logins that have not ended: of everybody for an admin, else the person's own."""
    mine = [] if who.may("people") else [REVIEW_SESSIONS.c.name == who.name]
    query = sa.select(REVIEW_SESSIONS).where(*_is_live(reading), *mine).order_by(REVIEW_SESSIONS.c.seen_at.desc())
    return [Session(*row) for row in reading.connection.execute(query)]


def end_session(writing: Writing, mark: str, who: Person) -> None:
    """End a login; one's own, or, for an admin, anybody's. One that has ended stays so."""
    mine = [] if who.may("people") else [REVIEW_SESSIONS.c.name == who.name]
    here = (REVIEW_SESSIONS.c.token == mark, *mine)
    name = writing.connection.scalar(sa.select(REVIEW_SESSIONS.c.name).where(*here))
    if name is not None:
        writing.connection.execute(sa.delete(REVIEW_SESSIONS).where(*here))
        writing.journal.append("logout", name, who)


def add_token(
    writing: Writing, title: str, scopes: Sequence[str], who: Person, *, name: str, until: datetime | None
) -> str:
    """Make a token that lets a program in as a user, and return it: only its hash is stored."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise Refusal(f"{', '.join(unknown) or 'nothing'} is no scope of a token; scopes are {', '.join(SCOPES)}")
    if name != who.name:
        who.need("people")
    user = _user(writing, name)
    if user is None or user.ended_at is not None:
        raise Missing(f"there is no user {name!r} who may log in")
    token = f"assay_{secrets.token_urlsafe(32)}"
    row = {"token": digest(token), "title": title[:64], "name": name, "scopes": " ".join(scopes)}
    writing.connection.execute(sa.insert(REVIEW_TOKENS).values(**row, created_at=writing.at, until=until))
    writing.journal.append("token", name, who, after={"title": title[:64], "scopes": list(scopes)})
    return token


def of_token(reading: Reading, token: str, address: str) -> tuple[Person, tuple[str, ...]] | None:
    """Return whom a program acts for, and what its token is for; None where it has ended, or never was."""
    live = sa.or_(REVIEW_TOKENS.c.until.is_(None), REVIEW_TOKENS.c.until > reading.at)
    query = (
        sa.select(REVIEW_TOKENS.c.name, REVIEW_TOKENS.c.scopes, REVIEW_USERS.c.role)
        .join(REVIEW_USERS, REVIEW_USERS.c.name == REVIEW_TOKENS.c.name)
        .where(REVIEW_TOKENS.c.token == digest(token), live, REVIEW_USERS.c.ended_at.is_(None))
    )
    row = reading.connection.execute(query).first()
    return (Person(row.name, row.role, address), tuple(row.scopes.split())) if row else None


def tokens(reading: Reading, who: Person) -> list[Token]:
    """Return the tokens that programs are let in by: of everybody for an admin, else the person's own."""
    mine = [] if who.may("people") else [REVIEW_TOKENS.c.name == who.name]
    query = sa.select(REVIEW_TOKENS).where(REVIEW_TOKENS.c.scopes != LINK, *mine).order_by(REVIEW_TOKENS.c.created_at)
    rows = reading.connection.execute(query)
    return [Token(row.token, row.title, row.name, tuple(row.scopes.split()), row.created_at, row.until) for row in rows]


def end_token(writing: Writing, mark: str, who: Person) -> None:
    """Let a program in by a token no longer; one's own, or, for an admin, anybody's."""
    mine = [] if who.may("people") else [REVIEW_TOKENS.c.name == who.name]
    here = (REVIEW_TOKENS.c.token == mark, *mine)
    row = writing.connection.execute(sa.select(REVIEW_TOKENS.c.name, REVIEW_TOKENS.c.title).where(*here)).first()
    if row is not None:
        writing.connection.execute(sa.delete(REVIEW_TOKENS).where(*here))
        writing.journal.append("token", row.name, who, before={"title": row.title})


def invite(writing: Writing) -> str | None:
    """Return the token of a link that makes the first admin, in place of any before; None where there are users."""
    if writing.connection.scalar(sa.select(REVIEW_USERS.c.name).limit(1)) is not None:
        return None
    token, until = secrets.token_urlsafe(32), writing.at + timedelta(hours=LINK_HOURS)
    writing.connection.execute(sa.delete(REVIEW_TOKENS).where(REVIEW_TOKENS.c.scopes == LINK))
    row = {"token": digest(token), "title": LINK, "name": "", "scopes": LINK, "created_at": writing.at, "until": until}
    writing.connection.execute(sa.insert(REVIEW_TOKENS).values(row))
    return token


def accept(writing: Writing, token: str, name: str, password_hash: str) -> None:
    """Make the first admin by the token of `invite`, which ends by that.

    Raises
    ------
    Refusal
        When the link was used, has ended or never was.
    """
    here = (REVIEW_TOKENS.c.token == digest(token), REVIEW_TOKENS.c.scopes == LINK, REVIEW_TOKENS.c.until > writing.at)
    is_good = writing.connection.scalar(sa.select(REVIEW_TOKENS.c.token).where(*here)) is not None
    if not is_good or writing.connection.scalar(sa.select(REVIEW_USERS.c.name).limit(1)) is not None:
        raise Refusal("this link was used or has ended; start the desk again for another one")
    writing.connection.execute(sa.delete(REVIEW_TOKENS).where(REVIEW_TOKENS.c.scopes == LINK))
    add(writing, name, ASSAY, role="admin", password_hash=password_hash)
