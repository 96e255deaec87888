import numpy as np
import pytest

from pipeline.features.wavelet import WaveletMatrix


@pytest.mark.parametrize("seed", range(20))
def test_counts_and_places_are_those_of_the_sorted_range(seed):
    generator = np.random.default_rng(seed)
    n, most = int(generator.integers(1, 90)), int(generator.integers(0, 40))
    values = generator.integers(0, most + 1, n)
    first = generator.integers(0, n + 1, 200)
    end = generator.integers(first, n + 1)
    asked = generator.integers(0, most + 2, 200)
    matrix = WaveletMatrix(values, most + 1)
    ranges = [np.sort(values[start:stop]) for start, stop in zip(first, end, strict=True)]
    below = [int((own < value).sum()) for own, value in zip(ranges, asked, strict=True)]
    assert matrix.below(first, end, asked).tolist() == below
    places = np.array([int(generator.integers(0, max(len(own), 1))) for own in ranges])
    found = matrix.smallest(first, end, places)
    assert all(own[place] == value for own, place, value in zip(ranges, places, found, strict=True) if len(own))
    assert min(map(len, ranges)) == 0 or n == 1  # empty ranges, which only must not fail, were among them


def test_a_number_alone_and_numbers_that_are_all_0_are_searched_too():
    for values in (np.zeros(1, dtype=int), np.zeros(7, dtype=int), np.array([3])):
        matrix = WaveletMatrix(values, int(values.max()))
        first, end = np.array([0]), np.array([len(values)])
        assert matrix.below(first, end, values[:1]).tolist() == [0]
        assert matrix.smallest(first, end, np.array([0])).tolist() == [values[0]]
