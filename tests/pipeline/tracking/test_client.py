"""The MLflow store itself: where it lies, whose it is, who shares it, and which versions it has."""

import shutil
import sys
from pathlib import Path

import pytest

from pipeline.errors import AssayError, ConfigError
from pipeline.settings.config import Config
from pipeline.tracking import store
from pipeline.tracking.client import StoreError, start
from tests.pipeline.tracking.small_training import Trained
from tests.processes import running


def test_nothing_registered_yet_says_what_to_run(trained: Trained) -> None:
    with pytest.raises(AssayError, match="no model is registered as 'newcomer' yet; run assay train first"):
        store.load_detector(trained.named("newcomer"))


@pytest.mark.parametrize("asked", ["7", "chmapion", "", "m-0123"])
def test_an_unknown_version_lists_the_known_ones(trained: Trained, registered: store.Registered, asked: str) -> None:
    text = r"'cards' has no version or alias '.*'; there are 1 and champion; name one of them$"
    with pytest.raises(AssayError, match=text):
        store.load_detector(trained.config, asked)


def test_a_database_given_by_uri_keeps_its_artefacts_in_the_work_folder(trained: Trained, tmp_path: Path) -> None:
    # A second schema takes seconds to make: the first one is copied.
    start(trained.config)
    shutil.copy(trained.folder / "mlflow.db", tmp_path / "other.db")
    tracking = {"uri": f"sqlite:///{tmp_path}/other.db", "experiment": "elsewhere"}
    config = Config(contract=trained.config.contract, work_dir=str(tmp_path / "work"), tracking=tracking)
    found = start(config).get_experiment_by_name("elsewhere")
    assert found.artifact_location == (tmp_path / "work" / "mlflow-artifacts").as_uri()
    assert not (tmp_path / "work" / "mlflow.db").exists()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "strange://host", "sqlite:////dev/null/mlflow.db"])
def test_a_store_that_cannot_be_used_is_named_in_one_sentence(
    trained: Trained, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = trained.config.model_copy(update={"tracking": trained.config.tracking.model_copy(update={"uri": uri})})
    with pytest.raises(StoreError, match=r"the MLflow store at .* cannot be used: ") as raised:
        store.load_detector(config)
    assert uri in str(raised.value)
    assert "\n" not in str(raised.value)


def elsewhere(trained: Trained, folder: Path, **tracking: str) -> Config:
    """Return the configuration of a table of the same name with another work folder, on the same shared store."""
    shared = trained.config.tracking.model_copy(update={"uri": f"sqlite:///{folder}/shared.db", **tracking})
    return trained.config.model_copy(update={"name": "cards", "work_dir": str(folder / "work"), "tracking": shared})


@pytest.mark.parametrize("experiment", ["", "everything"])
def test_a_name_that_another_table_has_on_a_shared_store_is_refused(
    trained: Trained, tmp_path: Path, experiment: str
) -> None:
    first = elsewhere(trained, tmp_path, experiment=experiment)
    second = first.model_copy(update={"work_dir": str(tmp_path / "other")})
    assert trained.log(first).version == "1"
    message = (
        rf"'cards' is in use .* by the configuration of {tmp_path}/work, and this one is of {tmp_path}/other; give it"
    )
    for use in (trained.log, store.load_detector):
        with pytest.raises(ConfigError, match=message):
            use(second)
    assert store.load_detector(first)[1] == "1"
    assert trained.log(second.model_copy(update={"name": "transfers"})).version == "1"
    moved = second.tracking.model_copy(update={"owner": str(tmp_path / "work")})
    assert trained.log(second.model_copy(update={"tracking": moved})).version == "2"


def test_a_model_that_is_nobodys_on_a_shared_store_becomes_the_one_who_trains_it(
    trained: Trained, tmp_path: Path
) -> None:
    first = elsewhere(trained, tmp_path, experiment="everything")
    start(first).create_registered_model("cards")
    second = first.model_copy(update={"work_dir": str(tmp_path / "other")})
    assert trained.log(second).version == "1"
    with pytest.raises(ConfigError, match="'cards' is in use"):
        start(first)


def test_runs_are_logged_to_an_experiment_of_the_tables_name(trained: Trained, tmp_path: Path) -> None:
    config = elsewhere(trained, tmp_path)
    assert start(config).get_experiment_by_name("cards").tags["assay.owner"] == str(tmp_path / "work")
    named = config.model_copy(update={"tracking": config.tracking.model_copy(update={"experiment": "assay"})})
    assert start(named).get_experiment_by_name("assay") is not None


def test_a_deleted_experiment_is_named(trained: Trained) -> None:
    config = trained.named("deleted")
    client = start(config)
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)
    with pytest.raises(StoreError, match="experiment 'deleted' was deleted; restore it"):
        trained.log(config)


def test_processes_that_make_the_store_at_once_share_it_in_silence(trained: Trained, tmp_path: Path) -> None:
    config = trained.config.model_copy(update={"work_dir": str(tmp_path)})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline.settings.config import Config; from pipeline.tracking.client import start\n"
        "config = Config.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "client = start(config); client.create_run(client.get_experiment_by_name(config.name).experiment_id)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "config.json")]
    with running(*command) as one, running(*command) as other:
        for process in (one, other):
            assert process.wait() == 0, process
            assert (process.output, process.errors) == ("", "")
    client = start(config)
    assert len(client.search_runs([client.get_experiment_by_name(config.name).experiment_id])) == 2
