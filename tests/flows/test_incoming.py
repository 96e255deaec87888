"""The incoming folder with files of every kind in it: what is wrong with one concerns that one, and nothing is lost."""

import json
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, chdir, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from fsspec.core import url_to_fs
from prefect.events.clients import AssertingPassthroughEventsClient
from prefect.events.worker import EventsWorker
from prefect.states import Failed
from prometheus_client.parser import text_string_to_metric_families

from flows.incoming import note_run
from flows.results import IncomingResult
from flows.run import FlowFailed, run_flow
from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.workspace import database
from pipeline.workspace.deliveries import came_at
from pipeline.workspace.ledger import Ledger, lock
from pipeline.workspace.nightly import Nightly, Schedule
from pipeline.workspace.standing import standing
from pipeline.workspace.store import Store
from tests.conftest import S3


def run(home: Path) -> IncomingResult:
    return run_flow(home / "assay.toml", "flows.score:score_incoming")


def failure(home: Path) -> FlowFailed:
    with pytest.raises(FlowFailed) as caught:
        run(home)
    assert "\n" not in str(caught.value)
    return caught.value


def day_of(home: Path, day: int) -> pa.Table:
    rows = pq.read_table(home / "transactions.parquet")
    on_day = pc.equal(pc.cast(rows["TX_DATETIME"], pa.date32()), date(2025, 2, day))
    return rows.filter(pc.and_(on_day, pc.is_finite(rows["TX_AMOUNT"])))


