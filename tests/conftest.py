"""What several tests share: quiet libraries, a Prefect server, and a small simulated table."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from coverage import Coverage
from hypothesis import HealthCheck
from xdist.scheduler import LoadScopeScheduling

from flows.environment import settle
from tests.processes import free_port, running

settle()
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
if "PYTEST_XDIST_WORKER" in os.environ:
    # The cores are the workers'. OpenMP's threads spin while they wait for one that has no core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes says nothing on a machine that does other things, too.
hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("any machine")


NUMBERS = count()
FLOWS, TOUR = "tests/flows/", "tests/test_docs_commands.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest as a whole: a worker that has it last works alone."""
    items.sort(key=lambda item: not item.nodeid.startswith((FLOWS, TOUR)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give one worker a whole file, and all flows, so that what they share is made once, in the order of the tests.

    Trained models and a server stand behind the flows, and behind a step of the tour all steps before it.
    """

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return FLOWS if nodeid.startswith(FLOWS) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # by number of tests, which says little of how long they take
    return Scheduling(config, log)


def pytest_sessionfinish() -> None:
    """Save what was measured: xdist kills a worker that is not gone ten seconds after its last test."""
    if measurement := Coverage.current():
        measurement.save()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server for the whole session, so that no flow starts one of its own."""
    from prefect.context import refresh_global_settings_context

    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    url = f"http://127.0.0.1:{port}/api"
    os.environ["PREFECT_HOME"], os.environ["PREFECT_API_URL"] = str(home), url
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(*command, "--no-ui") as process:
        process.wait_for_answer(f"{url}/health")
        refresh_global_settings_context()  # it was read when the first test module imported Prefect
        yield url


@pytest.fixture(scope="session")
def assay() -> Path:
    """The `assay` command of this environment."""
    return Path(sys.executable).parent / "assay"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a simulated table of 30,000 rows and 60 days, and the configuration that init writes for it."""
    from flows.commands.start import initialise, simulate_table

    folder = tmp_path_factory.mktemp("small")
    simulate_table(folder / "transactions.parquet", rows=30_000, days=60, seed=0, malformed=True)
    given: dict[str, Any] = {"id": None, "timestamp": None, "amount": None, "label": "TX_FRAUD"}
    # Named, so that a row without a customer is quarantined.
    given |= {"entities": ("CUSTOMER_ID", "TERMINAL_ID"), "categorical": (), "ignore": (), "sensitive": ()}
    given["few_features"] = True  # trained in a second; the tour and the demo take what init writes by default
    initialise(str(folder / "transactions.parquet"), folder / "assay.toml", force=False, reading={}, given=given)
    text = (folder / "assay.toml").read_text()
    assert "\nquiet_seconds = 2\n" in text  # tests write files and have them scored at once
    (folder / "assay.toml").write_text(text.replace("\nquiet_seconds = 2\n", "\nquiet_seconds = 0\n"))
    return folder


@pytest.fixture(scope="session")
def trained(small: Path, prefect_server: str) -> Path:
    """The same folder with a champion, trained on three weeks, in its work folder."""
    from datetime import date

    from flows.run import run_flow

    text = (small / "assay.toml").read_text().replace("# max_epochs = ", "max_epochs = 4 # ")
    (small / "assay.toml").write_text(text)
    run_flow(small / "assay.toml", "flows.train:train", table="", first=date(2025, 1, 31), last=date(2025, 2, 21))
    return small


@dataclass(frozen=True)
class S3:
    """A bucket of a server of S3 on this machine, and fsspec's way to it."""

    files: Any
    bucket: str


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of moto's server of S3, on a free port."""
    pytest.importorskip("s3fs", reason="s3fs is not installed; pip install 'assay[dev]'")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3:
    """An empty bucket, with all in the environment that leads to it."""
    import s3fs

    values = {"ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": "tests", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**values, "ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    files, bucket = s3fs.S3FileSystem(use_listings_cache=False), f"bucket-{next(NUMBERS)}"
    files.mkdir(bucket)
    return S3(files, bucket)


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with the trained model's configuration, table and history, and nothing scored yet."""
    folder = tmp_path / "home"
    shutil.copytree(trained / "assay-data" / "history", folder / "assay-data" / "history")
    shutil.copy(trained / "transactions.parquet", folder)
    text = (trained / "assay.toml").read_text()
    registry = f'uri = "sqlite:///{trained}/assay-data/mlflow.db"'
    text = text.replace('uri = ""', registry).replace('owner = ""', f'owner = "{trained}"')
    (folder / "assay.toml").write_text(text)
    return folder
