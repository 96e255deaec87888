"""Words beside amounts that say which way money went."""

import pytest

from pipeline.inference.marks import count_marks, sides, without_marks


@pytest.mark.parametrize("shape", ["9.99 DR", "DR 9.99", "9.99Dr.", "9.99 EUR dr", "(9.99 DR)", "9.99 (Dr)"])
def test_a_mark_is_found_wherever_it_stands(shape):
    marks = count_marks({shape: 3})
    assert marks == {"DR": 3}
    assert "dr" not in without_marks(shape, marks).lower()


@pytest.mark.parametrize("shape", ["9.99 DRAM", "XDR 9.99", "C$ 9.99", "9.99 C", "S/ 9.99", "9.99"])
def test_what_is_no_mark(shape):
    assert not count_marks({shape: 3})
    assert without_marks(shape, {"CR", "DR", "S"}) == shape


def test_which_side_is_less_than_zero():
    assert sides({"C": 1, "D": 1}, 50) == (("C",), ("D",))
    assert sides({"CR": 50}, 2) == (("CR",), ("DR",))  # an empty cell or a zero has no mark
    assert sides({"DR": 2}, 50) == (("CR",), ("DR",))
