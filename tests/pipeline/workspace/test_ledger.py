"""The ledger of scored batches."""

import multiprocessing
import os
import signal
import sqlite3
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pipeline.errors import AssayError, ConfigError
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.contract import Contract
from pipeline.tables.batch import Batch, batch_id
from pipeline.tables.period import Period
from pipeline.workspace.ledger import Entry, Ledger, lock
from tests.processes import SECONDS, running

CONTRACT = Contract(id="tx", timestamp="at", amount="eur", entities=("card",), types={"tx": "integer"})
WHOLE = Period(None, None)
DAY = timedelta(days=1)


def make_config(folder: Path, name: str = "cards", **tracking: str) -> Config:
    return Config(contract=CONTRACT, name=name, work_dir=str(folder), tracking=tracking)


def make_entry(batch: str = "a1", version: str = "1", **changes: object) -> Entry:
    entry = Entry(
        batch_id=batch,
        source="/data/monday.parquet",
        digest="d-" + batch,
        period_start=None,
        period_end=None,
        model_name="cards",
        model_version=version,
        threshold=3.5,
        read=100,
        accepted=90,
        quarantined=4,
        outside=6,
        scored=90,
        flagged=2,
        first_timestamp=datetime(2025, 1, 6),
        last_timestamp=datetime(2025, 1, 6, 23, 59, 59, 123456),
        folder=f"/assay/batches/{batch}",
        scored_at=datetime(2025, 1, 7, 2),
    )
    return replace(entry, **changes)


def make_batch(path: str | Path, digest: str = "", id: str = "", *, period: Period = WHOLE, rules: str = "") -> Batch:
    return Batch(path=Path(path), period=period, digest=digest, id=id, settings=TableConfig(), rules=rules)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(make_config(tmp_path))


def test_batch_id_depends_on_content_period_and_contract_and_on_nothing_else() -> None:
    base = batch_id("d", WHOLE, CONTRACT)
    day = Period(datetime(2025, 1, 1), datetime(2025, 1, 2))
    others = [
        batch_id("e", WHOLE, CONTRACT),
        batch_id("d", day, CONTRACT),
        batch_id("d", Period(day.start, None), CONTRACT),
        batch_id("d", Period(None, day.start), CONTRACT),
        batch_id("d", WHOLE, CONTRACT.model_copy(update={"entities": ()})),
        batch_id("d", WHOLE, CONTRACT.model_copy(update={"sensitive": ("card",)})),
    ]
    assert len({base, *others}) == 7
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in others)
    reordered = Contract.model_validate(dict(reversed(list(CONTRACT.model_dump().items()))))
    assert batch_id("d", Period(None, None), reordered) == base


def test_an_entry_comes_back_as_it_was_written(tmp_path: Path, ledger: Ledger) -> None:
    entry = make_entry(period_start=datetime(2025, 1, 6), period_end=datetime(2025, 1, 7))
    ledger.record(entry)
    assert Ledger(make_config(tmp_path)).find("a1", "1") == entry


def test_an_aware_moment_is_kept_in_utc(ledger: Ledger) -> None:
    ledger.record(make_entry(scored_at=datetime(2025, 1, 7, 2, tzinfo=timezone(timedelta(hours=5)))))
    found = ledger.find("a1", "1")
    assert found is not None
    assert found.scored_at == datetime(2025, 1, 6, 21)


def test_only_the_same_batch_and_version_is_recognised(ledger: Ledger) -> None:
    ledger.record(make_entry())
    assert ledger.find("a1", "1") is not None
    assert ledger.find("a1", "2") is None
    assert ledger.find("b2", "1") is None


def test_a_batch_scored_again_stands_once_in_the_ledger(ledger: Ledger) -> None:
    ledger.record(make_entry(flagged=2))
    ledger.record(make_entry(flagged=7))
    found = ledger.find("a1", "1")
    assert found is not None
    assert found.flagged == 7
    assert len(ledger.near(datetime(2025, 1, 6), datetime(2025, 1, 6), DAY)) == 1


