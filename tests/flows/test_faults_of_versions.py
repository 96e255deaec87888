"""Commands that write to MLflow and fail or are killed anywhere: nothing is there twice, and nothing seems to run.

MLflow's database and files lie in the work folder, so that its writes are points (tests/faults.py) as all others. A few
of the points are tried here, all of them by `make soak`; the table is printed.
"""

import json
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.selection.records import AliasRecords
from pipeline.settings.file import read_config
from pipeline.tracking.aliases import find_aliases
from pipeline.workspace.intents import Intents
from tests.faults import ERRORS, KILLED, Forks, Outcomes, Points, plain, settle_locks, spread
from tests.flows.assay import client_of, run
from tests.pipeline.tracking.small_training import make_rows

TOML = """
name = "cards"
prefect = false
[table]
path = "rows.parquet"
[contract]
id = "tx"
timestamp = "at"
amount = "eur"
entities = ["card"]
label = "fraud"
types = { tx = "integer" }
categorical = ["channel"]
[features]
families = ["amount", "columns", "calendar"]
[model]
name = "denoising"
max_epochs = 2
hidden = [8]
code_size = 4
[training]
min_calibration_rows = 50
[report]
tsne = false
[tuning]
trials = 2
families = ["pca", "knn"]
"""
TRAIN, THRESHOLD, TUNE = ("train",), ("threshold", "--capacity", "3"), ("tune",)
State = dict[str, object]


class Told(Exception):
    """A command has ended with an error that it told in one sentence."""


def command(home: str, *words: str) -> None:
    """Run a command in a home; raise what is no error told in a sentence, and `Told` for one that is."""
    os.chdir(home)
    result = run(*words)
    if result.exit_code == 1 and isinstance(result.exception, SystemExit):
        raise Told(" ".join(result.output.split("Error: ")[-1].split()) if result.output.count("Error: ") == 1 else "")
    if result.exception:
        raise result.exception


def tell_state(home: str, told: str) -> None:
    """Write all that is there of versions, runs and results, but for moments and what a run is called."""
    config, work = read_config(Path(home) / "assay.toml"), Path(home) / "assay-data"
    client = client_of(Path(home))
    (experiment,) = (each for each in client.search_experiments() if each.name == "cards")
    runs = client.search_runs([experiment.experiment_id])
    ended = [each.data for each in runs if each.info.status == "FINISHED"]
    holders = {change.alias: change.version for change in AliasRecords(config).all()}
    files = sorted(path.relative_to(work) for path in work.glob("runs/*/**/*") if path.is_file())
    rows = {str(path.relative_to(work)): pq.read_table(path).to_pydict() for path in work.glob("history/*/date=*/*")}
    state = {
        "versions": sorted(each.version for each in client.search_model_versions("name = 'cards'")),
        "models": len(client.search_logged_models([experiment.experiment_id])),
        "aliases": find_aliases(config),
        "records": {alias: version for alias, version in holders.items() if version},
        "ended": Counter(each.tags.get("kind", each.tags.get("derived_from", "trained")) for each in ended),
        "metrics": sorted([each.tags.get("kind", ""), len(each.metrics), len(each.params)] for each in ended),
        "running": [each.info.run_name for each in runs if each.info.status == "RUNNING"],
        "pending": len(Intents(config).pending()),
        "results": Counter("/".join(path.parts[2:]) for path in files),
        "weights": sorted({path.read_bytes().hex() for path in work.glob("runs/*/detector/**/*.safetensors")}),
        "history": re.sub(r"\d{8}T\d{6}", "", str(sorted(rows.items()))),
        "hidden": sorted(str(path.relative_to(work)) for path in work.rglob(".*") if path.name != ".lock"),
    }
    Path(told).write_text(json.dumps(state))


def differences(one: State, other: State) -> list[str]:
    return [f"{name}: {one[name]} is not {other[name]}"[:300] for name in one if one[name] != other[name]]


def recorded(home: Path) -> int:
    """Return how many changes of aliases are recorded."""
    with closing(sqlite3.connect(home / "assay-data" / "ledger.db")) as ledger:
        return ledger.execute("SELECT count(*) FROM alias_changes").fetchone()[0]


