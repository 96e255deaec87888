"""The desk: everything that the web application, the commands and programs ask of the queue."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from pipeline.review import pull, users, work
from pipeline.review.alert import AlertView, alert_view, content_of
from pipeline.review.cells import shown_cells
from pipeline.review.deliveries import delivery_names, new_deliveries
from pipeline.review.disagreements import Disagreement, disagreements
from pipeline.review.events import Verdict, verify
from pipeline.review.export import exported
from pipeline.review.figures import Figures, figures
from pipeline.review.listing import Line, View
from pipeline.review.packets import Arrival, Packet, make_packet, take_packet
from pipeline.review.paging import Page, page
from pipeline.review.peers import keep_quantiles
from pipeline.review.people import ASSAY, Person
from pipeline.review.publication import news, shares
from pipeline.review.quality import Quality, quality
from pipeline.review.rebuild import rebuild
from pipeline.review.refusals import Missing, Refusal
from pipeline.review.state import apply
from pipeline.review.store import Store, plan_each, utc_now, weigh_plans
from pipeline.review.timeline import Timeline, copy_history, timeline
from pipeline.review.users import Session, Token, User
from pipeline.review.work import Action, Done, Preview
from pipeline.settings.config import Config
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.review import Role
from pipeline.workspace.schema import REVIEW_VIEWS
from pipeline.workspace.workspace import Workspace


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
        self._deliveries: set[str] = set()

    def sync(self) -> int:
        """Take in what was scored and delivered since, withdraw what was replaced, wake what is due.

        Returns
        -------
        int
            How many events that made.
        """
        names = delivery_names(self.config) - self._deliveries
        with self.store.reading() as reading:
            arrived, replaced = news(reading.connection, self.config)
            deliveries = new_deliveries(reading.connection, self.config, names)
            is_due = work.sleepers(reading)
        self._deliveries |= names - {*deliveries}
        if not (arrived or replaced or deliveries or is_due):
            return 0
        with self.store.writing() as writing:
            plan_each(writing.connection)
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
            for name in new_deliveries(writing.connection, self.config, names):
                apply(writing.connection, self.config, writing.journal.append("deliver", name, ASSAY))
            work.wake(writing, ASSAY)
            count = writing.journal.number - first
            if arrived:
                weigh_plans(writing.connection)
        if arrived:
            copy = copy_history(Workspace(self.config))
            if copy is not None:
                keep_quantiles(copy, Workspace(self.config))
        return count

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
            repeat = pull.again(writing, who, self._chance, beside) if view.state == "open" else None
            key, again = repeat or (pull.best(writing, view, who, beside), "")
            if key is None and view.state == "open" and (key := pull.second(writing, who, beside)):
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

    def unmask(self, key: str, column: str, why: str, who: Person) -> str:
        """Return a cell of a sensitive column in clear, once; who looks, and why, is an event.

        Raises
        ------
        Refusal
            When no reason is given.
        Missing
            When there is no such alert, or it has no such column.
        """
        who.need("unmask")
        if not why.strip():
            raise Refusal(f"to see {column!r} in clear needs a reason; give one")
        with self.store.writing() as writing:
            work.rows_of(writing, [key])
            cells = content_of(writing, key)["cells"]
            if column not in cells:
                raise Missing(f"the alert has no column {column!r}; it has {', '.join(cells)}")
            writing.journal.append("unmask", key, who, after={"column": column, "why": why})
            return shown_cells({column: cells[column]}, self.config, frozenset(), Pseudonyms(self.config.work_dir))[
                column
            ]

    def history(self, key: str, who: Person) -> Timeline:
        """Return the rows of an alert's entity, oldest first, with what is known of them."""
        who.need("see")
        with self.store.reading() as reading:
            return timeline(reading, work.rows_of(reading, [key])[key], content_of(reading, key), who)

    def report(self, key: str, who: Person) -> str:
        """Return the page of the run that scored an alert.

        Raises
        ------
        Missing
            When it is not where it was written to.
        """
        who.need("see")
        with self.store.reading() as reading:
            folder = alert_view(reading, key, who).folder
        file = Path(folder) / "report.html"
        if not folder or not file.is_file():
            raise Missing("the report of the alert's batch is not there any more; score the batch again to have one")
        return file.read_text(encoding="utf-8")

    def figures(self, who: Person, weeks: int = 8) -> Figures:
        """Return what the dashboard shows of the last weeks; precision by analyst to a lead only."""
        who.need("see")
        with self.store.reading() as reading:
            return figures(reading, who, weeks)

    def quality(self, who: Person, weeks: int = 8) -> Quality:
        """Return how well alerts were reviewed in the last weeks, and what fraud was missed; for a lead."""
        who.need("lead")
        with self.store.reading() as reading:
            return quality(reading, weeks)

    def disagreements(self, who: Person) -> list[Disagreement]:
        """Return the rows whose decision is another label than the last one delivered for them."""
        who.need("see")
        with self.store.reading() as reading:
            return disagreements(reading, who)

    def export(self, view: View, who: Person) -> list[Line]:
        """Return all alerts of a view, at most 100,000, as the person may see them; that it was done is an event."""
        who.need("export")
        with self.store.writing() as writing:
            alerts = exported(writing, view, who)
            after = {"alerts": len(alerts), "view": {name: value for name, value in vars(view).items() if value}}
            writing.journal.append("export", self.config.name, who, after=after)
            return alerts

    def make_packet(self, view: View, user: str, who: Person, leave: Callable[[Packet], None]) -> Packet:
        """Make a packet of a view's open alerts that a user takes along; without it being left there is none.

        Parameters
        ----------
        view : View
        user : str
            In whose name it is decided; what they may not see is masked.
        who : Person
        leave : callable
            Writes the packet to where it is taken from.

        Raises
        ------
        Forbidden
            When it is for somebody else, and the person is no admin: whoever has a packet decides in its user's name.
        """
        who.need("export" if user == who.name else "people")
        with self.store.writing() as writing:
            packet = make_packet(writing, view, user, who)
            leave(packet)
            return packet

    def take_packet(self, text: str, who: Person) -> Arrival:
        """Take in the file of decisions that a packet gave, once; what was decided or withdrawn since stays so.

        Raises
        ------
        Refusal
            When the file was changed, is of no packet of this desk, or was taken in before.
        Forbidden
            When the packet is somebody else's, and the person is no admin.
        """
        who.need("export")
        with self.store.writing() as writing:
            return take_packet(writing, text, who)

    def views(self, who: Person) -> dict[str, str]:
        """Return the person's saved views: by title, the query part of their addresses."""
        with self.store.reading() as reading:
            query = sa.select(REVIEW_VIEWS.c.title, REVIEW_VIEWS.c.query).where(*_mine(self.config, who))
            return {row.title: row.query for row in reading.connection.execute(query.order_by(REVIEW_VIEWS.c.title))}

    def save_view(self, title: str, query: str, who: Person) -> None:
        """Save a view under a title, in the place of another of that title; one without a query is forgotten."""
        title = title.strip()[:255]
        if not title:
            raise Refusal("a view is saved under a title; give one")
        with self.store.writing() as writing:
            here = (*_mine(self.config, who), REVIEW_VIEWS.c.title == title)
            writing.connection.execute(sa.delete(REVIEW_VIEWS).where(*here))
            if query:
                row = {"model_name": self.config.name, "who": who.name, "title": title, "query": query}
                writing.connection.execute(sa.insert(REVIEW_VIEWS).values(row))

    def verify(self, head: tuple[int, str] | None = None) -> Verdict:
        """Walk the chain of events, and say what the first thing is that is wrong with it.

        Parameters
        ----------
        head : (int, str), optional
            Number and hash of an event that were noted elsewhere.
        """
        with self.store.reading() as reading:
            return verify(reading.connection, self.config.name, head)

    def rebuild(self) -> int:
        """Make the queue's tables again from the events and the batches' files; return from how many events."""
        with self.store.writing() as writing:
            plan_each(writing.connection)
            count = rebuild(writing)
            weigh_plans(writing.connection)
            return count

    def log_in(self, name: str, password: str, address: str) -> str:
        """Let a user in, and return the token that the browser holds from then on.

        Raises
        ------
        Refusal
            When name and password don't fit, or too many logins failed of late.
        """
        return users.log_in(self.store, name, password, address)

    def enter(self, name: str, role: Role | None, address: str) -> str:
        """Let somebody in whom the provider of `review.oidc_issuer` has named, and return the browser's token.

        Raises
        ------
        Refusal
            When the desk has no such user, and makes none by itself, or the user is ended.
        """
        with self.store.writing() as writing:
            return users.enter(writing, name, role, address)

    def session(self, token: str, address: str) -> Person | None:
        """Return who is logged in by a token; None where that has ended, or never was."""
        return users.person_of(self.store, token, address)

    def log_out(self, token: str, who: Person) -> None:
        """End the login of a token."""
        self.end_session(users.digest(token), who)

    def sessions(self, who: Person) -> list[Session]:
        """Return the logins that have not ended: of everybody for an admin, else the person's own."""
        with self.store.reading() as reading:
            return users.sessions(reading, who)

    def end_session(self, mark: str, who: Person) -> None:
        """End a login by its `Session.mark`; one's own, or, for an admin, anybody's."""
        with self.store.writing() as writing:
            users.end_session(writing, mark, who)

    def users(self, who: Person) -> list[User]:
        """Return every user, by name."""
        who.need("people")
        with self.store.reading() as reading:
            return users.all_users(reading)

    def colleagues(self, who: Person) -> list[str]:
        """Return the names of users who may decide, to assign alerts to."""
        who.need("see")
        with self.store.reading() as reading:
            return [user.name for user in users.all_users(reading) if not user.ended_at and user.role != "viewer"]

    def add_user(self, name: str, password: str, role: Role, who: Person) -> None:
        """Add a user."""
        who.need("people")
        password_hash = users.checked(name, password)
        with self.store.writing() as writing:
            users.add(writing, name, who, role=role, password_hash=password_hash)

    def change_user(
        self,
        name: str,
        who: Person,
        *,
        role: Role | None = None,
        password: str | None = None,
        is_ended: bool | None = None,
    ) -> None:
        """Give a user another role or password, or end or open their access; a password of one's own anybody may."""
        if name != who.name or role is not None or is_ended is not None:
            who.need("people")
        password_hash = users.checked(name, password) if password is not None else None
        with self.store.writing() as writing:
            users.change(writing, name, who, role=role, password_hash=password_hash, is_ended=is_ended)

    def invite(self) -> str | None:
        """Return the token of a one-time link that makes the first admin; None where there are users."""
        with self.store.writing() as writing:
            return users.invite(writing)

    def accept(self, token: str, name: str, password: str) -> None:
        """Make the first admin by the token of `invite`."""
        password_hash = users.checked(name, password)
        with self.store.writing() as writing:
            users.accept(writing, token, name, password_hash)

    def add_token(
        self, title: str, scopes: Sequence[str], who: Person, *, name: str = "", until: datetime | None = None
    ) -> str:
        """Make a token that lets a program in, as the person or, by an admin, as another user; it is told only once."""
        with self.store.writing() as writing:
            return users.add_token(writing, title, scopes, who, name=name or who.name, until=until)

    def token(self, token: str, address: str) -> tuple[Person, tuple[str, ...]] | None:
        """Return whom a program acts for, and the scopes of its token; None where that has ended, or never was."""
        with self.store.reading() as reading:
            return users.of_token(reading, token, address)

    def tokens(self, who: Person) -> list[Token]:
        """Return the tokens that programs are let in by: of everybody for an admin, else the person's own."""
        with self.store.reading() as reading:
            return users.tokens(reading, who)

    def end_token(self, mark: str, who: Person) -> None:
        """Let a program in by a token no longer."""
        with self.store.writing() as writing:
            users.end_token(writing, mark, who)

    def close(self) -> None:
        """Close the connections to the database."""
        self.store.close()


def _mine(config: Config, who: Person) -> tuple[sa.ColumnElement[bool], ...]:
    return REVIEW_VIEWS.c.model_name == config.name, REVIEW_VIEWS.c.who == who.name
