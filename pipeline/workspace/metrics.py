"""Numbers on how scoring stands, as a textfile for Prometheus: read off the same `Standing` that people are shown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)

from pipeline.settings.config import Config
from pipeline.settings.monitor import CheckName
from pipeline.tables.writing import write_text
from pipeline.workspace.nightly import Outcome
from pipeline.workspace.standing import COUNTED, STATES, Standing
from pipeline.workspace.watch import CheckState

TEXTFILE = "assay.prom"
DRIFTS = ("ok", "warn", "unknown")
ROWS = {
    "read": "Rows read",
    "accepted": "Rows accepted by validation",
    "quarantined": "Rows quarantined by validation",
    "scored": "Rows scored",
    "flagged": "Rows flagged",
}
"""What each count of `COUNTED` is, for HELP."""

Value = float | int | datetime | timedelta | None
Samples = Iterable[tuple[Mapping[str, str], Value]]


def textfile(config: Config) -> Path:
    """Return the path of a table's textfile."""
    return Path(config.metrics.path or Path(config.work_dir) / TEXTFILE)


def write_metrics(config: Config, standing: Standing) -> str:
    """Write the textfile, as a whole or not at all, where ``metrics.enabled`` asks for it.

    Parameters
    ----------
    config : Config
    standing : Standing

    Returns
    -------
    str
        Why it could not be written, with what to do; "" where it was. No folder is made for it: without a work folder,
        there is nothing to count.
    """
    path = textfile(config)
    if not config.metrics.enabled or not (path.parent.is_dir() or config.metrics.path):
        return ""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} for the textfile of metrics.path; make it, or name another file"
    try:
        write_text(path, exposition(standing))
    except OSError as error:
        return f"the textfile {path} can't be written ({error.strerror}); mend that, or name another as metrics.path"
    return ""


def exposition(standing: Standing) -> str:
    """Return how scoring stands in the text format of Prometheus. What is not known has no line.

    Moments are seconds since 1970, sizes bytes, states 1 for the one that holds and 0 for each other.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(standing))
    return generate_latest(registry).decode()


class _Collector:
    """The metrics of one table, as prometheus_client's registry asks for them."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that have a value."""
        metrics = (*_of_state(self.standing), *_of_files(self.standing), *_of_runs(self.standing))
        metrics += (*_of_rows(self.standing), *_of_model(self.standing), *_of_disk(self.standing))
        for metric in metrics:
            for place, sample in enumerate(metric.samples):
                metric.samples[place] = sample._replace(labels={"table": self.standing.name, **sample.labels})
            if metric.samples:
                yield metric


def _of_state(standing: Standing) -> Iterator[Metric]:
    yield _gauge("assay_standing_timestamp_seconds", "When the other values were read", standing.at)
    yield _states("assay_state", "How scoring stands", {"": standing.state}, STATES)
    count = [({"state": state}, sum(each.state == state for each in standing.findings)) for state in STATES[1:]]
    yield _gauges("assay_findings", "Things that a person should know of, by how bad they are", count)


def _of_files(standing: Standing) -> Iterator[Metric]:
    incoming = standing.incoming
    yield _gauge("assay_waiting_files", "Incoming files that wait for a run", len(incoming.waiting))
    yield _gauge("assay_oldest_waiting_timestamp_seconds", "When the first of them came", incoming.oldest_at)
    yield _gauge("assay_refused_files", "Refused files that are still in the incoming folder", len(incoming.refused))
    yield _gauge("assay_left_out_files", "Files that schedule.catch_up leaves out", incoming.left_out)
    yield _gauge("assay_last_file_timestamp_seconds", "When an incoming file was scored last", incoming.last_at)
    yield _gauge("assay_file_interval_seconds", "The usual time between two incoming files", incoming.every)


