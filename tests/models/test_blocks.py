import numpy as np
import pytest
import torch

from models import blocks, networks, training
from models.blocks import RowSubset, at_random, in_blocks, is_streamed
from models.dense import DenseAutoencoder


class Table:
    """Rows that can only be had slice by slice."""

    def __init__(self, array):
        self.array, self.shape, self.most = array, array.shape, 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, part):
        found = self.array[part.start : part.stop]
        self.most = max(self.most, len(found))
        return found


def rows(n_rows=9000, n_columns=5):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, n_columns))).astype(np.float32)


@pytest.mark.parametrize("n_rows", [1, 4095, 4096, 4097, 9000])
def test_blocks_come_back_in_order(n_rows):
    data = rows(n_rows)
    np.testing.assert_array_equal(in_blocks(data, lambda block: block * 2), data * 2)
    np.testing.assert_array_equal(in_blocks(Table(data), lambda block: block.sum(dim=1)).shape, (n_rows,))


def test_a_table_on_disk_is_fitted_and_scored_without_being_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "WINDOW_CELLS", 10_000)
    monkeypatch.setattr(blocks, "SLICE_ROWS", 1000)
    monkeypatch.setattr(networks, "SCORE_CELLS", 10_000)
    data = rows()
    np.save(tmp_path / "rows.npy", data)
    settings = {"code_size": 2, "learning_rate": 0.01, "max_epochs": 10, "batch_size": 64, "trim": 0.01}
    table = Table(data)
    streamed = DenseAutoencoder(**settings).fit(table)
    assert table.most <= 4096
    scores = streamed.anomaly_score(table)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    again = DenseAutoencoder(**settings).fit(mapped)
    np.testing.assert_array_equal(again.anomaly_score(mapped), scores)
    np.testing.assert_array_equal(streamed.anomaly_score(data), scores)
    in_memory = DenseAutoencoder(**settings).fit(data)
    assert np.corrcoef(np.log(in_memory.anomaly_score(data)), np.log(scores))[0, 1] > 0.5
    assert streamed.epochs_[-1]["train_loss"] == pytest.approx(in_memory.epochs_[-1]["train_loss"], rel=0.5, abs=0.01)


def test_what_is_wrong_with_a_table_on_disk_is_said():
    data = rows(100)
    model = DenseAutoencoder(max_epochs=1).fit(Table(data))
    with pytest.raises(ValueError, match="X has 4 features, but DenseAutoencoder is expecting 5"):
        model.anomaly_score(Table(data[:, :4]))
    data[70, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity: row 70, column 3"):
        DenseAutoencoder().fit(Table(data))
    with pytest.raises(ValueError, match="1 sample"):
        DenseAutoencoder().fit(Table(data[:1]))


def test_arrays_frames_and_lists_are_no_tables_on_disk(tmp_path):
    import pandas as pd
    from scipy.sparse import csr_matrix

    for given in (rows(), pd.DataFrame(rows()), rows().tolist(), torch.zeros(3, 3), csr_matrix(np.eye(3)), "ab"):
        assert not is_streamed(given)
    assert is_streamed(Table(rows()))
    assert is_streamed(np.memmap(tmp_path / "m", np.float32, "w+", shape=(3, 2)))


def test_a_subset_is_of_the_rows_at_its_positions():
    data = rows(100)
    chosen = np.array([3, 4, 50, 99])
    kept = RowSubset(Table(data), chosen)
    assert len(kept) == 4
    np.testing.assert_array_equal(kept[0:2], data[[3, 4]])
    np.testing.assert_array_equal(kept[1:9], data[[4, 50, 99]])
    assert kept[4:9].shape == (0, 5)


def test_a_sample_is_of_the_rows_and_no_more():
    data = np.arange(50_000, dtype=np.float32).reshape(-1, 2)
    some = at_random(data, 5000, torch.Generator().manual_seed(0))
    assert 4000 <= len(some) <= 5000
    assert (np.diff(some[:, 0]) > 0).all()
    assert some[:, 0].max() > 30_000
    assert at_random(data, 25_000, torch.Generator()) is data
