"""pipeline/scoring/nearest.py: the value at which a row would not be flagged, against scores looked at one by one."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.scoring.nearest import NEAREST_TYPE, unflagged_at
from pipeline.scoring.reasons import REASONS_TYPE, explain
from tests.pipeline.fitted import detector_of, replace
from tests.pipeline.scoring.test_reasons import COUNT, USUAL, drawn, masked, settings


@pytest.fixture(scope="module")
def table():
    return drawn()


@pytest.fixture(scope="module")
def detector(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("drawn") / "features.parquet"
    pq.write_table(table, path)
    return detector_of(path, settings())


@pytest.fixture(scope="module")
def ordinary(detector, table):
    scores = detector.anomaly_scores(table)
    return table.slice(int(scores.argmin()), 1)


def with_values(row, **values):
    for column, value in values.items():
        row = replace(row, column, [value])
    return row


def nearest(detector, row, cut):
    reasons = explain(detector, row)
    values = unflagged_at(detector, row, reasons, np.array([cut]))[0].as_py()
    assert {item["column"] for item in values} <= {reason["column"] for reason in reasons[0].as_py()}
    return {item["column"]: item["value"] for item in values}


def test_a_count_is_the_highest_that_would_not_be_flagged(detector, ordinary):
    cut = detector.threshold
    told = int(nearest(detector, with_values(ordinary, **{COUNT: 400.0}), cut)["card: transactions"])
    scores = [detector.anomaly_scores(with_values(ordinary, **{COUNT: float(count)}))[0] for count in range(400, 0, -1)]
    by_hand = next(count for count, score in zip(range(400, 0, -1), scores, strict=True) if score <= cut)
    assert told == by_hand < 400


def test_of_a_row_odd_in_two_columns_one_change_may_not_do(detector, ordinary):
    row = with_values(ordinary, **{COUNT: 60.0, "km": 60.0})
    sources = {"card: transactions": COUNT, "km": "km"}
    words = {"actual": "60", "expected": "6", "share": 0.5}
    told = [{"column": source, "text": f"{name} 60, expected about 6", **words} for source, name in sources.items()]
    usual = [with_values(row, **{name: ordinary[name][0].as_py()}) for name in sources.values()]
    scores = [detector.anomaly_scores(each)[0] for each in usual]
    for cut, count in ((min(scores) * 0.2, 0), (max(scores) * 1.1, 2)):
        values = unflagged_at(detector, row, pa.array([told], REASONS_TYPE), np.array([cut]))[0].as_py()
        assert len(values) == count


def test_an_amount_goes_with_all_that_is_read_off_it(detector, ordinary):
    values = {"eur": 1240.0, USUAL: 35.2, "eur over the mean of card": 35.0, "eur against card": 100.0}
    values |= {"eur against card (log)": 3.5, "eur above the highest of card": 90.0}
    row = with_values(ordinary, **values)
    told = nearest(detector, row, detector.threshold)["eur"]
    assert 20 < float(told) < 1240
    # With a higher threshold a smaller change is enough, and with one above its score none is needed.
    score = float(detector.anomaly_scores(row)[0])
    looser = nearest(detector, row, (detector.threshold + score) / 2)["eur"]
    assert float(told) < float(looser.replace(",", "")) < 1240
    assert nearest(detector, row, score) == {}


def test_a_masked_reason_and_one_that_is_no_number_have_none(detector, ordinary):
    row = with_values(ordinary, km=512.25)
    assert "km" in nearest(detector, row, detector.threshold)
    assert nearest(masked(detector, "km"), row, detector.threshold) == {}
    late = with_values(ordinary, **{"hour of day": 3.0, "channel": "fax"})
    assert nearest(detector, late, detector.threshold) == {}


def test_rows_are_looked_at_alike_alone_and_among_others(detector, table, ordinary):
    rows = pa.concat_tables([table.slice(0, 7), with_values(ordinary, km=512.25), with_values(ordinary, km=90.0)])
    cuts = np.full(rows.num_rows, detector.threshold)
    together = unflagged_at(detector, rows, explain(detector, rows), cuts)
    alone = [
        unflagged_at(detector, rows.slice(place, 1), explain(detector, rows.slice(place, 1)), cuts[:1])[0].as_py()
        for place in range(rows.num_rows)
    ]
    assert together.to_pylist() == alone
    assert together.type == NEAREST_TYPE
    assert unflagged_at(detector, rows.slice(0, 0), pa.array([], REASONS_TYPE), cuts[:0]).to_pylist() == []
