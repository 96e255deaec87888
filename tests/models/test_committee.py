"""The committee: what each member sees, how their scores are combined, and tables that lie on disk."""

import numpy as np
import pytest

from models.committee import MEMBERS, Committee, View
from models.ranks import ExponentialTail
from models.registry import load


def rows(n_rows=1500, seed=0):
    """Two columns that go together, two of their own, and a 0/1 column that is a fact of the customer."""
    random = np.random.default_rng(seed)
    at = random.normal(size=n_rows)
    columns = [at, at + 0.1 * random.normal(size=n_rows), *random.normal(size=(2, n_rows)), random.random(n_rows) < 0.5]
    return np.column_stack(columns).astype(np.float32)


def small(**parameters):
    settings = {"max_epochs": 6, "hidden": (16,), "code_size": 2, "n_estimators": 50, "learning_rate": 0.01}
    return Committee(**{**settings, **parameters})


@pytest.fixture(scope="module")
def fitted():
    return small(core=(0, 1), behaviour=(0, 1, 2, 3), above=(2, 3)).fit(rows(), X_held_out=rows(800, seed=1))


def test_a_score_is_the_root_mean_square_of_the_members_levels(fitted):
    levels = fitted.member_scores(rows(50, seed=2))
    assert levels.shape == (50, len(MEMBERS))
    assert (levels >= 0).all()
    expected = np.sqrt((levels**2).mean(axis=1))
    np.testing.assert_allclose(fitted.anomaly_score(rows(50, seed=2)), expected, rtol=1e-12)


def test_levels_are_those_of_rows_held_out(fitted):
    # A level is -log of the share of normal rows that score as high: its mean over such rows is that of Exp(1), 1.
    means = fitted.member_scores(rows(800, seed=1)).mean(axis=0)
    np.testing.assert_allclose(means[:3], 1, atol=0.05)
    assert 0 < means[3] < 0.1  # few rows lie beyond those that were fitted on


def test_a_column_that_the_other_members_do_not_see_counts_beyond_its_range(fitted):
    usual, others = rows(50, seed=2), rows(50, seed=2)
    others[:, 4] = 1 - others[:, 4]
    np.testing.assert_array_equal(fitted.anomaly_score(others), fitted.anomaly_score(usual))
    others[:, 4] = 1 + 5
    beyond = fitted.tails_["extremes"](np.maximum(fitted.extremes_(usual), 5.0))
    levels = np.column_stack([fitted.member_scores(usual)[:, :3], beyond])
    np.testing.assert_allclose(fitted.member_scores(others), levels)


def test_a_single_value_below_all_others_is_seen_among_a_hundred_columns():
    random = np.random.default_rng(0)
    fit, held_out, usual = (random.laplace(size=(n_rows, 100)) for n_rows in (1500, 800, 500))
    model = small(max_epochs=3, core=(0, 1)).fit(fit, X_held_out=held_out)
    odd, columns = usual.copy(), random.integers(2, 100, 500)
    odd[np.arange(500), columns] = fit.min(axis=0)[columns] - 8
    found = (model.anomaly_score(odd) > np.quantile(model.anomaly_score(usual), 0.99)).mean()
    levels, others = (model.member_scores(part)[:, :3] for part in (odd, usual))
    without = (np.square(levels).mean(axis=1) > np.quantile(np.square(others).mean(axis=1), 0.99)).mean()
    assert found > 0.95
    assert without < 0.5


def test_low_values_of_a_column_that_speaks_above_alone_count_as_usual(fitted):
    low, high = np.zeros((2, 1, 5), np.float32)
    low[0, 2], high[0, 2] = -8, 8
    assert fitted.anomaly_score(low) == fitted.anomaly_score(np.zeros((1, 5), np.float32))
    assert fitted.anomaly_score(high) > 3 * fitted.anomaly_score(low)


