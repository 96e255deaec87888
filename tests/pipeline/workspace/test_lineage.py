"""Events of OpenLineage: by the rules of its specification, in a file a month, and at a real HTTP server."""

import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BatchRefused
from pipeline.settings.config import Config
from pipeline.workspace.lineage import Contents, JobRun, LineageLog, Parent
from tests.processes import free_port

# By name of a facet, what the specification requires of it besides _producer and _schemaURL, and of which type.
REQUIRED: dict[str, dict[str, type]] = {
    "dataQualityMetrics": {"columnMetrics": dict, "rowCount": int},
    "dataSource": {"name": str, "uri": str},
    "errorMessage": {"message": str, "programmingLanguage": str},
    "jobType": {"processingType": str, "integration": str},
    "nominalTime": {"nominalStartTime": str},
    "outputStatistics": {"rowCount": int, "size": int},
    "parent": {"run": dict, "job": dict},
    "schema": {"fields": list},
    "version": {"datasetVersion": str},
}
ROWS = pa.table(
    {
        "tx": ["SECRET1", "SECRET2", "SECRET3"],
        "at": pa.array([datetime(2025, 3, 1)] * 3),
        "eur": [1.5, None, float("nan")],
        "ü.card": ["SECRET4", None, None],
        "tags": [["SECRET5"], None, []],
    }
)


def is_moment(text: str) -> bool:
    moment = datetime.fromisoformat(text)
    return moment.utcoffset() == timedelta(0)


def check_facets(facets: dict[str, dict[str, Any]]) -> None:
    for name, facet in facets.items():
        assert set(REQUIRED[name]) <= set(facet), name
        assert all(isinstance(facet[key], kind) for key, kind in REQUIRED[name].items()), name
        assert facet["_producer"].startswith("urn:assay:")
        kind = facet["_schemaURL"].rpartition("/")[2]
        address = rf"https://openlineage\.io/spec/facets/\d-\d-\d/{kind}\.json#/\$defs/{kind}"
        assert re.fullmatch(address, facet["_schemaURL"])


def check(event: dict[str, Any]) -> None:
    """Hold an event against what version 2-0-2 of the specification requires."""
    assert json.loads(json.dumps(event)) == event
    assert set(event) == {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}
    assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
    assert is_moment(event["eventTime"])
    assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    assert urlsplit(event["producer"]).scheme
    assert str(UUID(event["run"]["runId"])) == event["run"]["runId"]
    check_facets(event["run"].get("facets", {}))
    for thing in (event["job"], *event["inputs"], *event["outputs"]):
        assert isinstance(thing["namespace"], str)
        assert isinstance(thing["name"], str)
        for part in ("facets", "inputFacets", "outputFacets"):
            check_facets(thing.get(part, {}))
    facets = event["run"]["facets"]
    if "parent" in facets:
        assert UUID(facets["parent"]["run"]["runId"])
        assert set(facets["parent"]["job"]) == {"namespace", "name"}
    if "nominalTime" in facets:
        assert is_moment(facets["nominalTime"]["nominalStartTime"])


def make_config(folder: Path, **lineage: object) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "sensitive": ["tx"]}
    raw = {"contract": contract, "name": "cards", "work_dir": str(folder / "work"), "lineage": lineage}
    return Config.model_validate(raw)


