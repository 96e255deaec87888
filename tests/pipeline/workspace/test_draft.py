"""Results and rows of a run: there as a whole or not at all, wherever the run ends, and however often."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, ResourceError
from pipeline.settings.config import Config
from pipeline.workspace.draft import CHANGE, drafting, settle_draft
from pipeline.workspace.intents import Intents
from pipeline.workspace.ledger import Entry
from pipeline.workspace.workspace import Workspace
from tests.faults import ERRORS, KILLED, Forks, Points, spread

DAY = datetime(2025, 3, 1)
State = dict[str, object]


def workspace_of(folder: Path, name: str = "cards") -> Workspace:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud", "types": {"tx": "integer"}}
    return Workspace(Config.model_validate({"contract": contract, "name": name, "work_dir": str(folder)}))


def rows_of(folder: Path, ids: list[int], day: int, *, amount: float = 1.0, fraud: int | None = None) -> Path:
    columns = {
        "tx": pa.array(ids, pa.int64()),
        "at": pa.array([DAY + timedelta(days=day, hours=n) for n in range(len(ids))], pa.timestamp("us")),
        "eur": pa.array([amount] * len(ids)),
        "fraud": pa.array([fraud] * len(ids), pa.int8()),
    }
    path = folder.parent / f"rows-{ids[0]}-{day}-{amount:g}.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def entry_of(space: Workspace, batch: str, version: str = "1") -> Entry:
    return Entry(
        batch_id=batch,
        source=f"/data/{batch[0]}.parquet",
        digest=batch,
        period_start=None,
        period_end=None,
        model_name="cards",
        model_version=version,
        folder=str(space.folder.batches / f"{batch}-v{version}"),
        scored_at=datetime.now(UTC),
    )


def score(folder: Path, batch: str, rows: Path, replaced: str = "") -> None:
    """Do what a scoring run does to the work folder: rows, results, and the ledger's row."""
    space = workspace_of(folder)
    entry = entry_of(space, batch)
    old = [entry_of(space, replaced)] if replaced else []
    with drafting(space, Path(entry.folder)) as draft:
        for each in old:
            draft.workspace.history.remove(each.batch_id)
        draft.workspace.history.append(rows, batch)
        (draft.results / "scores").write_text(rows.name)
        (draft.results / "docs").mkdir()
        (draft.results / "docs" / "page").write_text(batch)
        (draft.results / ".features").write_text("scratch")
        draft.publish(entry, old)


