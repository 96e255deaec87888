"""Notices to people, sent to a real HTTP server of the test's own."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings.config import Config
from pipeline.workspace.notices import notify
from pipeline.workspace.standing import BatchDrift, Finding, Incoming, Standing
from tests.processes import free_port

NOW = datetime(2025, 3, 2, 2, 10)
REFUSED = Finding(state="attention", text="day.csv was refused: row 4 has SECRET", brief="day.csv was refused.")
LOST = Finding(state="stopped", text="the ledger at /srv is missing", brief="The ledger is missing.")


class Hook:
    """A webhook: what was posted to each of its paths, and what it answers."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.notices.append((self.path, json.loads(body)))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def take(self) -> list[tuple[str, str, str, str]]:
        """Return path, kind, title and text of what was posted since the last call."""
        notices, self.notices = self.notices, []
        return [(path, each["type"], each["title"], each["message"]) for path, each in notices]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    hook = Hook()
    thread = threading.Thread(target=hook.server.serve_forever)
    thread.start()
    for name in ("mail", "pager"):
        monkeypatch.setenv(f"ASSAY_{name.upper()}", f"json://127.0.0.1:{hook.port}/{name}")
    yield hook
    hook.server.shutdown()
    hook.server.server_close()
    thread.join()


def make_config(folder: Path, **settings: Any) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    notices = {"attention": ["ASSAY_MAIL"], "stopped": ["ASSAY_MAIL", "ASSAY_PAGER"], "fine": ["ASSAY_MAIL"]}
    raw = {"contract": contract, "name": "cards", "work_dir": str(folder), "notify": notices | settings}
    return Config.model_validate(raw)


def stand(*findings: Finding, hours: float = 0) -> Standing:
    return Standing(
        name="cards",
        work_dir="/srv/cards",
        at=NOW + timedelta(hours=hours),
        incoming=Incoming(folder="incoming", refused={}),
        last_batch=None,
        last_refused=None,
        last_run=None,
        versions=(),
        strategy="capacity",
        drift=BatchDrift(state="unknown"),
        watch=(),
        used={},
        free=10**12,
        findings=findings,
    )


def test_each_state_is_told_to_those_who_are_named_for_it_and_nothing_of_a_row(tmp_path: Path, hook: Hook) -> None:
    config = make_config(tmp_path)
    assert notify(config, stand()) == []
    assert hook.take() == []  # nothing was wrong
    assert notify(config, stand(REFUSED)) == []
    text = "- day.csv was refused.\nMore in the work folder /srv/cards: assay status"
    assert hook.take() == [("/mail", "warning", "Assay, cards: attention", text)]
    assert notify(config, stand(LOST, REFUSED, hours=1)) == []
    text = f"- The ledger is missing.\n{text}"
    assert hook.take() == [(path, "failure", "Assay, cards: stopped", text) for path in ("/mail", "/pager")]
    assert notify(config, stand(hours=2)) == []
    assert hook.take() == [("/mail", "success", "Assay, cards: fine", "All is fine again.")]
    assert notify(config, stand(hours=3)) == []
    assert hook.take() == []


def test_the_same_is_told_again_only_after_a_while(tmp_path: Path, hook: Hook) -> None:
    config = make_config(tmp_path, repeat_hours=6)
    counts = []
    for hours in (0, 1, 5.9, 6.1, 7, 12.2):
        assert notify(config, stand(REFUSED, hours=hours)) == []
        counts.append(len(hook.take()))
    assert counts == [1, 0, 0, 1, 0, 1]


def test_a_notice_that_was_not_taken_is_tried_again(tmp_path: Path, hook: Hook) -> None:
    config = make_config(tmp_path)
    hook.status = 500
    (fault,) = notify(config, stand(REFUSED))
    assert fault == "not everybody was told: what ASSAY_MAIL leads to did not take the notice; see whether it is up"
    hook.take()
    hook.status = 200
    assert notify(config, stand(REFUSED, hours=0.1)) == []
    assert len(hook.take()) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "nobody was told: the environment variable ASSAY_MAIL of \\[notify\\] is not set; set it to a URL"),
        ("no url", "nobody was told: what ASSAY_MAIL holds is no URL that Apprise knows"),
        ("json://user:hunter2@127.0.0.1:PORT/", "what ASSAY_MAIL leads to did not take the notice"),
    ],
)
def test_who_cannot_be_told_is_said_without_the_secret(
    url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_MAIL", url.replace("PORT", str(free_port())))
    (fault,) = notify(make_config(tmp_path), stand(REFUSED))
    assert says.replace("\\", "") in fault
    assert "hunter2" not in fault


def test_nobody_is_told_where_nobody_is_named(tmp_path: Path, hook: Hook) -> None:
    config = make_config(tmp_path, attention=[], stopped=[], fine=[])
    assert notify(config, stand(LOST)) == []
    assert hook.take() == []
    assert list(tmp_path.iterdir()) == []


def test_a_secret_in_the_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"notify\.attention\.0"):
        make_config(tmp_path, attention=["slack://token"])