@pytest.fixture
def run(tmp_path: Path) -> JobRun:
    """A scoring run that has read and written something."""
    for name, rows in (("accepted", ROWS), ("scores", ROWS.select(["tx"])), ("quarantine", ROWS.slice(0, 0))):
        pq.write_table(rows, tmp_path / f"{name}.parquet", row_group_size=2)
    due = datetime(2025, 3, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    parent = Parent(run_id=str(uuid4()), job="assay-score-incoming", due=due)
    run = JobRun(config=make_config(tmp_path), job="score", source=tmp_path / "day 1.csv", parent=parent)
    run.model_version = "7"
    run.take_in(tmp_path / "accepted.parquet")
    run.outputs += [tmp_path / "scores.parquet", tmp_path / "quarantine.parquet"]
    return run


def test_an_event_is_as_the_specification_asks_and_says_what_was_counted(run: JobRun, tmp_path: Path) -> None:
    event = run.event("COMPLETE")
    check(event)
    assert (event["job"]["namespace"], event["job"]["name"]) == ("assay", "cards.score")
    assert run.parent is not None
    assert event["run"]["facets"]["parent"]["run"]["runId"] == run.parent.run_id
    assert event["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2025-03-02T02:00:00.000Z"
    source, model = event["inputs"]
    assert (source["namespace"], source["name"]) == ("file", f"{tmp_path}/day 1.csv")
    assert source["facets"]["dataSource"]["uri"] == f"file://{tmp_path}/day%201.csv"
    fields = [(field["name"], field["type"]) for field in source["facets"]["schema"]["fields"]]
    assert fields[:4] == [(column.name, str(column.type)) for column in ROWS.schema][:4]
    assert fields[4] == ("tags", "list<element: string>")  # as Parquet calls what is in a list
    metrics = source["inputFacets"]["dataQualityMetrics"]
    assert metrics["rowCount"] == 3
    assert metrics["columnMetrics"] == {
        "tx": {"nullCount": 0, "count": 3, "distinctCount": 3},
        "at": {"nullCount": 0, "count": 3},
        "eur": {"nullCount": 1, "count": 2},
        "ü.card": {"nullCount": 2, "count": 1},
    }
    assert (model["namespace"], model["name"]) == ("assay", "cards.model")
    assert model["facets"]["version"]["datasetVersion"] == "7"
    sizes = [(Path(out["name"]).name, out["outputFacets"]["outputStatistics"]) for out in event["outputs"]]
    assert [(name, each["rowCount"], each["size"]) for name, each in sizes] == [
        (name, rows, (tmp_path / name).stat().st_size)
        for name, rows in (("scores.parquet", 3), ("quarantine.parquet", 0))
    ]
    assert "SECRET" not in json.dumps(event)


def test_a_training_makes_the_model_that_a_scoring_reads(run: JobRun, tmp_path: Path) -> None:
    training = JobRun(config=make_config(tmp_path, namespace="bank"), job="train", source=tmp_path, model_version="7")
    event = training.event("COMPLETE")
    check(event)
    assert [out["name"] for out in event["outputs"]] == ["cards.model"]
    assert [each["name"] for each in event["inputs"]] == [str(tmp_path)]
    assert (event["job"]["name"], event["job"]["namespace"]) == ("cards.train", "bank")
    assert event["run"]["facets"] == {}
    assert event["outputs"][0]["facets"] == run.event("COMPLETE")["inputs"][1]["facets"]


def test_a_start_and_a_failure_are_whole_events_and_a_message_is_not_repeated(tmp_path: Path) -> None:
    run = JobRun(config=make_config(tmp_path), job="score", source=tmp_path / "day.csv")
    run.take_in(tmp_path / "is-not-there.parquet")
    start, end = run.event("START"), run.event("FAIL", BatchRefused("day.csv: row 4 has 'SECRET'", read=4))
    check(start)
    check(end)
    assert start["run"]["runId"] == end["run"]["runId"]
    assert start["outputs"] == end["outputs"] == []
    assert "inputFacets" not in start["inputs"][0]
    error = end["run"]["facets"]["errorMessage"]
    assert error["message"] == "the table was refused (BatchRefused); assay status says why"
    assert error["programmingLanguage"] == "PYTHON"
    assert "errorMessage" not in start["run"]["facets"]


def test_a_name_that_is_no_text_is_spelled_out(tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9\x1b.csv")
    (dataset,) = JobRun(config=make_config(tmp_path), job="score", source=source).event("START")["inputs"]
    assert dataset["name"] == f"{tmp_path}/caf\\xe9\\x1b.csv"
    assert dataset["facets"]["dataSource"]["uri"] == f"file://{tmp_path}/caf%E9%1B.csv"


def test_null_counts_are_those_of_the_rows_also_where_a_file_does_not_say_them(tmp_path: Path) -> None:
    flat = ROWS.drop_columns("tags")
    pq.write_table(flat, tmp_path / "with.parquet", row_group_size=1)
    pq.write_table(flat, tmp_path / "without.parquet", write_statistics=["tx"])
    assert Contents.of(tmp_path / "with.parquet").nulls == {name: flat[name].null_count for name in flat.column_names}
    assert Contents.of(tmp_path / "without.parquet").nulls == {"tx": 0}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]


def test_events_of_a_month_lie_in_one_file_also_where_several_write_at_once(run: JobRun, tmp_path: Path) -> None:
    events = [run.event("START") | {"eventTime": f"2025-0{3 + n % 2}-01T00:00:00.000Z", "n": n} for n in range(24)]
    with ThreadPoolExecutor(4) as pool:
        assert set(map(tuple, pool.map(lambda event: LineageLog(run.config).put(event), events))) == {()}
    folder = tmp_path / "work" / "lineage"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "2025-03.ndjson", "2025-04.ndjson"]
    assert sorted(event["n"] for event in lines(folder)) == list(range(24))
    assert [event["eventTime"][:7] for event in lines(folder)] == ["2025-03"] * 12 + ["2025-04"] * 12


def test_half_a_line_that_a_power_cut_has_left_is_taken_out(run: JobRun, tmp_path: Path) -> None:
    folder, log = tmp_path / "work" / "lineage", LineageLog(run.config)
    folder.mkdir(parents=True)
    event = run.event("START") | {"eventTime": "2025-03-01T00:00:00.000Z"}
    for rest in ('{"half', '{"whole": 1}\n{"half'):
        (folder / "2025-03.ndjson").write_text(rest)
        assert log.put(event) == []
        assert lines(folder) == ([{"whole": 1}] if "whole" in rest else []) + [event]


def test_a_folder_that_cannot_be_written_to_is_told(run: JobRun, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("in the way")
    (fault,) = LineageLog(run.config).put(run.event("START"))
    assert re.fullmatch(
        r".*/lineage/\d{4}-\d\d\.ndjson can't be written to \(.*\), so an event is not in it; .*", fault
    )


class Receiver:
    """A server that takes events, and what it answers."""

    def __init__(self) -> None:
        self.status = 201
        self.messages: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.messages.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/v1/lineage?of=assay"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


def test_events_are_sent_with_the_key_of_the_environment(
    run: JobRun, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_KEY", "word")
    events = [run.event("START"), run.event("COMPLETE")]
    log = LineageLog(make_config(tmp_path, url=receiver.url, key="ASSAY_KEY", enabled=False))
    assert [log.put(event) for event in events] == [[], []]
    (path, headers, first), (_, _, second) = receiver.messages
    assert (path, headers["authorization"], headers["content-type"]) == (
        "/api/v1/lineage?of=assay",
        "Bearer word",
        "application/json",
    )
    assert [first, second] == events
    assert not (tmp_path / "work").exists()
    assert LineageLog(make_config(tmp_path, url=receiver.url)).put(events[0]) == []
    assert "authorization" not in receiver.messages[-1][1]
    assert lines(tmp_path / "work" / "lineage") == events[:1]


def test_without_a_usable_key_nothing_is_sent(
    run: JobRun, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("", "two\nlines", "ü"):
        monkeypatch.setenv("ASSAY_KEY", key)
        (fault,) = LineageLog(make_config(tmp_path, url=receiver.url, key="ASSAY_KEY")).put(run.event("START"))
        assert re.match(r"the environment variable ASSAY_KEY of lineage\.key is not set to a key; set it; ", fault)
    assert receiver.messages == []


def test_after_one_failure_a_run_sends_no_more_and_keeps_all(run: JobRun, tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 503
    log = LineageLog(make_config(tmp_path, url=receiver.url))
    (fault,) = log.put(run.event("START"))
    assert fault == "127.0.0.1 of lineage.url answered 503 to an event; no more events are sent by this run"
    assert log.put(run.event("COMPLETE")) == []
    assert len(receiver.messages) == 1
    assert len(lines(tmp_path / "work" / "lineage")) == 2
    nobody = LineageLog(make_config(tmp_path, url=f"http://127.0.0.1:{free_port()}/"))
    (fault,) = nobody.put(run.event("START"))
    assert re.match(r"127\.0\.0\.1 of lineage\.url did not take an event \(.*refused\); no more events are sent", fault)


def test_where_events_are_neither_kept_nor_sent_none_is_made(tmp_path: Path) -> None:
    assert not LineageLog(make_config(tmp_path, enabled=False)).is_on
    assert LineageLog(make_config(tmp_path)).is_on