def statuses(home: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(home / "assay-data" / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT source, status FROM batches ORDER BY source, status").fetchall()
    return [(Path(source).name, status) for source, status in rows]


@pytest.fixture
def incoming(home: Path) -> Path:
    """An incoming folder with one day that can be scored."""
    folder = home / "incoming"
    folder.mkdir()
    pq.write_table(day_of(home, 26), folder / "good.parquet")
    return folder


def events_of(worker: EventsWorker) -> list[tuple[str, str, dict[str, object]]]:
    """Return Assay's own events of Prefect: name, resource and payload."""
    worker.wait_until_empty()
    own = [event for event in worker._client.events if event.event.startswith("assay.")]
    return [(event.event, event.resource.id, event.payload) for event in own]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[EventsWorker]:
    """What sends events to the server, and remembers them."""
    worker = EventsWorker.instance(AssertingPassthroughEventsClient)
    monkeypatch.setattr(EventsWorker, "instance", lambda *_: worker)
    yield worker
    worker.drain()


def test_files_of_every_kind_keep_no_other_from_being_scored(home: Path, incoming: Path, worker: EventsWorker) -> None:
    rows = day_of(home, 27)
    countries = [value.encode() for value in rows["COUNTRY"].to_pylist()]
    countries[3] = "Österreich".encode("latin-1")
    place = rows.schema.get_field_index("COUNTRY")
    latin = rows.set_column(place, "COUNTRY", pa.array(countries).view(pa.string()))
    pq.write_table(latin, incoming / "latin.parquet")
    pq.write_table(day_of(home, 28), incoming / "later.parquet")
    shutil.copy(incoming / "good.parquet", incoming / "same.parquet")
    shutil.copy(incoming / "good.parquet", incoming / os.fsdecode(b"caf\xe9.parquet"))
    os.mkfifo(incoming / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as server, chdir(incoming):  # a socket's path has at most 107 bytes
        server.bind("socket.parquet")
    (incoming / "device.csv").symlink_to("/dev/zero")
    (home / "elsewhere.csv").write_text("root:x:0:0,of no concern\n1,2\n")
    (incoming / "link.csv").symlink_to(home / "elsewhere.csv")
    (incoming / "folder").mkdir()
    (incoming / "folder" / "part.csv").symlink_to("../../elsewhere.csv")
    for name in ("empty.csv", "nothing.csv"):
        (incoming / name).write_bytes(b"")
    for name in (".hidden.parquet", "_SUCCESS", "next.parquet.tmp", "next.csv.PART", "next.csv.crdownload"):
        (incoming / name).write_bytes(b"half a")
    error = failure(home)
    says = [
        r"^9 of 12 new files refused: ",
        r"/device\.csv is a link to what lies outside of .*; deliver the file itself, or name its folder",
        r"/folder/part\.csv is a link to what lies outside of ",
        r"/link\.csv is a link to what lies outside of ",
        r"/caf\\xe9\.parquet: the name is not UTF-8",
        r"/empty\.csv is empty",
        r"/latin\.parquet: column 'COUNTRY' can't be read in row 4: the text is not UTF-8",
        r"/nothing\.csv is empty",
        r"/pipe\.csv is a named pipe and no file",
        r"/socket\.parquet is a socket and no file",
    ]
    assert re.search(".*".join(says), str(error))
    assert "not scored" not in str(error)
    noted = Nightly(read_config(home / "assay.toml")).last_run
    assert noted is not None
    assert (noted.outcome, noted.message) == ("refused", str(error))
    assert "root:x" not in str(error)
    count, *notes, same, skipped = error.screen.sentences
    assert all(re.match(r"(good|later)\.parquet: The history lacks ", note) for note in notes)
    assert count == "2 new files scored"
    assert re.search(r"/same\.parquet holds the same as .*/good\.parquet, which was scored before", same)
    assert skipped.startswith("5 names were not looked at: hidden, or of a file that is still being written (*.tmp,")
    tables = error.screen.tables
    assert list(tables) == ["good.parquet", "later.parquet", "All of them"]
    read = [tables[name]["read"] for name in ("good.parquet", "later.parquet")]
    assert read == [day_of(home, 26).num_rows, day_of(home, 28).num_rows]
    assert tables["All of them"]["read"] == sum(read)
    found = statuses(home)
    assert [name for name, status in found if status == "scored"] == ["good.parquet", "later.parquet"]
    assert len([name for name, status in found if status == "refused"]) == 6
    check_what_machines_are_told(home, found, events_of(worker))
    assert "3 of 3 new files refused" in str(failure(home))  # a link is none of the ledger's contents
    for name in ("device.csv", "link.csv", "folder/part.csv"):
        (incoming / name).unlink()
    (incoming / "folder").rmdir()
    # Told once, also of the two that have the same content.
    again = run(home)
    assert standing(read_config(home / "assay.toml")).incoming.waiting == ()
    assert again.screen.sentences[0] == f"no new file in {incoming}"
    assert again.screen.sentences[1].startswith("5 names were not looked at")


def check_what_machines_are_told(
    home: Path, found: list[tuple[str, str]], events: list[tuple[str, str, dict[str, object]]]
) -> None:
    """Events of Prefect, the textfile and events of lineage say the same as the ledger."""
    name, work = read_config(home / "assay.toml").name, home / "assay-data"
    scored = [file for file, status in found if status == "scored"]
    assert {resource for _, resource, _ in events} == {name}
    assert [payload["file"] for event, _, payload in events if event == "assay.scored"] == scored
    refused = {payload["file"] for event, _, payload in events if event == "assay.refused"}
    assert refused == {file for file, status in found if status == "refused"}
    assert [event for event, _, _ in events][-1] == "assay.attention"
    samples = [
        sample
        for family in text_string_to_metric_families((work / "assay.prom").read_text())
        for sample in family.samples
    ]
    values = {sample.name: sample.value for sample in samples}
    stages = {sample.labels["stage"] for sample in samples if "stage" in sample.labels}
    read = [payload["read"] for event, _, payload in events if event == "assay.scored"]
    assert values["assay_read_rows_total"] == sum(map(int, map(str, read)))
    assert (values["assay_batches_total"], values["assay_refusals_total"]) == (2, 6)
    assert {"validate", "features", "score"} <= stages
    assert values["assay_last_run_duration_seconds"] > 0
    (file,) = (work / "lineage").glob("*.ndjson")
    runs: dict[str, list[dict[str, Any]]] = {}
    for line in file.read_text().splitlines():
        runs.setdefault(json.loads(line)["run"]["runId"], []).append(json.loads(line))
    ends = {Path(run[0]["inputs"][0]["name"]).name: run for run in runs.values()}
    assert all([event["eventType"] for event in ends[file]] == ["START", "COMPLETE"] for file in scored)
    assert [event["eventType"] for event in ends["latin.parquet"]] == ["START", "FAIL"]
    assert len({run[0]["run"]["facets"]["parent"]["run"]["runId"] for run in runs.values()}) == 1
    source = ends["good.parquet"][1]["inputs"][0]
    rows = day_of(home, 26)
    (accepted,) = (
        entry.accepted for entry in Ledger(read_config(home / "assay.toml")).entries() if "good" in entry.source
    )
    metrics = source["inputFacets"]["dataQualityMetrics"]
    assert metrics["rowCount"] == metrics["columnMetrics"]["TRANSACTION_ID"]["distinctCount"] == accepted
    assert {field["name"] for field in source["facets"]["schema"]["fields"]} >= set(rows.column_names)


def test_a_refused_file_is_scored_once_the_settings_that_refused_it_are_mended(home: Path, incoming: Path) -> None:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(day_of(home, 26), sink, pacsv.WriteOptions(delimiter=";"))
    (incoming / "good.parquet").unlink()
    (incoming / "day.csv").write_bytes(sink.getvalue().to_pybytes())
    assert 'set [table] delimiter = ";"' in str(failure(home))
    assert "no new file" in run(home).screen.sentences[0]
    text = (home / "assay.toml").read_text()
    (home / "assay.toml").write_text(text.replace('delimiter = ","', 'delimiter = ";"'))
    assert run(home).screen.sentences[0] == "1 new file scored"
    assert statuses(home) == [("day.csv", "scored")]


@contextmanager
def batches_that_are_a_file(home: Path) -> Iterator[None]:
    (home / "assay-data" / "batches").write_text("")
    yield
    (home / "assay-data" / "batches").unlink()


@contextmanager
def a_ledger_that_another_process_holds(home: Path) -> Iterator[None]:
    with closing(sqlite3.connect(home / "assay-data" / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def a_file_that_is_elsewhere(home: Path) -> Iterator[None]:
    # Such as a network disk that is not mounted.
    away = home / "incoming" / ".away"
    away.mkdir()
    (home / "incoming" / "good.parquet").rename(home / "good.parquet")
    (home / "incoming" / "good.parquet").symlink_to(away / "good.parquet")
    yield
    (home / "good.parquet").rename(away / "good.parquet")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (batches_that_are_a_file, r"batches can't be made \(File exists\)"),
        (a_ledger_that_another_process_holds, "another process is writing to it: wait for that one to end"),
        (a_file_that_is_elsewhere, r"good\.parquet does not exist"),
    ],
)
def test_a_fault_of_the_environment_is_told_every_time_and_refuses_nothing(
    fault: Callable[[Path], AbstractContextManager[None]], says: str, incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = incoming.parent
    monkeypatch.setattr(database, "WAIT", 1)
    (incoming / "good.parquet").rename(home / "good.parquet")
    run(home)  # makes the ledger
    (home / "good.parquet").rename(incoming / "good.parquet")
    with fault(home):
        for _ in range(2):
            message = str(failure(home))
            assert message.startswith(
                "1 of 1 new files not scored for a reason that does not lie in them, and tried again"
            )
            assert re.search(says, message)
            assert "good.parquet" in message
            assert statuses(home) == []
    assert run(home).screen.sentences[0] == "1 new file scored"
    assert [status for _, status in statuses(home)] == ["scored"]


def test_a_delivery_waits_for_what_goes_with_it_is_held_against_its_totals_and_put_away(
    home: Path, incoming: Path
) -> None:
    text = (home / "assay.toml").read_text()
    text = text.replace('manifest = ""', 'manifest = ".totals.json"').replace('archive = ""', 'archive = "archive"')
    (home / "assay.toml").write_text(text)
    assert run(home).screen.sentences[1] == "good.parquet is left to the next run: it has no .totals.json yet"
    rows = day_of(home, 26)
    totals, amount = incoming / "good.totals.json", pc.sum(rows["TX_AMOUNT"]).as_py()
    totals.write_text(json.dumps({"rows": rows.num_rows + 1, "amount": amount}))
    wrong = rf"good\.parquet has {rows.num_rows:,} rows, and its manifest says {rows.num_rows + 1:,}; have it delivered"
    assert re.search(wrong, str(failure(home)))
    assert run(home).screen.sentences == [f"no new file in {incoming}"]
    assert dict(standing(read_config(home / "assay.toml")).incoming.refused).keys() == {"good.parquet"}
    totals.write_text(json.dumps({"rows": rows.num_rows, "amount": amount}))
    assert run(home).screen.sentences[0] == "1 new file scored"
    assert list(incoming.iterdir()) == []
    archive = home / "archive"
    assert sorted(path.name for path in archive.iterdir()) == ["good.parquet", "good.totals.json"]
    # The file, corrected, under its name: it takes the place of the one in the archive.
    pq.write_table(rows.slice(1), incoming / "good.parquet")
    totals.write_text(json.dumps({"rows": rows.num_rows - 1}))
    assert run(home).screen.sentences[0] == "1 new file scored"
    assert statuses(home) == [("good.parquet", "replaced"), ("good.parquet", "scored")]
    assert pq.read_metadata(archive / "good.parquet").num_rows == rows.num_rows - 1
    assert pq.read_metadata(archive / "good-1.parquet").num_rows == rows.num_rows


def test_who_cannot_be_told_keeps_no_run_from_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    raw = {"contract": contract, "work_dir": str(tmp_path), "notify": {"stopped": ["ASSAY_NOBODY"]}}
    config, failed = Config.model_validate(raw), Failed(message="no model is registered; run assay train first")
    assert note_run(config, lambda: failed) is failed
    assert "ASSAY_NOBODY of [notify] is not set" in " ".join(capsys.readouterr().err.split())
    ended = Nightly(config).last_run
    assert ended is not None
    assert (ended.outcome, ended.message) == ("stopped", "no model is registered; run assay train first")


def test_files_of_a_downtime_are_left_out_by_the_setting_and_scored_by_name(home: Path, incoming: Path) -> None:
    config = read_config(home / "assay.toml")
    text = (home / "assay.toml").read_text()
    assert 'catch_up = "all"' in text
    (home / "assay.toml").write_text(text.replace('catch_up = "all"', 'catch_up = "latest"'))
    cut = came_at(incoming / "good.parquet") + timedelta(microseconds=1)
    pq.write_table(day_of(home, 27), incoming / "later.parquet")
    assert came_at(incoming / "later.parquet") > cut
    due = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    schedule = Schedule(cron="0 2 * * *", time_zone="UTC", due=due, missed=2, missed_since=cut, cut=cut, is_fresh=True)
    Nightly(config).plan(schedule)
    count, *_, left_out = run(home).screen.sentences
    assert count == "1 new file scored"
    assert left_out == (
        "1 file that came while nobody served the schedule is left out, by schedule.catch_up: good.parquet; what shall "
        "be scored all the same: assay score FILE"
    )
    assert statuses(home) == [("good.parquet", "skipped"), ("later.parquet", "scored")]
    result = standing(read_config(home / "assay.toml"))
    assert (result.incoming.left_out, result.incoming.waiting, result.incoming.refused) == (1, (), {})
    assert [finding.brief for finding in result.findings] == [f"2 runs were missed since {cut:%Y-%m-%d %H:%M} UTC."]
    assert run(home).screen.sentences == ["no new file in " + config.table.incoming]
    run_flow(home / "assay.toml", "flows.score:score", table=str(incoming / "good.parquet"))
    assert statuses(home) == [("good.parquet", "scored"), ("later.parquet", "scored")]


def test_a_run_beside_another_waits_or_is_left_out_by_the_setting(home: Path, incoming: Path) -> None:
    text = (home / "assay.toml").read_text()
    assert 'overlap = "wait"' in text
    (home / "assay.toml").write_text(text.replace('overlap = "wait"', 'overlap = "skip"'))
    with lock(read_config(home / "assay.toml")):
        (sentence,) = run(home).screen.sentences
    assert sentence == 'another run is at work, and schedule.overlap = "skip" leaves this one out; nothing was done'
    assert not (home / "assay-data" / "batches").exists()


def test_a_file_before_which_the_history_lacks_days_is_tried_again(home: Path, incoming: Path) -> None:
    text = (home / "assay.toml").read_text()
    (home / "assay.toml").write_text(text.replace('on_gap = "report"', 'on_gap = "refuse"'))
    for _ in range(2):
        assert re.search(r"1 of 1 new files refused: good\.parquet: the history lacks", str(failure(home)))
    (home / "assay.toml").write_text(text)
    assert run(home).screen.sentences[0] == "1 new file scored"


@pytest.fixture
def store(home: Path, s3: S3) -> str:
    """The address of an incoming folder in a bucket, with one day that can be scored and an archive beside it."""
    text = (home / "assay.toml").read_text()
    for old, new in [
        ('incoming = "incoming"', f'incoming = "s3://{s3.bucket}/in"'),
        ('archive = ""', f'archive = "s3://{s3.bucket}/done"'),
        ("prefect = true", "prefect = false"),
    ]:
        assert old in text
        text = text.replace(old, new)
    (home / "assay.toml").write_text(text)
    put(s3, "good.parquet", day_of(home, 26))
    return f"s3://{s3.bucket}/in"


def put(s3: S3, name: str, rows: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    s3.files.pipe_file(f"{s3.bucket}/in/{name}", sink.getvalue().to_pybytes())


def stored(s3: S3) -> list[str]:
    return sorted(path.removeprefix(f"{s3.bucket}/") for path in s3.files.find(s3.bucket, refresh=True))


def test_files_of_a_store_are_scored_once_known_without_a_copy_and_put_away(
    home: Path, store: str, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.files.pipe_file(f"{s3.bucket}/in/broken.csv", b"no,table\n")
    s3.files.pipe_file(f"{s3.bucket}/in/next.csv.part", b"half a")
    error = failure(home)
    assert re.match(rf"1 of 2 new files refused: {store}/broken\.csv ", str(error))
    assert error.screen.sentences[0] == "1 new file scored"
    entries = {entry.source: entry for entry in Ledger(read_config(home / "assay.toml")).entries()}
    assert {source: entry.status for source, entry in entries.items()} == {
        f"{store}/good.parquet": "scored",
        f"{store}/broken.csv": "refused",
    }
    assert entries[f"{store}/broken.csv"].message.startswith(f"{store}/broken.csv ")
    assert stored(s3) == ["done/good.parquet", "in/broken.csv", "in/next.csv.part"]
    assert not (home / "assay-data" / "landed" / read_config(home / "assay.toml").name).exists()
    assert store in next((home / "assay-data" / "batches").glob("*/report.html")).read_text()
    (file,) = (home / "assay-data" / "lineage").glob("*.ndjson")
    names = {(each["namespace"], each["name"]) for line in file.read_text().splitlines() for each in inputs(line)}
    assert (f"s3://{s3.bucket}", "in/good.parquet") in names
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_copy", lambda *_: pytest.fail("it was copied again"))
        assert run(home).screen.sentences[0] == f"no new file in {store}"
        now = standing(read_config(home / "assay.toml")).incoming
    assert (now.folder, now.last, now.waiting, list(now.refused)) == (store, "good.parquet", (), ["broken.csv"])
    # The same content under another name is known by it; another one under the same name takes its place.
    put(s3, "same.parquet", day_of(home, 26))
    put(s3, "good.parquet", day_of(home, 26).slice(1))
    assert standing(read_config(home / "assay.toml")).incoming.waiting == ("good.parquet", "same.parquet")
    run(home)
    assert statuses(home) == [("broken.csv", "refused"), ("good.parquet", "replaced"), ("good.parquet", "scored")]
    assert stored(s3) == [
        *("done/good-1.parquet", "done/good.parquet", "done/same.parquet"),
        *("in/broken.csv", "in/next.csv.part"),
    ]
    # Without what was noted it is copied again, and known by its content: no second refusal, and no way to the archive.
    (memory,) = (home / "assay-data" / "nightly").glob("*/store.ndjson")
    memory.unlink()
    assert run(home).screen.sentences[0] == "0 new files scored"
    assert (len(statuses(home)), "in/broken.csv" in stored(s3), memory.exists()) == (3, True, True)
    # By its name, although it lies in the archive by now.
    words = {"table": f"{store}/good.parquet", "version": "champion", "force": True}
    result = run_flow(home / "assay.toml", "flows.score:score", **words)
    assert result.counts["read"] == day_of(home, 26).num_rows - 1
    assert [status for name, status in statuses(home) if name == "good.parquet"] == ["replaced", "scored"]


def inputs(line: str) -> list[dict[str, Any]]:
    return [each for each in json.loads(line)["inputs"] if "namespace" in each]


class Killed(BaseException):
    """What nothing catches, as a signal that nothing can."""


@pytest.mark.parametrize("point", ["get_file", "cp_file", "rm_file"])
def test_a_run_that_ends_anywhere_on_its_way_from_the_store_leaves_each_file_to_be_scored_once(
    home: Path, store: str, s3: S3, monkeypatch: pytest.MonkeyPatch, *, point: str
) -> None:
    def dies(*_: object) -> None:
        raise Killed

    leftover = home / "assay-data" / "landed" / read_config(home / "assay.toml").name / "good.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half of it")
    with monkeypatch.context() as patch:
        patch.setattr(url_to_fs(store)[0], point, dies)  # there is one object for each kind of store
        with pytest.raises(Killed):
            run(home)
    scored_before = statuses(home) if (home / "assay-data" / "ledger.db").exists() else []
    assert scored_before == ([("good.parquet", "scored")] if point in ("cp_file", "rm_file") else [])
    run(home)
    assert statuses(home) == [("good.parquet", "scored")]
    assert stored(s3) == ["done/good.parquet"]
    assert len(list((home / "assay-data" / "batches").glob("*-v*"))) == 1


def test_a_store_that_does_not_answer_stops_the_run_in_one_sentence(home: Path, store: str, s3: S3) -> None:
    text = (home / "assay.toml").read_text()
    (home / "assay.toml").write_text(text.replace(store, "s3://no-such-bucket/in"))
    says = r"s3://no-such-bucket/in can't be listed \(the specified bucket does not exist\); mend that"
    assert re.search(says, str(failure(home)), re.IGNORECASE)
    assert standing(read_config(home / "assay.toml")).state == "stopped"
