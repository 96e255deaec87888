"""Versions and aliases in a real MLflow registry, and its validation as the judge of a gate."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from pipeline.errors import AssayError, ConfigError
from pipeline.selection.promotion import check_promotable, check_reason, promote, record_registered, roll_back
from pipeline.selection.records import AliasChange, AliasRecords
from pipeline.tracking import store
from pipeline.tracking.aliases import find_aliases, find_version, move_aliases, passes
from pipeline.tracking.client import StoreError, start
from tests.pipeline.tracking.small_training import Trained
from tests.processes import SECONDS


def test_a_version_is_found_by_number_alias_and_run(trained: Trained) -> None:
    config = trained.named("found")
    made = [trained.log(config, metrics={"fit_seconds": 1.5}) for _ in range(2)]
    by_alias = find_version(config, "candidate")
    assert by_alias == find_version(config, "2") == find_version(config, made[1].run_id)
    assert (by_alias.number, by_alias.aliases, by_alias.title) == ("2", ("candidate",), "version 2 (candidate)")
    assert by_alias.figures["fit_seconds"] == 1.5
    assert start(config).get_logged_model(by_alias.model_id).source_run_id == made[1].run_id
    assert store.load_detector(config, made[0].run_id)[1] == "1"
    with pytest.raises(AssayError, match="has no version or alias '3'"):
        find_version(config, "3")
    start(config).delete_registered_model_alias("found", "champion")
    with pytest.raises(AssayError, match="name one of them, or make one the champion with: assay promote VERSION"):
        store.load_detector(config)


def test_there_are_no_aliases_before_the_first_training(trained: Trained) -> None:
    assert find_aliases(trained.named("nothing-yet")) == {}


def test_moves_are_made_in_order_and_noted_on_the_version(trained: Trained) -> None:
    config = trained.named("moved")
    for _ in range(2):
        trained.log(config)
    move_aliases(config, {"previous": "1", "champion": "2", "candidate": None}, {"why": "better", "who": "ann"})
    assert find_aliases(config) == {"previous": "1", "champion": "2"}
    tags = start(config).get_model_version("moved", "2").tags
    assert json.loads(tags["assay.champion"]) == {"why": "better", "who": "ann"}
    move_aliases(config, {"candidate": None}, {})  # it is gone already


def test_a_move_that_the_store_does_not_take_moves_nothing(trained: Trained) -> None:
    config = trained.named("unmoved")
    for _ in range(3):
        trained.log(config)
    before = find_aliases(config)
    with pytest.raises(StoreError, match="exceeds the maximum length"):
        move_aliases(config, {"previous": "1", "champion": "2"}, {"why": "x" * 200_000})
    assert find_aliases(config) == before
    with pytest.raises(StoreError):  # of the second alias only, when the first one has moved
        move_aliases(config, {"previous": "1", "not an alias/": "2"}, {"why": "better"})
    assert find_aliases(config) == before


def test_aliases_that_moved_before_one_that_could_not_are_put_back(trained: Trained) -> None:
    config = trained.named("put-back")
    for _ in range(3):
        trained.log(config)
    move_aliases(config, {"previous": "2"}, {})
    before = find_aliases(config)
    assert before == {"champion": "1", "candidate": "3", "previous": "2"}
    with closing(sqlite3.connect(trained.folder / "mlflow.db")) as database:
        database.execute(
            "CREATE TRIGGER held BEFORE UPDATE ON registered_model_aliases WHEN NEW.alias = 'champion' "
            "BEGIN SELECT RAISE(ABORT, 'no space left'); END"
        )
        with pytest.raises(StoreError, match="no space left"):
            move_aliases(config, {"previous": "1", "candidate": None, "shadow": "3", "champion": "2"}, {})
        database.execute("DROP TRIGGER held")
    assert find_aliases(config) == before


def test_a_reason_has_a_length_that_can_be_kept() -> None:
    check_reason("x" * 2000)
    with pytest.raises(ConfigError, match="--why has 2,001 characters and at most 2,000 are kept with a change"):
        check_reason("x" * 2001)


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "is_passed"),
    [
        (0.5, 0.5, True, True),
        (0.4999, 0.5, True, False),
        (3.0, 3.0, False, True),
        (3.01, 3.0, False, False),
        (float("nan"), 0.0, True, False),
        (float("nan"), 0.0, False, False),
        (-0.05, -0.05, True, True),
    ],
)
def test_mlflow_decides_at_the_limit_inclusively(
    value: float, limit: float, *, at_least: bool, is_passed: bool
) -> None:
    assert passes("metric", value, limit, at_least=at_least) is is_passed


def test_promotions_are_recorded_and_undone_one_by_one(trained: Trained) -> None:
    config = trained.named("promoted")
    made = [trained.log(config) for _ in range(3)]
    for each in made:
        record_registered(config, each)
    assert check_promotable(config, "candidate") == ("3", "1")
    with pytest.raises(AssayError, match="version 1 of model 'promoted' is the champion already"):
        check_promotable(config, "1")
    promote(config, "3", "better", over="1")
    assert find_aliases(config) == {"champion": "3", "previous": "1"}
    promote(config, "2", "a try", ["recall"], over="3")
    assert find_aliases(config) == {"champion": "2", "previous": "3"}
    roll_back(config, "too many alerts")
    assert find_aliases(config) == {"champion": "3", "previous": "1"}
    roll_back(config, "again")
    assert find_aliases(config) == {"champion": "1"}
    with pytest.raises(AssayError, match="has no previous champion to go back to"):
        roll_back(config, "once more")
    records = AliasRecords(config).all()
    told = [(change.action, change.version, change.replaced) for change in records if change.alias == "champion"]
    assert told == [
        ("register", "1", None),
        ("promote", "3", "1"),
        ("force", "2", "3"),
        ("rollback", "3", "2"),
        ("rollback", "1", "3"),
    ]
    candidates = [(change.version, change.replaced) for change in records if change.alias == "candidate"]
    assert candidates == [("2", None), ("3", "2"), (None, "3")]
    why = [change.why for change in records if change.action == "register"]
    assert why == [f"made by run {each.run_id}" for each in made]
    forced = next(change for change in records if change.action == "force")
    assert (forced.why, forced.failed_gates) == ("a try", ("recall",))
    assert forced.who
    note = json.loads(start(config).get_model_version("promoted", "2").tags["assay.champion"])
    assert (note["action"], note["why"], note["failed_gates"]) == ("force", "a try", ["recall"])


def test_of_two_promotions_at_the_same_time_the_second_one_is_refused(trained: Trained) -> None:
    config = trained.named("raced")
    for _ in range(4):
        trained.log(config)
    promote(config, "2", "held against version 1", over="1")
    with pytest.raises(AssayError, match="was changed meanwhile, from version 1 to 2; nothing was done"):
        promote(config, "3", "held against version 1, too", over="1")
    # Both have passed the first look when the second one comes to wait for the ledger.
    with ThreadPoolExecutor() as pool:
        with AliasRecords(config).recording(
            [AliasChange(alias="champion", version="3", replaced="2", action="promote", why="first")]
        ):
            late = pool.submit(promote, config, "4", "second", over="2")
            with pytest.raises(TimeoutError):
                late.result(timeout=1)
            move_aliases(config, {"previous": "2", "champion": "3"}, {})
        with pytest.raises(AssayError, match="from version 2 to 3; nothing was done"):
            late.result(SECONDS)
    assert find_aliases(config) == {"candidate": "4", "champion": "3", "previous": "2"}
    assert AliasRecords(config).champions() == ["1", "2", "3"]


def test_a_first_champion_needs_no_previous_one(trained: Trained) -> None:
    config = trained.named("first")
    trained.log(config)
    move_aliases(config, {"champion": None}, {})
    assert check_promotable(config, "1") == ("1", None)
    promote(config, "1", "the only one", over=None)
    assert find_aliases(config) == {"champion": "1"}
    assert AliasRecords(config).champions() == ["1"]


def test_a_champion_whose_files_are_gone_is_not_restored(trained: Trained) -> None:
    import shutil
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    config = trained.named("unrestorable")
    for _ in range(2):
        trained.log(config)
    promote(config, "2", "better", over="1")
    uri = start(config).get_model_version_download_uri(config.name, "1")
    shutil.rmtree(Path(unquote(urlsplit(uri).path)))
    with pytest.raises(AssayError, match="version 1 of model 'unrestorable' is registered, but its files"):
        roll_back(config, "")
    assert find_aliases(config)["champion"] == "2"
    assert "rollback" not in {change.action for change in AliasRecords(config).all()}
