import numpy as np
import pytest
import torch

from models.dense import DenseAutoencoder
from models.heads import Head, column_groups, column_statistics, column_weight
from models.registry import load

GROUPS = [("number", 2), ("binary", 1), ("category", 3), ("number", 1)]


def given(n_rows=50, seed=0):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(n_rows, 7)) * 3
    batch = rng.normal(size=(n_rows, 7))
    batch[:, 2] = rng.integers(0, 2, n_rows)
    batch[:, 3:6] = np.eye(3)[rng.integers(0, 3, n_rows)]
    return outputs, batch


def tensors(*arrays):
    return [torch.tensor(array, dtype=torch.float64) for array in arrays]


def test_each_kind_of_column_has_its_own_loss():
    outputs, batch = given()
    found = Head(groups=GROUPS).cells(*tensors(outputs, batch)).numpy()
    np.testing.assert_allclose(found[:, [0, 1, 6]], (outputs - batch)[:, [0, 1, 6]] ** 2)
    probability = 1 / (1 + np.exp(-outputs[:, 2]))
    likelihood = np.where(batch[:, 2] == 1, probability, 1 - probability)
    np.testing.assert_allclose(found[:, 2], -2 * np.log(likelihood))
    shares = np.exp(outputs[:, 3:6]) / np.exp(outputs[:, 3:6]).sum(axis=1, keepdims=True)
    chosen = shares[np.arange(len(batch)), batch[:, 3:6].argmax(axis=1)]
    np.testing.assert_allclose(found[:, 3:6].sum(axis=1), -2 * np.log(chosen))


def test_what_is_expected_is_in_the_unit_of_the_matrix():
    outputs, _ = given()
    expected = Head(groups=GROUPS)(*tensors(outputs)).numpy()
    np.testing.assert_array_equal(expected[:, [0, 1, 6]], outputs[:, [0, 1, 6]])
    np.testing.assert_allclose(expected[:, 2], 1 / (1 + np.exp(-outputs[:, 2])))
    np.testing.assert_allclose(expected[:, 3:6].sum(axis=1), 1)
    assert (expected[:, 3:6].argmax(axis=1) == outputs[:, 3:6].argmax(axis=1)).all()


def test_huber_is_squared_near_and_linear_far():
    head = Head(groups=[("number", 3)], number="huber")
    found = head.cells(torch.tensor([[0.5, 4.0, -4.0]]), torch.zeros(1, 3))
    np.testing.assert_allclose(found, [[0.25, 7.0, 7.0]])


def test_the_gaussian_loss_is_smallest_at_the_variance_of_the_residuals():
    head = Head(groups=[("number", 2)], number="gaussian")
    residuals = torch.tensor(np.random.default_rng(0).normal(size=(1000, 2)) * [0.5, 3], dtype=torch.float32)
    losses = []
    for log_variance in (residuals.square().mean(dim=0).log(), torch.zeros(2), torch.ones(2)):
        head.log_variance.data = log_variance
        losses.append(head.cells(residuals, torch.zeros_like(residuals)).mean().item())
    assert losses[0] < min(losses[1:])
    expected = np.log(np.square(residuals.numpy()).mean(axis=0)).mean() + 1
    assert losses[0] == pytest.approx(expected, rel=1e-5)


def test_a_weight_multiplies_its_column():
    outputs, batch = tensors(*given())
    weight = torch.arange(1, 8, dtype=torch.float64)
    plain, weighted = (Head(groups=GROUPS, weight=given).cells(outputs, batch) for given in (None, weight))
    torch.testing.assert_close(weighted, plain * weight)


def test_scaled_losses_let_columns_of_any_unit_count_alike():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2)) * [1, 100] + [5, 1e4]
    variance, _ = column_statistics([rows[:100].astype("f4"), rows[100:].astype("f4")])
    np.testing.assert_allclose(variance, rows.var(axis=0), rtol=1e-4)
    np.testing.assert_allclose(column_weight(variance), 1 / rows.var(axis=0), rtol=1e-4)
    assert column_weight(np.array([0.0, 4.0])).tolist() == [1, 0.25]
    settings = {"hidden": (), "code_size": 1, "learning_rate": 0.05, "batch_size": 50, "residual_score": "mean_squared"}
    data = rng.normal(size=(1000, 2)) * [1, 10]  # independent: the code can hold but one of them
    errors = [
        DenseAutoencoder(scale_loss=scale, random_state=1, **settings).fit(data).residuals(data).std(axis=0)
        for scale in (False, True)
    ]
    share = [error / data.std(axis=0) for error in errors]
    assert share[0][1] < 0.1  # without scaling it is the large one, always
    assert share[1].min() > 0.1


