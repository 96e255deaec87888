"""How a table's pipeline stands, from a work folder that is written by hand."""

import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.workspace.database import connect
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.nightly import Nightly, Schedule
from pipeline.workspace.retraining import LastRetraining, note_retraining
from pipeline.workspace.schema import ALIAS_CHANGES, VERSION_TABLE
from pipeline.workspace.standing import Standing, standing
from pipeline.workspace.watch import Stand, WatchEvents

NOW = datetime.now(UTC).replace(tzinfo=None)
HOUR = timedelta(hours=1)


def make_config(folder: Path, **sections: object) -> Config:
    (folder / "incoming").mkdir(parents=True, exist_ok=True)
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    raw = {"contract": contract, "name": "cards", "work_dir": str(folder / "work"), **sections}
    return Config.model_validate({"table": {"incoming": str(folder / "incoming")}, **raw})


def set_aliases(config: Config, *changes: tuple[str, str | None], at: datetime = NOW - 48 * HOUR) -> None:
    rows = [
        {"model_name": "cards", "alias": alias, "version": version, "replaced": None, "action": "promote", "why": "",
         "who": "ann", "at": at, "failed_gates": "[]"}
        for alias, version in changes
    ]  # fmt: skip
    with connect(config).begin() as connection:
        connection.execute(sa.insert(ALIAS_CHANGES), rows)


def deliver(config: Config, name: str, text: str, *, hours: float = 2) -> Path:
    """Put a file into the incoming folder, and set it back in time as far as a test can."""
    path = Path(config.table.incoming) / name
    path.write_text(text)
    os.utime(path, (datetime.now(UTC).timestamp() - 3600 * hours,) * 2)
    return path


def record(config: Config, path: Path, *, at: datetime | None = None, unusual: int = 10, **changes: object) -> Entry:
    """Record a file of 1,000 rows as scored, `unusual` of which have a p-value of 0.01."""
    batch = Batch.of(path, config)
    folder = Path(config.work_dir) / "batches" / batch.id
    folder.mkdir(parents=True)
    p_values = np.r_[np.full(unusual, 0.01), np.linspace(0.0101, 1, 1000 - unusual)]
    pq.write_table(pa.table({"p_value": p_values}), folder / "scores.parquet")
    entry = Entry(
        batch_id=batch.id,
        source=str(path),
        digest=batch.digest,
        period_start=None,
        period_end=None,
        model_name="cards",
        model_version="1",
        threshold=3.5,
        read=1000,
        accepted=1000,
        scored=1000,
        flagged=7,
        folder=str(folder),
        scored_at=at or datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=1),
        rules=batch.rules,
    )
    Ledger(config).record(replace(entry, **changes))
    return entry


def texts(result: Standing) -> list[str]:
    return [f"{finding.state}: {finding.text}" for finding in result.findings]


