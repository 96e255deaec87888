"""Promotions and rollbacks, in a real MLflow registry and the records of both."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import AssayError, ConfigError
from pipeline.selection.promotion import check_promotable, check_reason, earlier_champions, promote, roll_back
from pipeline.selection.records import AliasChange, AliasRecords
from pipeline.tracking.aliases import find_aliases, move_aliases
from pipeline.tracking.client import start
from tests.pipeline.selection.small_registration import register
from tests.pipeline.tracking.small_training import Trained
from tests.processes import SECONDS


def test_a_reason_has_a_length_that_can_be_kept() -> None:
    check_reason("x" * 2000)
    with pytest.raises(ConfigError, match="--why has 2,001 characters and at most 2,000 are kept with a change"):
        check_reason("x" * 2001)


def test_promotions_are_recorded_and_undone_one_by_one(trained: Trained) -> None:
    config = trained.named("promoted")
    made = [register(trained, config) for _ in range(3)]
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
    # A version that was removed for its age is neither compared with nor gone back to.
    promote(config, "3", "again", over="1")
    promote(config, "2", "again", over="3")
    assert earlier_champions(config, "4") == ["1", "3"]
    start(config).delete_model_version("promoted", "1")
    assert earlier_champions(config, "4") == ["3"]
    roll_back(config, "too many alerts")
    assert find_aliases(config) == {"champion": "3"}


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
