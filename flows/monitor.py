"""The watch as a flow of its own: every day that the champion has scored, on a page over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.states import Completed, Failed, State

from flows import console
from flows.console import Screen
from flows.stages import run_name, say_what_to_do, show_on_server, stage
from pipeline.detector.artefact import Detector
from pipeline.errors import AssayError
from pipeline.evaluation.missed import missed_by_version
from pipeline.evaluation.weeks import Week, by_week
from pipeline.monitoring.checks import Seen, look_at
from pipeline.monitoring.watch import all_days, states
from pipeline.pages.monitor import render_monitor
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.writing import write_text
from pipeline.tracking.store import load_detector
from pipeline.workspace.ledger import Entry, lock
from pipeline.workspace.watch import WatchEvents
from pipeline.workspace.workspace import Workspace

WEEKS = 26
"""The last weeks that are measured against labels."""


@dataclass(frozen=True, kw_only=True)
class MonitorResult:
    """What the watch sees.

    Parameters
    ----------
    page : Path or None
    seen : Seen or None
        None where the version has scored nothing yet.
    weeks : sequence of Week
    screen : Screen
    """

    page: Path | None = None
    seen: Seen | None = None
    weeks: Sequence[Week] = ()
    screen: Screen


@flow(name="assay-monitor", flow_run_name=run_name("monitor"), on_failure=[say_what_to_do])
def monitor(config_path: str, version: str = "champion") -> MonitorResult | State:
    """Hold every day that a version has scored against its training, and write a page over time; nothing is scored.

    Parameters
    ----------
    config_path : str
        The table's assay.toml.
    version : str
        Version or alias of the registered Detector.
    """
    try:
        config = read_config(config_path)
        with lock(config):
            return _monitor(config, version)
    except AssayError as error:
        return Failed(message=str(error))


def _monitor(config: Config, version: str) -> MonitorResult | State:
    with console.step("load the Detector"):
        detector, number = load_detector(config, version)
        detector = replace(detector, config=detector.settle(config))
    workspace = Workspace(detector.config)
    entries = [entry for entry in workspace.ledger.entries() if entry.status == "scored"]
    own = [entry for entry in entries if entry.model_version == number]
    seen = look_back(own, detector, number)
    if seen is None:
        text = f"version {number} of {config.name!r} has scored no batch since batches are watched; score one first"
        return Completed(message=text, data=MonitorResult(screen=Screen(sentences=[text])))
    weeks = against_labels(own, workspace)
    events = WatchEvents(detector.config)
    events.note(states(seen.checks), day=seen.days[-1], batch_id=own[-1].batch_id, model_version=number)
    page = workspace.folder.monitoring / "watch.html"
    workspace.folder.make(page.parent)
    missed = missed_by_version(workspace)
    text = render_monitor(
        seen,
        title=f"{config.name}: the last days against the training",
        subtitle=f"version {number}, {len(seen.days):,} days from {seen.days[0]} to {seen.days[-1]}",
        events=list(reversed(events.all())),
        weeks=weeks,
        missed=[f"{name}: {sentence}" for name, sentence in missed.items()],
    )
    write_text(page, text)
    screen = _screen(seen, weeks, missed, page)
    show_on_server("assay-monitor", config, screen)
    return MonitorResult(page=page, seen=seen, weeks=weeks, screen=screen)


@stage("hold the days against the training")
def look_back(own: Sequence[Entry], detector: Detector, version: str) -> Seen | None:
    """Return what the watch sees of all days that a version has scored; None where there are none."""
    with console.step("watch"):
        days, marks = all_days(own, version)
        return look_at(days, detector, marks.get("changes", ()), all_columns=True) if days else None


@stage("hold the weeks against labels")
def against_labels(own: Sequence[Entry], workspace: Workspace) -> list[Week]:
    """Return what labels say of the last weeks."""
    if workspace.config.contract.label is None:
        return []
    with console.step("measure the weeks"):
        return by_week(own, workspace, datetime.now(UTC).replace(tzinfo=None))[-WEEKS:]


def _screen(seen: Seen, weeks: Sequence[Week], missed: Mapping[str, str], page: Path) -> Screen:
    tables: dict[str, dict[str, object]] = {
        f"As of {seen.days[-1]}": {check.name: f"{check.state}: {check.text}" for check in seen.checks}
    }
    if weeks:
        tables["Against labels, by week"] = {
            f"from {week.first}": f"average precision {week.average_precision}, card precision@{week.k} a day "
            f"{week.card_precision}, {week.frauds:,} frauds in {week.labelled:,} labelled rows"
            + (f", about {week.missed.missed:,.0f} missed" if week.missed else "")
            for week in weeks
        }
    if missed:
        tables["Fraud missed, estimated from random audits"] = {**missed}
    tables["Where"] = {"page": str(page)}
    return Screen(sentences=[], tables=tables)
