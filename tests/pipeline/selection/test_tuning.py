"""A search: it goes on where it was, never sees the test block, and judges as plain NumPy does."""

import signal
import sqlite3
import sys
from datetime import date

import numpy as np
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa
from sklearn.metrics import average_precision_score

from pipeline.errors import AssayError, ConfigError, TrainingError
from pipeline.selection.tuning import finished, judge, metric_of, open_study, search, search_name, searching
from pipeline.selection.tuning_data import Blocks, Material
from tests.pipeline.fitted import contents, replace, transactions
from tests.pipeline.selection.small_search import DAYS, settings, write_material
from tests.processes import running


def run(given, folder, name="a search", metric="average_precision"):
    seen = []
    return search(given, name, folder=folder, metric=metric, on_trial=seen.append), seen


def with_tuning(given, **tuning):
    return given.model_copy(update={"tuning": given.tuning.model_copy(update=tuning)})


def test_no_row_or_label_of_the_test_block_changes_what_is_searched_or_chosen(small_search, tmp_path):
    given, folder = small_search
    rows = transactions(rows=3000)
    tested = np.asarray(pc.greater_equal(rows["at"], date(2025, 3, 25)))
    changed = replace(rows, "fraud", np.where(tested, 1 - np.asarray(rows["fraud"]), rows["fraud"]))
    changed = replace(changed, "eur", np.where(tested, 1e6, rows["eur"]))
    other = write_material(tmp_path, given, changed.filter(~tested | (np.arange(3000) % 2 == 0)), "changed")
    names = ["fit.npy", "held_out.npy", "validation.npy", "labels.npy", "injected.npy"]
    assert [contents(folder)[name] == contents(other)[name] for name in names] == [True] * 5
    first, _ = run(settings(tmp_path), folder)
    second, _ = run(settings(tmp_path), other, "the other table")
    assert first == second


def test_a_search_goes_on_where_it_was_and_the_best_trial_is_the_best(small_search, tmp_path):
    _, folder = small_search
    given = settings(tmp_path)
    _, seen = run(with_tuning(given, trials=2), folder)
    assert [trial.number for trial in seen] == [0, 1]
    killed = open_study(given, "a search").ask()  # as a process that was killed leaves it
    best, seen = run(given, folder)
    assert len(seen) == 4
    numbers = [trial.number for trial in seen]
    assert killed.number not in numbers
    assert numbers[:2] == [0, 1]
    values = {trial.number: trial.value for trial in seen if trial.state.name == "COMPLETE"}
    assert best.value == max(values.values()) == values[best.number]
    assert len({str(trial.params) for trial in seen}) > 2  # what comes after is not the same again
    again, seen = run(given, folder)
    assert again == best
    assert len(seen) == 4


def test_trials_run_in_processes_of_their_own(small_search, tmp_path):
    _, folder = small_search
    best, seen = run(settings(tmp_path, jobs=2, trials=4), folder)
    assert len(seen) == len({trial.number for trial in seen}) == 4
    assert 0 < best.value <= 1


def on_a_plane(folder):
    """Normal rows on a plane in six dimensions and frauds beside it, as far out: only training tells them apart."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(1200, 2)) @ rng.normal(size=(2, 6))
    beside = rng.normal(size=(100, 6))
    beside *= (np.linalg.norm(normal[:100], axis=1) / np.linalg.norm(beside, axis=1))[:, None]
    rows = np.concatenate([normal, beside]).astype(np.float32)
    parts = {"fit": rows[:600], "held_out": rows[600:700], "validation": rows[700:], "injected": rows[-100:]}
    folder.mkdir()
    for name, part in {**parts, "labels": np.repeat([0.0, 1.0], [500, 100])}.items():
        np.save(folder / f"{name}.npy", part)
    (folder / "columns.json").write_text('{"groups": [["number", 6]], "views": {}}')
    return folder


def test_a_search_is_run_by_one_command_at_a_time(tmp_path):
    given = settings(tmp_path)
    with (
        searching(given, "a search"),
        searching(given, "another"),
        pytest.raises(AssayError, match=r"^another command runs this search, a search: wait for its end"),
        searching(given, "a search"),
    ):
        pytest.fail("two commands hold the same search")
    with searching(given, "a search"):
        pass


def test_a_database_of_searches_that_fails_is_told_in_a_sentence(tmp_path):
    given = settings(tmp_path)

    def fail_to_commit():
        with searching(given, "a search"):
            study = open_study(given, "a search")

            @sa.event.listens_for(sa.Engine, "commit", once=True)
            def fail(connection):
                raise sa.exc.OperationalError("COMMIT", None, sqlite3.OperationalError("database is locked"))

            study.set_user_attr("mlflow_run", "1")

    with pytest.raises(ConfigError, match=r"^the ledger of scored batches at .* cannot be used: database is locked; "):
        fail_to_commit()


SEARCH = """
import sys
from pathlib import Path
from pipeline.settings.config import Config
from pipeline.selection.tuning import search

