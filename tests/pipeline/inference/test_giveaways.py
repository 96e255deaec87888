"""Columns that give the label away."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.inference.giveaways import giveaways
from pipeline.settings.contract import Contract

CONTRACT = Contract(
    id="tx",
    timestamp="at",
    amount="eur",
    entities=("card",),
    categorical=("text",),
    numeric=("x",),
    label="fraud",
    ignored=("gone",),
)


def rows_with(fraud: np.ndarray, **columns) -> pa.Table:
    return pa.table({"fraud": pa.array(fraud, pa.int8()), **columns})


@pytest.fixture
def fraud() -> np.ndarray:
    return np.random.default_rng(1).random(40_000) < 0.01


def test_what_is_written_after_the_fact_trips(fraud):
    rng = np.random.default_rng(2)
    found_late = fraud & (rng.random(len(fraud)) < 0.9)
    for values in (
        fraud.astype(float),
        np.where(fraud, rng.normal(size=len(fraud)), 0.0),  # the loss, zero without fraud
        pa.array(np.where(found_late, 1.0, None), pa.float64()),  # a case number, missing without fraud
        1e9 + fraud,
    ):
        assert list(giveaways(rows_with(fraud, x=values), CONTRACT)) == ["x"]
    text = np.where(found_late, "closed", np.where(rng.random(len(fraud)) < 0.5, "open", None))
    assert list(giveaways(rows_with(fraud, text=text), CONTRACT)) == ["text"]
    card = pa.array(np.where(fraud, rng.integers(0, 50, len(fraud)), None), pa.int64())
    assert list(giveaways(rows_with(fraud, card=card), CONTRACT)) == ["card"]


def test_strong_features_do_not(fraud):
    rng = np.random.default_rng(0)
    amount = rng.lognormal(3, 1, len(fraud)) * np.where(fraud, 5, 1)
    strong = rng.normal(size=len(fraud)) + 3 * fraud  # AUROC 0.98
    keys = np.where(fraud, rng.integers(0, 3, len(fraud)), rng.integers(0, 10, len(fraud))).astype(str)
    assert giveaways(rows_with(fraud, eur=amount, x=strong, text=keys), CONTRACT) == {}


def test_entities_do_not_trip_by_being_learnt_by_heart():
    rng = np.random.default_rng(0)
    card = rng.integers(0, 8_000, 40_000)
    stolen = rng.choice(8_000, 80, replace=False)
    fraud = np.isin(card, stolen)  # every transaction of a stolen card is fraud
    for values in (card, np.char.add("c", card.astype(str))):
        assert giveaways(rows_with(fraud, card=values), CONTRACT) == {}
    # High cardinality and nothing behind it: each value comes once or twice.
    noise = rng.integers(0, 30_000, 40_000).astype(str)
    assert giveaways(rows_with(fraud, text=noise), CONTRACT) == {}


def test_what_is_no_input_is_not_judged(fraud):
    same = fraud.astype(float)
    assert giveaways(rows_with(fraud, tx=same, at=same, gone=same, unnamed=same), CONTRACT) == {}
    unlabelled = CONTRACT.model_copy(update={"label": None})
    assert giveaways(rows_with(fraud, x=same), unlabelled) == {}
    assert giveaways(pa.table({"x": same}), CONTRACT) == {}
    few = np.zeros(1_000, dtype=bool)
    few[:15] = True
    assert giveaways(rows_with(few, x=few.astype(float)), CONTRACT) == {}


def test_rows_without_a_label_are_left_out(fraud):
    label = pa.array(fraud.astype(float), mask=np.arange(len(fraud)) % 2 == 0).cast(pa.int8())
    known = np.where(np.arange(len(fraud)) % 2 == 0, 0.0, fraud)
    assert list(giveaways(pa.table({"fraud": label, "x": known}), CONTRACT)) == ["x"]
