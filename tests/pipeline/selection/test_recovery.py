"""What is left of a killed command: nothing, after the next one."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from pipeline.selection.promotion import promote
from pipeline.selection.records import AliasRecords
from pipeline.selection.recovery import NothingDone, changing, recover, tags_of
from pipeline.settings.config import Config
from pipeline.tracking.aliases import find_aliases, move_aliases
from pipeline.tracking.client import experiment_id, start
from pipeline.tracking.groups import Child, log_child, open_group
from pipeline.workspace.intents import Intents
from tests.faults import Outcomes, settle_locks, spread
from tests.pipeline.selection.kill_points import DATABASES
from tests.pipeline.selection.small_registration import register
from tests.pipeline.tracking.small_training import Trained
from tests.processes import run


@pytest.fixture(scope="module")
def two_versions(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two versions in a store and a work folder of their own."""
    config = trained.config.model_copy(update={"work_dir": str(tmp_path_factory.mktemp("two"))})
    for _ in range(2):
        register(trained, config)
    return config


@pytest.fixture
def config(two_versions: Config, tmp_path: Path) -> Config:
    """A copy of them, for a test to change."""
    for name in DATABASES:
        shutil.copy(Path(two_versions.work_dir) / name, tmp_path)
    return two_versions.model_copy(update={"work_dir": str(tmp_path)})


def killed(config: Config, trained: Trained, action: str, *, first: int, step: int) -> list[dict]:
    """Fail and kill an action at some of its points, and return what came of each; an error was one sentence."""
    folder = Path(config.work_dir)
    (folder / "config.json").write_text(config.model_dump_json())
    (folder / "trained.txt").write_text(str(trained.folder))
    points = ["1", "1"] if spread(step) == 1 else [str(first), str(step)]
    words = [sys.executable, "-m", "tests.pipeline.selection.kill_points", folder, action, *points]
    process = run(*words, cwd=Path(__file__).parents[3])
    assert process.status == 0, process
    lines = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    assert lines, process
    outcomes = Outcomes()
    for line in lines:
        if line["fault"] == "killed":
            assert (line["status"], line["error"]) == (-signal.SIGKILL, "")
        else:
            assert line["error"].count("\n") == 0
            assert line["status"] == (1 if line["error"] else 0), line
            assert line["said"] == []  # it was undone at once
        assert line["again"]["hidden"] == []
        outcomes.add(action, line["fault"], "")
    outcomes.show()
    return lines


def test_a_promotion_that_is_killed_anywhere_is_recorded_or_undone(config: Config, trained: Trained) -> None:
    results = killed(config, trained, "promote", first=2, step=3)
    for result in results:
        for there in (result["recovered"], result["again"]):
            assert there["aliases"] == there["records"], result
            assert there["pending"] == 0
        assert result["again"]["aliases"] == {"champion": "2", "previous": "1"}
        assert len(result["again"]["changes"]) == 5
    said = {sentence.partition(" stopped on the way ")[2] for result in results for sentence in result["said"]}
    assert said == {"was completed: version 2 is the champion", "was undone: every alias is where it was"}


def test_a_rollback_that_is_killed_anywhere_is_recorded_or_undone(config: Config, trained: Trained) -> None:
    promote(config, "2", "better", over="1")
    for result in killed(config, trained, "rollback", first=2, step=6):
        for there in (result["recovered"], result["again"]):
            assert there["aliases"] == there["records"], result
            assert there["pending"] == 0
        assert result["again"]["aliases"] == {"champion": "1"}


def test_a_registration_that_is_killed_leaves_no_version_and_no_run_that_seems_to_run(
    config: Config, trained: Trained
) -> None:
    before = find_aliases(config)
    for result in killed(config, trained, "register", first=2, step=20):
        recovered, again = result["recovered"], result["again"]
        for there in (recovered, again):
            assert there["aliases"] == there["records"], result
            assert (there["running"], there["pending"]) == (0, 0)
        # At the very end, it was recorded before it was killed.
        is_undone = recovered["versions"] == 2
        assert is_undone is (recovered["aliases"] == before)
        assert (again["versions"], again["models"], again["finished"]) == ((3,) * 3 if is_undone else (4,) * 3)