def test_ignored_columns_might_as_well_not_be_there():
    every, others = rows(), rows(200, seed=2)
    few = small(core=(0, 1), behaviour=(0, 1, 2), above=(2,)).fit(every[:, :3], X_held_out=rows(800, seed=1)[:, :3])
    views = {"core": (0, 1, 4), "above": (2, 3), "ignored": (3, 4)}
    ignoring = small(**views).fit(every, X_held_out=rows(800, seed=1))
    assert (ignoring.anomaly_score(others) == few.anomaly_score(others[:, :3])).all()
    others[:, 3:] = 1e6
    assert (ignoring.anomaly_score(others) == few.anomaly_score(others[:, :3])).all()


def test_an_odd_combination_is_told_by_the_member_that_sees_the_core(fitted):
    odd = np.zeros((1, 5), np.float32)
    odd[0, :2] = 1.5, -1.5
    together, *others = fitted.member_scores(odd)[0]
    assert together > 3 * max(others)


def test_a_table_on_disk_gives_the_same_forest_and_tails_of_the_same_kind(tmp_path):
    data = rows()
    on_disk = np.memmap(tmp_path / "rows", np.float32, "w+", shape=data.shape)
    on_disk[:] = data
    settings = {"core": (0, 1), "behaviour": (0, 1, 2, 3), "above": (2,)}
    streamed, whole = (small(**settings).fit(table) for table in (on_disk, data))
    np.testing.assert_array_equal(
        streamed.members_["forest"].anomaly_score(data[:9, :4]), whole.members_["forest"].anomaly_score(data[:9, :4])
    )
    np.testing.assert_array_equal(streamed.anomaly_score(on_disk), streamed.anomaly_score(data))


def test_it_comes_back_with_its_views(fitted, tmp_path):
    fitted.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_array_equal(again.anomaly_score(rows(50)), fitted.anomaly_score(rows(50)))
    np.testing.assert_array_equal(again.member_scores(rows(50)), fitted.member_scores(rows(50)))


def test_a_killed_fit_goes_on_and_leaves_no_folder(tmp_path):
    class Killed(Exception):
        pass

    def kill(epoch, most, losses):
        if epoch == 8:
            raise Killed

    expected = small(on_epoch=None).fit(rows()).anomaly_score(rows(50))
    with pytest.raises(Killed):
        small(checkpoint=tmp_path / "kept", on_epoch=kill).fit(rows())
    assert any((tmp_path / "kept").rglob("*.safetensors"))
    again = small(checkpoint=tmp_path / "kept").fit(rows())
    np.testing.assert_array_equal(again.anomaly_score(rows(50)), expected)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("view", ["core", "behaviour"])
@pytest.mark.parametrize("places", [(), (0, 5), (-1, 2)])
def test_columns_that_are_not_there_are_refused(view, places):
    with pytest.raises(ValueError, match="core and behaviour must name columns from 0 to 4, not"):
        small(**{view: places}).fit(rows(100))


def test_a_view_is_the_columns_with_the_clipped_ones_raised_to_their_mean():
    data = rows(20)
    view = View(data, np.array([3, 1]), np.array([True, False]))
    assert (len(view), view.shape) == (20, (20, 2))
    np.testing.assert_array_equal(view[5:9], np.column_stack([data[5:9, 3].clip(min=0), data[5:9, 1]]))


def test_an_exponential_tail_is_minus_log_p_of_exponential_scores():
    # -log P(X >= s) of an exponential distribution is s over its mean, inside and beyond what was seen.
    scores = np.random.default_rng(0).exponential(3, 200_000) - 5
    tail = ExponentialTail.fit(scores)
    at = np.array([-9.0, -5.0, -2.0, 1.0, 7.0, 25.0])
    np.testing.assert_allclose(tail(at), np.maximum(at + 5, 0) / 3, rtol=0.03, atol=0.01)
    again = ExponentialTail.from_arrays(tail.arrays())
    np.testing.assert_array_equal(again(at), tail(at))


def test_a_tail_of_scores_that_are_all_alike_tells_what_is_higher():
    low, same, high = ExponentialTail.fit(np.full(500, 2.0))(np.array([1.0, 2.0, 2.1]))
    assert low == same == 0
    assert high > 100