def test_a_changed_file_replaces_what_every_version_made_of_it(ledger: Ledger) -> None:
    for version in ("1", "2"):
        ledger.record(make_entry("a1", version))
    other_day = make_entry("b2", source="/data/tuesday.parquet")
    other_period = make_entry("c3", period_start=datetime(2025, 1, 6))
    ledger.record(other_day)
    ledger.record(other_period)
    replaced = ledger.replaced_by(make_batch("/data/monday.parquet", id="a9"))
    assert {(entry.batch_id, entry.model_version) for entry in replaced} == {("a1", "1"), ("a1", "2")}
    ledger.record(make_entry("a9", "2"), [entry.batch_id for entry in replaced])
    assert ledger.find("a1", "1") is None
    assert ledger.find("a1", "2") is None
    assert ledger.find("a9", "2") is not None
    assert ledger.find("b2", "1") == other_day
    assert ledger.find("c3", "1") == other_period
    assert ledger.replaced_by(make_batch("/data/monday.parquet", id="a9")) == []


def test_a_file_that_changes_back_is_scored_again_and_replaces_in_turn(ledger: Ledger) -> None:
    ledger.record(make_entry("a1"))
    ledger.record(make_entry("a9"), ["a1"])
    assert ledger.handled().entry_of(make_batch("/data/monday.parquet", digest="d-a1")) is None
    assert [entry.batch_id for entry in ledger.replaced_by(make_batch("/data/monday.parquet", id="a1"))] == ["a9"]
    ledger.record(make_entry("a1"), ["a9"])
    assert ledger.find("a1", "1") is not None
    assert ledger.find("a9", "1") is None


def test_a_failed_record_changes_nothing(ledger: Ledger) -> None:
    ledger.record(make_entry("a1"))
    broken = make_entry("a9", scored_at=None)
    with pytest.raises(sa.exc.IntegrityError, match="scored_at"):
        ledger.record(broken, ["a1"])
    assert ledger.find("a1", "1") is not None


def test_ids_are_looked_for_only_in_batches_near_in_time(ledger: Ledger) -> None:
    first, last = datetime(2025, 1, 10), datetime(2025, 1, 11)
    spans = {
        "early": (datetime(2025, 1, 1), datetime(2025, 1, 7, 23, 59)),
        "just": (datetime(2025, 1, 1), datetime(2025, 1, 8)),
        "around": (datetime(2025, 1, 1), datetime(2025, 2, 1)),
        "inside": (datetime(2025, 1, 10, 5), datetime(2025, 1, 10, 6)),
        "after": (datetime(2025, 1, 13), datetime(2025, 1, 14)),
        "late": (datetime(2025, 1, 13, 0, 1), datetime(2025, 1, 14)),
        "own": (first, last),
    }
    for name, (start, end) in spans.items():
        ledger.record(make_entry(name, first_timestamp=start, last_timestamp=end, source=f"/data/{name}"))
    ledger.record(make_entry("empty", first_timestamp=None, last_timestamp=None, scored=0))
    found = ledger.near(first, last, 2 * DAY, {"own"})
    assert [entry.batch_id for entry in found] == ["around", "just", "inside", "after"]
    everything = ledger.near(datetime.min, datetime.max, 2 * DAY)
    assert {entry.batch_id for entry in everything} == set(spans)


def test_the_latest_batch_is_that_of_the_latest_rows_that_one_of_the_versions_scored(ledger: Ledger) -> None:
    assert ledger.latest(["1", "2"]) is None
    late = datetime(2025, 1, 9)
    ledger.record(make_entry("a1", "1"))
    ledger.record(make_entry("b2", "2", last_timestamp=late, scored_at=datetime(2025, 1, 10)))
    ledger.record(make_entry("b2", "3", last_timestamp=late, scored_at=datetime(2025, 1, 11)))
    ledger.record(make_entry("c3", "1", status="refused", last_timestamp=None))
    ledger.record(make_entry("d4", "9", last_timestamp=datetime(2025, 2, 1)))
    found = [ledger.latest(versions) for versions in (["1"], ["1", "2"], ["1", "2", "3"], [])]
    assert [entry and (entry.batch_id, entry.model_version) for entry in found] == [
        ("a1", "1"),
        ("b2", "2"),
        ("b2", "3"),
        None,
    ]


