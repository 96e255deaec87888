import numpy as np
import pytest

from models.nodes import TREES_AT_ONCE, Nodes


def grown(n_trees, depth, n_columns, seed):
    """Trees of uneven depth, one after the other: columns, cuts, children and roots."""
    generator = np.random.default_rng(seed)
    columns, cuts, children = [], [], []

    def grow(level):
        own = len(columns)
        columns.append(int(generator.integers(n_columns)))
        cuts.append(round(float(generator.normal()), 1))
        children.append((own, own))
        if level < depth and (level == 0 or generator.random() < 0.8):
            left = grow(level + 1)
            children[own] = left, grow(level + 1)
        return own

    roots = [grow(0) for _ in range(n_trees)]
    return np.array(columns), np.array(cuts), np.array(children), np.array(roots)


def walked(row, root, trees):
    """Return the leaf of a row, one step after the other."""
    columns, cuts, children, _ = trees
    node = int(root)
    while tuple(children[node]) != (node, node):
        node = int(children[node][int(float(row[columns[node]]) > cuts[node])])
    return node


@pytest.mark.parametrize("n_trees", [1, TREES_AT_ONCE, TREES_AT_ONCE + 1, 3 * TREES_AT_ONCE - 5])
def test_a_row_comes_to_the_leaf_that_single_steps_lead_to(n_trees):
    for seed in range(5):
        trees = columns, cuts, children, roots = grown(n_trees, 6, 4, seed)
        rows = np.random.default_rng(seed).normal(size=(40, 4)).round(1).astype(np.float32)
        groups = [*Nodes(columns, cuts, children, roots, depth=6).leaves(rows)]
        assert all(len(group) <= TREES_AT_ONCE for group in groups)
        wanted = [[walked(row, root, trees) for row in rows] for root in roots]
        assert np.concatenate(groups).tolist() == wanted


def test_cuts_between_numbers_of_four_bytes_part_them_as_cuts_of_eight_do():
    value = np.float32(0.1)
    for cut in (float(value), np.nextafter(float(value), 1), np.nextafter(float(value), 0), 0.1):
        nodes = Nodes(np.zeros(3), np.array([cut, 0, 0]), np.array([[1, 2], [1, 1], [2, 2]]), np.zeros(1), depth=1)
        around = np.array([[np.nextafter(value, np.float32(0))], [value], [np.nextafter(value, np.float32(1))]])
        assert (next(nodes.leaves(around))[0] == 2).tolist() == (around[:, 0].astype(float) > cut).tolist()
