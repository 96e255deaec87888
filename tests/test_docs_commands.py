"""Every command of README.md and the documentation runs, page after page, as a newcomer would run it."""

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.processes import free_port, run, running

ROOT = Path(__file__).parent.parent
# These serve until they are stopped: each is started, asked at this address, and ended.
SERVERS = {
    "mlflow ui": "/",
    "mlflow models serve": "/ping",
    "prefect server start": "/api/health",
    "assay review": "/health",
}
# These make an environment or set one: tests have theirs.
ELSEWHERE = ("make ", "export ")


@dataclass(frozen=True)
class Step:
    """A command to run, or a file to write before the next one."""

    page: str
    text: str
    file: str = ""


def pages() -> list[str]:
    """README.md, then the documentation in the order of its navigation."""

    def files(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [f"docs/{entry}"]
        return [file for part in (entry.values() if isinstance(entry, dict) else entry) for file in files(part)]

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return ["README.md", *files(nav)]


def steps_of(page: str, text: str) -> list[Step]:
    """Return the commands of a page's ``sh`` blocks, and its ``csv`` blocks as the file that was named last."""
    steps = []
    for block in re.finditer(r"```(sh|csv)\n(.*?)```", text, re.DOTALL):
        if block[1] == "csv":
            steps.append(Step(page, block[2], re.findall(r"`(\w+\.csv)`", text[: block.start()])[-1]))
            continue
        lines = (line.split("#")[0].strip() for line in block[2].splitlines())
        steps += [Step(page, line) for line in lines if line and not line.startswith(ELSEWHERE)]
    return steps


STEPS = [step for page in pages() for step in steps_of(page, (ROOT / page).read_text(encoding="utf-8"))]


class Tour:
    """A newcomer's folder, in which the steps are taken in their order, each once."""

    def __init__(self, folder: Path, prefect_server: str) -> None:
        self.folder = folder
        self.position = 0
        self.failure = ""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # No MLflow store that another test has named.
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_T", "MLFLOW_R"))}
        self.environment = {**own, "PATH": path, "PREFECT_API_URL": prefect_server}

    def take(self, number: int) -> None:
        """Take every step up to this one that was not taken yet."""
        for step in STEPS[self.position : number + 1]:
            assert not self.failure, f"the tour ended at {self.failure}"
            self.failure = step.text
            self._take(step)
            self.failure = ""
            self.position += 1

    def _take(self, step: Step) -> None:
        if step.file:
            (self.folder / step.file).write_text(step.text, encoding="utf-8")
            return
        server = next((url for name, url in SERVERS.items() if name in step.text), None)
        if server or step.text.startswith("assay schedule"):
            self._serve(step.text, server)
            return
        process = run(*shlex.split(step.text), cwd=self.folder, env=self.environment)
        # The tour's incoming file is the whole table, whose first weeks have no past: its drift is worth a look.
        assert process.status in ((0, 1) if step.text == "assay status" else (0,)), str(process)
        assert "Traceback" not in process.output + process.errors

    def _serve(self, command: str, answers_at: str | None) -> None:
        """Start a server, wait until it answers or says what it serves, and end it."""
        words = shlex.split(command)
        settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        words, port = words[len(settings) :], free_port()
        home = {"PREFECT_HOME": str(self.folder / "prefect")} if "prefect server" in command else {}
        words += ["--port", str(port)] if answers_at else []
        with running(*words, cwd=self.folder, env={**self.environment, **settings, **home}) as process:
            if answers_at:
                process.wait_for_answer(f"http://127.0.0.1:{port}{answers_at}")
            else:
                process.wait_for("nightly")


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Tour:
    folder = tmp_path_factory.mktemp("tour")
    shutil.copytree(ROOT / "expectations", folder / "expectations")
    return Tour(folder, prefect_server)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[f"{step.page}: {step.text[:60]}" for step in STEPS])
def test_the_command_does_what_its_page_says(number: int, tour: Tour) -> None:
    tour.take(number)


def test_what_the_commands_wrote_is_there(tour: Tour) -> None:
    tour.take(len(STEPS) - 1)
    batches = list((tour.folder / "assay-data" / "batches").iterdir())
    assert len(batches) == 3  # the day by the champion, the incoming file, the day by the candidate
    for folder in batches:
        assert {"scores.parquet", "alerts.parquet", "alerts.csv", "quarantine.parquet", "report.html"} <= {
            path.name for path in folder.iterdir()
        }


def test_commands_comments_and_files_of_a_page_are_told_apart() -> None:
    commands = "```sh\nmake demo   # first\nassay init t.csv # then\n```\n"
    text = f"{commands}A file `labels.csv`:\n```csv\na,b\n```\n```toml\nx\n```"
    assert steps_of("p", text) == [Step("p", "assay init t.csv"), Step("p", "a,b\n", "labels.csv")]


def test_the_tour_has_the_pages_of_every_user() -> None:
    names = {step.page for step in STEPS if not step.file}
    assert {"docs/index.md", "docs/engineer.md", "docs/analyst.md", "docs/data-scientist.md"} <= names
    assert {name for name in SERVERS if any(name in step.text for step in STEPS)} == set(SERVERS)