@pytest.mark.parametrize("latest", ["1", "2"])
@pytest.mark.parametrize("first", ["1", "2"])
def test_of_a_batch_scored_by_two_versions_the_latest_entry_is_looked_into(
    ledger: Ledger, first: str, latest: str
) -> None:
    for version in (first, {"1": "2", "2": "1"}[first]):
        ledger.record(make_entry("a1", version, scored_at=datetime(2025, 2 if version == latest else 1, 1)))
    found = ledger.near(datetime(2025, 1, 6), datetime(2025, 1, 6), DAY)
    assert [entry.model_version for entry in found] == [latest]


def test_the_latest_batch_is_not_the_one_scored_last(ledger: Ledger) -> None:
    ledger.record(make_entry("a1", last_timestamp=datetime(2025, 1, 9), scored_at=datetime(2025, 1, 10)))
    ledger.record(make_entry("b2", last_timestamp=datetime(2025, 1, 8), scored_at=datetime(2025, 1, 20)))
    found = ledger.latest(["1"])
    assert found is not None
    assert found.batch_id == "a1"


def test_a_refusal_stays_one_when_its_batch_is_replaced(ledger: Ledger) -> None:
    refusal = make_entry("a1", "2", status="refused", message="no ids")
    ledger.record(make_entry("a1", "1"))
    ledger.record(refusal)
    ledger.record(make_entry("a9", "1"), ["a1"])
    assert ledger.find("a1", "1") is None
    assert ledger.handled().entry_of(make_batch("/data/monday.parquet", digest="d-a1")) == refusal


def test_a_file_that_was_scored_is_old_as_scored_also_where_another_version_refused_it_later(ledger: Ledger) -> None:
    scored = make_entry("a1", "1")
    ledger.record(scored)
    ledger.record(make_entry("a1", "2", status="refused", message="no", scored_at=datetime(2025, 3, 1)))
    assert ledger.handled().entry_of(make_batch("/data/monday.parquet", digest="d-a1")) == scored


def test_refused_and_replaced_batches_take_no_ids(ledger: Ledger) -> None:
    ledger.record(make_entry("a1"))
    ledger.record(make_entry("a9", first_timestamp=datetime(2025, 1, 6), status="refused", message="no ids"))
    ledger.record(make_entry("b2"), ["a1"])
    found = ledger.near(datetime(2025, 1, 6), datetime(2025, 1, 6), DAY)
    assert [entry.batch_id for entry in found] == ["b2"]


def test_the_schedule_sees_every_new_file_and_no_old_one(ledger: Ledger) -> None:
    monday = "/data/monday.parquet"
    assert ledger.handled().entry_of(make_batch(monday, digest="d-a1")) is None
    ledger.record(make_entry("a1", "1"))
    scored = ledger.handled().entry_of(make_batch(monday, digest="d-a1"))
    assert scored is not None
    assert (scored.status, scored.model_version) == ("scored", "1")
    assert ledger.handled().entry_of(make_batch("/elsewhere/copy.parquet", digest="d-a1")) is not None
    assert ledger.handled().entry_of(make_batch(monday, digest="changed")) is None
    # A part of the file was scored by name; the rest of it is still to do.
    ledger.record(make_entry("b2", period_end=datetime(2025, 1, 3), source="/data/part.parquet"))
    assert ledger.handled().entry_of(make_batch("/data/part.parquet", digest="d-b2")) is None


def test_a_refused_file_is_old_until_it_changes_and_may_be_tried_by_name(ledger: Ledger) -> None:
    refusal = make_entry("a1", read=50, refused=50, status="refused", message="column eur is missing", folder="")
    ledger.record(refusal)
    assert ledger.handled().entry_of(make_batch("/data/monday.parquet", digest="d-a1")) == refusal
    assert ledger.find("a1", "1") is None
    assert ledger.handled().entry_of(make_batch("/data/monday.parquet", digest="mended")) is None
    # Two empty files have the same content: each is refused, and told of, once.
    assert ledger.handled().entry_of(make_batch("/data/tuesday.parquet", digest="d-a1")) is None
    ledger.record(make_entry("a1"))
    assert ledger.find("a1", "1") == make_entry("a1")