def _of_runs(standing: Standing) -> Iterator[Metric]:
    run, schedule = standing.last_run, standing.incoming.schedule
    if run:
        yield _gauge("assay_last_run_timestamp_seconds", "When the last run over the incoming folder ended", run.at)
        yield _states("assay_last_run", "What that run came to", {"": run.outcome}, get_args(Outcome))
        yield _gauge("assay_last_run_duration_seconds", "How long that run took", run.seconds)
        steps = [({"stage": name}, seconds) for name, seconds in run.steps.items()]
        yield _gauges("assay_last_run_stage_duration_seconds", "How long its stages took, all files together", steps)
    if schedule:
        yield _gauge("assay_next_run_timestamp_seconds", "When a run is due by the schedule", schedule.due)
        yield _gauge("assay_missed_runs", "Runs of late that nobody served", schedule.missed)


def _of_rows(standing: Standing) -> Iterator[Metric]:
    totals, batch = standing.totals, standing.last_batch
    if not totals:
        return
    yield _counter("assay_batches_total", "Batches scored", totals["batches"])
    yield _counter("assay_refusals_total", "Files refused", totals["refused"])
    for name in COUNTED:
        yield _counter(f"assay_{name}_rows_total", f"{ROWS[name]}, over all scored batches", totals[name])
    if batch:
        for name in COUNTED:
            yield _gauge(f"assay_last_batch_{name}_rows", f"{ROWS[name]}, of the last batch", getattr(batch, name))
        text = "Rows of the last batch that are in the queue to explore"
        yield _gauge("assay_last_batch_exploring_rows", text, standing.exploring)
        yield _gauge("assay_last_success_timestamp_seconds", "When the last batch was scored", batch.scored_at)
        yield _gauge("assay_last_row_timestamp_seconds", "The moment of its last row", batch.last_timestamp)


def _of_model(standing: Standing) -> Iterator[Metric]:
    info = InfoMetricFamily("assay_model", "Versions of the model; one that has several aliases has a line each.")
    cuts = []
    for version in standing.versions:
        for alias in version.aliases or ("",):
            info.add_metric([], {"version": version.number, "alias": alias, "strategy": standing.strategy})
        cuts.append(({"version": version.number}, version.threshold))
    yield info
    yield _gauges("assay_threshold", "The anomaly score above which rows of its last batch were flagged", cuts)
    if standing.last_batch:
        text = "Whether the last batch scores unlike the training"
        yield _states("assay_drift", text, {"": standing.drift.state}, DRIFTS)
        text = "Share of its rows that score above 99 % of the training's normal rows"
        yield _gauge("assay_drift_ratio", text, standing.drift.share)
        checks = dict.fromkeys(get_args(CheckName), "ok") | {event.check: event.state for event in standing.watch}
        yield _states("assay_watch", "How the checks of the watch stand", checks, get_args(CheckState), by="check")


def _of_disk(standing: Standing) -> Iterator[Metric]:
    parts = [({"part": name}, count) for name, count in standing.used.items() if count and name != TEXTFILE]
    yield _gauges("assay_disk_used_bytes", "Bytes in the work folder, by what lies in it", parts)
    yield _gauge("assay_disk_free_bytes", "Bytes that are free on its disk", standing.free)


def _gauge(name: str, text: str, value: Value) -> Metric:
    return _gauges(name, text, [({}, value)])


def _gauges(name: str, text: str, samples: Samples) -> Metric:
    metric = GaugeMetricFamily(name, f"{text}.")
    for labels, value in samples:
        if value is not None:
            metric.add_sample(name, dict(labels), _number(value))
    return metric


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, f"{text}.", value=value)


def _states(name: str, text: str, current: Mapping[str, str], states: Sequence[str], *, by: str = "") -> Metric:
    """Return which of some states holds, of one thing or of several told apart by a label."""
    metric = StateSetMetricFamily(name, f"{text}.", labels=[by] if by else [])
    for thing, state in current.items():
        metric.add_metric([thing] if by else [], {each: each == state for each in states})
    return metric


def _number(value: float | datetime | timedelta) -> float:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).timestamp()
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
