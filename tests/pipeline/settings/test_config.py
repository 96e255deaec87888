import re

import pytest
from pydantic import ValidationError

from pipeline.settings.config import Config, FeaturesConfig, TableConfig

BASE = {"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}}


def test_everything_is_frozen():
    config = Config.model_validate(BASE)
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"
    with pytest.raises(ValidationError, match="frozen"):
        config.model.trim = 0.2
    with pytest.raises(ValidationError, match="Extra inputs"):
        TableConfig(seperator=";")


def test_nothing_looks_back_further_than_windows_delay_and_history():
    def furthest(**features):
        return Config.model_validate({**BASE, "features": features}).features.max_window_days

    assert furthest(windows_days=[7, 90, 1], label_delay_days=6.5, history_days=30) == 97
    assert furthest(windows_days=[1], label_delay_days=7, history_days=30) == 30
    assert furthest(windows_days=[1], label_delay_days=7, history_days=30, recent_days=40) == 40


def test_the_own_past_is_longer_than_what_is_left_out_of_it():
    assert FeaturesConfig(history_days=2, past_gap_hours=47.5).past_gap_hours == 47.5
    with pytest.raises(ValidationError, match="past_gap_hours = 48 leaves nothing of history_days = 2; lower it"):
        FeaturesConfig(history_days=2, past_gap_hours=48)


def test_a_pair_is_two_different_entities_whatever_their_names_hold():
    entities = ("a", "b", "a+b", "c")
    assert FeaturesConfig.pair("a+b", entities) == ("a", "b")
    assert FeaturesConfig.pair("a+b+c", entities) == ("a+b", "c")
    assert FeaturesConfig.pair("a+a", entities) == FeaturesConfig.pair("c", entities) == ()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"euro": {"title": "Amount"}}, "columns.euro is no column of the contract; did you mean 'eur'?"),
        (
            {"device": {}},
            "columns.device is no column of the contract; name it in contract.ignored if the",
        ),
        ({"tx": {"title": "eur"}}, "columns.tx.title is 'eur', which people would take for 'eur'; give it a title"),
        (
            {"tx": {"title": "It"}, "eur": {"title": "It"}},
            "columns.eur.title is 'It', which people would take",
        ),
    ],
)
def test_a_title_tells_a_column_of_the_contract_from_every_other(columns, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}, "columns": columns})