def test_columns_of_zeros_and_ones_are_found():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=50), rng.integers(0, 2, 50), np.zeros(50), rng.integers(0, 3, 50)])
    _, is_binary = column_statistics([rows[:20], rows[20:]])
    assert is_binary.tolist() == [False, True, False, False]
    assert column_groups("mixed", None, n_columns=4, is_binary=is_binary) == [
        ("number", 1),
        ("binary", 1),
        ("number", 2),
    ]
    assert column_groups("huber", None, n_columns=4, is_binary=is_binary) == [("number", 4)]


@pytest.mark.parametrize(
    ("loss", "groups", "message"),
    [
        ("mixed", [("number", 2)], "covers 2 columns of 4"),
        ("mixed", [("text", 4)], r"has \('text', 4\)"),
        ("mixed", [("number", 3), ("category", 1)], r"has \('category', 1\)"),
        ("squared", [("number", 4)], "only with loss='mixed'"),
    ],
)
def test_groups_that_do_not_fit_are_refused(loss, groups, message):
    with pytest.raises(ValueError, match=message):
        column_groups(loss, groups, n_columns=4, is_binary=np.zeros(4, dtype=bool))


def mixed_table(n_rows, seed):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n_rows)
    number = kind + 0.1 * rng.normal(size=n_rows)
    return np.column_stack([number, kind > 0, np.eye(3)[kind]]).astype(np.float32)


def test_a_mixed_table_gets_probabilities_and_finds_what_does_not_fit(tmp_path):
    groups = (("number", 1), ("binary", 1), ("category", 3))
    model = DenseAutoencoder(loss="mixed", column_groups=groups, code_size=2, learning_rate=0.01, batch_size=64)
    model.fit(mixed_table(2000, 0))
    expected = model.reconstruct(mixed_table(200, 1))
    assert ((expected[:, 1:] >= 0) & (expected[:, 1:] <= 1)).all()
    np.testing.assert_allclose(expected[:, 2:].sum(axis=1), 1, rtol=1e-5)
    usual, odd = mixed_table(200, 2), mixed_table(200, 2)
    odd[:, 1] = 1 - odd[:, 1]
    assert np.median(model.anomaly_score(odd)) > model.anomaly_score(usual).max()
    found = DenseAutoencoder(loss="mixed", max_epochs=1).fit(mixed_table(200, 0))
    assert found.column_groups_ == [("number", 1), ("binary", 4)]


@pytest.mark.parametrize("loss", ["squared", "huber", "gaussian", "mixed"])
@pytest.mark.parametrize("scale_loss", [False, True])
def test_a_model_under_every_loss_saves_and_scores_the_same_in_any_batch(loss, scale_loss, tmp_path):
    data = mixed_table(5000, 0)
    groups = (("number", 1), ("binary", 1), ("category", 3)) if loss == "mixed" else None
    settings = {"loss": loss, "column_groups": groups, "scale_loss": scale_loss, "max_epochs": 1, "hidden": (13,)}
    model = DenseAutoencoder(**settings).fit(data[:500])
    model.save(tmp_path)
    whole = model.reconstruct(data)
    again = load(tmp_path)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.reconstruct(data), whole)
    order = np.random.default_rng(0).permutation(len(data))
    np.testing.assert_array_equal(model.reconstruct(data[order]), whole[order])
    np.testing.assert_array_equal(np.concatenate([model.reconstruct(data[i : i + 1]) for i in range(9)]), whole[:9])


def test_drawn_rows_have_the_kinds_of_their_columns():
    head = Head(groups=GROUPS, number="gaussian")
    head.log_variance.data.fill_(np.log(4.0))
    outputs = torch.tensor([[1.0, 2.0, 0.0, 5.0, 5.0, -20.0, 3.0]]).repeat(20_000, 1)
    rows = head.sample(outputs, torch.Generator().manual_seed(0)).detach().numpy()
    np.testing.assert_allclose(rows[:, [0, 1, 6]].mean(axis=0), [1, 2, 3], atol=0.06)
    np.testing.assert_allclose(rows[:, [0, 1, 6]].std(axis=0), 2, atol=0.05)
    assert set(np.unique(rows[:, 2:6])) == {0, 1}
    np.testing.assert_allclose(rows[:, 2:6].mean(axis=0), [0.5, 0.5, 0.5, 0], atol=0.02)
    assert (rows[:, 3:6].sum(axis=1) == 1).all()
