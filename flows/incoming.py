"""The new files of the incoming folder: what is wrong with one of them keeps no other from being scored."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from traceback import format_exception

from prefect.logging import get_logger
from prefect.states import Failed, State

from flows import console
from flows.console import Screen
from flows.due import left_out_before, missed, note_due
from flows.results import BatchResult, IncomingResult
from flows.stages import RunCancelled
from flows.telling import tell
from pipeline.errors import INTERRUPTED, InputError, ResourceError, plain, sentence
from pipeline.settings.config import Config
from pipeline.settings.stores import is_address
from pipeline.tables.batch import WHOLE, Batch
from pipeline.tables.files import printable
from pipeline.tables.period import Period
from pipeline.workspace.deliveries import came_at, look, put_away
from pipeline.workspace.ledger import Entry, Handled
from pipeline.workspace.nightly import Nightly, Outcome
from pipeline.workspace.store import ChangedMeanwhile, Store
from pipeline.workspace.workspace import Workspace


@dataclass(kw_only=True)
class NewFiles:
    """The new files of the incoming folder, and what became of them. Made by :meth:`of`.

    Attributes
    ----------
    paths : list of Path
        Files and folders that the ledger has not settled, by name.
    skipped : int
        Names that were not looked at: hidden, or those of ``incoming.ignore``.
    unfinished : dict of str to str
        By name of a delivery that the next run looks at again, why.
    ignore : tuple of str
        The patterns of ``incoming.ignore``.
    results : dict of str to BatchResult
        Of the files that were scored, by name.
    left_out : list of str
        Names of files that came during a downtime, and that ``schedule.catch_up`` leaves out.
    refused, failed : dict of str to str
        By name, why a file was refused, and why it was not scored for a reason that does not lie in it.
    store : Store or None
        Where the incoming folder lies in a store: then ``paths`` are names there.
    handled : Handled or None
        What the ledger knew before any of them was scored.
    """

    paths: list[Path] = field(default_factory=list)
    skipped: int = 0
    unfinished: dict[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    results: dict[str, BatchResult] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    store: Store | None = None
    handled: Handled | None = None

    @classmethod
    def of(cls, config: Config) -> "NewFiles":
        """Return the new files of the folder that the configuration names; those that can't be looked at have failed.

        Raises
        ------
        InputError
            When there is no such folder.
        ResourceError
            When the store that it lies in does not answer.
        """
        store = Store(config) if is_address(config.table.incoming) else None
        if store:
            store.settle()
        deliveries = store.look(waits=True) if store else look(config, waits=True)
        ledger = Workspace(config).ledger
        handled, cut = ledger.handled(), left_out_before(config, datetime.now(UTC).replace(tzinfo=None))
        files = cls(
            skipped=deliveries.skipped,
            unfinished=dict(deliveries.unfinished),
            ignore=config.incoming.ignore,
            store=store,
            handled=handled,
        )
        for path in deliveries.ready:
            with files.concerning(path):
                if store is None:
                    _refuse_links_out(path, Path(config.table.incoming))
                batch = store.known(path.name) if store else Batch.of(path, config)
                entry = handled.entry_of(batch) if batch else None
                if entry is None and cut and (store.came_at(path.name) if store else came_at(path)) < cut:
                    with nullcontext(batch) if batch else files.new_batch(path, config) as new:
                        if new:
                            ledger.record(_skipped(new, config, cut))
                            files.left_out.append(plain(printable(Path(path.name))))
                elif entry is None:
                    files.paths.append(path)
                elif entry.status == "scored":
                    files.put_away(path, config)
        if store:
            store.forget_others()
        return files

    @contextmanager
    def new_batch(self, path: Path, config: Config) -> Iterator[Batch | None]:
        """Give the batch of one of the paths; None for a file of a store whose content turns out to be no new one."""
        with at_hand(path, config, store=self.store) as batch:
            entry = self.handled.entry_of(batch) if self.store and self.handled else None
            yield None if entry else batch
        if entry and entry.status == "scored":
            self.put_away(path, config)

    @contextmanager
    def concerning(self, path: Path) -> Iterator[None]:
        """Keep whatever goes wrong inside the block as this file's affair."""
        name = plain(printable(path))
        try:
            yield
        except InputError as error:
            self.refused[name] = str(error)
        except ChangedMeanwhile as error:
            self.unfinished[name] = str(error)
        except Exception as error:
            if str(error) == INTERRUPTED or isinstance(error, RunCancelled):
                raise
            trace = "".join(format_exception(error)).splitlines()
            get_logger("assay").warning("%s was not scored\n%s", name, "\n".join(map(plain, trace)))
            self.failed[name] = sentence(error)

    def put_away(self, path: Path, config: Config) -> None:
        """Move a scored file to the archive, if there is one; what keeps it from that is told, and tried again."""
        try:
            if self.store:
                self.store.put_away(path.name)
            else:
                put_away(path, config)
        except (OSError, ResourceError) as error:
            reason = getattr(error, "strerror", None) or error
            text = f"it was scored and could not be moved to {config.incoming.archive} ({reason})"
            self.unfinished[plain(printable(Path(path.name)))] = f"{text}; mend that"

    @property
    def outcome(self) -> IncomingResult | State:
        """What came of all of them: a failed state where one of them was not scored."""
        outcome: Outcome = "failed" if self.failed else "refused" if self.refused else "done"
        result = IncomingResult(screen=self.screen, batches=self.results, outcome=outcome)
        number = len(self.results) + len(self.refused) + len(self.failed)
        parts = []
        if self.refused:
            parts.append(f"{len(self.refused)} of {number} new files refused: {_by_reason(self.refused)}")
        if self.failed:
            parts.append(
                f"{len(self.failed)} of {number} new files not scored for a reason that does not lie in them, and "
                f"tried again by the next run: {_by_reason(self.failed)}"
            )
        return Failed(message="; ".join(parts), data=result) if parts else result

    @property
    def not_looked_at(self) -> list[str]:
        """Sentences about the names that were skipped, and about deliveries that are not whole yet."""
        names = "1 name was" if self.skipped == 1 else f"{self.skipped} names were"
        text = f"{names} not looked at: hidden, or of a file that is still being written ({', '.join(self.ignore)})"
        waiting = [f"{name} is left to the next run: {why}" for name, why in self.unfinished.items()]
        return [*([text] if self.skipped else []), *waiting, *([self._left_out] if self.left_out else [])]

    @property
    def _left_out(self) -> str:
        files = "1 file that came" if len(self.left_out) == 1 else f"{len(self.left_out):,} files that came"
        return (
            f"{files} while nobody served the schedule {'is' if len(self.left_out) == 1 else 'are'} left out, by "
            f"schedule.catch_up: {', '.join(self.left_out)}; what shall be scored all the same: assay score FILE"
        )

    @property
    def page(self) -> Screen:
        """What the page of the run shows: besides the terminal's, what its message says of the others, file by file."""
        others = {"Refused": self.refused, "Not scored, and tried again by the next run": self.failed}
        tables = {title: {Path(path).name: reason for path, reason in why.items()} for title, why in others.items()}
        return replace(
            self.screen, tables={**self.screen.tables, **{title: why for title, why in tables.items() if why}}
        )

    @property
    def screen(self) -> Screen:
        """What the terminal shows of those that were scored."""
        scored = {name: result for name, result in self.results.items() if result.counts}
        sentences = [f"{len(scored)} new {'file' if len(scored) == 1 else 'files'} scored"]
        sentences += [f"{name}: {text}" for name, result in scored.items() for text in result.screen.sentences]
        sentences += [result.screen.sentences[0] for result in self.results.values() if not result.counts]
        tables: dict[str, Mapping[str, object]] = {name: result.counts for name, result in scored.items()}
        if len(scored) > 1:
            counts = [result.counts for result in scored.values()]
            tables["All of them"] = {key: sum(each[key] for each in counts) for key in counts[0]}
        commands = dict.fromkeys(command for result in scored.values() for command in result.screen.commands)
        return Screen(sentences=[*sentences, *self.not_looked_at], tables=tables, commands=list(commands))


