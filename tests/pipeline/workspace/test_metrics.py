"""The textfile, read by prometheus_client's own parser and held against what the same standing says."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from pipeline.settings.config import Config
from pipeline.workspace.ledger import Entry
from pipeline.workspace.metrics import exposition, textfile, write_metrics
from pipeline.workspace.nightly import LastRun, Schedule
from pipeline.workspace.standing import BatchDrift, Finding, Incoming, Standing, Version
from pipeline.workspace.watch import WatchEvent

NOW = datetime(2025, 3, 2, 2, 10)
HOUR = timedelta(hours=1)
BATCH = Entry(
    batch_id="b",
    source="/in/day.csv",
    digest="d",
    period_start=None,
    period_end=None,
    model_name="cards",
    model_version="3",
    scored_at=NOW - HOUR,
    read=100,
    accepted=90,
    quarantined=10,
    scored=90,
    flagged=4,
    first_timestamp=NOW - 26 * HOUR,
    last_timestamp=NOW - 2 * HOUR,
)
SCHEMA = WatchEvent(
    check="schema",
    state="warn",
    previous="ok",
    reason="x is new",
    day=NOW.date(),
    batch_id="b",
    model_version="3",
    at=NOW,
)
STANDING = Standing(
    name="cards",
    work_dir="/srv/cards",
    at=NOW,
    incoming=Incoming(
        folder="/in",
        last="day.csv",
        last_at=NOW - HOUR,
        every=24 * HOUR,
        waiting=("a.csv", "b.csv"),
        oldest_at=NOW - 3 * HOUR,
        refused={"c.csv": "row 4 holds SECRET"},
        left_out=5,
        schedule=Schedule(cron="0 2 * * *", time_zone="UTC", due=NOW + HOUR, missed=6),
    ),
    last_batch=BATCH,
    last_refused=None,
    last_run=LastRun(at=NOW - HOUR, outcome="refused", message="SECRET", seconds=12.5, steps={"score": 3.25}),
    versions=(
        Version(number="3", aliases=("champion", "previous"), since=NOW, batches=2, threshold=4.5),
        Version(number="4", aliases=("candidate",), since=NOW, batches=0, threshold=None),
    ),
    strategy="capacity",
    drift=BatchDrift(state="warn", share=0.07),
    watch=(SCHEMA,),
    used={"batches": 3000, "ledger.db": 200, "assay.prom": 7, "score.lock": 0},
    free=10**12,
    exploring=8,
    totals={"batches": 2, "refused": 1, "read": 300, "accepted": 280, "quarantined": 20, "scored": 280, "flagged": 11},
    findings=(Finding(state="attention", text="SECRET", brief="c.csv was refused."),),
)


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(text: str) -> dict[str, float]:
    """Return what each series holds, by its name and its labels but the table's."""
    found = {}
    for family in families(text).values():
        for sample in family.samples:
            assert sample.labels["table"] == "cards"
            rest = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()) if key != "table")
            found[f"{sample.name}{{{rest}}}" if rest else sample.name] = sample.value
    return found


def seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()


