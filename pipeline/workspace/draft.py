"""What a run has written and no record owns yet: it is published as a whole, or gone at the next start.

A run writes its results and the rows that enter the history into hidden folders beside the places where they will lie.
Then, in this order:

1. ``change.json`` says what is to become of them, and all of it is brought to the disk.
2. The record is made. For a scored batch it is the ledger's row. A training's results take their name, and whoever
   registers its version makes the record: it stands once the folder is there and no intent to register it is left.
3. Results, rows and replaced results move to their places, and the hidden folders go.

A run that ends before the second step, however it ends, has changed nothing. One that ends after it is completed by
the next start (`settle_draft`), which asks for the record and does the third step, or removes what has none.

Each draft has folders of its own name inside the hidden ones. A run that has lost its lock to another one
(`pipeline.workspace.locks`) and does not know it yet then finds its own gone, and nothing of it gets into the other's.
"""

import json
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from pipeline.errors import ResourceError
from pipeline.tables.scratch import sweep
from pipeline.tables.writing import flush, write_text
from pipeline.workspace.history import History, NextHistory
from pipeline.workspace.intents import Intents
from pipeline.workspace.ledger import Entry, run_lock
from pipeline.workspace.locks import check_held
from pipeline.workspace.outdated import Outdated, outdated_by
from pipeline.workspace.workspace import Workspace

CHANGE = "change.json"


@dataclass(frozen=True, kw_only=True)
class _Change:
    """What is to become of a draft.

    Parameters
    ----------
    final : str
        Where the results go, relative to the work folder.
    gone : list of str
        Files that leave the history.
    retired : list of str
        Names of folders of batches whose results are replaced.
    record : list of str
        Batch, model version and moment of scoring of the ledger's row; empty where the results are the record.
    """

    final: str
    gone: list[str]
    retired: list[str]
    record: list[str]


class Draft:
    """Results and rows of a run that no record owns yet. Made by `drafting`.

    Attributes
    ----------
    results : Path
        Folder that the run writes its results into. Names in it that begin with a dot are scratch and are not
        published.
    workspace : Workspace
        The run's, with the history as it will be: what the run appends and removes shows there, and nowhere else.
    """

    def __init__(self, workspace: Workspace, final: Path) -> None:
        self.final = final
        name = secrets.token_hex(4)
        self.results = _beside(final, workspace) / name
        self._rows = workspace.folder.draft / name
        for folder in (self.results, self._rows):
            folder.mkdir(parents=True)
        self._history = NextHistory(workspace.history, self._rows)
        self._workspace = workspace
        self.workspace = workspace.with_history(self._history)

    def outdated(self, not_these: Collection[str]) -> Outdated:
        """Return the batches scored before that look back to rows by which the history changes: see `outdated_by`."""
        return outdated_by(self._history, self.workspace.ledger, not_these)

    def publish(self, entry: Entry | None = None, replaced: Sequence[Entry] = ()) -> None:
        """Make the record, and put everything into its place.

        Parameters
        ----------
        entry : Entry, optional
            The ledger's row that owns results and rows. Without it, the results take their name, and the rows wait for
            `complete`, which the caller calls once the version is recorded.
        replaced : sequence of Entry
            Whose place the entry takes: their results go to the replaced ones.

        Raises
        ------
        ResourceError
            When everything is recorded and not everything could be put into its place; the next start does that.
        LockLost
            When the run has lost its lock; nothing is recorded then.
        """
        _check(self.workspace)
        for scratch in self.results.glob(".*"):
            shutil.rmtree(scratch) if scratch.is_dir() else scratch.unlink()
        change = _Change(
            final=str(self.final.relative_to(self.workspace.folder.root)),
            gone=sorted(self._history.gone),
            retired=sorted({Path(old.folder).name for old in replaced}),
            record=_record(entry) if entry else [],
        )
        write_text(self._rows / CHANGE, json.dumps(asdict(change)))
        for folder in (self.results, self._rows):
            flush(*list(folder.parents)[:3], folder, *folder.rglob("*"))
        if entry is None:
            self.results.rename(self.final)
            flush(self.final.parent)
            return
        self.workspace.ledger.record(entry, replaces=sorted({old.batch_id for old in replaced}))
        self.complete()

    def complete(self) -> None:
        """Put everything that is recorded into its place."""
        try:
            _settle(self._workspace)
        except OSError as error:
            raise ResourceError(
                f"{self.final.name} is recorded, and could not be put into its place ({error.strerror}: "
                f"{error.filename}); mend that, and the next run puts it there"
            ) from None


