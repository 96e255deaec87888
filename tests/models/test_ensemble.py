import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from models.ensemble import MEMBERS, EnsembleAutoencoder
from models.memory import MemoryAutoencoder, hash_rows
from models.ranks import ExponentialTail
from models.rarity import PairRarity
from models.registry import load
from models.scores import Mahalanobis
from tests.models.test_blocks import Table


def rows(n_rows=500, n_columns=5, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n_rows, 2))
    mixing = np.random.default_rng(1).normal(size=(2, n_columns))
    return (np.tanh(codes @ mixing) + 0.1 * rng.normal(size=(n_rows, n_columns))).astype(np.float32)


def fitted(data=None, **parameters):
    given = {"n_steps": 20, "hidden": (24, 24), "n_networks": 3} | parameters
    return EnsembleAutoencoder(**given).fit(rows() if data is None else data)


def outputs(model, data):
    names = ("anomaly_score", "contributions", "residuals", "reconstruct", "encode", "predict")
    return {name: getattr(model, name)(data) for name in names}


def assert_same(found, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name, strict=True)


def network_residuals(model, data):
    """A plain NumPy pass of each network."""
    weights = [weight.numpy().astype(np.float64) for weight in model.networks_.weights]
    biases = [bias.numpy().astype(np.float64) for bias in model.networks_.biases]
    found = []
    for network in range(model.n_networks):
        hidden = data.astype(np.float64)
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if layer:
                hidden = hidden * np.clip(hidden + 3, 0, 6) / 6
            hidden = hidden @ weight[network] + bias[network]
        found.append(data - hidden)
    return np.array(found)


def by_hand(model, data, fit_rows):
    """The scores of the members, each from its own library class or in plain NumPy."""
    scales = 1 / np.abs(fit_rows - fit_rows.mean(axis=0)).max(axis=0)
    memory = MemoryAutoencoder(random_state=model.memory_.random_state).fit(fit_rows * scales)
    ranks, fit_ranks = (model.ranks_(torch.from_numpy(rows)).numpy() for rows in (data, fit_rows))
    rank_memory = MemoryAutoencoder(random_state=model.memory_.random_state).fit(fit_ranks)

    def distances(name, residuals):
        return model._distances[name].contributions(torch.from_numpy(residuals).double()).sum(dim=1).numpy()

    return {
        "likelihood": memory.anomaly_score(data * scales),
        "memory": distances("memory", memory.residuals(data * scales)),
        "distance": np.square(memory.residuals(data * scales)).sum(axis=1),
        "ranks": rank_memory.anomaly_score(ranks),
        "rank_memory": distances("rank_memory", rank_memory.residuals(ranks)),
        "networks": np.mean([distances("networks", found) for found in network_residuals(model, data)], axis=0),
        "columns": -np.log(2 * norm.sf(np.abs(ranks.astype(np.float64)))).sum(axis=1),
        "pairs": PairRarity.fit(fit_rows)(torch.from_numpy(data)).sum(dim=1).numpy(),
    }


def test_scores_are_the_root_mean_square_of_the_tails_of_its_members():
    data, fit_rows = 1.5 * rows(200, seed=1), rows()
    model = fitted(fit_rows)
    scores = by_hand(model, data, fit_rows)
    assert tuple(scores) == MEMBERS
    levels = np.array([model.tails_[name](scores[name]) for name in MEMBERS])
    np.testing.assert_allclose(model.anomaly_score(data), np.sqrt((levels**2).mean(axis=0)), rtol=1e-3)
    # Between the mean of the members and their maximum.
    assert (model.anomaly_score(data) >= levels.mean(axis=0) * (1 - 1e-3)).all()
    assert (model.anomaly_score(data) <= levels.max(axis=0) * (1 + 1e-3)).all()


def test_each_column_has_the_part_that_its_members_give_it():
    data, fit_rows = 1.5 * rows(128, seed=1), rows()
    model = fitted(fit_rows)
    block = torch.from_numpy(data)
    members = model._members(block, leave_out=True, network_residuals=model._network_residuals(block))
    sums = [np.maximum(found.sum(dim=1).numpy(), 0) for found in members]
    levels = [model.tails_[name](score) for name, score in zip(MEMBERS, sums, strict=True)]
    combined = np.sqrt(np.mean(np.square(levels), axis=0))
    expected = sum(
        found.numpy() / np.maximum(score, 1e-300)[:, None] * (level**2 / combined / len(MEMBERS))[:, None]
        for found, score, level in zip(members, sums, levels, strict=True)
    )
    np.testing.assert_allclose(model.contributions(data), expected, rtol=1e-3, atol=1e-3)


