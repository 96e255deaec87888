"""Every command of README.md runs, in its order, as a newcomer would run it."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import free_port, run, running

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)]
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block]
# These serve until they are stopped: each is started, asked once, and ended.
SERVERS = ("mlflow ui", "mlflow models serve", "prefect server start", "assay schedule")
# One fixture runs all the others.
pytestmark = pytest.mark.timeout(3000)


def is_server(command: str) -> bool:
    return any(name in command for name in SERVERS)


def environment(server: str) -> dict[str, str]:
    """A newcomer's: this environment's commands on the path, and no MLflow store that another test has chosen."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_T", "MLFLOW_R"))}
    return {**own, "PATH": path, "PREFECT_API_URL": server}


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """The folder of a newcomer who has run every command of README.md that ends by itself."""
    folder = tmp_path_factory.mktemp("tour")
    shutil.copytree(ROOT / "expectations", folder / "expectations")
    for command in COMMANDS:
        if is_server(command) or command.startswith(("make ", "export ")):
            continue
        process = run(*shlex.split(command), cwd=folder, env=environment(prefect_server))
        assert process.status == 0, process
        assert "Traceback" not in process.output + process.errors
    return folder


def test_there_are_commands_and_ci_runs_make() -> None:
    assert len(COMMANDS) > 10
    assert {command for command in COMMANDS if command.startswith("make ")} == {"make demo", "make test"}
    assert "make lint test" in (ROOT / ".ci" / "run").read_text()


def test_every_command_that_ends_by_itself_ends_well(tour: Path) -> None:
    scored = list((tour / "assay-data" / "batches").iterdir())
    assert len(scored) == 3  # the day by the champion, the incoming file, the day by the candidate
    for folder in scored:
        assert {"scores.parquet", "alerts.parquet", "alerts.csv", "quarantine.parquet", "report.html"} <= {
            path.name for path in folder.iterdir()
        }


@pytest.mark.parametrize("name", ["mlflow ui", "mlflow models serve", "assay schedule"])
def test_every_server_comes_up(name: str, tour: Path, prefect_server: str) -> None:
    command = next(command for command in COMMANDS if name in command)
    settings = re.findall(r"^(\w+)=(\S+) ", command)
    words = [word for word in shlex.split(command) if not re.match(r"^[A-Z_]+=", word)]
    port = free_port()
    if name != "assay schedule":
        words += ["--port", str(port)]
    url = f"http://127.0.0.1:{port}/{'ping' if 'serve' in name else ''}"
    with running(*words, cwd=tour, env={**environment(prefect_server), **dict(settings)}) as process:
        if name == "assay schedule":
            process.wait_for("nightly")
        else:
            process.wait_for_answer(url)