def test_nothing_is_begun_that_could_not_be_recorded(trained: Trained, tmp_path: Path) -> None:
    from pipeline.errors import ConfigError

    (tmp_path / "broken.db").write_text("this is no database" * 100)
    tracking = trained.config.tracking.model_copy(update={"ledger_url": f"sqlite:///{tmp_path}/broken.db"})
    config = trained.config.model_copy(update={"work_dir": str(tmp_path), "tracking": tracking})
    with pytest.raises(ConfigError, match=r"the ledger of scored batches at .+broken\.db cannot be used"):
        register(trained, config)
    assert not (tmp_path / "mlflow.db").exists()


def test_what_fails_is_undone_at_once_and_what_was_not_begun_stays_as_it_is(config: Config, trained: Trained) -> None:
    client, runs = start(config), []

    def fail() -> None:
        with changing(config, "runs", {}) as intent:
            runs.append(open_group(config, "compare", tags_of(intent)))
            tags = {"mlflow.parentRunId": runs[0]}
            runs.append(client.create_run(experiment_id(client, config), tags=tags).info.run_id)
            runs.append(log_child(config, runs[0], Child("version 1")))
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fail()
    assert [client.get_run(each).info.status for each in runs] == ["KILLED", "KILLED", "FINISHED"]
    with pytest.raises(NothingDone), changing(config, "aliases", {"changes": [], "note": {}}):
        raise NothingDone("somebody was faster")
    assert recover(config) == []


def test_an_intent_of_a_command_at_work_is_left_to_it(config: Config) -> None:
    intents = Intents(config)
    with intents.alone():
        intent = intents.begin("runs", {"token": "t"})
        assert recover(config) == []
        assert intents.pending() == [intent]
    what = f"what was begun at {intent.at:%Y-%m-%d %H:%M} UTC and stopped on the way"
    assert recover(config) == [f"{what} was undone: its runs in MLflow are marked as killed"]
    assert intents.pending() == []


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from pipeline.selection.promotion import promote
from pipeline.selection.recovery import at_work, recover, tags_of
from pipeline.settings.config import Config
from pipeline.tracking.groups import open_group
folder = Path(sys.argv[1])
config = Config.model_validate_json((folder / "config.json").read_text())
with at_work(config) as intent:
    (folder / "group").write_text(open_group(config, "backtest", tags_of(intent)))
    assert recover(config) == []
    promote(config, "2", "better", over="1")  # nobody waits for the other
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_runs_that_take_long_are_left_to_whoever_logs_them_and_end_as_killed_without_them(config: Config) -> None:
    folder = Path(config.work_dir)
    (folder / "config.json").write_text(config.model_dump_json())
    process = run(sys.executable, "-c", KILLED_IN_THE_MIDDLE, folder, cwd=Path(__file__).parents[3])
    assert process.status == -signal.SIGKILL, process
    group = (folder / "group").read_text()
    assert start(config).get_run(group).info.status == "RUNNING"
    (sentence,) = recover(config)
    assert sentence.endswith("was undone: its runs in MLflow are marked as killed")
    assert start(config).get_run(group).info.status == "KILLED"
    assert find_aliases(config)["champion"] == "2"
    settle_locks(folder)
    assert recover(config) == []
    assert (Intents(config).pending(), list(folder.glob(".*"))) == ([], [])


def test_a_version_that_somebody_deleted_meanwhile_keeps_no_intent_alive(config: Config) -> None:
    changes = [
        {"alias": "previous", "version": "1", "replaced": None, "action": "promote", "why": "", "who": "ann"},
        {"alias": "champion", "version": "2", "replaced": "1", "action": "promote", "why": "", "who": "ann"},
    ]
    for change in changes:
        change |= {"at": "2025-01-01T00:00:00", "failed_gates": []}
    Intents(config).begin("aliases", {"changes": changes, "note": {}})
    move_aliases(config, {"previous": "1"}, {})
    start(config).delete_model_version(config.name, "2")
    assert len(recover(config)) == 1
    assert find_aliases(config) == {"champion": "1"}
    assert [change.action for change in AliasRecords(config).all()] == ["register", "register"]
