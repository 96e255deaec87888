import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from pipeline.calibration.p_values import Calibration
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.choice import batch_line, row_cuts, solve
from pipeline.calibration.strategies.fdr import Fdr, last_p_value
from pipeline.errors import TrainingError
from pipeline.settings.config import ThresholdConfig
from tests.pipeline.calibration.held_out_rows import made


def by_hand(p_values, share):
    """The step-up procedure, as Benjamini and Hochberg wrote it."""
    ordered = np.sort(p_values)
    places = np.flatnonzero(ordered <= share * np.arange(1, len(ordered) + 1) / len(ordered) + 1e-12)
    return p_values <= ordered[places[-1]] if len(places) else np.zeros(len(p_values), bool)


@pytest.mark.parametrize("seed", range(20))
def test_the_rows_above_the_cut_are_those_that_the_procedure_accepts(seed):
    generator = np.random.default_rng(seed)
    held_out = made(generator.normal(size=499).round(2))
    batch = np.concatenate([generator.normal(size=300), generator.normal(3, 1, 30)]).round(2)
    threshold = Fdr(share=0.2).solve(held_out)
    cut = row_cuts(threshold, batch, None, held_out)
    expected = by_hand(Calibration(held_out.scores).p_value(batch), 0.2)
    assert ((batch > cut) == expected).all()
    assert cut >= threshold.value  # below it, none is flagged in whatever batch
    empty = np.empty(0)
    assert (empty > row_cuts(threshold, empty, None, held_out)).shape == (0,)


def test_the_expected_share_of_false_alerts_stays_within_its_bound():
    generator = np.random.default_rng(0)
    draws, n, normal, odd, share = 5000, 400, 180, 20, 0.2
    shares, flagged = np.empty(draws), 0
    for draw in range(draws):
        known = np.sort(generator.normal(size=n))
        batch = np.concatenate([generator.normal(size=normal), generator.normal(3.5, 1, odd)])
        p_values = (1 + n - np.searchsorted(known, batch, side="left")) / (n + 1)
        flags = p_values <= last_p_value(p_values, share)
        shares[draw] = flags[:normal].sum() / max(flags.sum(), 1)
        flagged += flags[normal:].sum()
    error = shares.std() / np.sqrt(draws)
    bound = share * normal / (normal + odd)
    assert shares.mean() <= bound + 4 * error
    assert shares.mean() > 0.8 * bound  # the bound is nearly reached, so that the check means something
    assert flagged / draws > 0.5 * odd


def test_no_group_smaller_than_the_least_is_ever_flagged_and_the_least_can_be():
    held_out = made(np.arange(99.0))
    strategy = Fdr(share=0.1)
    threshold = strategy.solve(held_out)
    for rows, least in [(10, 1), (11, 2), (100, 10), (101, 11)]:
        assert strategy.least(99, rows) == least
        batch = np.where(np.arange(rows) < least, 1000.0, 0.0)
        assert (batch > row_cuts(threshold, batch, None, held_out)).sum() == least
        batch[0] = 0.0
        assert (batch > row_cuts(threshold, batch, None, held_out)).sum() == 0
    fulfilment = strategy.fulfilment(threshold, Realised.of(made(np.zeros(100)), np.zeros(100, bool)))
    assert "No group of fewer than 10 alerts could be flagged among these 100 rows" in fulfilment.text
    assert "Of m rows no fewer than m / 10.0 can be flagged" in threshold.promise
    assert "which is 10 of the 99 of a usual day" in threshold.promise


def test_normal_rows_of_the_block_leave_themselves_out_of_their_p_values():
    generator = np.random.default_rng(4)
    labels = np.repeat([0.0, 1.0], [60, 12])
    rows = made(generator.normal(3 * labels, 1).round(1), labels=labels, days=4)
    normal, p_values = rows.scores[:60].tolist(), []
    for place, score in enumerate(rows.scores):
        others = normal[:place] + normal[place + 1 :] if place < 60 else normal
        p_values.append((1 + sum(other >= score for other in others)) / (1 + len(others)))
    expected = by_hand(np.array(p_values), 0.3).sum()
    keeping = (1 + (np.array(normal) >= rows.scores[:, None]).sum(axis=1)) / 61
    assert 0 < expected != by_hand(keeping, 0.3).sum()
    threshold = Fdr(share=0.3).solve(rows)
    assert threshold.alerts_per_day == expected / 4
    assert threshold.alert_share == pytest.approx(expected / 72)


