"""pipeline/review/web/views/alert.py: the page of one alert, hostile and sensitive cells among them."""

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.review.peers import shares_below
from pipeline.review.web.guard import POLICY
from pipeline.selection.records import MADE_BY, AliasChange, AliasRecords
from pipeline.workspace.workspace import Workspace
from tests.pipeline.review.scored import rows, score_batch
from tests.pipeline.review.web.served import Browser, keys, make_desk


def test_the_page_says_what_happened_why_and_how_rare_it_is(desk) -> None:
    browser = Browser(desk, "analyst")
    page = browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    assert "About 1 in 1,000 normal rows scores this high" in page
    assert 'width="75.0"' in page
    for words in ("card-1", "shop-1", "device 1", "Counts as known from"):
        assert words in page


def test_a_second_reader_is_told_who_holds_it(desk) -> None:
    first, second, viewer = (Browser(desk, role) for role in ("analyst", "lead", "viewer"))
    key = next(iter(keys(first)))
    assert "holds the alert" not in first.get(f"/alerts/{key}").text
    assert "analyst holds the alert until" in second.get(f"/alerts/{key}").text
    page = viewer.get(f"/alerts/{key}").text
    assert 'name="do"' not in page


def test_a_sensitive_cell_is_shown_for_a_reason_that_is_kept(tmp_path) -> None:
    desk = make_desk(tmp_path, sensitive=["card", "channel"])
    browser = Browser(desk, "analyst")
    key = next(iter(keys(browser)))
    page = browser.get(f"/alerts/{key}").text
    assert "card-1" not in page
    assert "•••" in page
    refused = browser.do(f"/alerts/{key}/unmask", {"column": "card", "why": " "})
    assert refused.status_code == 422
    page = browser.do(f"/alerts/{key}/unmask", {"column": "card", "why": "the bank asks"}).text
    assert "card-1" in page
    assert "unmasked card: the bank asks" in page
    assert "card-1" not in browser.get(f"/alerts/{key}").text
    desk.close()


TITLES = {
    "eur": {"title": "Amount", "unit": "<EUR>", "description": "What was paid."},
    "card": {"title": "Card <b>number"},
}


def test_titles_and_units_stand_for_names(tmp_path):
    desk = make_desk(tmp_path, sensitive=["card"], columns=TITLES)
    browser = Browser(desk, "analyst")
    queue = browser.get("/").text
    assert "10.00 &lt;EUR&gt;</td>" in queue
    assert "Card &lt;b&gt;number · shop" in queue
    assert '<option value="eur">Amount</option>' in queue
    page = browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    for words in (
        "10.00 &lt;EUR&gt;</p>",
        "<dt>Card &lt;b&gt;number</dt>",
        '<option value="card">Card',
        "What was paid.",
    ):
        assert words in page
    assert '<th scope="row">Amount</th><td class="n">10.00 &lt;EUR&gt;</td><td class="n">2.00 &lt;EUR&gt;</td>' in page
    assert '<td class="n">9.50 &lt;EUR&gt;</td>' in page
    sheet = browser.get("/export").text.splitlines()
    assert sheet[1].count('"Amount (<EUR>)"') == 1
    assert '"10.00"' in sheet[2]
    desk.close()


def test_a_hidden_amount_has_no_unit_and_no_value_at_which_it_would_not_be_flagged(tmp_path):
    desk = make_desk(tmp_path, sensitive=["eur"], columns=TITLES)
    browser = Browser(desk, "analyst")
    assert "EUR" not in browser.get("/").text
    assert "9.50" not in browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    desk.close()


