from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.detector.likeness import MOST_FRAUDS, KnownFrauds


class Trees(SimpleNamespace):
    """Three trees whose leaves a row names itself."""

    def leaves(self, rows):
        return rows.astype(np.int32)


TREES = Trees(values=np.array([0.0, 1.0, -2.0, 0.5, 0.5]))
"""Leaf 1 adds 1 to the margin, leaf 2 takes 2 away, leaves 3 and 4 add a half each."""


@pytest.mark.parametrize(
    ("fraud", "alike"),
    [
        ([1, 3, 2], 1),  # all that speaks for fraud
        ([1, 3, 0], 1),  # what speaks against it is not looked at
        ([1, 0, 2], 0),  # 1 of 1.5 is less than seven tenths
        ([0, 3, 2], 0),
        ([3, 1, 2], 0),  # the same leaf numbers, of other trees
    ],
)
def test_a_fraud_is_alike_that_shares_most_of_what_speaks_for_fraud(fraud, alike):
    frauds = KnownFrauds(np.array([fraud], np.int32))
    assert frauds.alike(TREES, np.array([[1, 3, 2]])).tolist() == [alike]


def test_nothing_is_like_a_row_in_which_nothing_speaks_for_fraud():
    frauds = KnownFrauds.of(TREES, np.array([[2, 0, 2], [1, 1, 1]]))
    assert frauds.alike(TREES, np.array([[2, 0, 2], [1, 1, 0]])).tolist() == [0, 1]


def test_rows_are_counted_alike_whatever_rows_they_come_with():
    generator = np.random.default_rng(0)
    rows, frauds = generator.integers(0, 5, (2500, 3)), KnownFrauds.of(TREES, generator.integers(0, 5, (300, 3)))
    whole = frauds.alike(TREES, rows)
    assert whole[1020:1030].tolist() == frauds.alike(TREES, rows[1020:1030]).tolist()
    assert frauds.alike(TREES, rows[:0]).shape == (0,)
    assert 0 < whole.max() <= 300


def test_as_many_frauds_are_kept_at_most_evenly_from_all():
    rows = np.arange(3 * (2 * MOST_FRAUDS + 1)).reshape(-1, 3)
    leaves = KnownFrauds.of(TREES, rows).leaves
    assert leaves.tolist() == rows[::3].tolist()
    assert len(leaves) <= MOST_FRAUDS
    assert len(KnownFrauds.of(TREES, rows[:7]).leaves) == 7
