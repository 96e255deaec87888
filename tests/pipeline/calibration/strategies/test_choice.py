import json

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.choice import STRATEGIES, cut_curve, fulfilment, row_cuts, solve, strategy_of
from pipeline.calibration.strategies.false_alert_rate import FalseAlertRate
from pipeline.calibration.threshold import Threshold
from pipeline.errors import ConfigError
from pipeline.settings.config import Config, ThresholdConfig
from tests.pipeline.calibration.held_out_rows import made

SETTINGS = {"segment": "channel", "min_segment_rows": 500}


def mixed(seed=0, days=4):
    """Three channels whose scores have other scales, the last a small one, and missing values."""
    generator = np.random.default_rng(seed)
    channel = generator.choice(["web", "shop", "fax", None], 4000, p=[0.6, 0.33, 0.05, 0.02])
    scores = generator.exponential(size=4000) * np.where(channel == "shop", 5, 1)
    labels = generator.random(4000) < 0.03
    return made(scores + 20 * labels, labels=labels, day=np.sort(generator.integers(0, days, 4000)), channel=channel)


def flags_of(threshold, rows):
    return rows.scores > row_cuts(threshold, rows.scores, rows.segments["channel"], rows)


def of_segments(threshold, rows, flags):
    return Realised.of(rows, flags, segment=threshold.segment, values=threshold.parts)


def test_each_large_segment_has_the_rate_and_the_others_share_the_common_cut():
    rows = mixed()
    threshold = solve(rows, ThresholdConfig(false_alert_rate=0.05, **SETTINGS))
    assert set(threshold.parts) == {"shop", "web"}
    common = solve(rows, ThresholdConfig(false_alert_rate=0.05))
    assert threshold.value == common.value
    flags = flags_of(threshold, rows)
    for value in ("shop", "web"):
        of_it = rows.where("channel", value) & rows.normal
        assert flags[of_it].mean() == pytest.approx(0.05, abs=0.002)
    others = ~rows.where("channel", "shop") & ~rows.where("channel", "web")
    assert (flags[others] == (rows.scores[others] > common.value)).all()
    assert flags.sum() / 4 == threshold.alerts_per_day
    assert "Of the 3 values of channel, 2 have a cut of their own" in threshold.promise
    assert f"with these cuts about {flags.sum() / 4:.3g} alerts a day in all" in threshold.promise
    unseen = pa.array(["pigeon", None, "shop"])
    assert threshold.fixed_cuts(unseen).tolist() == [common.value, common.value, threshold.parts["shop"].value]


def test_a_segment_of_exactly_the_least_rows_has_a_cut_of_its_own_and_one_row_fewer_has_none():
    rows = made(np.arange(399.0), channel=["web"] * 200 + ["shop"] * 199)
    settings = ThresholdConfig(false_alert_rate=0.05, segment="channel", min_segment_rows=200)
    assert set(solve(rows, settings).parts) == {"web"}


def test_where_no_segment_is_large_enough_the_promise_says_so_and_gives_one_volume():
    few = {**SETTINGS, "min_segment_rows": 1_000_000}
    common, none = (solve(mixed(), ThresholdConfig(false_alert_rate=0.05, **more)) for more in ({}, few))
    assert none.parts == {}
    assert none.alerts_per_day == common.alerts_per_day
    assert none.promise.startswith(f"{common.promise} None of the 3 values of channel has the 1,000,000 rows")
    assert none.promise.endswith("all share this one.")
    assert none.promise.count("alerts a day") == 1


def test_capacity_is_shared_among_segments_and_stays_what_was_asked_in_all():
    rows = mixed()
    threshold = solve(rows, ThresholdConfig(strategy="capacity", alerts_per_day=60, **SETTINGS))
    flags = flags_of(threshold, rows)
    assert 60 * 4 - 2 <= flags.sum() <= 60 * 4  # each segment's share is rounded down
    shares = [flags[rows.where("channel", value)].mean() for value in ("shop", "web")]
    assert shares[0] == pytest.approx(shares[1], abs=0.002)
    assert threshold.facts["mean"] == flags.sum() / 4
    assert "Of the 3 values" in threshold.promise
    assert fulfilment(threshold, of_segments(threshold, rows, flags)).is_inside


