"""New alerts told to another system: a signed message a batch, without a row's content, sent again until it arrives.

What has arrived is an event, so that a server that was ended goes on where it was, and tells a batch twice rather than
never: the receiver knows by the message's id. A receiver that fails keeps nobody from the desk, and no batch from it.
"""

import hmac
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import sqlalchemy as sa

from pipeline.errors import AssayError, ConfigError
from pipeline.review.events import Event, events
from pipeline.review.people import ASSAY
from pipeline.review.publication import OPEN
from pipeline.workspace.posting import post
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_EVENTS

if TYPE_CHECKING:
    from pipeline.review.desk import Desk

SECRET = "ASSAY_WEBHOOK_SECRET"  # noqa: S105 (the name of a variable)
"""The environment variable that has what messages are signed with."""
SHORTEST = 16
"""Signs of the secret, at least."""
EVERY = 10.0
"""Seconds between two looks for new alerts."""
TIMEOUT = 10.0
"""Seconds that a receiver has to answer."""
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=15), timedelta(hours=1)
"""Before the second try, doubled after each, and at most."""
GIVEN_UP_AFTER = timedelta(days=1)
NAMED = 100
"""Alerts of a batch that a message names, those with the highest scores."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what a receiver works out, too, to know that a message is the desk's and when it was sent.

    Examples
    --------
    >>> signature("s" * 16, "1740992400", b"{}")[:20]
    'sha256=a1623c67d08e2'
    """
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, "sha256").hexdigest()


@dataclass
class Waiting:
    """A batch that is to be told: the event that took it in, the tries so far, and when the next one is (UTC)."""

    event: Event
    tries: int
    due: datetime


class Courier:
    """Tells a receiver which batches have come into the queue.

    Parameters
    ----------
    desk : Desk
    secret : str

    Raises
    ------
    ConfigError
        When the secret is too short to be one.
    """

    def __init__(self, desk: "Desk", secret: str) -> None:
        if len(secret) < SHORTEST:
            raise ConfigError(
                f"review.webhook is set, and messages are signed with a secret of at least {SHORTEST} signs, but "
                f"{SECRET} has {len(secret)}; set the environment variable, or take review.webhook out"
            )
        self.desk, self._secret = desk, secret
        self._last: int | None = None
        self._waiting: dict[int, Waiting] = {}

    def turn(self) -> int:
        """Take in what was scored, tell what is due, and return how many batches the receiver has taken."""
        self.desk.sync()
        self._look()
        now, taken = self.desk.store.clock(), 0
        for waiting in [one for one in self._waiting.values() if one.due <= now]:
            trouble = self._send(waiting.event)
            waiting.tries += 1
            waiting.due = now + min(FIRST_WAIT * 2 ** min(waiting.tries - 1, 20), LONGEST_WAIT)
            if trouble:
                logging.getLogger("assay.review").warning("review.webhook: %s", trouble)
            if not trouble or waiting.event.at < now - GIVEN_UP_AFTER:
                self._note(waiting, trouble)
                taken += not trouble
        return taken

    def _look(self) -> None:
        """Find batches that were taken in since the last look; at first, those of the last day that were not told."""
        columns, kinds = REVIEW_EVENTS.c, ("publish", "webhook")
        with self.desk.store.reading() as reading:
            new = columns.at > reading.at - GIVEN_UP_AFTER if self._last is None else columns.number > self._last
            some = list(events(reading.connection, reading.name, new, columns.kind.in_(kinds)))
            last = sa.select(sa.func.max(columns.number)).where(columns.model_name == reading.name)
            self._last = reading.connection.scalar(last) or 0
            now = reading.at
        told = {event.after["tells"] for event in some if event.kind == "webhook"}
        for event in some:
            if event.kind == "publish" and event.number not in told:
                self._waiting[event.number] = Waiting(event, 0, now)
        for number in told:
            self._waiting.pop(number, None)  # by another server of the same desk

    def _send(self, event: Event) -> str:
        """Send one message; return why it was not taken, "" where it was."""
        url = urlsplit(self.desk.config.review.webhook)
        body, timestamp = (
            json.dumps(self._message(event)).encode(),
            str(int(self.desk.store.clock().replace(tzinfo=UTC).timestamp())),
        )
        headers = {"content-type": "application/json", "x-assay-id": event.hash[:32], "x-assay-timestamp": timestamp}
        headers["x-assay-signature"] = signature(self._secret, timestamp, body)
        try:
            status = post(self.desk.config.review.webhook, body, headers, timeout=TIMEOUT)
        except OSError as error:
            return f"{url.hostname} did not take batch {event.subject}: {error or type(error).__name__}"
        return "" if 200 <= status < 300 else f"{url.hostname} answered {status} to batch {event.subject}"

    def _message(self, event: Event) -> dict[str, object]:
        """Return what is told of a batch: how many of its alerts wait, and the keys of the best; no cell of them."""
        alerts = REVIEW_ALERTS.c
        with self.desk.store.reading() as reading:
            here = (
                alerts.model_name == reading.name,
                alerts.batch_id == event.subject,
                alerts.model_version == event.after["model_version"],
                alerts.state.in_(OPEN),
            )
            best = sa.select(alerts.key).where(*here).order_by(alerts.score.desc(), alerts.key.desc()).limit(NAMED)
            keys = list(reading.connection.scalars(best))
            count = reading.connection.scalar(sa.select(sa.func.count()).select_from(REVIEW_ALERTS).where(*here))
        batch = {"table": self.desk.config.name, "batch": event.subject, "version": event.after["model_version"]}
        return {"id": event.hash[:32], "kind": "alerts", **batch, "alerts": count or 0, "best": keys}

    def _note(self, waiting: Waiting, trouble: str) -> None:
        """Write down that a batch was told, or that this was given up."""
        event = waiting.event
        after = {"tells": event.number, "tries": waiting.tries} | ({"why": f"given up: {trouble}"} if trouble else {})
        with self.desk.store.writing() as writing:
            writing.journal.append("webhook", event.subject, ASSAY, after=after)
        del self._waiting[event.number]


@contextmanager
def telling(desk: "Desk") -> Iterator[None]:
    """Tell new alerts to `review.webhook` as long as the block lasts, by a thread; without one, do nothing.

    Raises
    ------
    ConfigError
        When there is a webhook, and no secret to sign with.
    """
    if not desk.config.review.webhook:
        yield
        return
    courier, ends = Courier(desk, os.environ.get(SECRET, "")), threading.Event()

    def work() -> None:
        while not ends.is_set():
            try:
                courier.turn()
            except AssayError as error:  # the database is busy; the next look is soon
                logging.getLogger("assay.review").warning("review.webhook: %s", error)
            ends.wait(EVERY)

    thread = threading.Thread(target=work, name="webhook", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join(TIMEOUT + 1)
