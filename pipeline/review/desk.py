"""The desk: everything that the web application, the commands and programs ask of the queue."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from pipeline.review import pull, work
from pipeline.review.alert import AlertView, alert_view
from pipeline.review.listing import Page, View, page
from pipeline.review.people import ASSAY, Person
from pipeline.review.publication import news, shares
from pipeline.review.state import apply
from pipeline.review.store import Store, utc_now
from pipeline.review.work import Action, Done, Preview
from pipeline.settings.config import Config


class Desk:
    """The queue of one table's alerts, for the threads of a server or for one command.

    Every method is one transaction. Those that change something write an event for each thing that they change, and
    refuse as a whole with a `pipeline.review.refusals.Refusal`: `Forbidden`, `Missing` or `Conflict` among them.

    Parameters
    ----------
    config : Config
    clock : callable
        Returns now, UTC without a zone.
    chance : callable
        Returns a number in 0..1, by which alerts to decide again are drawn.
    """

    def __init__(
        self, config: Config, clock: Callable[[], datetime] = utc_now, chance: Callable[[], float] = random.random
    ) -> None:
        self.config = config
        self.store = Store(config, clock)
        self._chance = chance

    def sync(self) -> int:
        """Take in what was scored since, withdraw what was replaced, wake what is due; return how many events."""
        with self.store.reading() as reading:
            arrived, replaced = news(reading.connection, self.config)
            is_due = work.sleepers(reading)
        if not (arrived or replaced or is_due):
            return 0
        with self.store.writing() as writing:
            first = writing.journal.number
            arrived, replaced = news(writing.connection, self.config)
            for batch in replaced:
                after = {**batch, "why": "its file was replaced by a changed one"}
                event = writing.journal.append("withdraw", batch["batch_id"], ASSAY, after=after)
                apply(writing.connection, self.config, event)
            for batch in arrived:
                after = {**batch, "scored_at": batch["scored_at"].isoformat()}
                after["shares"] = shares(writing.connection, self.config)
                event = writing.journal.append("publish", batch["batch_id"], ASSAY, after=after)
                apply(writing.connection, self.config, event)
            work.wake(writing, ASSAY)
            return writing.journal.number - first

    def page(self, view: View, who: Person) -> Page:
        """Return a part of the list, and how many alerts there are in each state."""
        who.need("see")
        with self.store.reading() as reading:
            return page(reading, view, who)

    def alert(self, key: str, who: Person) -> AlertView:
        """Return one alert with everything that its page shows. It is not held by that: see `hold`."""
        who.need("see")
        with self.store.reading() as reading:
            return alert_view(reading, key, who)

    def next(self, view: View, who: Person, beside: Collection[str] = ()) -> str | None:
        """Hold the best alert of a view that nobody else holds, and return its key; None where there is none.

        Parameters
        ----------
        view : View
        who : Person
        beside : collection of str
            Keys to pass over, such as that of the alert on the screen.
        """
        who.need("decide")
        with self.store.writing() as writing:
            repeat = pull.again(writing, who, self._chance) if view.state == "open" else None
            key, again = repeat or (pull.best(writing, view, who, beside), "")
            if key is None and view.state == "open" and (key := pull.second(writing, who)):
                again = "second"
            if key is not None:
                work.hold(writing, key, who, again)
            return key

    def peek(self, view: View, who: Person, beside: Collection[str] = ()) -> str | None:
        """Return the key that `next` would likely give, and hold nothing: to load its page ahead."""
        who.need("decide")
        with self.store.reading() as reading:
            return pull.best(reading, view, who, beside)

    def hold(self, key: str, who: Person) -> datetime:
        """Hold an alert for `review.lock_minutes`, or for as long again, and return until when (UTC).

        Raises
        ------
        Conflict
            When somebody else holds it; the message says who, and until when.
        """
        who.need("decide")
        with self.store.writing() as writing:
            return work.hold(writing, key, who)

    def release(self, key: str, who: Person) -> None:
        """Let an alert go that the person holds."""
        with self.store.writing() as writing:
            work.release(writing, key, who)

    def act(self, numbers: Mapping[str, int], action: Action, who: Person, *, supersede: bool = False) -> Done:
        """Decide, put off, escalate, assign or comment on alerts: all of them, or none.

        Parameters
        ----------
        numbers : mapping of str to int
            Keys, each with the alert's last event as the person saw it (`Line.event`).
        action : Action
        who : Person
        supersede : bool
            Whether to decide over another's decision, or in spite of a lock.

        Raises
        ------
        Conflict
            When somebody else has changed, decided or holds one of them.
        """
        with self.store.writing() as writing:
            return work.act(writing, numbers, action, who, supersede=supersede)

    def preview(self, keys: Sequence[str], action: Action, who: Person) -> Preview:
        """Return what an action on several alerts would do; `act` takes its ``numbers``."""
        with self.store.reading() as reading:
            return work.preview(reading, keys, action, who)

    def undo(self, who: Person) -> Done:
        """Take back the person's last action, a bulk one as a whole; again takes back the one before."""
        with self.store.writing() as writing:
            return work.undo(writing, who)

    def close(self) -> None:
        """Close the connections to the database."""
        self.store.close()
