"""The retraining flow: whether a training is due and why, a candidate of the latest days, and what becomes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import flow
from prefect.states import Cancelled, Completed, Failed, State

from flows import console
from flows.commands.promote import PASSED, Held, gate_rows, hold_against_gates
from flows.console import Screen
from flows.stages import RunCancelled, run_name, say_what_to_do, show_on_server, stage
from flows.telling import tell
from flows.train import Anew, TrainingResult, train_version
from pipeline.errors import AssayError, sentence
from pipeline.selection.gates import Gate, failed
from pipeline.selection.promotion import check_reason, promote
from pipeline.selection.trailing_days import TooEarly, TrailingDays, trailing_days, write_trailing
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.period import Period
from pipeline.tables.scratch import hidden
from pipeline.tracking.client import CHAMPION
from pipeline.tracking.store import load_detector
from pipeline.workspace.ledger import lock
from pipeline.workspace.retraining import LastRetraining, note_retraining, outlook
from pipeline.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class RetrainResult:
    """What came of looking whether a training is due.

    Parameters
    ----------
    reasons : sequence of str
        Why one is due; empty where none is.
    last : LastRetraining or None
        What the training came to; None where there was none.
    screen : Screen
    """

    reasons: Sequence[str] = ()
    last: LastRetraining | None = None
    screen: Screen


@flow(name="assay-retrain", flow_run_name=run_name("retrain"), on_failure=[say_what_to_do])
def retrain(config_path: str, *, now: bool = False, why: str = "") -> RetrainResult | State:
    """Train a candidate on the latest days of the history where one is due, and hold it against the champion.

    It waits for promotion, or becomes champion where ``retrain.promote`` says so and it passes every gate.

    Parameters
    ----------
    config_path : str
        The table's assay.toml.
    now : bool
        Train whether or not one is due.
    why : str
        With `now`, the reason that is kept with it.
    """
    try:
        config = read_config(config_path)
    except AssayError as error:
        return Failed(message=str(error))
    try:
        return _retrain(config, config_path, asked=(why.strip() or "somebody asked for it") if now else "")
    except RunCancelled as error:
        return Cancelled(message=str(error))
    except AssayError as error:
        return Failed(message=str(error))
    finally:
        tell(config, people=True)


def _retrain(config: Config, config_path: str, *, asked: str) -> RetrainResult | State:
    check_reason(asked)
    state = outlook(config, Workspace(config).labels)
    if state is None:
        raise AssayError(f"model {config.name!r} has no champion to train anew; train the first one with: assay train")
    reasons = (asked,) if asked else state.reasons
    if not reasons:
        return _nothing(f"No training is due: {state.text}.", reasons)
    try:
        return _trained(config, config_path, reasons, is_asked=bool(asked))
    except (RunCancelled, TooEarly):
        raise
    except Exception as error:
        note_retraining(config, LastRetraining(outcome="failed", reasons=reasons, message=sentence(error)))
        raise


def _nothing(text: str, reasons: Sequence[str]) -> State:
    return Completed(message=text, data=RetrainResult(reasons=reasons, screen=Screen(sentences=[text])))


def _trained(config: Config, config_path: str, reasons: tuple[str, ...], *, is_asked: bool) -> RetrainResult | State:
    """Train, compare, and promote or let it wait; where it is too early for that, do nothing and say so."""
    workspace, now = Workspace(config), datetime.now(UTC).replace(tzinfo=None)
    with console.step("load the champion"):
        champion, number = load_detector(config, CHAMPION)
    try:
        days = trailing_days(workspace, champion, now)
    except TooEarly as error:
        if is_asked:
            raise
        return _nothing(f"A training is due ({'; '.join(reasons)}), and it is too early for one: {error}.", reasons)
    workspace.folder.make(workspace.folder.runs)
    with hidden(workspace.folder.runs, "retraining") as scratch:
        table = scratch / f"history-{days.first}-to-{days.until}.parquet"
        with lock(config):
            write_trailing(workspace, days, table)
            period = Period.of_days(days.first, days.last, config.table.time_zone)
            anew = Anew(why="; ".join(reasons), types=champion.reference.types)
            trained = train_version(config, config_path, table=str(table), period=period, as_of=now, anew=anew)
        try:
            held = held_against_champion(config, [number, trained.version], str(table), days)
        except AssayError as error:
            text = f"version {trained.version} was trained, and could not be held against the champion"
            raise AssayError(f"{text}: {error}") from None
    last = decide(config, held.gates, trained.version, over=number, reasons=reasons)
    note_retraining(config, last)
    screen = _screen(trained, held, last, days=days, config_path=config_path)
    show_on_server("assay-retrain", config, screen)
    return RetrainResult(reasons=reasons, last=last, screen=screen)


@stage("hold the candidate against the gates")
def held_against_champion(config: Config, versions: Sequence[str], table: str, days: TrailingDays) -> Held:
    """Compare the candidate with the champion on the days behind those it learned from."""

    def verdict(missed: int, asked: int) -> str:
        if not missed and config.retrain.promote:
            return "is promoted: it passes every gate"
        return f"waits for promotion: {_passes(missed, asked)}"

    return hold_against_gates(config, versions, verdict, table=table, first=days.compared_from, last=days.until)


def decide(
    config: Config, conditions: Sequence[Gate], version: str, *, over: str, reasons: tuple[str, ...]
) -> LastRetraining:
    """Promote a version that passes every gate where the configuration says so; else it stays the candidate.

    Parameters
    ----------
    config : Config
    conditions : sequence of Gate
    version : str
    over : str
        The champion that it was held against.
    reasons : tuple of str
        Why it was trained.
    """
    failures = [gate.title for gate in failed(conditions)]
    passes = _passes(len(failures), len(conditions), failures)
    if failures or not config.retrain.promote:
        return LastRetraining(outcome="waits", reasons=reasons, version=version, message=passes)
    promote(config, version, f"retrained, for {'; '.join(reasons)}; {PASSED}", over=over)
    return LastRetraining(outcome="promoted", reasons=reasons, version=version, message=passes)


def _passes(missed: int, asked: int, names: Sequence[str] = ()) -> str:
    named = f" ({', '.join(names)})" if names else ""
    return f"it fails {missed} of {asked} gates{named}" if missed else "it passes every gate"


def _screen(
    trained: TrainingResult, held: Held, last: LastRetraining, *, days: TrailingDays, config_path: str
) -> Screen:
    became = "is the champion" if last.outcome == "promoted" else "is the candidate, and waits for promotion"
    learned = f"It learned from the days {days.first} to {days.last} of the history"
    sentences = [
        f"Why: {'; '.join(last.reasons)}.",
        f"Version {last.version} {became}: {last.message}.",
        f"{learned}, and was compared with the champion on {days.compared_from} to {days.until}.",
        *trained.screen.sentences,
    ]
    model = {name: value for name, value in trained.screen.tables["Model"].items() if name != "registered"}
    tables = {"Rows": trained.screen.tables["Rows"], "Model": model}
    gates = {f"{place}, {text}": words for place, (text, words) in enumerate(gate_rows(held), 1)}
    where = {"report": str(trained.folder / "report.html"), "comparison": held.where["page"]}
    command = "rollback" if last.outcome == "promoted" else f"promote {last.version}"
    commands = [f"assay {command} --config {config_path}", f"assay history --config {config_path}"]
    return Screen(sentences=sentences, tables={**tables, "Gates": gates, "Where": where}, commands=commands)
