"""Versions and aliases in a real MLflow registry, and its validation as the judge of a gate."""

import json
import sqlite3
from contextlib import closing

import pytest

from pipeline.errors import AssayError
from pipeline.tracking import store
from pipeline.tracking.aliases import find_aliases, find_version, move_aliases, passes
from pipeline.tracking.client import StoreError, start
from tests.pipeline.tracking.small_training import Trained


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