@contextmanager
def at_hand(path: Path, config: Config, period: Period = WHOLE, *, store: Store | None = None) -> Iterator[Batch]:
    """Give the batch of a file, of one in a store while its copy is there; the path is a name then."""
    with ExitStack() as stack:
        with console.step("read"):
            copy = stack.enter_context(store.copied(path.name)) if store else path
            batch = Batch.of(copy, config, period, source=store.source(path.name) if store else "")
            if store:
                store.note(path.name, batch)
        yield batch


def note_run(config: Config, run: Callable[[], IncomingResult | State]) -> IncomingResult | State:
    """Run over the incoming folder, and note for `assay status` what came of it."""
    nightly, began = Nightly(config), datetime.now(UTC).replace(tzinfo=None)
    moments, start = missed(config, began), perf_counter()
    with console.timing() as steps:
        try:
            result = run()
        except BaseException as error:
            message = sentence(error) if isinstance(error, Exception) else "it was stopped; run it again"
            nightly.end("stopped", message, seconds=perf_counter() - start, steps=steps)
            if isinstance(error, Exception):
                tell(config, people=True)
            raise
    outcome, message = _outcome(result)
    nightly.end(outcome, message, seconds=perf_counter() - start, steps=steps)
    note_due(config, began, moments)
    tell(config, people=True)
    return result


def _outcome(result: IncomingResult | State) -> tuple[Outcome, str]:
    """Return what a run came to, and what went wrong."""
    if not isinstance(result, State) or result.is_completed():
        return "done", ""
    files = result.data if isinstance(result.data, IncomingResult) else None
    return files.outcome if files else "stopped", plain(result.message or "")


def _skipped(batch: Batch, config: Config, cut: datetime) -> Entry:
    """Return the ledger's row of a file that is left out."""
    return Entry(
        batch_id=batch.id,
        source=batch.source or str(batch.path),
        digest=batch.digest,
        period_start=batch.period.start,
        period_end=batch.period.end,
        model_name=config.name,
        model_version="",
        scored_at=datetime.now(UTC),
        status="skipped",
        message=f"it came before {cut:%Y-%m-%d %H:%M} UTC, while nobody served the schedule",
        rules=batch.rules,
    )


def _refuse_links_out(path: Path, incoming: Path) -> None:
    """Refuse a link to what lies elsewhere: whoever may deliver files could have any file of this machine read.

    Nothing of it is read, and it is refused by every run until it is gone.

    Raises
    ------
    InputError
        When a name leads out of the incoming folder, or one of the files below it does.
    """
    for file in (path, *(path.rglob("*") if path.is_dir() else ())):
        if file.is_symlink() and not file.resolve().is_relative_to(incoming.resolve()):
            raise InputError(
                f"{printable(file)} is a link to what lies outside of {incoming}; deliver the file itself, or name its "
                "folder as table.incoming"
            )


def _by_reason(reasons: Mapping[str, str]) -> str:
    """Return why files were not scored: each reason once, with the names of the files that it doesn't name itself."""
    texts = []
    for reason in dict.fromkeys(reasons.values()):
        names = [Path(path).name for path, each in reasons.items() if each == reason]
        texts.append(reason if len(names) == 1 and names[0] in reason else f"{', '.join(names)}: {reason}")
    return " | ".join(texts)