def test_what_came_is_the_share_of_false_ones_among_alerts_with_a_known_label():
    strategy, labels = Fdr(share=0.1), [1, 1, 1, 0, np.nan, 0]
    threshold = strategy.solve(made(np.arange(99.0)))
    fulfilment = strategy.fulfilment(
        threshold, Realised.of(made(np.zeros(6), labels=labels), np.array([True] * 5 + [False]))
    )
    assert "Of 4 alerts with a known label 1 are false (25 %), where 10 % or less is promised" in fulfilment.text
    unknown = strategy.fulfilment(threshold, Realised.of(made(np.zeros(2), labels=[np.nan] * 2), np.ones(2, bool)))
    assert "The label of no alert is known yet" in unknown.text


def test_too_few_calibration_rows_for_any_alert_are_refused():
    with pytest.raises(TrainingError, match=r"share of 0\.1 false alerts needs at least 9 normal rows .* there are 8"):
        Fdr(share=0.1).solve(made(np.arange(8.0)))


def test_segments_have_p_values_of_their_own():
    generator = np.random.default_rng(1)
    channel = np.repeat(["web", "shop", "fax"], [600, 600, 50])
    scores = generator.normal(size=1250) * np.where(channel == "shop", 10, 1)
    held_out = made(scores, channel=channel)
    threshold = solve(held_out, ThresholdConfig(strategy="fdr", segment="channel", min_segment_rows=500))
    assert set(threshold.parts) == {"web", "shop"}
    assert threshold.alerts_per_day == Fdr(share=0.1).solve(held_out).alerts_per_day
    where = np.repeat(["web", "shop", "fax"], 20)
    batch = np.concatenate([np.repeat([0.0, 8.0], [10, 10])] * 3)
    found = batch > row_cuts(threshold, batch, pa.array(where), held_out)
    p_values = np.concatenate(
        [
            Calibration(scores[channel == "web"]).p_value(batch[:20]),
            Calibration(scores[channel == "shop"]).p_value(batch[20:40]),
            Calibration(scores).p_value(batch[40:]),
        ]
    )
    assert (found == by_hand(p_values, 0.1)).all()
    assert found[10:20].all()  # far out for the web
    assert not found[30:40].any()  # usual for a shop


def test_p_values_of_a_batch_are_those_among_normal_rows_alone():
    generator = np.random.default_rng(7)
    labels = np.repeat([0.0, 1.0, np.nan], [300, 150, 50])
    held_out = made(generator.normal(size=500) + 4 * (labels == 1), labels=labels)
    batch = np.concatenate([generator.normal(size=100), np.full(10, 3.5)])
    strategy = Fdr(share=0.2)
    found = batch > row_cuts(strategy.solve(held_out), batch, None, held_out)
    assert (found == by_hand(Calibration(held_out.scores[:300]).p_value(batch), 0.2)).all()
    assert found[100:].all()
    assert not by_hand(Calibration(held_out.scores).p_value(batch), 0.2).any()


def test_a_p_value_at_the_line_of_the_procedure_is_accepted():
    assert last_p_value(np.array([0.05, 1.0]), 0.1) == 0.05
    assert last_p_value(np.array([0.0501, 1.0]), 0.1) == 0
    assert last_p_value(np.empty(0), 0.1) == 0


def test_the_largest_accepted_p_value_is_that_of_the_whole_procedure_also_from_counts():
    for seed in range(200):
        generator = np.random.default_rng(seed)
        levels = np.sort(generator.choice(np.arange(1, 1000), int(generator.integers(1, 60)), replace=False)) / 1000
        levels *= generator.choice([0.05, 1])
        rows = generator.integers(0, 9, len(levels))
        p_values = generator.permutation(np.repeat(levels, rows))
        share = generator.choice([0.01, 0.1, 0.5])
        is_accepted = stats.false_discovery_control(p_values) <= share if len(p_values) else np.empty(0, bool)
        expected = p_values[is_accepted].max(initial=0.0)
        assert last_p_value(p_values, share) == expected
        order = generator.permutation(len(levels))
        assert last_p_value(levels[order], share, rows[order]) == expected


@pytest.mark.parametrize("segment", ["", "channel"])
def test_the_line_of_a_batch_does_not_depend_on_its_parts(segment):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        held_out = made(generator.normal(size=900).round(1), channel=generator.choice(["web", "shop", "fax"], 900))
        threshold = solve(held_out, ThresholdConfig(strategy="fdr", segment=segment, min_segment_rows=250))
        batch = generator.normal(0, generator.choice([1, 2, 3]), 400).round(1)
        where = pa.array(generator.choice(["web", "shop", "fax", None], 400)) if segment else None
        whole, parts = (batch_line(threshold, held_out) for _ in range(2))
        whole.add(batch, where)
        for start in range(0, 400, 37):
            parts.add(batch[start : start + 37], where.slice(start, 37) if segment else None)
        assert parts.drawn() == whole.drawn()
        cuts = np.broadcast_to(row_cuts(threshold, batch, where, held_out), 400)
        assert (cuts == whole.drawn().fixed_cuts(where)).all()
