"""The documentation is built strictly, asks nothing of the network, and names only what is there."""

import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from pipeline.settings.config import Config
from tests.processes import run
from tests.test_walls import ORDER

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
# What a browser fetches by itself; a link that a reader follows is no request.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "use": "href"}


def outside(html: str) -> list[str]:
    """Return what a page fetches from another place than its own folder."""
    addresses: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            addresses.append(dict(attrs).get(FETCHED.get(tag, "")) or "")
            addresses.extend(re.findall(r"url\(['\"]?([^'\")]+)", dict(attrs).get("style") or ""))

    Reader().feed(html)
    addresses += re.findall(r"url\(['\"]?([^'\")]+)", "".join(re.findall(r"<style.*?</style>", html, re.DOTALL)))
    return [address for address in addresses if re.match(r"(\w+:)?//", address)]


def spans(text: str) -> list[str]:
    """Return what stands between backticks, outside blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def lines_of_code(text: str) -> list[str]:
    """Return what stands between backticks, and every line of the blocks that a shell runs."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [*spans(text), *(line for block in blocks for line in block.splitlines())]


def slug(heading: str) -> str:
    """Return a heading's anchor, as both GitHub and MkDocs name it."""
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning, such as a link or an anchor that leads nowhere, ends the build."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    process = run(*words, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert process.status == 0, str(process)
    return folder


def test_each_page_is_built_beside_the_others_for_a_reader_without_a_server(site: Path) -> None:
    names = {path.name for path in site.glob("*.html")}
    assert names == {f"{page.stem}.html" for page in (ROOT / "docs").glob("*.md")} | {"404.html"}
    assert (site / "search" / "search_index.js").is_file()  # read as a script, for a page on disk may fetch nothing
    assert "iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")


def test_no_page_asks_anything_of_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert outside(page.read_text(encoding="utf-8")) == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        '<img alt="" src="http://example/a.png">',
        "<style>body { background: url('https://example/a.png') }</style>",
        '<p style="background: url(https://example/a.png)">',
    ],
)
def test_a_request_to_the_outside_is_found(html: str) -> None:
    assert len(outside(html)) == 1


def test_a_link_for_the_reader_and_a_local_file_are_no_requests() -> None:
    assert outside('<a href="https://example">a</a><img src="a.png"><script src="b.js"></script>') == []


@pytest.mark.parametrize("page", TEXTS)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if re.match(r"\w+://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


@pytest.mark.parametrize("page", TEXTS)
def test_every_path_is_there(page: str) -> None:
    folders = "pipeline|models|flows|expectations|tests|benchmarks|docs"
    for span in spans(TEXTS[page]):
        for path in re.findall(rf"(?<![\w/.])(?:{folders})/[\w/.-]*\w/?", span):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_has_its_options(page: str) -> None:
    from flows.cli import app

    commands = typer.main.get_command(app).commands
    for line in lines_of_code(TEXTS[page]):
        name = re.match(r"assay ([a-z]+)(?: ([a-z][a-z-]*))?", line)
        if name:
            assert name[1] in commands, line
            command = getattr(commands[name[1]], "commands", {}).get(name[2], commands[name[1]])
            options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            assert set(re.findall(r"(?<=\s)--[a-z-]+", line)) <= options, line


@pytest.mark.parametrize("page", TEXTS)
def test_every_benchmark_has_its_options(page: str) -> None:
    for line in lines_of_code(TEXTS[page]):
        file = re.match(r"python (benchmarks/\w+\.py)", line)
        if file:
            source = (ROOT / file[1]).read_text(encoding="utf-8")
            assert all(f'"{option}"' in source for option in re.findall(r"(?<=\s)--[a-z-]+", line)), line


@pytest.mark.parametrize("page", TEXTS)
def test_every_setting_is_one(page: str) -> None:
    sections = {
        name: field.annotation
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    for span in spans(TEXTS[page]):
        setting = re.match(rf"({'|'.join(sections)})\.(\w+)\b", span)
        if setting and setting[2] not in ("html", "csv", "parquet", "json"):
            assert setting[2] in sections[setting[1]].model_fields, span


@pytest.mark.parametrize("page", TEXTS)
def test_every_target_of_make_is_one(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in lines_of_code(TEXTS[page]):
        words = re.match(r"make((?: [a-z-]+)+)", line)
        assert words is None or set(words[1].split()) <= targets, line


def test_the_map_has_every_room_in_the_order_of_imports() -> None:
    part = TEXTS["docs/architecture.md"].partition("## The rooms")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)(?:/|\.py)`", part, re.MULTILINE) == ORDER


def test_the_names_to_touch_are_in_the_files_beside_them() -> None:
    part = TEXTS["docs/architecture.md"].partition("## Where to add")[2]
    places = part.split("\n### ")[1:]
    assert len(places) == 13
    for place in places:
        words = spans(place)
        files = [ROOT / word for word in words if "/" in word]
        code = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
        for name in words:
            if "/" not in name and "." not in name and name != "labelled_at":
                assert re.search(rf"\b{name}\b", code), f"{name} is in none of the files of: {place}"