def state(folder: Path) -> State:
    """Return all that a work folder says: rows of the history, results, the ledger's rows, and what is hidden."""
    space = workspace_of(folder)
    history = {str(file.relative_to(space.folder.history)): pq.read_table(file).to_pylist()
               for file in space.history.files(None, None)}  # fmt: skip
    results = {str(file.relative_to(folder)): file.read_text()
               for parent in (space.folder.batches, space.folder.replaced, space.folder.runs)
               for file in parent.glob("[!.]*/**/*") if file.is_file()}  # fmt: skip
    names = sorted(path.name for path in folder.rglob(".*") if path.name != ".lock")
    live = sorted(name for name in ("m1", "m2", "t1") if space.ledger.find(name, "1"))
    return {"history": history, "results": results, "live": live, "hidden": names}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A work folder in which Monday was scored."""
    work = tmp_path / "work"
    score(work, "m1", rows_of(work, [1, 2, 3], 0))
    return work


def test_nothing_shows_before_it_is_published_but_in_the_drafts_own_workspace(folder: Path) -> None:
    before, space = state(folder), workspace_of(folder)
    with drafting(space, space.folder.batches / "t1-v1") as draft:
        draft.workspace.history.remove("m1")
        draft.workspace.history.append(rows_of(folder, [4], 1), "t1")
        (draft.results / "scores").write_text("4")
        inside = [pq.read_table(file)["tx"].to_pylist() for file in draft.workspace.history.files(None, None)]
        assert inside == [[4]]
        assert draft.workspace.history.missing_days(DAY, DAY + timedelta(days=2)) == [DAY.date()]
        assert {**state(folder), "hidden": []} == before
        draft.publish(entry_of(space, "t1"), [entry_of(space, "m1")])
    after = state(folder)
    assert list(after["history"]) == ["date=2025-03-02/t1.parquet"]
    assert after["results"] == {
        "batches/t1-v1/scores": "4",
        "replaced/m1-v1/scores": "rows-1-0-1.parquet",
        "replaced/m1-v1/docs/page": "m1",
    }
    assert (after["live"], after["hidden"]) == (["t1"], [])


def test_a_run_that_fails_leaves_what_was_there(folder: Path) -> None:
    before, space = state(folder), workspace_of(folder)
    with pytest.raises(OSError, match="full"), drafting(space, space.folder.batches / "m1-v1") as draft:  # noqa: PT012
        draft.workspace.history.append(rows_of(folder, [4], 1), "t1")
        (draft.results / "scores").write_text("4")
        raise OSError("disk full")
    assert state(folder) == before


def test_labels_that_come_with_a_draft_reach_stored_rows_when_it_is_published(folder: Path) -> None:
    space = workspace_of(folder)
    with drafting(space, space.folder.batches / "t1-v1") as draft:
        draft.workspace.history.append(rows_of(folder, [1, 2], 0, fraud=1), "t1-before")
        stored = {"frauds": [row["fraud"] for row in state(folder)["history"]["date=2025-03-01/m1.parquet"]]}
        draft.publish(entry_of(space, "t1"))
    assert stored["frauds"] == [None, None, None]
    (rows,) = state(folder)["history"].values()
    assert [(row["tx"], row["fraud"]) for row in rows] == [(1, 1), (2, 1), (3, None)]


def train(folder: Path) -> Workspace:
    space = workspace_of(folder)
    with drafting(space, space.folder.runs / "r1") as draft:
        draft.workspace.history.append(rows_of(folder, [4], 1), "r1")
        (draft.results / "report").write_text("r1")
        draft.publish()
    return space


def test_the_rows_of_a_training_enter_the_history_once_it_is_settled(folder: Path) -> None:
    before, space = state(folder)["history"], train(folder)
    assert (space.folder.runs / "r1" / "report").read_text() == "r1"
    assert state(folder)["history"] == before
    settle_draft(space)
    assert [file.stem for file in space.history.files(None, None)] == ["m1", "r1"]
    assert state(folder)["hidden"] == []


@pytest.mark.parametrize("is_undone_first", [False, True])
def test_the_rows_of_a_training_whose_version_was_not_recorded_go(folder: Path, *, is_undone_first: bool) -> None:
    before, space = state(folder)["history"], train(folder)
    final, intents = space.folder.runs / "r1", Intents(space.config)
    intent = intents.begin("registration", {"folder": str(final.absolute())})
    if is_undone_first:
        shutil.rmtree(final)
        intents.end(intent)
    settle_draft(space)
    assert state(folder)["history"] == before
    assert state(folder)["hidden"] == []


@pytest.mark.parametrize("is_recorded", [False, True])
def test_a_draft_of_another_moment_of_the_same_batch_is_not_its(folder: Path, *, is_recorded: bool) -> None:
    """A batch scored again, killed before its record: the older record does not own what the second run wrote."""
    space, rows = workspace_of(folder), rows_of(folder, [3, 4], 0)
    draft = space.folder.draft
    (draft / "date=2025-03-01").mkdir(parents=True)
    shutil.copy(rows, draft / "date=2025-03-01" / "m1.parquet")
    entry = space.ledger.find("m1", "1")
    assert entry is not None
    at = entry.scored_at if is_recorded else entry.scored_at + timedelta(microseconds=1)
    change = {"final": "batches/m1-v1", "gone": [], "retired": [], "record": ["m1", "1", at.isoformat()]}
    (draft / CHANGE).write_text(json.dumps(change))
    settle_draft(space)
    ids = pq.read_table(space.history.files(None, None)[0])["tx"].to_pylist()
    assert ids == ([3, 4] if is_recorded else [1, 2, 3])
    assert not draft.exists()


@pytest.mark.parametrize("text", ["", '{"final": "batc', "\0\0"])
def test_a_change_that_a_power_cut_garbled_was_not_recorded(folder: Path, text: str) -> None:
    before, space = state(folder), workspace_of(folder)
    space.folder.draft.mkdir()
    (space.folder.draft / CHANGE).write_text(text)
    settle_draft(space)
    assert state(folder) == before


def test_drafts_of_tables_that_share_a_work_folder_are_not_each_others(folder: Path) -> None:
    cards, loans = workspace_of(folder), workspace_of(folder, "loans")
    with drafting(loans, loans.folder.batches / "x-v1") as draft:
        (draft.results / "scores").write_text("x")
        settle_draft(cards)
        assert (draft.results / "scores").exists()
        draft.publish(replace(entry_of(loans, "x"), model_name="loans"))
    assert (loans.folder.batches / "x-v1" / "scores").read_text() == "x"


def test_what_is_recorded_and_can_not_be_put_into_its_place_is_put_there_by_the_next_start(folder: Path) -> None:
    space = workspace_of(folder)
    with pytest.raises(ResourceError, match=r"t1-v1 is recorded, and could not .* the next run puts it there"):  # noqa: PT012, SIM117
        with drafting(space, space.folder.batches / "t1-v1") as draft:
            draft.workspace.history.append(rows_of(folder, [4], 1), "t1")
            (space.folder.history / "date=2025-03-02").write_text("a file in the place of a folder")
            draft.publish(entry_of(space, "t1"))
    with pytest.raises(ResourceError, match=r"can't be put into its place or removed .*date=2025-03-02"):
        settle_draft(space)
    (space.folder.history / "date=2025-03-02").unlink()
    settle_draft(space)
    assert state(folder)["live"] == ["m1", "t1"]
    assert [file.stem for file in space.history.files(None, None)] == ["m1", "t1"]


RUNS = {
    "a new file": ("t1", [4, 5], 1, ""),
    "a corrected file": ("m2", [1, 2], 0, "m1"),
    "the same again": ("m1", [1, 2, 3], 0, ""),
}


def copied(folder: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Path, str]:
    """Batch, rows, and the batch whose place it takes."""
    batch, ids, day, replaced = RUNS[request.param]
    return batch, rows_of(folder, ids, day, amount=2.0 if replaced else 1.0), replaced


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(__name__) as process:
        yield process


def points_of(forks: Forks, folder: Path, run: tuple[str, Path, str]) -> list[str]:
    """Return the points that a run passes, by name and in order."""
    log, work = folder.parent / "points", copied(folder, folder.parent / "copy")
    assert forks.run(act, Points(work, log=str(log)), str(work), *map(str, run)) == (0, "")
    return log.read_text().splitlines()


def act(folder: str, batch: str, rows: str, replaced: str) -> None:
    score(Path(folder), batch, Path(rows), replaced)


def test_a_run_that_ends_anywhere_leaves_the_state_before_or_after_and_done_again_that_after(
    forks: Forks, folder: Path, run: tuple[str, Path, str]
) -> None:
    before, work, reached = state(folder), folder.parent / "copy", set()
    score(copied(folder, folder.parent / "whole"), *run)
    after = state(folder.parent / "whole")
    names = points_of(forks, folder, run)
    assert {name.split()[0] for name in names} >= {"open", "rename", "mkdir", "rmdir", "remove", "fsync", "commit"}
    for number in range(0, len(names), spread(5)):
        for error in (0, ERRORS[number % len(ERRORS)]):
            point = f"{number} {names[number]} {os.strerror(error) if error else 'killed'}"
            status, text = forks.run(act, Points(copied(folder, work), number, error), str(work), *map(str, run))
            assert status in ((0, 1) if error else (KILLED,)), (point, text)
            settle_draft(workspace_of(work))
            assert state(work) in (before, after), (point, text)
            reached.add(state(work) == after)
            score(work, *run)
            assert state(work) == after, (point, text)
    assert reached == {False, True} or before == after


def test_a_run_that_can_not_ask_the_ledger_leaves_a_draft_for_the_next(forks: Forks, folder: Path) -> None:
    run = ("t1", rows_of(folder, [4, 5], 1), "")
    commit = [name.split()[0] for name in points_of(forks, folder, run)].index("commit")
    assert forks.run(act, Points(folder, commit + 1), str(folder), *map(str, run)) == (KILLED, "")
    (folder / "ledger.db").rename(folder / "away.db")
    (folder / "ledger.db").mkdir()
    with pytest.raises(ConfigError, match="cannot be used"):
        settle_draft(workspace_of(folder))
    (folder / "ledger.db").rmdir()
    (folder / "away.db").rename(folder / "ledger.db")
    settle_draft(workspace_of(folder))
    assert state(folder)["live"] == ["m1", "t1"]
    assert [file.stem for file in workspace_of(folder).history.files(None, None)] == ["m1", "t1"]
