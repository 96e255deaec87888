import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from models.trees import BoostedTrees


def labelled(n_rows=3000, seed=0):
    """Rows of which those are fraud that are high in one column and low in another, but for one in ten."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n_rows, 5)).astype(np.float32)
    rows[:, 3] = rows[:, 3].round()  # many values alike
    return rows, ((rows[:, 0] > 1) & (rows[:, 3] < 0)) ^ (generator.random(n_rows) < 0.01)


@pytest.fixture(scope="module")
def trees():
    return BoostedTrees.fit(*labelled())


def test_margins_are_those_of_the_same_trees_in_scikit_learn(trees, monkeypatch):
    boosters = []
    fit = HistGradientBoostingClassifier.fit

    def remembered(self, *arguments, **options):
        boosters.append(self)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", remembered)
    rows, labels = labelled()
    weights = np.where(labels, 1.0, 3.0)
    ours = BoostedTrees.fit(rows, labels, weights, seed=4)
    strange = np.concatenate([rows, 100 * labelled(seed=1)[0], np.zeros((1, 5), np.float32)])
    np.testing.assert_allclose(ours.margin(strange), boosters[0].decision_function(strange), rtol=0, atol=1e-12)
    assert np.abs(ours.margin(rows) - trees.margin(rows)).max() > 1  # the weights counted


def test_labels_are_learned_that_no_column_shows_by_itself(trees):
    rows, labels = labelled(seed=7)
    margins = trees.margin(rows)
    true = (rows[:, 0] > 1) & (rows[:, 3] < 0)
    assert ((margins > 0) == true).mean() > 0.97
    assert labels.mean() < 0.1


def test_a_row_has_the_same_margin_whatever_rows_it_comes_with(trees):
    rows = labelled(seed=2)[0]
    whole = trees.margin(rows)
    assert (np.concatenate([trees.margin(rows[start : start + 7]) for start in range(0, len(rows), 7)]) == whole).all()
    assert (trees.margin(np.asfortranarray(rows)) == whole).all()
    assert trees.margin(rows[:0]).shape == (0,)


def test_leaves_are_where_the_margin_comes_from(trees):
    rows = labelled(2100, seed=5)[0]  # more than a block
    leaves = trees.leaves(rows)
    assert leaves.shape == (2100, len(trees.roots))
    assert (trees.left[leaves] == leaves).all()
    np.testing.assert_allclose(trees.base + trees.values[leaves].sum(axis=1), trees.margin(rows))


def test_arrays_hold_everything_and_the_same_seed_gives_the_same(trees):
    rows = labelled(seed=3)[0]
    again = BoostedTrees.from_arrays({name: array.copy() for name, array in trees.arrays().items()})
    assert (again.margin(rows) == trees.margin(rows)).all()
    arrays = BoostedTrees.fit(*labelled()).arrays()
    assert all((arrays[name] == array).all() for name, array in trees.arrays().items())
    assert {array.dtype.kind for array in arrays.values()} == {"i", "f"}
