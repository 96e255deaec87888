"""How many values of a range lie below another, and which is the k-th smallest, for many ranges at once."""

import numpy as np


class WaveletMatrix:
    """Whole numbers in their order, bit by bit, so that a range of them is searched in as many steps as they have bits.

    Claude, Navarro and Ordóñez, "The wavelet matrix: An efficient wavelet tree for large alphabets" (2015): each level
    moves the numbers whose bit is 0 before those whose bit is 1, both in their order, and counts the zeros before each
    place; a range stays a range. Takes 4 bytes a number and level.

    Parameters
    ----------
    values : int array of shape (n,)
        0 or more; one at least.
    most : int
        The largest that `below` is asked for.

    Examples
    --------
    >>> matrix = WaveletMatrix(np.array([5, 1, 4, 1, 3]), most=6)
    >>> first, end = np.array([0, 1]), np.array([5, 4])
    >>> matrix.below(first, end, np.array([4, 4])), matrix.smallest(first, end, np.array([2, 0]))
    (array([3, 2]), array([3, 1]))
    """

    def __init__(self, values: np.ndarray, most: int) -> None:
        self._levels: list[tuple[int, np.ndarray, int]] = []
        for bit in reversed(range(int(max(most, values.max())).bit_length())):
            is_zero = values >> bit & 1 == 0
            before = np.zeros(len(values) + 1, dtype=np.int32)
            np.cumsum(is_zero, out=before[1:])
            self._levels.append((bit, before, int(before[-1])))
            values = np.concatenate([values[is_zero], values[~is_zero]])

    def below(self, first: np.ndarray, end: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Return how many of the numbers from `first` on, before `end`, are less than a value, of each range.

        Parameters
        ----------
        first, end, value : int arrays of shape (n_ranges,)
        """
        count = np.zeros(len(first), dtype=np.int64)
        for bit, before, zeros in self._levels:
            low_first, low_end = before.take(first), before.take(end)
            is_one = value >> bit & 1 == 1
            count += np.where(is_one, low_end - low_first, 0)
            first = np.where(is_one, first - low_first + zeros, low_first)
            end = np.where(is_one, end - low_end + zeros, low_end)
        return count

    def smallest(self, first: np.ndarray, end: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the number at a place of each range in the order of size, the smallest at 0.

        Parameters
        ----------
        first, end, place : int arrays of shape (n_ranges,)
            Where a range has no such place, the number means nothing.
        """
        found = np.zeros(len(first), dtype=np.int64)
        for bit, before, zeros in self._levels:
            low_first, low_end = before.take(first), before.take(end)
            low = low_end - low_first
            is_one = place >= low
            place = np.where(is_one, place - low, place)
            found |= is_one.astype(np.int64) << bit
            first = np.where(is_one, first - low_first + zeros, low_first)
            end = np.where(is_one, end - low_end + zeros, low_end)
        return found