if __name__ == "__main__":
    config = Config.model_validate_json(Path(sys.argv[1]).read_text())
    try:
        folder, metric = Path(sys.argv[2]), "average_precision"
        search(config, "a search", folder=folder, metric=metric, on_trial=lambda trial: None)
    except KeyboardInterrupt:
        print("stopped")
"""


def test_ctrl_c_ends_all_processes_of_a_search_without_a_traceback(small_search, tmp_path):
    _, folder = small_search
    given = settings(tmp_path, jobs=2, trials=10_000)
    (tmp_path / "config.json").write_text(given.model_dump_json())
    (tmp_path / "run.py").write_text(SEARCH)
    study = open_study(given, "a search")
    with running(sys.executable, tmp_path / "run.py", tmp_path / "config.json", folder) as process:
        process.wait_until(lambda: finished(study))
        process.send(signal.SIGINT)
        process.wait()
    assert process.output == "stopped\n"
    assert "Traceback" not in process.errors


def test_a_hopeless_trial_is_stopped_on_the_way(tmp_path):
    given = settings(tmp_path, families=("dense",), learning_rate=(1e-6, 1e-1), trials=20, hidden=((16,),))
    given = given.model_copy(update={"model": given.model.model_copy(update={"max_epochs": 8})})
    best, seen = run(given, on_a_plane(tmp_path / "plane"))
    pruned = [trial for trial in seen if trial.state.name == "PRUNED"]
    whole = [trial for trial in seen if trial.state.name == "COMPLETE"]
    assert pruned
    assert all(len(trial.intermediate_values) >= 3 for trial in pruned)
    assert any(len(trial.intermediate_values) < 8 for trial in pruned)
    assert all(len(trial.intermediate_values) == 8 for trial in whole)
    last = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
    assert max(last) < best.value


def test_a_model_that_cannot_be_fitted_counts_as_bad_and_a_search_of_such_says_why(small_search, tmp_path):
    given = settings(tmp_path, families=("memory",), options={"memory": {"bandwidth": [-1.0]}}, trials=2)
    with pytest.raises(TrainingError, match="no trial ended well; the last one: bandwidth"):
        run(given, small_search[1])
    assert len(finished(open_study(given, "a search"))) == 2


def test_scores_are_judged_as_by_hand():
    rng = np.random.default_rng(0)
    rows, injected = rng.normal(size=(500, 1)), rng.normal(loc=1, size=(300, 1))
    labels = np.where(rng.random(500) < 0.2, np.nan, (rows[:, 0] + rng.normal(size=500) > 1.5).astype(float))

    def score(part):
        return part[:, 0]

    known = ~np.isnan(labels)
    by_hand = average_precision_score(labels[known] == 1, rows[known, 0])
    assert judge(score, rows, labels=labels, injected=injected, metric="average_precision", rate=0.05) == pytest.approx(
        by_hand
    )
    cut = np.sort(rows[labels != 1, 0])
    above = (injected[:, 0] > np.quantile(cut, 0.95)).mean()
    assert judge(score, rows, labels=labels, injected=injected, metric="injected_recall", rate=0.05) == pytest.approx(
        above
    )


def test_without_labels_injected_anomalies_are_searched_for(tmp_path):
    given = settings(tmp_path, trials=2)
    folder = write_material(tmp_path, given, replace(transactions(rows=3000), "fraud", np.zeros(3000)))
    found = Material.load(folder)
    assert metric_of(given, found) == "injected_recall"
    with pytest.raises(TrainingError, match=r'no labelled fraud .* set tuning\.metric = "injected_recall"'):
        metric_of(with_tuning(given, metric="average_precision"), found)
    best, _ = run(given, folder, metric="injected_recall")
    assert 0.5 < best.value <= 1


def test_a_search_is_known_by_its_table_its_blocks_and_its_space(small_search):
    given, _ = small_search
    blocks = Blocks.of(*DAYS, given)
    name = search_name(given, "ab", blocks)
    assert search_name(with_tuning(given, trials=99, jobs=7, seconds=1.0), "ab", blocks) == name
    assert search_name(given, "cd", blocks) != name
    assert search_name(given, "ab", Blocks.of(DAYS[0], date(2025, 3, 29), given)) != name
    assert search_name(with_tuning(given, families=("pca",)), "ab", blocks) != name
