"""The corpus of hostile cells through queue, alert, exports, packet and report: it goes in, and comes out, as text."""

import csv
import io
import re
from collections import defaultdict
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.pages.report import Report, render
from pipeline.review import users
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import ASSAY, ROLES
from pipeline.review.web.packet import packet_page
from pipeline.scoring.alerts import alert_rows
from pipeline.scoring.reasons import REASONS_TYPE
from pipeline.settings.config import Config
from pipeline.tables.writing import read_back
from tests.hostile import CORPUS
from tests.pipeline.review.scored import Clock, desk_config, score_batch
from tests.pipeline.review.web.served import PASSWORD, QUICK, Browser
from tests.pipeline.review.web.test_browser import Served, Watched
from tests.pipeline.scoring.small_alerts import alerts_table
from tests.pipeline.scoring.small_alerts import config as small_config

TAME = tuple(f"cell {number}" for number in range(len(CORPUS)))
COUNT = len(CORPUS)


def score_texts(config: Config, texts: tuple[str, ...]) -> None:
    """Leave two batches: one with a row a text, in every column of text; one with a row that has a column a text."""
    folder = score_batch(config, range(1, COUNT + 1), score=1000.0)
    table = pq.read_table(folder / "alerts.parquet")
    reasons = [[{"column": text, "actual": text, "expected": text, "share": 0.5, "text": text}] for text in texts]
    columns = dict.fromkeys(("tx", "card", "shop", "channel", "device"), pa.array(texts))
    for name, cells in {**columns, "reasons": pa.array(reasons, REASONS_TYPE)}.items():
        table = table.set_column(table.column_names.index(name), name, cells)
    pq.write_table(table, folder / "alerts.parquet")
    folder = score_batch(config, [999_999], batch="b2", score=2000.0)
    table = pq.read_table(folder / "alerts.parquet")
    for number, text in enumerate(texts):
        table = table.append_column(f"{number}: {text}"[:300].replace("\x00", ""), pa.array([text]))
    pq.write_table(table, folder / "alerts.parquet")


def open_desk(folder, texts: tuple[str, ...]) -> Desk:
    config = desk_config(folder)
    score_texts(config, texts)
    users._hasher = lambda: QUICK
    desk = Desk(config, Clock())
    desk.sync()
    for role in ROLES:
        desk.add_user(role, PASSWORD, role, ASSAY)
    return desk


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    """The desk of the corpus, and one whose texts are tame."""
    desks = [open_desk(tmp_path_factory.mktemp("desk"), texts) for texts in (CORPUS, TAME)]
    yield desks
    for desk in desks:
        desk.close()