def test_every_series_holds_what_the_standing_says() -> None:
    text = exposition(STANDING)
    expected = {
        "assay_standing_timestamp_seconds": seconds(NOW),
        "assay_findings{state=attention}": 1,
        "assay_findings{state=stopped}": 0,
        "assay_waiting_files": 2,
        "assay_oldest_waiting_timestamp_seconds": seconds(NOW) - 3 * 3600,
        "assay_refused_files": 1,
        "assay_left_out_files": 5,
        "assay_last_file_timestamp_seconds": seconds(NOW) - 3600,
        "assay_file_interval_seconds": 86400,
        "assay_last_run_timestamp_seconds": seconds(NOW) - 3600,
        "assay_last_run_duration_seconds": 12.5,
        "assay_last_run_stage_duration_seconds{stage=score}": 3.25,
        "assay_next_run_timestamp_seconds": seconds(NOW) + 3600,
        "assay_missed_runs": 6,
        "assay_batches_total": 2,
        "assay_refusals_total": 1,
        "assay_read_rows_total": 300,
        "assay_accepted_rows_total": 280,
        "assay_quarantined_rows_total": 20,
        "assay_scored_rows_total": 280,
        "assay_flagged_rows_total": 11,
        "assay_last_batch_read_rows": 100,
        "assay_last_batch_accepted_rows": 90,
        "assay_last_batch_quarantined_rows": 10,
        "assay_last_batch_scored_rows": 90,
        "assay_last_batch_flagged_rows": 4,
        "assay_last_batch_exploring_rows": 8,
        "assay_last_success_timestamp_seconds": seconds(NOW) - 3600,
        "assay_last_row_timestamp_seconds": seconds(NOW) - 2 * 3600,
        "assay_model_info{alias=champion,strategy=capacity,version=3}": 1,
        "assay_model_info{alias=previous,strategy=capacity,version=3}": 1,
        "assay_model_info{alias=candidate,strategy=capacity,version=4}": 1,
        "assay_threshold{version=3}": 4.5,
        "assay_drift_ratio": 0.07,
        "assay_disk_used_bytes{part=batches}": 3000,
        "assay_disk_used_bytes{part=ledger.db}": 200,
        "assay_disk_free_bytes": 10**12,
    }
    states = {
        "assay_state": ("attention", ("fine", "attention", "stopped")),
        "assay_last_run": ("refused", ("done", "refused", "failed", "stopped")),
        "assay_drift": ("warn", ("ok", "warn", "unknown")),
    }
    for name, (current, all_states) in states.items():
        expected |= {f"{name}{{{name}={state}}}": state == current for state in all_states}
    for check in ("schema", "rows", "columns", "scores", "alerts"):
        current = "warn" if check == "schema" else "ok"
        expected |= {
            f"assay_watch{{assay_watch={state},check={check}}}": state == current for state in ("ok", "warn", "stop")
        }
    assert values(text) == expected
    assert "SECRET" not in text


def test_names_and_units_are_as_prometheus_asks() -> None:
    units = ("_seconds", "_bytes", "_ratio", "_info", "_total")
    for family in families(exposition(STANDING)).values():
        assert family.name.startswith("assay_")
        assert family.documentation.endswith(".")
        assert family.type == ("counter" if family.samples[0].name.endswith("_total") else "gauge")
        words = {"timestamp", "duration", "interval", "used", "free", "ratio"} & set(family.name.split("_"))
        assert not words or family.name.endswith(units)


def test_of_what_is_not_known_there_is_no_line_but_its_table_stands() -> None:
    bare = Standing(
        name="cards",
        work_dir="/srv",
        at=NOW,
        incoming=Incoming(folder="/in", refused={}),
        last_batch=None,
        last_refused=None,
        last_run=None,
        versions=(),
        strategy="capacity",
        drift=BatchDrift(state="unknown"),
        watch=(),
        used={},
        free=1,
    )
    text = exposition(bare)
    assert values(text)["assay_state{assay_state=fine}"] == 1
    assert set(values(text)) & {"assay_drift_ratio", "assay_batches_total", "assay_last_run_timestamp_seconds"} == set()
    assert "# HELP assay_model_info" not in text
    unread = replace(STANDING, exploring=None, drift=BatchDrift(state="unknown"))
    assert set(values(exposition(STANDING))) - set(values(exposition(unread))) == {
        "assay_last_batch_exploring_rows",
        "assay_drift_ratio",
    }


def make_config(folder: Path, **metrics: object) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    return Config.model_validate({"contract": contract, "work_dir": str(folder / "work"), "metrics": metrics})


def test_the_file_is_written_whole_where_the_configuration_says(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert write_metrics(config, STANDING) == ""
    assert list(tmp_path.iterdir()) == []  # no work folder is made for it
    (tmp_path / "work").mkdir()
    assert write_metrics(config, STANDING) == ""
    assert write_metrics(make_config(tmp_path, path=str(tmp_path / "cards.prom")), STANDING) == ""
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["assay.prom"]
    assert textfile(config).read_text() == (tmp_path / "cards.prom").read_text() == exposition(STANDING)
    (tmp_path / "cards.prom").unlink()
    assert write_metrics(make_config(tmp_path, path=str(tmp_path / "cards.prom"), enabled=False), STANDING) == ""
    assert not (tmp_path / "cards.prom").exists()


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (
            "none/cards.prom",
            r"there is no folder .*/none for the textfile of metrics\.path; make it, or name another file",
        ),
        (
            "folder",
            r"the textfile .*/folder can't be written \(Is a directory\); mend that, or name another as metrics\.path",
        ),
    ],
)
def test_what_keeps_it_from_being_written_is_said_and_nothing_is_left(path: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert re.fullmatch(fault, write_metrics(make_config(tmp_path, path=str(tmp_path / path)), STANDING))
    assert [place.name for place in tmp_path.rglob("*")] == ["folder"]
