"""How far columns lie from the training, and changes of a table's columns."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from pipeline.detector.usual import stability_index
from pipeline.monitoring.columns import LEVEL, column_drifts, schema_changes
from pipeline.numbers import percent
from tests.pipeline.fitted import replace as with_column


def drift_of(watched, table, column="eur", **settings):
    (each,) = watched.days(table).values()
    drifts = column_drifts(each, watched.with_monitor(**settings))
    return next(drift for drift in drifts if drift.column == column), each


def test_a_quiet_day_has_moved_in_no_column(watched, day):
    for number in range(3):
        (each,) = watched.days(day(number)).values()
        assert not any(drift.has_moved for drift in column_drifts(each, watched.detector))


def test_a_column_that_moved_stands_first_with_its_index(watched, day):
    table = day(4)
    drift, each = drift_of(watched, with_column(table, "eur", [3 * value for value in table["eur"].to_pylist()]))
    usual = watched.detector.reference.columns["eur"]
    assert drift.index == pytest.approx(stability_index(np.array(usual.counts), each.columns["eur"]))
    assert drift.index > drift.limit == 0.25
    assert drift.has_moved
    drifts = column_drifts(each, watched.detector)
    assert drifts[0].index == max(other.index for other in drifts)
    assert "eur has moved (stability index" in str(drift)


def test_p_values_are_corrected_for_the_number_of_columns(watched, day):
    (each,) = watched.days(day(1)).values()
    raw = {}
    for name, counts in each.columns.items():
        table = np.array([watched.detector.reference.columns[name].counts, counts])
        raw[name] = chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue if (table.sum(axis=0) > 0).sum() > 1 else 1
    order = sorted(raw, key=lambda name: raw[name])
    corrected, least = {}, 1.0
    for rank in range(len(order), 0, -1):
        least = min(least, raw[order[rank - 1]] * len(order) / rank)
        corrected[order[rank - 1]] = least
    drifts = {drift.column: drift.p_value for drift in column_drifts(each, watched.detector)}
    assert drifts == pytest.approx(corrected)


def test_neither_a_large_index_of_few_rows_nor_a_sure_but_small_one_is_drift(watched, day):
    (each,) = watched.days(day(1)).values()
    usual = watched.detector.reference.columns["channel"]
    few = replace(each, columns={**each.columns, "channel": np.array([1, 2, 0, 0, 0])})
    drift = next(drift for drift in column_drifts(few, watched.detector) if drift.column == "channel")
    assert drift.index > drift.limit
    assert drift.p_value > LEVEL
    assert not drift.has_moved
    many = 10_000 * np.array(usual.counts) // sum(usual.counts)
    many[:2] += [-600, 600]
    sure = replace(each, columns={**each.columns, "channel": many})
    drift = next(drift for drift in column_drifts(sure, watched.detector) if drift.column == "channel")
    assert drift.p_value < LEVEL
    assert drift.index < drift.limit
    assert not drift.has_moved


@pytest.mark.parametrize(("share", "moves"), [(0.08, False), (0.12, True)])
def test_empty_cells_count_beyond_their_limit(watched, day, share, moves):
    table = day(5)
    values = [None if n < share * table.num_rows else value for n, value in enumerate(table["channel"].to_pylist())]
    drift, _ = drift_of(watched, with_column(table, "channel", values), "channel", drift=50.0)
    assert drift.has_moved == moves
    assert drift.empty == pytest.approx(values.count(None) / len(values))
    assert str(drift) == f"channel is empty in {percent(drift.empty)} of the rows, usually 0 %"


def test_values_that_the_training_never_saw_count_as_well(watched, day):
    table = day(6)
    values = ["fax"] * 80 + table["channel"].to_pylist()[80:]
    drift, _ = drift_of(watched, with_column(table, "channel", values), "channel", drift=50.0)
    assert drift.has_moved
    assert drift.unseen == pytest.approx(80 / len(values))
    text = f"channel holds a value that the training never saw in {percent(drift.unseen)} more of the rows"
    assert str(drift) == text
    assert not drift_of(watched, with_column(table, "channel", values), "channel", drift=50.0, empty=0.3)[0].has_moved


def test_without_types_a_column_is_not_retyped_and_without_a_reference_nothing_is_known():
    then, now = {"id": "text", "eur": "number"}, {"id": "text", "eur": "text"}
    assert schema_changes(then, now, has_types=False) == []
    assert schema_changes({}, now, has_types=True) == []
    assert schema_changes(then, then, has_types=True) == []
