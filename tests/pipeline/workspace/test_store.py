"""The incoming folder in a store: what is ready there, whole copies of it, what is known of it, and its archive."""

import hashlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from pipeline.errors import ConfigError, InputError, ResourceError
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.ledger import Handled
from pipeline.workspace.store import ChangedMeanwhile, Delivery, Store, Stored
from tests.conftest import S3

BUCKETS = itertools.count()


def make_config(folder: Path, address: str, **incoming: Any) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    raw = {"contract": contract, "work_dir": str(folder), "table": {"incoming": address}}
    return Config.model_validate({**raw, "incoming": {"quiet_seconds": 0, **incoming}})


@pytest.fixture
def bucket() -> Iterator[str]:
    """A place in memory, of which fsspec has one for the whole process."""
    yield f"memory://bucket-{next(BUCKETS)}"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def deliver(bucket: str, **texts: str) -> None:
    for name, text in texts.items():
        MemoryFileSystem().pipe_file(f"{bucket}/in/{name.replace('__', '/').replace('_dot_', '.')}", text.encode())


def listed(bucket: str) -> list[str]:
    root = MemoryFileSystem._strip_protocol(bucket)
    return sorted(path.removeprefix(f"{root}/") for path in MemoryFileSystem().find(root))


def read(store: Store, name: str) -> Batch:
    """Copy a delivery, and remember it."""
    with store.copied(name) as copy:
        batch = Batch.of(copy, store.config, source=store.source(name))
        store.note(name, batch)
    return batch


def put(bucket: str, names: list[str]) -> None:
    for name in names:
        MemoryFileSystem().pipe_file(f"{bucket}/in/{name}", name.encode())


def test_the_same_names_are_ready_as_on_a_disk(bucket: str, tmp_path: Path) -> None:
    put(bucket, ["a.csv", "a.csv.done", "b.csv", "b.done", "c.csv", ".h.csv", "d.csv.PART", "_SUCCESS"])
    put(bucket, ["day/part-0.csv", "day/_SUCCESS", "half/part-0.csv"])
    config = make_config(tmp_path, f"{bucket}/in", markers=[".done", "_SUCCESS"])
    found = Store(config).look()
    assert [path.name for path in found.ready] == ["a.csv", "b.csv", "day"]
    assert dict(found.unfinished) == dict.fromkeys(["c.csv", "half"], "it has no .done or _SUCCESS yet")
    assert found.skipped == 3
    totals = Store(make_config(tmp_path, f"{bucket}/in", manifest=".done")).look()
    assert [path.name for path in totals.ready] == ["a.csv", "b.csv"]
    assert Store(make_config(tmp_path, f"{bucket}/nothing")).look().ready == ()


def test_a_place_whose_name_begins_alike_is_another_one(bucket: str, tmp_path: Path) -> None:
    put(bucket, ["a.csv"])
    MemoryFileSystem().pipe_file(f"{bucket}/inner/b.csv", b"b")
    assert [path.name for path in Store(make_config(tmp_path, f"{bucket}/in")).look().ready] == ["a.csv"]


def test_what_changes_is_left_to_the_next_run(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket, ["new.csv", "growing.csv"])
    store = Store(make_config(tmp_path, f"{bucket}/in", quiet_seconds=60))
    assert store.look().unfinished["new.csv"] == "it has changed within 60 seconds"
    monkeypatch.setattr("time.sleep", lambda _: put(bucket, ["growing.csv"]))
    found = store.look(waits=True)
    assert [path.name for path in found.ready] == ["new.csv"]
    assert list(found.unfinished) == ["growing.csv"]


def test_a_copy_is_whole_has_what_lies_beside_it_and_is_gone_afterwards(bucket: str, tmp_path: Path) -> None:
    put(bucket, ["day/part-0.csv", "day/deep/part-1.csv", "day.json", "other.csv"])
    store = Store(make_config(tmp_path, f"{bucket}/in", manifest=".json"))
    store.look()
    landed = WorkFolder(store.config).landed
    (landed / "of-a-killed-run").mkdir(parents=True)
    with store.copied("day") as copy:
        files = {path.relative_to(landed).as_posix(): path.read_text() for path in landed.rglob("*") if path.is_file()}
        assert files == {name: name for name in ["day/part-0.csv", "day/deep/part-1.csv", "day.json"]}
        assert copy == landed / "day"
    assert not landed.exists()


