"""Metrics of versions against plain NumPy: each draw a table that holds customers as often as drawn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluation.bootstrap import weights
from pipeline.evaluation.injection import Injected
from pipeline.evaluation.measures import Outcomes
from pipeline.selection.figures import measure_injected, measure_versions
from pipeline.settings.selection import PromotionConfig

SETTINGS = PromotionConfig(draws=100)


def versions(rows=600, noises=(1.0, 3.0), *, unknown=0.0, cards=True, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.1).astype(float)
    common = {
        "days": np.sort(rng.integers(0, 10, rows)),
        "cards": rng.integers(0, 40, rows) if cards else None,
        "labels": np.where(rng.random(rows) < unknown, np.nan, labels),
        "amounts": rng.lognormal(3, 1, rows),
    }
    scores = [labels * 2 + noise * rng.normal(size=rows) for noise in noises]
    return [Outcomes.of(scores=part, flagged=part > 1.5, **common) for part in scores]


def by_name(found):
    return {figure.name: figure for figure in found}


def plain(version, rows):
    """The metrics of some rows, repeated as often as they are given."""
    fraud, flagged, money = (part[rows] for part in (version.labels == 1, version.flagged, version.amounts))
    return {
        "average_precision": average_precision_score(fraud, version.scores[rows]),
        "auroc": roc_auc_score(fraud, version.scores[rows]),
        "precision": (fraud & flagged).sum() / flagged.sum(),
        "recall": (fraud & flagged).sum() / fraud.sum(),
        "money_recall": money[fraud & flagged].sum() / money[fraud].sum(),
    }


def test_values_and_intervals_of_row_measures_are_those_of_repeated_rows():
    one, other = versions()
    found = by_name(measure_versions([one, other], SETTINGS))
    draws = [np.repeat(np.arange(600), drawn) for drawn in weights(one.cards, 100)]
    for name in ("average_precision", "auroc", "precision", "recall", "money_recall"):
        each = [[plain(version, rows)[name] for rows in draws] for version in (one, other)]
        whole = [plain(version, np.arange(600))[name] for version in (one, other)]
        less = np.array(each[1]) - np.array(each[0])
        for place, values in enumerate(each):
            interval = found[name].values[place]
            assert interval.value == pytest.approx(whole[place])
            assert interval.low == pytest.approx(np.quantile(values, 0.05, method="lower"))
            assert interval.high == pytest.approx(np.quantile(values, 0.95, method="higher"))
        difference = found[name].differences[1]
        assert difference.value == pytest.approx(whole[1] - whole[0])
        assert difference.low == pytest.approx(np.quantile(less, 0.05, method="lower"))
        assert difference.high == pytest.approx(np.quantile(less, 0.95, method="higher"))


def test_measures_of_days_are_means_over_days():
    one, other = versions()
    found = by_name(measure_versions([one, other], SETTINGS))
    for place, version in enumerate((one, other)):
        alerts = [version.flagged[version.days == day].sum() for day in range(10)]
        assert found["alerts_per_day"].values[place].value == pytest.approx(np.mean(alerts))
        # With fewer than 100 cards a day, all are looked at, and a card found is left out from then on.
        seen, shares = set(), []
        for day in range(10):
            here = (version.days == day) & ~np.isin(version.cards, list(seen))
            hits = set(version.cards[here & (version.labels == 1)])
            shares.append(len(hits) / 100)
            seen |= hits
        assert found["card_precision_at_100"].values[place].value == pytest.approx(np.mean(shares))
    assert not found["alerts_per_day"].is_share


def test_a_version_differs_from_itself_by_nothing_and_a_better_one_with_confidence():
    good, bad = versions(rows=3000, noises=(0.5, 4.0))
    same = measure_versions([good, good], SETTINGS)
    assert all((each.differences[1].low, each.differences[1].high) == (0, 0) for each in same)
    found = by_name(measure_versions([bad, good], SETTINGS))
    assert found["average_precision"].differences[1].low > 0.3
    assert found["average_precision"].differences[0].value == 0


def test_rows_without_a_label_count_as_alerts_only():
    one, other = versions(unknown=0.5)
    known = ~np.isnan(one.labels)
    found = by_name(measure_versions([one, other], SETTINGS))
    cut = by_name(measure_versions([one.where(known), other.where(known)], SETTINGS))
    assert found["recall"].values == cut["recall"].values
    assert found["alerts_per_day"].values[0].value > cut["alerts_per_day"].values[0].value


def test_without_labels_or_cards_what_needs_them_is_left_out():
    assert [each.name for each in measure_versions(versions(unknown=1.1), SETTINGS)] == ["alerts_per_day"]
    names = [each.name for each in measure_versions(versions(cards=False), SETTINGS)]
    assert "average_precision" in names
    assert "card_precision_at_100" not in names


def test_injected_anomalies_are_shares_of_those_far_out():
    good = [Injected("plus", 100, 90, 95, 88), Injected("minus", 100, 80, 85, 78), Injected("swap", 100, 1, 1, 1)]
    bad = [Injected("plus", 100, 40, 60, 30), Injected("minus", 100, 30, 50, 20)]
    recall, reason = measure_injected([bad, good], SETTINGS)
    assert recall.values[1].value == pytest.approx(0.85)
    assert reason.values[0].value == pytest.approx(0.55)
    assert recall.differences[1].value == pytest.approx(0.5)
    assert 0.4 < recall.differences[1].low < 0.5 < recall.differences[1].high < 0.6
    recall, _ = measure_injected([[], good], SETTINGS)
    assert np.isnan(recall.values[0].value)
    assert np.isnan(recall.differences[1].low)
    assert recall.values[1].value == pytest.approx(0.85)
    assert measure_injected([[], []], SETTINGS) == []


@pytest.mark.parametrize("confidence", [0.7, 0.9])
def test_newcombes_interval_holds_the_difference_as_often_as_it_says(confidence):
    rng, held = np.random.default_rng(0), 0
    for one, other in rng.binomial(400, [0.9, 0.8], (400, 2)):
        pair = [[Injected("plus", 400, count, 0, 0)] for count in (other, one)]
        recall = measure_injected(pair, PromotionConfig(confidence=confidence))[0]
        held += recall.differences[1].low <= 0.1 <= recall.differences[1].high
    assert confidence - 0.05 < held / 400 < confidence + 0.05
