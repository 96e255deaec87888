import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from benchmarks import adbench
from tests import processes


def table(n_rows, n_anomalies=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4))
    y = np.zeros(n_rows, dtype=np.int64)
    y[rng.permutation(n_rows)[:n_anomalies]] = 1
    X[y == 1] *= 2
    return X, y


@pytest.fixture
def folder(tmp_path):
    for number, n_rows in enumerate((300, 1200)):
        X, y = table(n_rows)
        np.savez(tmp_path / f"{number}_set{number}.npz", X=X, y=y)
    (tmp_path / "published_aucroc.csv").write_text(",KNN,VAE\nset0,81.5,70\n")
    return tmp_path


def run(folder, *arguments):
    command = [sys.executable, adbench.__file__, "--data", str(folder), "--json", str(folder / "out.json"), *arguments]
    root = Path(adbench.__file__).parents[1]
    process = processes.run(*command, cwd=root, env={"PYTHONPATH": str(root)})
    assert process.status == 0, process
    return process.output, process.errors, json.loads((folder / "out.json").read_text())


def test_the_published_split_is_that_of_the_paper():
    for n_rows, drawn in ((300, True), (1200, False)):
        X, y = table(n_rows)
        np.random.seed(3)  # noqa: NPY002
        chosen = np.random.choice(np.arange(n_rows), 1000, replace=True) if drawn else np.arange(n_rows)  # noqa: NPY002
        X_drawn, y_drawn = X[chosen], y[chosen]
        normal = X_drawn[y_drawn == 0]
        half = round(0.5 * len(normal))
        train, rest = normal[:half], np.concatenate([normal[half:], X_drawn[y_drawn == 1]])
        found = adbench.split(X, y, "published", 3)
        np.testing.assert_allclose(found.train, (train - train.mean(axis=0)) / train.std(axis=0))
        np.testing.assert_allclose(found.test, (rest - train.mean(axis=0)) / train.std(axis=0))
        assert found.anomalous.sum() == y_drawn.sum()
        assert found.anomalous[-y_drawn.sum() :].all()


def test_a_large_set_is_drawn_without_replacement():
    X = np.arange(60_000, dtype=float)[:, None]
    y = (np.arange(60_000) % 100 == 0).astype(int)
    found = adbench.split(X, y, "published", 1)
    assert len(found.train) + len(found.test) == 50_000
    assert len(np.unique(np.concatenate([found.train, found.test]))) == 50_000


def test_the_honest_split_has_every_row_once_and_shuffles():
    X, y = table(300)
    X[:, 0] = np.arange(300)
    first, second = (adbench.split(X, y, "honest", seed) for seed in (0, 1))
    assert (len(first.train), len(first.test)) == (135, 165)
    for found in (first, second):
        assert len(np.unique(np.concatenate([found.train, found.test])[:, 0])) == 300
        assert found.anomalous.sum() == 30
    assert not np.array_equal(first.train, second.train)
    np.testing.assert_array_equal(adbench.split(X, y, "honest", 0).train, first.train)


def test_it_prints_and_writes_the_table(folder):
    out, err, records = run(folder, "--protocol", "honest", "--seeds", "2", "--model", "knn", "pca")
    assert "none of the sets that it is checked on is here" in out
    assert err.count("AUROC") == 8
    by_row = {(record["model"], record["set"]): record for record in records}
    assert len(by_row) == 6
    values = []
    for seed in (0, 1):
        data = adbench.split(*table(300), "honest", seed)
        distance = NearestNeighbors(n_neighbors=5).fit(data.train).kneighbors(data.test)[0][:, 4]
        values.append([100 * metric(data.anomalous, distance) for metric in (roc_auc_score, average_precision_score)])
    found = by_row["knn", "set0"]
    assert [found["auroc"], found["average_precision"]] == pytest.approx(np.mean(values, axis=0), abs=0.01)
    assert found["published_auroc"] == {"KNN": 81.5, "VAE": 70}
    assert by_row["knn", "set1"]["published_auroc"] == {}
    mean = np.mean([by_row["pca", f"set{number}"]["auroc"] for number in (0, 1)])
    assert by_row["pca", "mean of 2"]["auroc"] == pytest.approx(mean)
    assert "81.50" in out


def test_a_run_that_was_stopped_goes_on(folder):
    arguments = ("--protocol", "published", "--seeds", "1", "--model", "knn", "--sets", "set0")
    _, _, first = run(folder, *arguments)
    lines = (folder / "out.jsonl").read_text().splitlines()
    (folder / "out.jsonl").write_text("\n".join([*lines, lines[0][:40]]) + "\n")  # as if killed while writing
    _, err, again = run(folder, *arguments)
    assert err == ""
    assert again == first
    _, err, _ = run(folder, *arguments[:-1], "set1")
    assert err.count("AUROC") == 1


def test_a_set_that_is_not_there_is_named(folder):
    with pytest.raises(SystemExit, match=r"--sets wine: not in .*; there are set0, set1"):
        adbench.find_sets(folder, ["wine"])
    with pytest.raises(SystemExit, match=r"holds no \.npz file"):
        adbench.find_sets(folder / "nothing", None)