def test_the_page_of_the_run_is_shown_as_another_hosts(desk) -> None:
    browser = Browser(desk, "viewer")
    key = next(iter(keys(browser)))
    assert "report" not in browser.get(f"/alerts/{key}").text
    missing = browser.get(f"/alerts/{key}/report")
    assert missing.status_code == 404
    assert missing.headers["content-security-policy"] == POLICY
    (Path(desk.config.work_dir) / "batches" / "b1-v1" / "report.html").write_text("<p>The run</p>")
    assert f'<a href="/alerts/{key}/report">' in browser.get(f"/alerts/{key}").text
    answer = browser.get(f"/alerts/{key}/report")
    assert answer.text == "<p>The run</p>"
    assert answer.headers.get_list("content-security-policy") == ["sandbox allow-scripts; frame-ancestors 'none'"]
    assert answer.headers["cache-control"] == "no-store"
    assert Browser(desk).get(f"/alerts/{key}/report").status_code == 303


def test_the_run_and_the_version_are_linked_where_a_server_shows_them(tmp_path) -> None:
    desk = make_desk(tmp_path)
    change = AliasChange(alias="champion", version="1", replaced=None, action="register", why=f"{MADE_BY}8f3c55aa01")
    other = replace(change, alias="candidate", action="promote", why="better")
    with AliasRecords(desk.config).recording([change, other]):
        pass
    browser = Browser(desk, "analyst")
    address = f"/alerts/{next(iter(keys(browser)))}"
    for uri, start in (
        ("https://ann:secret@mlflow.example:5000/ml/", "https://mlflow.example:5000/ml/#/"),
        ("sqlite:///mlflow.db", ""),
        ("javascript:alert(1)", ""),
    ):
        tracking = desk.config.tracking.model_copy(update={"uri": uri})
        desk.config = desk.store.config = desk.config.model_copy(update={"tracking": tracking})
        page = browser.get(address).text
        assert "8f3c55aa" in page
        links = [link for link in re.findall(r'href="([^"]+)"', page) if "mlflow" in link or "javascript" in link]
        assert links == ([f"{start}models/cards/versions/1", f"{start}runs/8f3c55aa01"] if start else [])
    desk.close()


def test_an_amount_is_held_against_the_entitys_own_and_everybodys(tmp_path) -> None:
    desk = make_desk(tmp_path, ids=[])
    names = desk.config.contract.required
    past = pa.table({name: values for name, values in rows(range(101, 201)).items() if name in names})
    past = past.append_column("fraud", pa.array([0] * 100, pa.int8()))
    pq.write_table(past, tmp_path / "past.parquet")  # amounts of 10, 20, ... 1,000; a third of them of each card
    Workspace(desk.config).history.append(tmp_path / "past.parquet", "past")
    score_batch(desk.config, [7], batch="b2")
    desk.sync()
    browser = Browser(desk, "analyst")
    key = next(iter(keys(browser)))
    page = browser.get(f"/alerts/{key}").text
    assert "Above none of this card&#39;s 33 earlier amounts and above none of everybody&#39;s." in page
    # The amount is the reason, too.
    assert "Above none of this card&#39;s 33 earlier values and above none of everybody&#39;s." in page
    assert 0.49 < shares_below(Workspace(desk.config), {"eur": 505.0})["eur"] < 0.51
    assert shares_below(Workspace(desk.config), {"eur": 1e9}) == {"eur": 1.0}
    desk.close()


