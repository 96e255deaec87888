"""What has been scored by what: the ledger makes a re-run a no-op and a changed file replace its old rows.

One row a batch and model version. A batch is known by its content, the period asked of it and the contract
(:func:`batch_id`), so a file is recognised whatever its name and date, and a changed file under the same
name is not mistaken for the old one. The threshold is part of the model version's artefact, so the model's
name and version stand for it in the key; its value is kept beside them.

A row's status is one of

``scored``
    Its scores and alerts lie in ``folder``, its ids are taken.
``replaced``
    It was scored once, then its file changed and the new content took its place. Its ids are free again.
``refused``
    It was read and refused as a whole; ``message`` says why. Nothing of it was scored and no id is taken. Files of one
    content are refused each on its own, so the row's key holds the file besides the batch.
``skipped``
    It came while nobody served the schedule, and ``schedule.catch_up`` leaves it out. As for a refused one.

Two questions are asked of it. *Has this very batch been scored by this model version?* (:meth:`Ledger.find`)
makes a re-run a no-op; a newer model version may score the batch again when somebody asks for it by name.
*Is there anything left to do about this file?* (:meth:`Ledger.handled`) is the schedule's question: a file
that any version has scored is old, a new champion does not score the whole folder again; and a file that was
refused stays old until its bytes change, or the settings that it was judged by, or somebody scores it by name, so
that one bad file does not wake the engineer every night.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from filelock import Timeout

from pipeline.errors import AssayError, ConfigError
from pipeline.settings.config import Config
from pipeline.settings.stores import is_address
from pipeline.tables.batch import Batch
from pipeline.tables.files import printable
from pipeline.tables.period import Period
from pipeline.workspace.database import answering, connect
from pipeline.workspace.locks import locked, recording
from pipeline.workspace.schema import BATCHES

Status = Literal["scored", "replaced", "refused", "skipped"]
UNSCORED = ("refused", "skipped")
"""Of files that were looked at, and of which nothing was scored."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One batch and what became of it. Timestamps are UTC.

    Attributes
    ----------
    batch_id, source, digest : str
        ``source`` is the absolute path of the file or folder, or its address in a store.
    period_start, period_end : datetime or None
        The half-open period asked for; None = open.
    model_name, model_version : str
    threshold : float or None
        The anomaly score above which rows were flagged.
    read, accepted, quarantined, outside, refused, scored, flagged : int
        Rows; ``read = accepted + quarantined + outside + refused``.
    first_timestamp, last_timestamp : datetime or None
        Of the scored rows; None where none was scored.
    folder : str
        Where the outputs lie; a row's scores are in ``scores.parquet`` there. Empty for a refused batch.
    scored_at : datetime
    status : {"scored", "replaced", "refused", "skipped"}
    message : str
        Why the batch was refused, or left out, for the user; of a scored one, why it had which cut where that adapts.
    rules : str
        Digest of the settings that the batch was judged by, `Batch.rules`; empty for a refusal that shall not keep the
        file from being tried again.
    removed_at : datetime or None
        When its results were removed for their age (`pipeline.upkeep.retention`). The batch stays scored.
    """

    batch_id: str
    source: str
    digest: str
    period_start: datetime | None
    period_end: datetime | None
    model_name: str
    model_version: str
    scored_at: datetime
    threshold: float | None = None
    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    outside: int = 0
    refused: int = 0
    scored: int = 0
    flagged: int = 0
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    folder: str = ""
    status: Status = "scored"
    message: str = ""
    rules: str = ""
    removed_at: datetime | None = None


class Ledger:
    """The batches of one table's model (``config.name``), in SQLite or at ``tracking.ledger_url``.

    The tables are made on first use; several processes may do so at once. Other tables' models share the
    database without seeing each other's batches, because their ids have nothing to do with one another.

    Raises
    ------
    ConfigError
        When the database of ``tracking.ledger_url`` cannot be used: an unreadable URL, a driver that is
        not installed, a server that does not answer, a file that is no database.
    """

    def __init__(self, config: Config) -> None:
        self.name = config.name
        self._engine = connect(config)

    def find(self, batch_id: str, model_version: str) -> Entry | None:
        """Return the entry of this batch scored by this model version; None where it has yet to be scored.

        A batch that was refused or replaced counts as not scored: asked for by name, it is tried again.
        """
        entries = self._select(
            BATCHES.c.batch_id == batch_id, BATCHES.c.model_version == model_version, _live(), self._mine()
        )
        return entries[0] if entries else None

    def replaced_by(self, batch: Batch) -> list[Entry]:
        """Return the scored entries whose place this batch takes: same source and period, other content.

        The result holds those of every model version, since the new content makes all of them out of date.
        """
        return self._select(
            BATCHES.c.source == _absolute(batch.source or batch.path),
            BATCHES.c.period_start.is_not_distinct_from(batch.period.start),
            BATCHES.c.period_end.is_not_distinct_from(batch.period.end),
            BATCHES.c.batch_id != batch.id,
            _live(),
            self._mine(),
        )

    def near(self, first: datetime, last: datetime, within: timedelta, not_these: Collection[str] = ()) -> list[Entry]:
        """Return the scored entries, one a batch, whose rows may hold ids of rows between two moments.

        Parameters
        ----------
        first, last : datetime
            Timestamps of the first and the last row that is about to be scored.
        within : timedelta
            How far from its first delivery a row may lie in time when it is delivered again.
        not_these : collection of str
            ``batch_id`` of batches whose ids are free: the batch itself and those that it replaces.

        Returns
        -------
        list of Entry
            Ordered by their first timestamp. Of a batch scored by several model versions, the latest entry. Those whose
            results were removed are not among them: what their ids were is no longer known.
        """
        # An open side is datetime.min or datetime.max, and has nothing beyond.
        entries = self._select(
            BATCHES.c.first_timestamp <= last + min(within, datetime.max - last),
            BATCHES.c.last_timestamp >= first - min(within, first - datetime.min),
            BATCHES.c.batch_id.not_in(list(not_these)),
            BATCHES.c.removed_at.is_(None),
            _live(),
            self._mine(),
        )
        latest = {entry.batch_id: entry for entry in sorted(entries, key=lambda entry: entry.scored_at)}
        return sorted(latest.values(), key=lambda entry: (entry.first_timestamp, entry.batch_id))

    def latest(self, versions: Collection[str]) -> Entry | None:
        """Return the latest batch, by its rows' time, that any of these model versions has scored; None without one.

        Those whose results were removed are not among them.
        """
        of_versions = BATCHES.c.model_version.in_(list(versions))
        entries = self._select(of_versions, BATCHES.c.removed_at.is_(None), _live(), self._mine())
        scored = [entry for entry in entries if entry.last_timestamp is not None]
        return max(scored, key=lambda entry: (entry.last_timestamp, entry.scored_at), default=None)

    def entries(self) -> list[Entry]:
        """Return every entry, the latest last."""
        return sorted(self._select(self._mine()), key=lambda entry: entry.scored_at)

    def handled(self) -> "Handled":
        """Return what the schedule need not look at again, as of now."""
        return Handled(self._select(sa.or_(_live(), BATCHES.c.status.in_(UNSCORED)), self._mine()))

    def record(self, entry: Entry, replaces: Sequence[str] = ()) -> None:
        """Write one entry and mark those that it replaces, in one transaction.

        An entry of the same batch and model version is replaced in place, of a refusal one of the same file, too. A
        refusal leaves a scored entry as it is, because the scores of that time are still there; and once a content
        was scored, no refusal of it stands any more.

        Parameters
        ----------
        entry : Entry
        replaces : sequence of str
            ``batch_id`` of the batches whose place this one takes, from :meth:`replaced_by`.

        Raises
        ------
        LockLost
            When the process has taken the run lock in the database (`lock`) and lost it; nothing is recorded then.
        """
        if entry.model_name != self.name:
            raise ValueError(f"this is the ledger of {self.name!r}, the entry is of {entry.model_name!r}")
        here = sa.and_(
            BATCHES.c.batch_id == entry.batch_id,
            BATCHES.c.model_version == entry.model_version,
            self._mine(),
        )
        row = asdict(replace(entry, source=_absolute(entry.source)))
        if entry.status in UNSCORED:
            row["batch_id"] += f"@{hashlib.sha256(row['source'].encode()).hexdigest()[:16]}"
            same_row = BATCHES.c.batch_id == row["batch_id"]
            old = sa.and_(same_row, BATCHES.c.model_version == entry.model_version, self._mine())
        else:
            content = _of_content(entry.digest, Period(entry.period_start, entry.period_end))
            old = sa.or_(here, sa.and_(content, BATCHES.c.status.in_(UNSCORED), self._mine()))
        with answering(self._engine), recording(self._engine, run_lock(self.name)) as connection:
            connection.execute(
                sa.update(BATCHES)
                .where(BATCHES.c.batch_id.in_(list(replaces)), _live(), self._mine())
                .values(status="replaced")
            )
            scored = connection.scalar(sa.select(BATCHES.c.batch_id).where(here, _live()))
            if scored and entry.status in UNSCORED:
                return
            connection.execute(sa.delete(BATCHES).where(old))
            connection.execute(sa.insert(BATCHES).values(row))

    def mark_removed(self, entries: Sequence[Entry], at: datetime) -> None:
        """Note that the results of batches are removed from now on, in one transaction."""
        with answering(self._engine), recording(self._engine, run_lock(self.name)) as connection:
            for entry in entries:
                here = sa.and_(BATCHES.c.batch_id == entry.batch_id, BATCHES.c.model_version == entry.model_version)
                connection.execute(sa.update(BATCHES).where(here, self._mine()).values(removed_at=at))

    def _mine(self) -> sa.ColumnElement[bool]:
        return BATCHES.c.model_name == self.name

    def _select(self, *conditions: sa.ColumnElement[bool]) -> list[Entry]:
        columns = [BATCHES.c[field.name] for field in fields(Entry)]
        with answering(self._engine), self._engine.connect() as connection:
            rows: Sequence[Any] = connection.execute(sa.select(*columns).where(*conditions)).all()
        entries = [Entry(**row._mapping) for row in rows]
        return [replace(entry, batch_id=entry.batch_id.partition("@")[0]) for entry in entries]


class Handled:
    """The batches that make files old for the schedule, in memory: thousands of old files are asked for each night.

    Parameters
    ----------
    entries : sequence of Entry
        Scored and refused ones.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._scored: dict[tuple[object, ...], Entry] = {}
        self._refused: dict[tuple[object, ...], Entry] = {}
        for entry in sorted(entries, key=lambda entry: entry.scored_at):
            content = (entry.digest, entry.period_start, entry.period_end)
            if entry.status == "scored":
                self._scored[content] = entry
            else:
                self._refused[*content, entry.source, entry.rules] = entry

    def entry_of(self, batch: Batch) -> Entry | None:
        """Return the entry that makes this file old; None for a new one.

        A file is old when its content has been scored for this period by any model version, wherever it lay
        then, or was refused when it lay here by the rules of today. It is new again when its content or the rules
        change, and when its content went out of the ledger because a changed file took its place.
        """
        content = (batch.digest, batch.period.start, batch.period.end)
        refused = self._refused.get((*content, _absolute(batch.source or batch.path), batch.rules))
        return self._scored.get(content, refused)