class Bench:
    """A home in which a command fails or is killed, at one point after the other.

    Parameters
    ----------
    folder : Path
    forks : Forks
        The process that has run the commands already.
    """

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.home, self.source, self._log, self._forks = folder / "home", folder / "source", folder / "points", forks
        make_home(self.home)

    def run(self, *words: str, at: int = -1, error: int = 0) -> tuple[int, str]:
        self._log.unlink(missing_ok=True)
        return self._forks.run(
            command, Points(self.home / "assay-data", at, error, str(self._log)), str(self.home), *words
        )

    def state(self) -> State:
        """Return what is there now, as a process sees it that has opened nothing before."""
        told = self._log.with_name("state")
        assert self._forks.run(tell_state, Points(self.home), str(self.home), str(told)) == (0, "")
        return json.loads(told.read_text())

    def keep(self) -> None:
        """Make the home as it is now the one that `restore` gives back."""
        shutil.copytree(self.home, self.source)

    def restore(self) -> None:
        shutil.rmtree(self.home)
        shutil.copytree(self.source, self.home)

    def fail_everywhere(self, *words: str, tries: int) -> None:
        """Fail and kill a command at its points and run it again: what is there equals what it leaves undisturbed.

        Where its version was recorded before, running it again makes another one.

        Parameters
        ----------
        *words : str
            The command.
        tries : int
            Points that are tried without SOAK.
        """
        self.keep()
        assert self.run(*words) == (0, "")
        numbers, after, outcomes = distinct(self._log.read_text().splitlines()), {False: self.state()}, Outcomes()
        names, before = self._log.read_text().splitlines(), recorded(self.source)
        for place, number in enumerate(numbers[len(numbers) // tries // 2 :: spread(len(numbers) // tries)]):
            for error in (0, ERRORS[place % len(ERRORS)])[place % 2 if spread(2) == 2 else 0 :: spread(2)]:
                self.restore()
                status, text = self.run(*words, at=number, error=error)
                assert (status, text) in ((0, ""), (KILLED, "")) or text.startswith("Told: "), (names[number], text)
                assert (status == KILLED) is (not error), names[number]
                is_recorded = recorded(self.home) > before
                settle_locks(self.home)
                assert self.run(*words) == (0, ""), names[number]
                again = self.state()
                if is_recorded and True not in after:
                    self.restore()
                    assert (self.run(*words), self.run(*words)) == ((0, ""), (0, ""))
                    after[True] = self.state()
                outcomes.add(names[number], error, differences(again, after[is_recorded]))
        assert outcomes.show() == {"same"}


def make_home(folder: Path) -> None:
    folder.mkdir()
    (folder / "assay.toml").write_text(TOML)
    pq.write_table(pa.Table.from_pandas(make_rows(), preserve_index=False), folder / "rows.parquet")


def distinct(names: list[str]) -> list[int]:
    """Return the number of every commit, and of the first other point of each kind and place; code is one place."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        place = re.sub(r"[0-9a-f]{16,}|\d+|(?<=/code/).*", "N", plain(name))
        place = f"{name} {number}" if name.startswith("commit") else place
        first.setdefault(place, number)
    return sorted(first.values())


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    home = tmp_path_factory.mktemp("first") / "home"
    make_home(home)
    with Forks(__name__) as process:
        for words in (TRAIN, THRESHOLD, TUNE):
            assert process.run(command, None, str(home), *words) == (0, "")
        yield process


@pytest.fixture
def bench(forks: Forks, tmp_path: Path) -> Bench:
    """A home with a version."""
    bench = Bench(tmp_path, forks)
    assert bench.run(*TRAIN) == (0, "")
    return bench


def test_a_training_that_fails_or_is_killed_anywhere_registers_once(bench: Bench) -> None:
    bench.fail_everywhere(*TRAIN, tries=2)


def test_a_threshold_that_fails_or_is_killed_anywhere_is_registered_once(bench: Bench) -> None:
    bench.fail_everywhere(*THRESHOLD, tries=2)


def test_a_search_that_fails_or_is_killed_anywhere_goes_on_and_logs_each_trial_once(bench: Bench) -> None:
    bench.fail_everywhere(*TUNE, tries=2)