@contextmanager
def drafting(workspace: Workspace, final: Path) -> Iterator[Draft]:
    """Give a draft whose results will lie in a folder of the work folder; what was not published goes with the block.

    The caller holds the run lock (`pipeline.workspace.ledger.lock`).

    Parameters
    ----------
    workspace : Workspace
    final : Path
        The folder of results. One that is there already is replaced.

    Raises
    ------
    ResourceError
        When the work folder can't be written to.
    """
    settle_draft(workspace)
    workspace.folder.make(final.parent)
    workspace.folder.make(workspace.folder.history)
    try:
        yield Draft(workspace, final)
    except BaseException as error:
        with suppress(Exception):  # the next start settles it, and the error that is on its way says more
            settle_draft(workspace)
        if isinstance(error, Exception):
            _check(workspace)  # its folders may be gone with its lock, and the error only says that
        raise


def settle_draft(workspace: Workspace) -> None:
    """Complete what a run had recorded when it ended, and remove what no record owns.

    The caller holds the run lock.

    Parameters
    ----------
    workspace : Workspace
        Of the same table as the run's.

    Raises
    ------
    ConfigError
        When the ledger can't be asked.
    ResourceError
        When the work folder can't be written to.
    """
    try:
        _settle(workspace)
    except OSError as error:
        raise ResourceError(
            f"what an earlier run left in the work folder can't be put into its place or removed ({error.strerror}: "
            f"{error.filename}); mend that, and run this again"
        ) from None


def _settle(workspace: Workspace) -> None:
    _check(workspace)  # else what is there may be another run's
    work = workspace.folder
    for parent in (work.batches, work.runs, work.history):
        sweep(parent)
    for file in work.draft.rglob(CHANGE):
        change = _read(file)
        if change and _is_recorded(change, workspace):
            _complete(change, file.parent, workspace)
    finals = (work.batches / "any", work.runs / "any")
    for folder in (*(_beside(final, workspace, part) for final in finals for part in ("draft", "old")), work.draft):
        if folder.exists():
            shutil.rmtree(folder)


def _check(workspace: Workspace) -> None:
    check_held(workspace.config, run_lock(workspace.config.name))


def _beside(final: Path, workspace: Workspace, part: str = "draft") -> Path:
    """Return this table's hidden folder on the disk of a folder of results."""
    return final.parent / f".{part}-{workspace.config.name}"


def _record(entry: Entry) -> list[str]:
    at = entry.scored_at
    at = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at  # as the ledger keeps it
    return [entry.batch_id, entry.model_version, at.isoformat()]


def _read(path: Path) -> _Change | None:
    """Return what is to become of a draft; None where the run had not come that far, or a power cut took it away."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        return _Change(**values)
    except (FileNotFoundError, ValueError):
        return None


def _is_recorded(change: _Change, workspace: Workspace) -> bool:
    if not change.record:
        final = workspace.folder.root / change.final
        intents = Intents(workspace.config).pending()
        return final.is_dir() and str(final.absolute()) not in [intent.content.get("folder") for intent in intents]
    batch_id, version, _ = change.record
    entry = workspace.ledger.find(batch_id, version)
    return entry is not None and _record(entry) == change.record


def _complete(change: _Change, rows: Path, workspace: Workspace) -> None:
    """Put everything into its place; what is there already is left."""
    work = workspace.folder
    final = work.root / change.final
    results = _beside(final, workspace) / rows.relative_to(work.draft)  # itself, where an older Assay has drafted
    if results.exists():
        if final.exists():
            final.rename(_beside(final, workspace, "old"))
        results.rename(final)
    History(work.history, workspace.config).take_over(rows, change.gone)
    for name in change.retired:
        work.retire(work.batches / name)
    flush(*(folder for folder in (final.parent, work.batches, work.replaced) if folder.exists()))