def test_files_of_one_content_are_refused_each_and_stay_refused(ledger: Ledger) -> None:
    refusals = [
        make_entry("a1", source=f"/data/{day}.parquet", digest="d", status="refused", message=f"{day} is empty")
        for day in ("monday", "tuesday", "monday")
    ]
    for refusal in refusals:
        ledger.record(refusal)
    assert ledger.handled().entry_of(make_batch("/data/monday.parquet", digest="d")) == refusals[0]
    assert ledger.handled().entry_of(make_batch("/data/tuesday.parquet", digest="d")) == refusals[1]
    assert len(ledger._select()) == 2


def test_a_refused_file_is_new_again_under_other_rules(ledger: Ledger) -> None:
    refusal = make_entry("a1", status="refused", message="cut at ','", rules="comma")
    ledger.record(refusal)
    monday = "/data/monday.parquet"
    assert ledger.handled().entry_of(make_batch(monday, digest="d-a1", rules="comma")) == refusal
    assert ledger.handled().entry_of(make_batch(monday, digest="d-a1", rules="semicolon")) is None
    ledger.record(make_entry("a2", digest="d-a1", status="refused", message="no ids", rules="semicolon"))
    assert ledger.handled().entry_of(make_batch(monday, digest="d-a1", rules="semicolon")) is not None
    # What was scored stays so, whatever the rules.
    ledger.record(make_entry("a1", rules="semicolon"))
    assert ledger.handled().entry_of(make_batch(monday, digest="d-a1", rules="tab")) is not None


def test_a_refusal_without_rules_keeps_no_file_from_being_tried_again(ledger: Ledger) -> None:
    ledger.record(make_entry("a1", status="refused", message="the history lacks 3 days"))
    assert ledger.handled().entry_of(make_batch("/data/monday.parquet", digest="d-a1", rules="comma")) is None


def test_no_refusal_stands_of_a_content_that_was_scored(ledger: Ledger) -> None:
    tuesday = "/data/tuesday.parquet"
    ledger.record(make_entry("a1", "1", source=tuesday, status="refused", message="no"))
    ledger.record(make_entry("a1", "2"))
    ledger.record(make_entry("a9", "2"), ["a1"])
    assert ledger.handled().entry_of(make_batch(tuesday, digest="d-a1")) is None


def test_a_name_that_is_not_utf_8_is_recorded_in_letters_that_are(ledger: Ledger) -> None:
    name = os.fsdecode(b"/data/caf\xe9.csv")
    ledger.record(make_entry("a1", source=name, status="refused", message="rename it"))
    found = ledger.handled().entry_of(make_batch(name, digest="d-a1"))
    assert found is not None
    assert found.source == "/data/caf\\xe9.csv"


def test_a_refusal_leaves_the_scores_of_the_same_batch_alone(ledger: Ledger) -> None:
    ledger.record(make_entry("a1"))
    ledger.record(make_entry("a1", status="refused", message="more than 5 % of its rows fail"))
    assert ledger.find("a1", "1") == make_entry("a1")


