"""The webhook, against a receiver on this machine that takes, refuses or is not there."""

import hmac
import json
import threading
from calendar import timegm
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.errors import ConfigError
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.recent import recent
from pipeline.review.web.journal import in_words
from pipeline.review.webhook import SECRET, Courier, telling
from tests.pipeline.review.scored import ANN, LEA, MONDAY, Clock, desk_config, score_batch

WORD = "a secret of this test"


class Receiver:
    """A server that keeps what it is sent, and answers with the next of its statuses, the last one for good."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.messages, self.came = list(statuses), [], threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.messages.append((self.path, dict(self.headers.items()), body))
                status = outer.statuses.pop(0) if len(outer.statuses) > 1 else outer.statuses[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.end_headers()
                outer.came.set()

            def log_message(self, *words: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?of=desk"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receive():
    receivers = []

    def make(*statuses: int) -> Receiver:
        receivers.append(Receiver(*statuses))
        return receivers[-1]

    yield make
    for receiver in receivers:
        receiver.end()


def open_desk(folder, url: str, clock: Clock) -> Desk:
    config = desk_config(folder, sensitive=["card"], webhook=url)
    score_batch(config, range(1, 6), audited=[20])
    return Desk(config, clock)


def test_a_batch_is_told_once_signed_and_without_a_cell(tmp_path, receive) -> None:
    receiver, clock = receive(204), Clock()
    desk = open_desk(tmp_path, receiver.url, clock)
    courier = Courier(desk, WORD)
    assert (courier.turn(), courier.turn(), Courier(desk, WORD).turn()) == (1, 0, 0)
    ((path, headers, body),) = receiver.messages
    assert path == "/hook?of=desk"
    message = json.loads(body)
    keys = [line.key for line in desk.page(View(), ANN).lines]
    assert message == {
        "id": headers["x-assay-id"],
        "kind": "alerts",
        "table": "cards",
        "batch": "b1",
        "version": "1",
        "alerts": 6,
        "best": keys,
    }
    assert int(headers["x-assay-timestamp"]) == timegm(MONDAY.timetuple())
    signed = headers["x-assay-timestamp"].encode() + b"." + body
    assert headers["x-assay-signature"] == f"sha256={hmac.new(WORD.encode(), signed, 'sha256').hexdigest()}"
    score_batch(desk.config, [7], batch="b2")
    assert courier.turn() == 1
    assert json.loads(receiver.messages[1][2])["alerts"] == 1
    assert receiver.messages[1][1]["x-assay-id"] != headers["x-assay-id"]
    desk.close()


def test_a_receiver_that_fails_is_asked_again_later_and_later_under_the_same_id(tmp_path, receive) -> None:
    receiver, clock = receive(500, 302, 200), Clock()
    desk = open_desk(tmp_path, receiver.url, clock)
    courier, taken = Courier(desk, WORD), []
    for seconds in (0, 14, 2, 29, 2):
        clock.ahead(seconds=seconds)
        taken.append((courier.turn(), len(receiver.messages)))
    assert taken == [(0, 1), (0, 1), (0, 2), (0, 2), (1, 3)]
    assert len({headers["x-assay-id"] for _, headers, _ in receiver.messages}) == 1
    assert desk.page(View(), ANN).total == 6
    desk.close()


def test_a_server_that_was_ended_tells_what_it_had_not_and_nothing_older_than_a_day(tmp_path, receive) -> None:
    clock = Clock()
    desk = open_desk(tmp_path, "http://127.0.0.1:9/", clock)
    assert Courier(desk, WORD).turn() == 0  # nobody is there
    receiver = receive(200)
    again = Desk(desk_config(tmp_path, webhook=receiver.url), clock)
    assert Courier(again, WORD).turn() == 1
    clock.ahead(days=2)
    assert Courier(again, WORD).turn() == 0
    assert len(receiver.messages) == 1
    for one in (desk, again):
        one.close()


def test_what_is_given_up_after_a_day_is_written_down(tmp_path) -> None:
    clock = Clock()
    desk = open_desk(tmp_path, "http://127.0.0.1:9/", clock)
    courier = Courier(desk, WORD)
    courier.turn()
    clock.ahead(days=1, minutes=1)
    courier.turn()
    with desk.store.reading() as reading:
        (event,) = recent(reading, LEA, kind="webhook")
    assert (event.subject, event.after["tries"]) == ("b1", 2)
    assert in_words(event).startswith("called the webhook: given up: 127.0.0.1 did not take batch b1")
    clock.ahead(days=1)
    assert courier.turn() == 0
    assert desk.verify().fault == ""
    desk.close()


def test_a_thread_tells_while_the_desk_is_served(tmp_path, receive, monkeypatch) -> None:
    receiver = receive(200)
    desk = open_desk(tmp_path, receiver.url, Clock(MONDAY))
    with pytest.raises(ConfigError, match=f"a secret of at least 16 signs, but {SECRET} has 0"), telling(desk):
        pass
    monkeypatch.setenv(SECRET, WORD)
    with telling(desk):
        assert receiver.came.wait(60)
    assert [thread.name for thread in threading.enumerate() if thread.name == "webhook"] == []
    desk.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x/", "an http or https address"),
        ("https://ann:word@x/", "without a name and a password in it"),
        ("http://desk.example/", "go over https"),
        ("https://x:port/", "Port"),
        ("https://x/\r\nA: b", "an http or https address"),
    ],
)
def test_an_address_that_messages_are_read_on_the_way_to_is_refused(url: str, words: str, tmp_path) -> None:
    with pytest.raises(ValueError, match=words):
        desk_config(tmp_path, webhook=url)


def test_without_a_webhook_nothing_is_told(tmp_path) -> None:
    desk = open_desk(tmp_path, "", Clock())
    before = threading.active_count()
    with telling(desk):
        assert threading.active_count() == before
    desk.close()