class Parts(HTMLParser):
    """What a page is made of: its tags with their attributes, and the text within each element of a class or a tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shapes, self.addresses, self.within, self.open = set(), set(), defaultdict(list), []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shapes |= {tag, *(f"{tag} {name}" for name, _ in attrs)}
        self.addresses |= {str(value) for name, value in attrs if name in ("href", "src", "action", "formaction")}
        if tag in ("td", "dd", "dt", "th"):
            self.open.append(tag)
            self.within[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1:] == [tag]:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.within[self.open[-1]][-1] += data


def read(shown: str) -> str:
    """What a reader makes of a shown text: signs that are spelled out are themselves again."""
    return re.sub(r"\[U\+([0-9A-F]{4,6})\]", lambda match: chr(int(match[1], 16)), shown)


def is_shown(text: str, cells: list[str], limit: int) -> bool:
    cut = text if len(text) <= limit else f"{text[:limit]}… {len(text) - limit:,} more"
    return any(read(cell).strip() == cut.strip() for cell in cells)


def test_the_corpus_is_large_and_has_no_text_that_looks_spelled_out() -> None:
    assert COUNT >= 200
    assert not [text for text in CORPUS if "[U+" in text]
    for text in CORPUS:
        text.encode()


@pytest.mark.parametrize("path", ["/?limit=500", "/alerts/{key}", "/events?who=<script>", "packet"])
def test_pages_of_hostile_cells_are_made_of_what_pages_of_tame_ones_are(path: str, desks) -> None:
    parts = []
    for desk in desks:
        if path == "packet":
            text = packet_page(desk.make_packet(View(), "analyst", ASSAY, lambda packet: None), desk.config.review)
        else:
            browser = Browser(desk, "admin")
            text = browser.get(path.replace("{key}", desk.page(View(), ASSAY).lines[0].key)).text
        parts.append(Parts(text))
    hostile, tame = parts
    assert hostile.shapes - {"details", "summary"} <= tame.shapes | {"span", "span class", "small"}
    assert {address for address in hostile.addresses if not address.startswith(("/", "#", "data:,"))} == set()
    assert not [address for address in hostile.addresses if address.startswith("//")]


def test_every_text_is_shown_whole_or_visibly_shortened(desks) -> None:
    desk, browser = desks[0], Browser(desks[0], "admin")
    queue = Parts(browser.get("/?limit=500").text).within["td"]
    cells = [part for cell in queue for part in cell.split("\n")]
    assert [text for text in CORPUS if text.strip() and not is_shown(text, [*queue, *cells], 120)] == []
    alert = Parts(browser.get(f"/alerts/{desk.page(View(), ASSAY).lines[0].key}").text).within["dd"]
    opened = [cell.split(" more", 1)[-1] for cell in alert]  # what a long cell has beside its summary
    assert [text for text in CORPUS if not is_shown(text, [*alert, *opened], 10_000)] == []
    packet = desk.make_packet(View(), "analyst", ASSAY, lambda packet: None)
    cells = Parts(packet_page(packet, desk.config.review)).within["dd"]
    opened = [cell.split(" more", 1)[-1] for cell in cells]
    assert [text for text in CORPUS if not is_shown(text, [*cells, *opened], 10_000)] == []


def test_exports_are_harmless_and_lose_nothing(desks) -> None:
    browser = Browser(desks[0], "analyst")
    lines = csv.reader(io.StringIO(browser.get("/export?batch=b1").content.decode("utf-8-sig"), newline=""))
    head, *rows = lines
    assert len(rows) == COUNT
    places = [head.index(name) for name in ("tx", "card", "channel", "reason")]
    for place in places:
        cells = [row[place] for row in rows]
        assert [cell for cell in cells if cell[:1] in set("=+-@\t\r\n")] == []
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]", "".join(cells))
        assert set(read_back(pa.array(cells)).to_pylist()) >= {text for text in CORPUS if not text.startswith("'")}
    table = pq.read_table(io.BytesIO(browser.get("/export?batch=b1&as=parquet").content))
    assert set(table["card"].to_pylist()) == set(CORPUS)
    token = desks[0].add_token("test", ["list"], ASSAY, name="analyst")
    answer = browser.get("/api/alerts?limit=500", headers={"authorization": f"Bearer {token}"})
    assert {alert["id"] for alert in answer.json()["alerts"]} == {*CORPUS, "999999"}


def test_every_text_can_be_looked_for(desks) -> None:
    with desks[0].store.reading() as reading:
        from pipeline.review.paging import page

        for text in CORPUS:
            if text.strip() == text and text:
                lines = page(reading, View(search=text), ASSAY).lines
                assert any(line.id[:255] == text[:255] for line in lines), text[:40]


def test_the_queue_takes_hostile_cells_in_on_either_database(config: Config) -> None:
    score_texts(config, CORPUS)
    desk = Desk(config, Clock())
    assert desk.sync() == 2
    lines = desk.page(View(limit=500), ASSAY).lines
    assert {line.entity for line in lines} == {*CORPUS, "card-0"}
    assert {line.id for line in lines} == {*CORPUS, "999999"}
    assert desk.page(View(column="channel", value="a\x00b"), ASSAY).total == 1
    assert desk.rebuild() == desk.verify().number
    desk.close()


def report_page(texts: tuple[str, ...]) -> str:
    rows = [
        alerts_table(1, card=text, country=text).to_pylist()[0] | {"tx": text, "rank": place}
        for place, text in enumerate(texts)
    ]
    for row, text in zip(rows, texts, strict=True):
        row["reasons"] = [{"column": text, "actual": text, "expected": text, "share": 0.5, "text": text}]
    table = pa.Table.from_pylist(rows)
    table = table.set_column(table.column_names.index("reasons"), "reasons", table["reasons"].cast(REASONS_TYPE))
    counts = {"read": 900, "accepted": 900, "quarantined": 0, "outside": 0, "refused": 0, "scored": 900, "flagged": 300}
    alerts = alert_rows(table, small_config(), limit=len(texts))
    return render(Report(kind="batch", title=texts[0], counts=counts, notes=texts, alerts=alerts))


def test_the_report_of_a_batch_shows_them_as_text() -> None:
    hostile, tame = (Parts(report_page(texts)) for texts in (CORPUS, TAME))
    assert hostile.shapes <= tame.shapes | {"small", "span data-together"}  # of groups: some texts are shown alike
    assert not [address for address in hostile.addresses if re.match(r"\s*(\w+:(?!,)|//)", address)]


def test_nothing_of_it_runs_in_a_browser_that_knows_no_policy(desks, tmp_path, chromium) -> None:
    served = Served(desks[0])
    window, dialogs = Watched(chromium, served, bypass_csp=True), []
    window.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    packet = desks[0].make_packet(View(), "analyst", ASSAY, lambda packet: None)
    (tmp_path / "packet.html").write_text(packet_page(packet, desks[0].config.review))
    (tmp_path / "report.html").write_text(report_page(CORPUS))
    try:
        window.sign_in("admin")
        for path in (
            "/?limit=500",
            f"/alerts/{desks[0].page(View(), ASSAY).lines[0].key}",
            "/?q=<script>alert(1)</script>",
        ):
            window.go(path)
            window.page.mouse.move(400, 400)
        assert window.faults == []
        for name in ("packet.html", "report.html"):
            window.page.goto((tmp_path / name).as_uri())
            window.page.keyboard.press("j")
        assert [fault for fault in window.faults if "file://" not in fault] == []
        assert dialogs == []
    finally:
        window.context.close()
        served.server.should_exit = True
        served.thread.join()
        served.listener.close()