def test_tables_do_not_see_each_others_batches(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record(make_entry("a1"))
    other = Ledger(make_config(tmp_path, name="wires"))
    assert other.find("a1", "1") is None
    assert other.handled().entry_of(make_batch("/data/monday.parquet", digest="d-a1")) is None
    assert other.replaced_by(make_batch("/data/monday.parquet", id="a9")) == []
    assert other.near(datetime(2025, 1, 6), datetime(2025, 1, 6), DAY) == []
    other.record(make_entry("a9", model_name="wires"), ["a1"])
    assert ledger.find("a1", "1") is not None
    with pytest.raises(ValueError, match="ledger of 'wires', the entry is of 'cards'"):
        other.record(make_entry("a1"))


def test_a_relative_source_is_the_same_file(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger.record(make_entry("a1", source="monday.csv"))
    assert [entry.source for entry in ledger.replaced_by(make_batch(tmp_path / "monday.csv", id="a9"))] == [
        str((tmp_path / "monday.csv").resolve())
    ]


def _record_from_a_process(folder: Path, number: int) -> None:
    ledger = Ledger(make_config(folder))
    ledger.record(make_entry(f"batch-{number}", source=f"/data/{number}"))


def test_processes_that_start_at_once_share_one_ledger(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_record_from_a_process, args=(tmp_path, n)) for n in range(4)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(SECONDS)
        assert [process.exitcode for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
    ledger = Ledger(make_config(tmp_path))
    assert all(ledger.find(f"batch-{n}", "1") for n in range(4))


def test_the_ledger_url_is_used(tmp_path: Path) -> None:
    config = make_config(tmp_path / "work", ledger_url=f"sqlite:///{tmp_path}/shared.db")
    Ledger(config).record(make_entry())
    with sqlite3.connect(tmp_path / "shared.db") as connection:
        assert connection.execute("select batch_id, status from batches").fetchall() == [("a1", "scored")]
    assert not (tmp_path / "work" / "ledger.db").exists()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("no url", r"tracking\.ledger_url is no SQLAlchemy URL"),
        ("sqlite:////nowhere/at/all/ledger.db", r"/nowhere/at/all/ledger\.db cannot be used: unable to open"),
        ("strange+driver://host/db", r"is no SQLAlchemy URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_in_one_sentence(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        Ledger(make_config(tmp_path, ledger_url=url))
    assert "\n" not in str(raised.value)


def test_a_password_in_the_url_stays_out_of_the_message(tmp_path: Path) -> None:
    url = "mssql+pyodbc://assay:secret-word@host/db"
    with pytest.raises(ConfigError, match="driver 'pyodbc'") as raised:
        Ledger(make_config(tmp_path, ledger_url=url))
    assert "secret-word" not in str(raised.value)


def test_a_driver_that_is_not_installed_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as Python finds it where it is not installed
    match = r"needs the driver 'psycopg', which is not installed; install Assay with its extra, assay\[postgres\]$"
    with pytest.raises(ConfigError, match=match):
        Ledger(make_config(tmp_path, ledger_url="postgresql+psycopg://assay@host/db"))


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("notes " * 1000)
    with pytest.raises(ConfigError, match=r"ledger\.db cannot be used: file is not a database"):
        Ledger(make_config(tmp_path))


def test_an_open_period_is_compared_so_that_postgresql_finds_it_too(ledger: Ledger) -> None:
    statements: list[str] = []

    def keep(connection: object, clause: sa.ClauseElement, *rest: object) -> None:
        statements.append(str(clause.compile(dialect=postgresql.dialect())))

    sa.event.listen(ledger._engine, "before_execute", keep)
    ledger.replaced_by(make_batch("/data/x", id="a1"))
    ledger.record(make_entry(), ["b2"])
    assert "batches.period_start IS NOT DISTINCT FROM" in statements[0]
    assert [statement.split()[0] for statement in statements[1:]] == ["UPDATE", "SELECT", "DELETE", "INSERT"]


def test_a_second_run_waits_for_the_first_and_then_says_so(tmp_path: Path) -> None:
    with (
        lock(make_config(tmp_path)),
        pytest.raises(AssayError, match="another run is writing to"),
        lock(make_config(tmp_path), timeout=0.1),
    ):
        pytest.fail("two runs hold the lock")
    with lock(make_config(tmp_path), timeout=0.1):
        assert (tmp_path / "score.lock").exists()


def test_a_work_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    match = r"file can't be written to \(File exists\); mend that, or name another one as work_dir"
    with pytest.raises(ConfigError, match=match), lock(make_config(tmp_path / "file")):
        pytest.fail("there is no folder to lock")


def test_a_run_that_is_killed_gives_the_lock_back(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pipeline.settings.config import Config\nfrom pipeline.workspace.ledger import lock\n"
        "contract = {'id': 'tx', 'timestamp': 'at', 'amount': 'eur'}\n"
        "config = Config.model_validate({'contract': contract, 'name': 'cards', 'work_dir': sys.argv[1]})\n"
        "with lock(config): print('held', flush=True); time.sleep(3600)"
    )
    with running(sys.executable, "-c", code, tmp_path) as process:
        process.wait_for("held")
        with pytest.raises(AssayError, match="wait for it to end"), lock(make_config(tmp_path), timeout=0.1):
            pytest.fail("two processes hold the lock")
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with lock(make_config(tmp_path), timeout=0.1):
        pass