def test_networks_are_judged_by_the_rows_that_they_left_out():
    fit_rows = rows()
    model = fitted(fit_rows)
    fold = ((hash_rows(torch.from_numpy(fit_rows)) >> 32) % 3).numpy()
    assert np.bincount(fold).min() > 100
    out_of_fold = network_residuals(model, fit_rows)[fold, np.arange(len(fit_rows))]
    distance = Mahalanobis.fit(out_of_fold)
    np.testing.assert_allclose(model._distances["networks"].precision, distance.precision, rtol=1e-3, atol=1e-3)
    scores = distance.contributions(torch.from_numpy(out_of_fold)).sum(dim=1).numpy()
    tail = ExponentialTail.fit(scores)
    assert model.tails_["networks"].excess == pytest.approx(tail.excess, rel=1e-3)
    np.testing.assert_allclose(model.tails_["networks"].scores, tail.scores, rtol=1e-3)


def test_a_network_never_learns_from_its_own_fold():
    data = torch.from_numpy(rows())
    fold = (hash_rows(data) >> 32) % 3
    model = EnsembleAutoencoder(n_networks=3, hidden=(8,))
    model.networks_ = model._build(5, torch.Generator().manual_seed(0)).train()
    model._loss(data[fold == 1], torch.Generator().manual_seed(0)).mean().backward()
    for weight in model.networks_.weights:
        assert (weight.grad[1] == 0).all()
        assert (weight.grad[[0, 2]] != 0).any()


def test_copies_of_a_row_are_in_one_fold():
    data = torch.from_numpy(rows(50))
    signed = data.clone()
    signed[:, 1] = 0
    negative = signed.clone()
    negative[:, 1] = -0.0
    assert torch.equal(hash_rows(signed), hash_rows(negative))
    assert len(hash_rows(data).unique()) == 50


@pytest.mark.parametrize("repeated", [0, 100])
def test_a_row_scores_the_same_in_any_batch(repeated):
    data = np.concatenate([rows(5000, seed=2), rows(300)])
    model = fitted(np.concatenate([rows(300), rows(300)[:repeated]]))
    whole = outputs(model, data)
    order = np.random.default_rng(0).permutation(len(data))
    for chosen in (order, np.arange(5100), np.arange(4097, 4098), np.arange(3, 140)):
        assert_same(outputs(model, data[chosen]), {name: values[chosen] for name, values in whole.items()})


def test_contributions_sum_to_the_score():
    model = fitted()
    data = 2 * rows(seed=1)
    assert model.contributions(data).shape == data.shape
    np.testing.assert_allclose(model.contributions(data).sum(axis=1), model.anomaly_score(data), rtol=1e-12)
    np.testing.assert_array_equal(model.residuals(data), data - model.reconstruct(data))


def test_a_saved_model_scores_bit_for_bit(tmp_path):
    frame = pd.DataFrame(rows(), columns=list("abcde"))
    model = fitted(frame)
    model.save(tmp_path)
    again = load(tmp_path)
    assert_same(outputs(again, frame), outputs(model, frame))
    assert again.get_params() == model.get_params()
    assert again.epochs_ == model.epochs_


def test_same_seed_same_scores():
    assert_same(outputs(fitted(), rows(seed=1)), outputs(fitted(), rows(seed=1)))
    assert not np.array_equal(fitted(random_state=1).anomaly_score(rows()), fitted().anomaly_score(rows()))


def test_held_out_rows_stop_the_training():
    model = EnsembleAutoencoder(n_steps=3000, hidden=(64,), noises=(0.0,), learning_rate=0.03, patience=5)
    model.fit(rows(40), X_held_out=rows(400, seed=3))
    losses = [epoch["held_out_loss"] for epoch in model.epochs_]
    assert len(losses) == int(np.argmin(losses)) + 1 + 5 < 3000