def test_each_reason_says_how_it_stands_or_why_that_is_not_known(tmp_path) -> None:
    desk = make_desk(tmp_path, ids=[], numeric=["km"], sensitive=["card"])
    past = pa.table(rows(range(101, 201))).select(["tx", "at", "eur", "card", "shop", "channel"])
    past = past.append_column("km", pa.array([float(place) for place in range(100)]))
    pq.write_table(past.append_column("fraud", pa.array([0] * 100, pa.int8())), tmp_path / "past.parquet")
    Workspace(desk.config).history.append(tmp_path / "past.parquet", "past")
    folder = score_batch(desk.config, [7], batch="b2")
    alerts = pq.read_table(folder / "alerts.parquet").append_column("km", pa.array([50.0]))
    columns = ("km", "channel", "card: rows in 7 days", "km, eur", "card")
    reasons = [{"column": name, "actual": "1", "expected": "2", "share": 0.2, "text": name} for name in columns]
    place = alerts.column_names.index("reasons")
    alerts = alerts.set_column(place, "reasons", pa.array([reasons], alerts.schema.field("reasons").type))
    pq.write_table(alerts, folder / "alerts.parquet")
    desk.sync()
    browser = Browser(desk, "analyst")
    page = browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    notes = [text.replace("&#39;", "'") for text in re.findall(r'class="place"><td colspan="6">(.*?)</td>', page)]
    # Of the kilometres 0 to 99 the card has every third one, the first of them before its own 50: 2, 5, ... 98 or so.
    earlier = [float(km) for km in range(100) if f"card-{(101 + km) % 3}" == "card-1"]
    share = 100 * sum(km < 50 for km in earlier) / len(earlier)
    assert notes == [
        f"Above {share:.1f} % of this card's {len(earlier)} earlier values and above 50 % of everybody's.",
        "No number, so that it stands neither above nor below others.",
        *["Worked out, and not kept of past rows, so that how it stands among them is not known."] * 2,
    ]
    desk.close()


def test_a_category_leads_to_the_open_alerts_that_have_it(desk) -> None:
    browser = Browser(desk, "analyst")
    page = browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    address = re.search(r'href="(/\?column=channel[^"]*)">web</a>', page)[1].replace("&amp;", "&")
    assert len(keys(browser, address)) == 5  # the odd ids


def test_other_frauds_of_a_terminal_are_a_click_away(desk) -> None:
    browser = Browser(desk, "lead")
    pairs = keys(browser)
    first, _, other = list(pairs)[:3]  # the ids 1, 2 and 3: shops 1, 0 and 1
    browser.do("/decide", {"seen": pairs[other], "do": "fraud"})
    page = browser.get(f"/alerts/{first}").text
    part = page.partition("Of shop shop-1")[2].partition("</ul>")[0]
    assert f'href="/alerts/{other}"' in part
    assert part.count("<li>") == 1


def test_a_case_goes_with_the_alert_and_is_asked_for_once(desk) -> None:
    browser, other = Browser(desk, "analyst"), Browser(desk, "lead")
    pairs = keys(browser)
    first = next(iter(pairs))  # the id 1, whose card the ids 4, 7 and 10 have, too
    page = browser.get(f"/alerts/{first}").text
    case = re.findall(r'value="([0-9a-f]{20}:[0-9]+)" form="work" checked', page)
    assert case == [pairs[key] for key in list(pairs)[3::3]]
    seen = [("seen", pair) for pair in (pairs[first], *case)]
    asked = browser.do("/decide", [("do", "fraud"), ("of", first), *seen])
    assert "Decide &#39;fraud&#39; for 4 alerts?" in asked.text
    # A comment is of the alert alone, and so is being told that somebody holds it.
    browser.do("/decide", [("do", "comment"), ("comment", "looks odd"), ("of", first), *seen])
    assert "looks odd" in browser.get(f"/alerts/{first}").text
    assert "looks odd" not in browser.get(f"/alerts/{case[0][:20]}").text
    refused = other.do("/decide", [("do", "fraud"), ("of", first), *seen])
    assert (refused.status_code, "nalyst holds the alert" in refused.text) == (409, True)


def test_a_case_is_no_part_of_what_was_decided_or_is_only_looked_at(desk) -> None:
    browser = Browser(desk, "analyst")
    pairs = keys(browser)
    first = next(iter(pairs))
    browser.do("/decide", {"seen": pairs[first], "do": "fraud"})
    assert 'form="work"' not in browser.get(f"/alerts/{first}").text
    assert 'form="work"' not in Browser(desk, "viewer").get(f"/alerts/{list(pairs)[3]}").text