def _live() -> sa.ColumnElement[bool]:
    return BATCHES.c.status == "scored"


def _of_content(digest: str, period: Period) -> sa.ColumnElement[bool]:
    return sa.and_(
        BATCHES.c.digest == digest,
        BATCHES.c.period_start.is_not_distinct_from(period.start),
        BATCHES.c.period_end.is_not_distinct_from(period.end),
    )


def _absolute(source: str | Path) -> str:
    return str(source) if is_address(str(source)) else printable(Path(source).resolve())


class AtWork(AssayError):
    """Another run holds the run lock."""


@contextmanager
def lock(config: Config, timeout: float = 3600) -> Iterator[None]:
    """Hold the run lock of a work folder, so that two runs never write the same batch at once.

    It is a file's, and where the ledger is in PostgreSQL also the database's, for the table and for the folder: so runs
    on several hosts that share both come one after the other, whatever a file's lock is worth between them. Either is
    given back when the process ends, however it ends; `pipeline.workspace.locks` has what happens when the database's
    is lost before.

    Parameters
    ----------
    config : Config
    timeout : float
        Seconds to wait for another run to finish.

    Raises
    ------
    AtWork
        When another run still holds the lock after that time.
    ConfigError
        When the folder cannot be made or written to, or the database not be used.
    """
    folder = Path(config.work_dir)
    names = [run_lock(config.name), f"folder {folder.absolute()}"]
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / "score.lock", config, names, timeout))
        except Timeout:
            raise AtWork(
                f"another run is writing to {folder} and has not finished within {timeout:g} seconds; "
                "wait for it to end, then run this again"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"the work folder {folder} can't be written to ({error.strerror}); mend that, or name another one "
                "as work_dir"
            ) from None
        yield


def run_lock(name: str) -> str:
    """Return the name of the database's lock that whoever writes batches of a table's model holds."""
    return f"runs of {name}"
