from collections import Counter
from itertools import combinations
from math import log

import numpy as np
import torch

from models.rarity import PAIR_VALUES, PAIRS, PairRarity


def rows(n_rows=200, seed=0):
    """A code of six values, a whole number of many, and an amount that never repeats."""
    rng = np.random.default_rng(seed)
    columns = rng.geometric(0.5, n_rows).clip(max=6), rng.poisson(30, n_rows), rng.normal(size=n_rows)
    return np.column_stack(columns).astype(np.float32)


def by_counting(others, item):
    """Minus the log of the share of items that come no more often than this one; each compared in turn."""
    counts = Counter(others)
    as_rare = sum(1 for other in others if counts[other] <= counts[item])
    once = max(sum(1 for count in counts.values() if count == 1), 0.5)
    return -log(max(as_rare, once) / len(others))


def bins(data, fit_rows):
    """The bin of each value: the nearest value where the column has few, else the quantiles that it lies between."""
    places = np.empty(data.shape, dtype=object)
    for column, others in enumerate(fit_rows.T):
        values = np.unique(others).tolist()
        for row, value in enumerate(data[:, column].tolist()):
            if len(values) <= PAIR_VALUES:
                places[row, column] = min(values, key=lambda near: abs(near - value))
            else:
                edges = np.unique(np.quantile(others, np.linspace(0, 1, PAIR_VALUES + 1)).astype(np.float32)).tolist()
                inside = sum(edge <= value for edge in edges[:-1])
                places[row, column] = len(edges) if value > edges[-1] else inside
    return places


def test_a_pair_scores_the_share_of_rows_in_cells_as_rare():
    fit_rows, data = rows(), rows(50, seed=1)
    seen, new = bins(fit_rows, fit_rows), bins(data, fit_rows)
    expected = np.zeros(data.shape)
    for pair in combinations(range(3), 2):
        cells = list(map(tuple, seen[:, pair]))
        for row, cell in enumerate(map(tuple, new[:, pair])):
            expected[row, list(pair)] += by_counting(cells, cell) / 2
    np.testing.assert_allclose(PairRarity.fit(fit_rows)(torch.from_numpy(data)), expected, rtol=1e-5, atol=1e-6)


def test_a_fit_row_scores_as_if_the_others_alone_had_been_counted():
    fit_rows = np.column_stack([np.repeat([1.0, 2.0, 3.0], [12, 4, 2]), np.tile([0.0, 1.0], 9)]).astype(np.float32)
    everyone = torch.ones(len(fit_rows), dtype=torch.bool)
    left_out = PairRarity.fit(fit_rows)(torch.from_numpy(fit_rows), everyone)
    for row in range(len(fit_rows)):
        alone = PairRarity.fit(np.delete(fit_rows, row, axis=0))
        np.testing.assert_allclose(left_out[row], alone(torch.from_numpy(fit_rows[row : row + 1]))[0], rtol=1e-6)


def test_only_the_rows_that_are_said_to_be_fit_rows_are_left_out():
    data = torch.from_numpy(rows())
    model, some = PairRarity.fit(data.numpy()), torch.arange(len(data)) < 20
    left_out, new = model(data, ~torch.zeros(len(data), dtype=torch.bool)), model(data)
    assert not torch.equal(left_out, new)
    assert torch.equal(model(data, some), torch.where(some[:, None], left_out, new))


def test_it_scores_the_same_after_its_arrays_were_saved():
    model, data = PairRarity.fit(rows()), torch.from_numpy(rows(50, seed=1))
    assert torch.equal(PairRarity(**model.arrays())(data), model(data))


def test_a_column_alone_has_no_pairs_and_one_value_is_no_surprise():
    same = torch.ones(10, 1)
    assert PairRarity.fit(rows()[:, :1])(torch.from_numpy(rows()[:, :1])).sum() == 0
    assert PairRarity.fit(same.expand(10, 2).numpy())(same.expand(10, 2)).sum() == 0


def test_of_many_pairs_as_many_as_shall_be_are_drawn_and_no_pair_twice():
    data = np.random.default_rng(0).integers(3, size=(50, 40)).astype(np.float32)
    pairs = PairRarity.fit(data).pairs.tolist()
    assert len(set(map(tuple, pairs))) == PAIRS
    assert all(one < other < 40 for one, other in pairs)
    assert len(np.unique(pairs)) == 40
