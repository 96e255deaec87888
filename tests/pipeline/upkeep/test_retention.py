"""What is past its time goes, what is needed stays, and a removal that is killed anywhere is completed by the next."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pipeline.errors import AssayError
from pipeline.review.desk import Desk
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.tracking.client import start
from pipeline.tracking.groups import Child, close_group, log_child, open_group
from pipeline.tracking.store import load_detector
from pipeline.upkeep.retention import Due, find_due, remove, sizes
from pipeline.workspace.database import connect
from pipeline.workspace.intents import Intents
from pipeline.workspace.ledger import Ledger, lock
from pipeline.workspace.schema import REVIEW_ALERTS
from pipeline.workspace.workspace import Workspace
from tests.faults import KILLED, Forks, Points, settle_locks, spread
from tests.pipeline.review.scored import score_batch
from tests.pipeline.tracking.small_training import Trained

KEEP = timedelta(days=400)
LONG_AGO, LATELY = datetime(2024, 1, 1), datetime.now(UTC).replace(tzinfo=None, microsecond=0)
LATER = LATELY + timedelta(days=500)
"""The moment of the removal, at which the runs of now are old, too."""
LAST_ROWS = {"a": 1, "b": 2, "c": 1, "d": 18, "e": 1, "f": 1}
"""Day of January 2025 of the last row of each batch; f takes c's place."""
REACH = {"windows_days": [1, 2], "label_delay_days": 1, "history_days": 3, "recent_days": 3}