def test_a_file_that_changes_or_goes_while_it_is_copied_is_none(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, ["a.csv"])
    get = MemoryFileSystem.get_file

    def changing(files: MemoryFileSystem, path: str, copy: str) -> None:
        get(files, path, copy)
        put(bucket, ["a.csv"])

    def growing(files: MemoryFileSystem, path: str, copy: str) -> None:
        files.pipe_file(path, b"more than before")
        get(files, path, copy)

    def going(files: MemoryFileSystem, path: str, copy: str) -> None:
        raise FileNotFoundError(path)

    for change, says in [(changing, "it changed while"), (growing, "it changed while"), (going, "it was taken away")]:
        store = Store(make_config(tmp_path, f"{bucket}/in"))
        store.look()
        monkeypatch.setattr(MemoryFileSystem, "get_file", change)
        with pytest.raises(ChangedMeanwhile, match=says), store.copied("a.csv"):
            pytest.fail("a copy was given")
        assert not WorkFolder(store.config).landed.exists()


def tagged(monkeypatch: pytest.MonkeyPatch, tag: str, damaged: Callable[[int], bytes]) -> None:
    """Give every file a tag, and damage its copies."""
    find, info, copies = MemoryFileSystem.find, MemoryFileSystem.info, itertools.count()
    monkeypatch.setattr(
        MemoryFileSystem, "find", lambda *a, **k: {n: {**i, "ETag": tag} for n, i in find(*a, **k).items()}
    )
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *a, **k: {**info(*a, **k), "ETag": tag})
    monkeypatch.setattr(MemoryFileSystem, "get_file", lambda s, p, c: Path(c).write_bytes(damaged(next(copies))))


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ([b"a.csv"], b"a.csv"),
        ([b"a.cs?", b"a.csv"], b"a.csv"),  # the second is right
        ([b"other", b"other"], b"other"),  # the tag is no MD5
        ([b"a.cs?", b"a.c??"], None),
    ],
)
def test_a_copy_is_held_against_the_checksum(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, copies: list[bytes], expected: bytes | None
) -> None:
    put(bucket, ["a.csv"])
    tagged(monkeypatch, f'"{hashlib.md5(b"a.csv").hexdigest()}"', copies.__getitem__)  # noqa: S324 - as S3 has it
    store = Store(make_config(tmp_path, f"{bucket}/in"))
    store.look()
    if expected is None:
        with pytest.raises(ResourceError, match="came in two copies that differ"), store.copied("a.csv"):
            pytest.fail("a copy was given")
    else:
        with store.copied("a.csv") as copy:
            assert copy.read_bytes() == expected


def test_what_was_copied_is_known_until_it_changes(bucket: str, tmp_path: Path) -> None:
    put(bucket, ["a.csv", "b.csv", "b.json"])
    config = make_config(tmp_path, f"{bucket}/in", manifest=".json")
    store = Store(config)
    store.look()
    batches = {name: read(store, name) for name in ("a.csv", "b.csv")}
    again = Store(config)
    again.look()
    assert {name: again.known(name) for name in batches} == batches
    assert [path.name for path, _ in again.waiting([Path("a.csv")], Handled([]))] == ["a.csv"]
    deliver(bucket, b_dot_json="more")
    deliver(bucket, c_dot_csv="c")
    again.look()
    assert again.known("a.csv") == batches["a.csv"]
    assert (again.known("b.csv"), again.known("c.csv")) == (None, None)
    MemoryFileSystem().rm_file(f"{bucket}/in/a.csv")
    again.look()
    again.forget_others()
    memory = WorkFolder(config).nightly / "store.ndjson"
    assert "a.csv" not in memory.read_text()
    memory.write_text(memory.read_text() + '\n["torn", "in the mid')
    last = Store(config)
    last.look()
    assert last.known("b.csv") is None


