"""The families of features that a configuration can name."""

from pipeline.features import list_features
from pipeline.settings.config import FAMILIES
from tests.pipeline.features.by_hand import config


def test_features_are_declared_by_family_and_entity():
    chosen = config(families=("amount", "change:card", "risk:shop"), windows_days=(2,))
    assert [feature.name for feature in list_features(chosen)] == [
        "eur",
        "eur (log)",
        "eur against card",
        "eur against card (log)",
        "shop: risk over 2 days",
    ]
    for family in FAMILIES:
        only = list_features(config(families=(family,)))
        others = {f.name for f in list_features(config(families=tuple(f for f in FAMILIES if f != family)))}
        assert not others & {feature.name for feature in only}
    every = list_features(config())
    assert len({feature.name for feature in every}) == len(every)
    assert all(feature.text.endswith(".") for feature in every)
