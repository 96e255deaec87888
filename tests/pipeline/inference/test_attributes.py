"""Which columns are facts of an entity."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.inference.attributes import is_attribute

CARDS = np.tile(np.arange(40), 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (CARDS % 3, True),
        (CARDS, True),
        (np.where(np.arange(200) == 77, 9, CARDS % 3), False),  # one exception is what is looked for
        (np.zeros(200, np.int64), False),  # of no one and of everybody
        (np.arange(200) % 7, False),
    ],
)
def test_an_attribute_is_the_same_in_every_row_of_an_entity_and_differs_between_them(values, expected):
    assert is_attribute(pa.array(values), pa.array(CARDS)) is expected


def test_an_empty_cell_is_a_value_and_rows_without_an_entity_are_not_looked_at():
    empty = pa.array([None if card == 3 else "a" for card in CARDS], pa.string())
    assert is_attribute(empty, pa.array(CARDS))
    assert not is_attribute(pa.array([None, *["a" if card == 3 else "b" for card in CARDS[1:]]]), pa.array(CARDS))
    nobody = pa.array([None if row < 40 else card for row, card in enumerate(CARDS)], pa.int64())
    assert is_attribute(pa.array(np.where(np.arange(200) < 40, -1, CARDS % 3)), nobody)
    assert not is_attribute(pa.array([1, 2]), pa.nulls(2, pa.int64()))


def test_what_few_entities_have_by_chance_is_no_attribute():
    few = np.tile(np.arange(19), 5)
    assert not is_attribute(pa.array(few % 2), pa.array(few))
    once = np.arange(200)
    assert not is_attribute(pa.array(once % 2), pa.array(once))