def test_a_store_that_tells_neither_time_nor_checksum_has_no_mark() -> None:
    assert Delivery({"a": Stored.of("a", {"size": 3})}, {}).mark == ""
    assert Delivery({"a": Stored.of("a", {"size": 3, "mtime": 5.0})}, {}).at == datetime(1970, 1, 1, 0, 0, 5)
    noon = "2025-03-01T13:00:00+01:00"
    google = Stored.of("a", {"size": 3, "updated": noon, "md5Hash": "CY9rzUYh03PK3k6DJie09g=="})
    assert (google.md5, google.at) == ("098f6bcd4621d373cade4e832627b4f6", datetime(2025, 3, 1, 12))
    parts = Stored.of(
        "a", {"size": 3, "ETag": '"098f6bcd4621d373cade4e832627b4f6-2"', "LastModified": datetime.now(UTC)}
    )
    assert (parts.md5, bool(parts.tag)) == ("", True)


@pytest.mark.parametrize(
    ("name", "delivery", "says"),
    [
        ("day/../../../passwd", "day", r"in/day/\.\./\.\./\.\./passwd can't be the name of a file on a disk"),
        ("day//passwd", "day", r"in/day//passwd can't be the name of a file on a disk"),
        ("a\x1b.csv", "a\x1b.csv", r"in/a\\x1b\.csv can't be the name of a file on a disk"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(
    bucket: str, tmp_path: Path, *, name: str, delivery: str, says: str
) -> None:
    store = Store(make_config(tmp_path, f"{bucket}/in"))
    store._deliveries = {delivery: Delivery({name: Stored.of(name, {"size": 1})}, {})}
    with pytest.raises(InputError, match=says), store.copied(delivery):
        pytest.fail("a copy was given")


def test_a_scored_delivery_goes_to_the_archive_and_what_has_its_name_there_gets_a_number(
    bucket: str, tmp_path: Path
) -> None:
    config = make_config(tmp_path, f"{bucket}/in", archive=f"{bucket}/done", markers=[".ok"])
    for text in ("first", "second"):
        deliver(bucket, a_dot_csv=text, a_dot_ok="", day__x_dot_csv=text, day_dot_ok="")
        store = Store(config)
        store.look()
        store.put_away("a.csv")
        store.put_away("day")
    names = ["a-1.csv", "a-1.ok", "a.csv", "a.ok", "day-1.ok", "day-1/x.csv", "day.ok", "day/x.csv"]
    assert listed(bucket) == [f"done/{name}" for name in names]
    assert MemoryFileSystem().cat_file(f"{bucket}/done/a.csv") == b"second"
    assert MemoryFileSystem().cat_file(f"{bucket}/done/day-1/x.csv") == b"first"
    assert store.find(f"{bucket}/in/a.csv") == "a.csv"
    with store.copied("a.csv") as copy:
        assert copy.read_text() == "second"


@pytest.mark.parametrize("point", ["cp_file", "rm_file"])
def test_a_move_that_was_broken_off_is_done_once(
    point: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(bucket, a_dot_csv="a", a_dot_ok="")
    store = Store(make_config(tmp_path, f"{bucket}/in", archive=f"{bucket}/done", markers=[".ok"]))
    store.look()
    calls, act = itertools.count(), getattr(MemoryFileSystem, point)

    def failing(*values: str) -> None:
        if next(calls) == 1:
            raise PermissionError("Access Denied")
        act(*values)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, point, failing)
        with pytest.raises(ResourceError, match=r"in can't be moved within \(Access Denied\); mend that"):
            store.put_away("a.csv")
    store.settle()
    if store.look().ready:
        store.put_away("a.csv")
    assert listed(bucket)[-2:] == ["done/a.csv", "done/a.ok"]
    assert not [name for name in listed(bucket) if name.startswith("in/")]


def test_half_of_a_folder_that_is_being_removed_is_no_delivery_and_a_new_one_of_its_name_is(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, ["day/1.csv", "day/2.csv"])
    config = make_config(tmp_path, f"{bucket}/in", archive=f"{bucket}/done")
    store, remove = Store(config), MemoryFileSystem.rm_file
    store.look()

    def denied_in_the_middle(files: MemoryFileSystem, path: str) -> None:
        if path.endswith("2.csv"):
            raise PermissionError("Access Denied")
        remove(files, path)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "rm_file", denied_in_the_middle)
        with pytest.raises(ResourceError, match="Access Denied"):
            store.put_away("day")
        next_run = Store(config)
        next_run.settle()
        found = next_run.look()
        assert (found.ready, found.unfinished) == ((), {"day": "it was scored, and is not removed yet"})
        put(bucket, ["day/3.csv"])
        assert [path.name for path in next_run.look().ready] == ["day"]
        MemoryFileSystem().rm_file(f"{bucket}/in/day/3.csv")
    last_run = Store(config)
    last_run.settle()
    assert listed(bucket) == ["done/day/1.csv", "done/day/2.csv"]
    put(bucket, ["day/1.csv"])
    assert [path.name for path in last_run.look().ready] == ["day"]


def test_a_new_file_of_the_same_name_is_not_removed(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(bucket, a_dot_csv="a")
    store = Store(make_config(tmp_path, f"{bucket}/in", archive=f"{bucket}/done"))
    store.look()
    copy = MemoryFileSystem.cp_file

    def copying(files: MemoryFileSystem, path: str, other: str) -> None:
        copy(files, path, other)
        deliver(bucket, a_dot_csv="b")

    monkeypatch.setattr(MemoryFileSystem, "cp_file", copying)
    store.put_away("a.csv")
    assert MemoryFileSystem().cat_file(f"{bucket}/in/a.csv") == b"b"


def test_only_what_lies_in_the_incoming_folder_is_found(bucket: str, tmp_path: Path) -> None:
    store = Store(make_config(tmp_path, f"{bucket}/in"))
    for address in (f"{bucket}/other/a.csv", f"{bucket}/in", f"{bucket}/in/day/a.csv"):
        with pytest.raises(InputError, match=r"is no file or folder of table\.incoming"):
            store.find(address)
    with pytest.raises(InputError, match=r"in/a\.csv does not exist; see what lies in memory://bucket"):
        store.find(f"{bucket}/in/a.csv")


def test_a_store_without_its_package_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # another test may have asked for it
    says = "s3://b/in needs a package that is not installed; install it with: pip install 'assay[s3]'"
    with pytest.raises(ConfigError, match=re.escape(says)):
        Store(make_config(tmp_path, "s3://b/in"))
    with pytest.raises(ConfigError, match="nowhere://b is of no kind of store that is known"):
        Store(make_config(tmp_path, "nowhere://b"))


def test_s3_lists_copies_knows_and_moves(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/a.csv", "in/a.done", "in/day/p.csv", "in/day/_SUCCESS", "inner/b.csv"):
        s3.files.pipe_file(f"{s3.bucket}/{name}", name.encode())
    s3.files.pipe_file(f"{s3.bucket}/in/folder/", b"")  # what a console makes of a folder
    address = f"s3://{s3.bucket}"
    config = make_config(tmp_path, f"{address}/in", archive=f"{address}/done", markers=[".done", "_SUCCESS"])
    store = Store(config)
    assert [path.name for path in store.look().ready] == ["a.csv", "day"]
    batches = {name: read(store, name) for name in ("a.csv", "day")}
    again = Store(config)
    again.look()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_copy", lambda *_: pytest.fail("it was copied"))
        assert {name: again.known(name) for name in batches} == batches
    again.put_away("a.csv")
    again.put_away("day")
    found = sorted(path.removeprefix(f"{s3.bucket}/") for path in s3.files.find(s3.bucket, refresh=True))
    names = ["done/a.csv", "done/a.done", "done/day/_SUCCESS", "done/day/p.csv", "in/folder/", "inner/b.csv"]
    assert found == names
    with pytest.raises(ResourceError, match=r"s3://no-such-bucket/in can't be listed \(.*bucket does not exist"):
        Store(make_config(tmp_path, "s3://no-such-bucket/in")).look()