def test_anomalies_off_a_curve_are_found():
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, size=1500)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    model = fitted(ring[:1000])
    normal, odd = model.anomaly_score(ring[1000:]), model.anomaly_score(0.8 * ring[1000:])
    assert np.quantile(normal, 0.99) < np.quantile(odd, 0.01)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_networks": 1}, "n_networks=1 must be 2 or more"),
        ({"n_steps": 0}, "n_steps=0 must be 1 or more"),
        ({"hidden": (8, 0)}, r"hidden=\(8, 0\) must be 1 or more each"),
        ({"noises": (-1,)}, r"noises=\(-1,\) must be 0 or more"),
        ({"noises": ()}, r"noises=\(\) must be 0 or more, and one at least"),
        ({"learning_rate": 0}, "learning_rate=0 must be above 0"),
        ({"bandwidth": 0}, "bandwidth=0 must be above 0"),
    ],
)
def test_a_parameter_out_of_range_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        EnsembleAutoencoder(**parameters).fit(rows(50))


def test_a_row_too_large_for_float32_is_named():
    model = fitted()
    data = rows(5)
    data[3, 2] = 3e38
    with pytest.raises(ValueError, match="row 3 has no finite score"):
        model.anomaly_score(data)


def test_a_table_on_disk_is_read_from_there_and_scores_as_well(tmp_path):
    data = rows(5000)
    table = np.memmap(tmp_path / "rows", np.float32, "w+", shape=data.shape)
    table[:] = data
    streamed, in_memory = (fitted(given, n_steps=200) for given in (table, data))
    np.testing.assert_array_equal(streamed.anomaly_score(table), streamed.anomaly_score(data))
    np.testing.assert_array_equal(streamed.memory_.prototypes_, in_memory.memory_.prototypes_)
    odd = rows(500, seed=1) + np.float32(1.5) * np.eye(5, dtype=np.float32)[0]
    for model in (streamed, in_memory):
        assert np.median(model.anomaly_score(odd)) > np.quantile(model.anomaly_score(data), 0.95)


def test_a_killed_fit_goes_on_where_it_was_and_ends_the_same(tmp_path):
    settings = {"n_steps": 60, "batch_size": 100}
    whole, heard = fitted(**settings), []

    def kill(epoch, max_epochs, losses):
        heard.append(epoch)
        if len(heard) == 5:
            raise KeyboardInterrupt

    folder = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fitted(**settings, checkpoint=folder, on_epoch=kill)
    resumed = fitted(**settings, checkpoint=folder, on_epoch=kill)
    assert heard == list(range(1, 13))
    assert_same(outputs(resumed, rows(seed=1)), outputs(whole, rows(seed=1)))
    assert resumed.epochs_ == whole.epochs_
    assert not list(folder.glob("*"))


def test_a_small_table_that_only_gives_slices_is_read_all_the_same():
    streamed, in_memory = fitted(Table(rows())), fitted(rows())
    for name, values in in_memory.ranks_.arrays().items():
        np.testing.assert_array_equal(streamed.ranks_.arrays()[name], values)
    np.testing.assert_array_equal(streamed.anomaly_score(Table(rows())), streamed.anomaly_score(rows()))


def test_fit_rows_are_judged_without_themselves():
    fit_rows = np.concatenate([*[rows(60)] * 2, rows(60, seed=1)])
    model = fitted(fit_rows)
    assert -model.offset_ == pytest.approx(np.quantile(model.fit_row_scores(fit_rows), 0.9))
    alone = fit_rows[120:]
    assert (model.fit_row_scores(alone) > model.anomaly_score(alone)).all()  # once more, they may be one of many
    np.testing.assert_allclose(model.fit_row_scores(rows(50, seed=2)), model.anomaly_score(rows(50, seed=2)))


def test_what_all_rows_share_is_no_surprise_and_what_breaks_it_is_not_without_bound():
    same = np.column_stack([rows(300), np.ones(300)]).astype(np.float32)
    model = fitted(same)
    odd = same[:50].copy()
    odd[:, -1] = 2
    levels = dict(zip(MEMBERS, model.member_scores(odd).T, strict=True))
    assert (model.anomaly_score(odd) > np.quantile(model.anomaly_score(same), 0.99)).all()
    for name in ("columns", "pairs"):
        assert levels[name].max() < 1000


def test_a_code_never_seen_is_told_by_its_column():
    rng = np.random.default_rng(0)
    codes = rng.choice([-2.0, -0.5, 0.5, 2.0], size=(600, 3)).astype(np.float32)
    model = fitted(codes)
    odd = codes[:100].copy()
    odd[:, 1] = 0.1  # amid the codes that there are
    assert np.quantile(model.anomaly_score(odd), 0.01) > np.quantile(model.anomaly_score(codes), 0.99)
    assert (model.contributions(odd).argmax(axis=1) == 1).mean() > 0.95