def test_what_came_names_the_segments_outside_their_interval():
    threshold = solve(mixed(), ThresholdConfig(false_alert_rate=0.05, **SETTINGS))
    rows = mixed(1)
    flags = flags_of(threshold, rows)
    fine = fulfilment(threshold, of_segments(threshold, rows, flags))
    assert fine.is_inside
    assert "By channel, 2 of 2 lie inside their interval." in fine.text
    bad = fulfilment(threshold, of_segments(threshold, rows, flags | rows.where("channel", "shop")))
    assert bad.is_inside is False
    assert "1 of 2 lie inside their interval; shop: Of" in bad.text
    none = fulfilment(threshold, of_segments(threshold, rows, np.ones(4000, bool)))
    texts = [
        FalseAlertRate(rate=0.05)
        .fulfilment(threshold.parts[value], Realised.of(rows.take(mask), np.ones(mask.sum(), bool)))
        .text
        for value in threshold.parts
        for mask in [rows.where("channel", value)]
    ]
    parts = [f"{value}: {text.removesuffix('.')}" for value, text in zip(threshold.parts, texts, strict=True)]
    assert none.text == f"By channel, 0 of 2 lie inside their interval; {parts[0]}; {parts[1]}."


def test_without_a_known_label_in_any_segment_what_came_is_what_came_of_all():
    threshold = solve(mixed(), ThresholdConfig(false_alert_rate=0.05, **SETTINGS))
    rows = made(np.zeros(3), labels=[np.nan] * 3, channel=["web", "shop", "fax"])
    nothing = fulfilment(threshold, of_segments(threshold, rows, np.ones(3, bool)))
    assert nothing.text.startswith("No label of these rows is known yet")
    assert nothing.is_inside is None


def test_a_promise_by_segment_is_made_to_each_or_to_all_together():
    rows = made(np.arange(400.0), channel=["web", "shop"] * 200)
    each = {"segment": "channel", "min_segment_rows": 200}
    rate = solve(rows, ThresholdConfig(false_alert_rate=0.05, **each))
    assert rate.promise.endswith(
        "Each of the 2 values of channel has a cut of its own, each promising the same of its rows: with these cuts "
        f"about {rate.alerts_per_day:g} alerts a day in all."
    )
    queue = solve(rows, ThresholdConfig(strategy="capacity", alerts_per_day=20, **each))
    assert queue.promise.endswith(
        "Each of the 2 values of channel has a cut of its own: with these cuts about 20 alerts a day in all."
    )
    few = solve(rows.take(np.arange(399)), ThresholdConfig(strategy="capacity", alerts_per_day=20, **each))
    assert few.promise.endswith(
        "Of the 2 values of channel, 1 have a cut of their own; the others, with fewer than 200 rows or too few for "
        f"what is asked, share the common one: with these cuts about {few.alerts_per_day:g} alerts a day in all."
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_goes_by_segment_and_survives_json(strategy):
    rows = mixed()
    rows = made(
        rows.scores,
        labels=rows.labels,
        day=rows.day,
        amounts=np.full(4000, 50.0),
        channel=rows.segments["channel"].to_pylist(),
    )
    given = {"false_alert_rate": 0.005, "min_precision": 0.1}
    threshold = solve(rows, ThresholdConfig(strategy=strategy, **given, **SETTINGS))
    again = Threshold.from_dict(json.loads(json.dumps(threshold.to_dict(), allow_nan=False)))
    assert again == threshold
    assert threshold.parts
    flags = flags_of(again, rows)
    assert 0 < flags.sum() < 4000
    assert fulfilment(again, of_segments(again, rows, flags)).text


def test_strategies_are_those_of_the_configuration_and_an_unknown_one_is_told_which_there_are():
    named = ThresholdConfig.model_fields["strategy"].annotation.__args__
    assert set(named) == set(STRATEGIES)
    assert all(strategy_of(ThresholdConfig(strategy=name)).name == name for name in named)
    wrong = ThresholdConfig.model_construct(**{**dict(ThresholdConfig()), "strategy": "best"})
    with pytest.raises(ConfigError, match=r"'best' is no strategy; accepted are false_alert_rate, capacity, fdr, tail"):
        strategy_of(wrong)


def test_a_segment_is_a_categorical_column_that_is_not_sensitive():
    contract = {
        "id": "tx",
        "timestamp": "at",
        "amount": "eur",
        "categorical": ["channel", "iban"],
        "sensitive": ["iban"],
    }
    for column in ("eur", "iban", "x"):
        with pytest.raises(
            ValidationError, match=f"threshold.segment is '{column}', and the categorical .* are channel"
        ):
            Config.model_validate({"contract": contract, "threshold": {"segment": column}})
    threshold = {"segment": "channel", "strategy": "capacity", "unit": "customers"}
    with pytest.raises(ValidationError, match="cannot be used with capacity in customers"):
        Config.model_validate({"contract": contract, "threshold": threshold})


def test_the_curve_is_that_of_the_strategy_over_the_rows_held_out():
    rows = mixed()
    settings = ThresholdConfig(strategy="f_beta", beta=2.0)
    threshold = solve(rows, settings)
    curve = cut_curve(threshold, rows)
    assert curve == strategy_of(settings).curve(threshold, rows) is not None
    assert cut_curve(solve(rows, ThresholdConfig(false_alert_rate=0.05)), rows) is None