@pytest.fixture(scope="module")
def config(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A work folder with six batches, 20 days of history, three versions and a comparison.

    One test removes from it, and the one after that restores it, for other processes: this one's MLflow has it open.
    """
    folder = tmp_path_factory.mktemp("retention")
    settings = {**trained.config.model_dump(), "work_dir": str(folder / "work"), "features": REACH}
    config = Config.model_validate(settings)
    desk = Desk(config, chance=lambda: 1.0)
    for number, (name, day) in enumerate(LAST_ROWS.items()):
        age = {"e": timedelta(days=1), "f": timedelta(0)}.get(name, LATER - LONG_AGO - timedelta(days=number))
        ids = range(10 * number, 10 * number + 3)
        replaces = ["c"] if name == "f" else []
        audited = [10 * number + 5]
        results = score_batch(config, ids, batch=name, audited=audited, scored_at=LATER - age, replaces=replaces)
        pq.write_table(pa.table({"tx": list(range(100))}), results / "scores.parquet")
        (results / "cut.json").write_text("{}")
        (results / "data-docs").mkdir()
        (results / "data-docs" / "index.html").write_text("docs")
        ends = {"first_timestamp": datetime(2025, 1, day), "last_timestamp": datetime(2025, 1, day, 23)}
        ledger = Ledger(config)
        ledger.record(replace(ledger.find(name, "1"), **ends))
        desk.sync()
    desk.close()
    workspace = Workspace(config)
    workspace.folder.retire(workspace.folder.batches / "c-v1")
    with connect(config).begin() as connection:
        others = REVIEW_ALERTS.c.batch_id != "b"
        connection.execute(sa.update(REVIEW_ALERTS).where(others).values(state="decided"))
        connection.execute(sa.update(REVIEW_ALERTS).values(at=datetime(2025, 1, 17)))
    workspace.history.append(trained.folder / "rows.parquet", "b1")
    _train_three_times(trained, config)
    shutil.copytree(config.work_dir, folder / "pattern")
    return config


def _train_three_times(trained: Trained, config: Config) -> None:
    client = start(config)
    for number in (1, 2, 3):
        registered = trained.log(config, tags={"batch_id": f"t{number}"})
        at = datetime.fromtimestamp(client.get_run(registered.run_id).info.start_time / 1000, UTC)
        folder = Path(config.work_dir) / "runs" / f"{at:%Y%m%dT%H%M%S}-t{number}"
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("report")
    group = open_group(config, "comparison", {})
    log_child(config, group, Child("version 2", metrics={"recall": 0.5}))
    close_group(config, group)
    for name in ("20240101T000000-cards-1-2", "20990101T000000-cards-1-3", "20240101T000000-others-1-2"):
        (Path(config.work_dir) / "comparisons" / name).mkdir(parents=True)


def restore(config: Config) -> None:
    work = Path(config.work_dir)
    shutil.rmtree(work)
    shutil.copytree(work.parent / "pattern", work)


def remove_all(settings: str, now: str) -> None:
    """Remove what is due, as the command does."""
    config, moment = Config.model_validate_json(settings), datetime.fromisoformat(now)
    with lock(config), Intents(config).alone():
        remove(find_due(config, KEEP, moment), config, moment)


def tell_state(settings: str, told: str) -> None:
    """Write what a work folder holds, as a process sees it that has opened nothing before."""
    config = Config.model_validate_json(settings)
    work, client = Path(config.work_dir), start(config)
    (experiment,) = (each for each in client.search_experiments() if each.name == "cards")
    parents = [work / name for name in ("batches", "replaced", "history", "runs", "comparisons", "mlflow-artifacts")]
    state = {
        "files": sorted(str(path.relative_to(work)) for parent in parents for path in parent.rglob("*")),
        "runs": sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id], run_view_type=3)),
        "versions": sorted(each.version for each in client.search_model_versions("name = 'cards'")),
        "ledger": [[entry.batch_id, entry.status, str(entry.removed_at)] for entry in Ledger(config).entries()],
    }
    Path(told).write_text(json.dumps(state))


def ids(due: Due) -> list[str]:
    return sorted(entry.batch_id for entry in due.batches)


def test_only_what_nothing_needs_is_due_and_looking_changes_nothing(config: Config) -> None:
    before = sorted(Path(config.work_dir).rglob("*"))
    due = find_due(config, KEEP, LATER)
    assert ids(due) == ["a", "c"]  # of b there are open alerts, d's rows are within reach, e and f are of late
    days = Workspace(config).history.days()
    assert list(due.days) == [day for day in days if day < date(2025, 1, 14)]  # three before the row of an open alert
    assert 0 < len(due.days) < len(days)
    assert [run.tags.get("batch_id", "") for run in due.runs] == ["t2", "", ""]  # the champion's and candidate's stay
    assert {kind: [path.name[15:] for path in paths] for kind, paths in due.folders.items() if paths} == {
        "results of trainings": ["-t2"],
        "results of comparisons": ["-cards-1-2"],
    }
    assert due.spared["results of batches"].startswith("1 with open alerts; 1 that the next batch")
    assert due.spared["MLflow runs"].startswith("2 of versions")
    found = sizes(due, config)
    files = [path for name in ("batches/a-v1", "replaced/c-v1") for path in (Path(config.work_dir) / name).rglob("*")]
    lasting = ("alerts.parquet", "audit.parquet", "cut.json")
    gone = [path for path in files if path.is_file() and path.name not in lasting]
    assert found["results of batches"] == (2, sum(path.stat().st_size for path in gone))
    assert found["MLflow runs"][1] > 10_000  # the model's files among them
    assert sorted(Path(config.work_dir).rglob("*")) == before


def test_nothing_is_due_before_its_time(config: Config) -> None:
    due = find_due(config, timedelta(days=4000), LATER)
    assert (ids(due), due.runs, due.days, due.spared) == ([], (), (), {})
    assert not any(due.folders.values())


def test_what_was_removed_stays_handled_and_what_needs_it_goes_on(config: Config, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("tx,at,eur\n")
    batch = Batch.of(tmp_path / "a.csv", config)
    Ledger(config).record(replace(Ledger(config).find("a", "1"), digest=batch.digest))
    remove_all(config.model_dump_json(), LATER.isoformat())
    ledger, workspace = Ledger(config), Workspace(config)
    assert ledger.handled().entry_of(batch).removed_at == LATER
    near = ledger.near(datetime(2025, 1, 1), datetime(2025, 1, 31), timedelta(0))
    assert [each.batch_id for each in near] == ["e", "f", "b", "d"]
    assert all((Path(each.folder) / "scores.parquet").is_file() for each in near)
    assert load_detector(config, "champion")[1] == "1"
    assert load_detector(config, "candidate")[1] == "3"
    with pytest.raises(AssayError, match="has no version or alias '2'"):
        load_detector(config, "2")
    assert len(workspace.labels.audits) == 5  # the chances that labels weigh by
    desk = Desk(config, chance=lambda: 1.0)
    assert desk.rebuild() > 0
    desk.close()
    assert find_due(config, KEEP, LATER).batches == ()


def test_a_removal_that_is_killed_anywhere_is_completed_by_the_next(config: Config, tmp_path: Path) -> None:
    settings, work, told = config.model_dump_json(), Path(config.work_dir), tmp_path / "state"
    values = settings, LATER.isoformat()

    def state(forks: Forks) -> dict[str, object]:
        assert forks.run(tell_state, Points(work), settings, str(told)) == (0, "")
        return json.loads(told.read_text())

    with Forks(__name__, "mlflow.store.tracking.sqlalchemy_store") as forks:
        restore(config)
        log = tmp_path / "points"
        assert forks.run(remove_all, Points(work, log=str(log)), *values) == (0, "")
        expected, count = state(forks), len(log.read_text().splitlines())
        assert ["a", "scored", str(LATER)] in expected["ledger"]
        assert count > 50
        for point in range(5, count, spread(count // 4)):
            restore(config)
            assert forks.run(remove_all, Points(work, point), *values) == (KILLED, "")
            settle_locks(work)
            assert forks.run(remove_all, Points(work), *values) == (0, "")
            assert state(forks) == expected, point