def test_all_is_fine_where_every_file_was_scored_and_nothing_is_written(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"), ("candidate", "2"), ("previous", "0"), ("previous", None))
    record(config, deliver(config, "day.csv", "a"))
    before = sorted(tmp_path.rglob("*"))
    result = standing(config)
    assert sorted(tmp_path.rglob("*")) == before
    assert (result.state, result.findings) == ("fine", ())
    assert (result.incoming.last, result.incoming.waiting) == ("day.csv", ())
    champion, candidate = result.versions
    assert (champion.aliases, champion.number, champion.batches, champion.threshold) == (("champion",), "1", 1, 3.5)
    assert (candidate.aliases, candidate.number, candidate.batches, candidate.threshold) == (
        ("candidate",),
        "2",
        0,
        None,
    )
    assert result.last_batch is not None
    assert result.last_batch.flagged == 7
    assert result.drift.state == "ok"
    assert result.drift.share == pytest.approx(0.01)
    batches = sum(file.stat().st_size for file in (tmp_path / "work" / "batches").rglob("*.parquet"))
    assert result.used["batches"] == batches


def test_counts_add_up_over_all_batches_that_were_ever_scored(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    record(config, deliver(config, "a.csv", "a"), status="replaced")
    record(config, deliver(config, "b.csv", "b"), status="refused", read=50, accepted=0, scored=0, flagged=0)
    assert standing(config).exploring is None
    last = record(config, deliver(config, "c.csv", "c"), quarantined=3)
    pq.write_table(pa.table({"tx": range(9)}), Path(last.folder) / "alerts.parquet")
    result = standing(config)
    counts = {"read": 2000, "accepted": 2000, "quarantined": 3, "scored": 2000, "flagged": 14}
    assert result.totals == {"batches": 2, "refused": 1, **counts}
    assert result.exploring == 2


def test_nothing_is_made_where_nothing_is_yet(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    result = standing(config)
    assert texts(result) == [
        "stopped: no version of 'cards' is the champion yet, so nothing can be scored; train one with: assay train"
    ]
    assert not (tmp_path / "work").exists()


def test_a_new_file_waits_and_a_known_content_under_another_name_does_not(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    record(config, deliver(config, "day.csv", "a"))
    deliver(config, "copy.csv", "a")
    deliver(config, "new.csv", "b")
    deliver(config, "late.csv.part", "c")
    result = standing(config)
    assert (result.incoming.waiting, result.incoming.skipped) == (("new.csv",), 1)
    assert result.state == "fine"
    assert texts(standing(config, NOW + 26 * HOUR))[0].startswith("attention: 1 new file waits since ")


def test_a_changed_file_waits(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    record(config, deliver(config, "day.csv", "a"), at=NOW - HOUR)
    assert standing(config).incoming.waiting == ()
    deliver(config, "day.csv", "other")
    assert standing(config).incoming.waiting == ("day.csv",)


def test_a_refused_file_is_told_until_it_is_gone_or_scored(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    path = deliver(config, "day.csv", "a")
    record(config, path, status="refused", message="day.csv is empty; give it rows", scored=0)
    result = standing(config)
    assert texts(result) == ["attention: day.csv was refused: day.csv is empty; give it rows"]
    assert (result.incoming.waiting, dict(result.incoming.refused)) == (
        (),
        {"day.csv": "day.csv is empty; give it rows"},
    )
    path.unlink()
    result = standing(config)
    assert result.state == "fine"
    assert result.last_refused is not None
    assert result.last_refused.message == "day.csv is empty; give it rows"


def test_a_run_that_came_to_nothing_stops_and_one_that_will_be_tried_again_needs_attention(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    Nightly(config).end("stopped", "the MLflow store cannot be used; mend it")
    result = standing(config)
    assert texts(result) == ["stopped: the last run over the incoming folder: the MLflow store cannot be used; mend it"]
    Nightly(config).end("failed", "a.csv: no space left on device")
    assert standing(config).state == "attention"
    for outcome in ("done", "refused"):  # a refused file is told by itself, while it is there
        Nightly(config).end(outcome, "one was refused")
        assert standing(config).state == "fine"


def test_a_run_that_was_due_and_did_not_come_is_told(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    Nightly(config).plan(Schedule(cron="0 2 * * *", time_zone="Europe/Berlin", due=NOW))
    assert standing(config, NOW + timedelta(minutes=5)).state == "fine"
    (text,) = texts(standing(config, NOW + HOUR))
    assert text.startswith(f"attention: a run was due at {NOW:%Y-%m-%d %H:%M} UTC (0 2 * * *, Europe/Berlin)")


@pytest.mark.parametrize(
    ("catch_up", "remedy"),
    [
        ("all", "one run makes up for them, and scores every file that came"),
        ("latest", "one run makes up for the last of them; score earlier files"),
        ("skip", "no run makes up for them; score what came meanwhile"),
    ],
)
def test_missed_runs_are_told_with_what_becomes_of_them(catch_up: str, remedy: str, tmp_path: Path) -> None:
    config = make_config(tmp_path, schedule={"catch_up": catch_up})
    set_aliases(config, ("champion", "1"))
    due, since = NOW + 20 * HOUR, NOW - 60 * HOUR
    Nightly(config).plan(Schedule(cron="0 2 * * *", time_zone="UTC", due=due, missed=3, missed_since=since))
    (text,) = texts(standing(config, NOW))
    assert text.startswith(f"attention: 3 runs were missed since {since:%Y-%m-%d %H:%M} UTC, while nobody served the")
    assert remedy in text


def test_a_file_that_does_not_come_is_told_by_the_rhythm_of_the_others(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    for day in range(1, 5):
        record(config, deliver(config, f"{day}.csv", str(day)), at=NOW + day * 24 * HOUR)
    last = NOW + 4 * 24 * HOUR
    assert standing(config, last).incoming.every == 24 * HOUR
    assert standing(config, last + 47 * HOUR).state == "fine"
    (text,) = texts(standing(config, last + 49 * HOUR))
    assert "and one usually comes every 24 hours; ask whoever delivers them" in text


def test_a_batch_unlike_the_training_is_told(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    record(config, deliver(config, "day.csv", "a"), unusual=60)
    result = standing(config)
    assert result.drift.state == "warn"
    assert result.drift.share == pytest.approx(0.06)
    assert "6 % of the rows of day.csv score above 99 % of the training's normal rows" in texts(result)[0]


def test_scores_that_are_gone_leave_the_drift_unknown(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    entry = record(config, deliver(config, "day.csv", "a"))
    (Path(entry.folder) / "scores.parquet").unlink()
    assert standing(config).drift.state == "unknown"


def test_a_ledger_of_another_version_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    config = make_config(tmp_path, tracking={"uri": "http://127.0.0.1:9"})
    engine = connect(config)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    (text,) = texts(standing(config))
    assert text.startswith("attention: the ledger is of another version of Assay")
    with engine.begin() as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar() == "0001"


def test_a_ledger_that_is_no_database_stops(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "ledger.db").write_text("no database, but long enough to be one" * 100)
    result = standing(config)
    assert result.state == "stopped"
    assert "cannot be used: file is not a database" in texts(result)[0]


def test_the_incoming_folder_must_be_there_where_it_is_used(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    (tmp_path / "incoming").rmdir()
    assert standing(config).state == "fine"
    Nightly(config).end("done")
    assert "incoming does not exist" in texts(standing(config))[0]


def test_a_lost_ledger_stops_and_is_not_made_anew(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    record(config, deliver(config, "day.csv", "a"))
    batches = tmp_path / "work" / "batches"
    next(batches.iterdir()).rename(batches / "a1-v1")
    (tmp_path / "work" / "ledger.db").unlink()
    (text,) = texts(standing(config))
    assert "ledger.db is missing, and 1 batch lies in" in text
    assert not (tmp_path / "work" / "ledger.db").exists()


def test_a_check_that_warns_needs_attention_and_one_that_stops_is_stopped(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_aliases(config, ("champion", "1"))
    record(config, deliver(config, "day.csv", "a"))
    events, march = WatchEvents(config), {"day": date(2025, 3, 1), "batch_id": "b", "model_version": "1"}
    events.note([Stand("scores", "warn", "The scores are odd.", 2.0), Stand("rows", "ok", "Fine.")], **march)
    result = standing(config)
    assert texts(result) == ["attention: the watch warns since 2025-03-01 (scores): The scores are odd."]
    assert result.findings[0].brief == "The watch warns (scores)."
    later = march | {"day": date(2025, 3, 9)}
    events.note([Stand("scores", "warn", "The scores are very odd.", 4.0)], **later)
    result = standing(config)
    assert texts(result) == ["attention: the watch warns of more since 2025-03-09 (scores): The scores are very odd."]
    assert result.findings[0].brief == "The watch warns of more since 2025-03-09 (scores)."
    events.note([Stand("scores", "stop", "The scores are odd.")], **march)
    assert texts(standing(config)) == [
        "stopped: the watch has kept alerts back since 2025-03-01 (scores): The scores are odd."
    ]
    events.note([Stand("scores", "ok", "Fine.")], **march)
    assert standing(config).state == "fine"


def test_a_retraining_that_failed_or_waits_is_told_and_one_that_is_due_is_shown(tmp_path: Path) -> None:
    config = make_config(tmp_path, retrain={"every_days": 2, "new_labels": 1})
    set_aliases(config, ("champion", "1"), ("candidate", "2"))
    result = standing(config, NOW)
    assert result.outlook is not None
    assert result.outlook.reasons == ("the last training was 2 days ago, with every_days = 2",)
    assert (result.state, result.last_retraining) == ("fine", None)
    why = result.outlook.reasons
    failed = LastRetraining(outcome="failed", reasons=why, message="the store is away; start it", at=NOW)
    note_retraining(config, failed)
    (text,) = texts(standing(config, NOW))
    assert text == f"attention: the last retraining, due for {why[0]}, failed: the store is away; start it"
    past = LastRetraining(outcome="failed", reasons=why, message="the store is away", at=NOW - 49 * HOUR)
    note_retraining(config, past)
    assert standing(config, NOW).findings == ()  # a version was trained since
    waits = LastRetraining(outcome="waits", reasons=why, version="2", message="it passes every gate", at=NOW)
    note_retraining(config, waits)
    (finding,) = standing(config, NOW).findings
    assert finding.brief == "Version 2 was trained and waits for promotion."
    assert finding.text.endswith("and waits: it passes every gate; look at its comparison, and make it champion with: "
                                 "assay promote 2")  # fmt: skip
    set_aliases(config, ("champion", "2"), ("candidate", None), at=NOW)
    assert standing(config, NOW).findings == ()
    assert standing(make_config(tmp_path), NOW).outlook is None
