"""pipeline/review/web/views/queue.py: the states of a queue that hurt, and what is late in it."""

import re

from pipeline.review.desk import Desk
from pipeline.review.people import ASSAY
from tests.pipeline.review.scored import Clock, desk_config
from tests.pipeline.review.web.served import PASSWORD, Browser, keys, make_desk


def test_before_anything_is_scored_it_says_what_to_do(tmp_path) -> None:
    make_desk(tmp_path / "other").close()  # which also makes hashing quick
    desk = Desk(desk_config(tmp_path))
    desk.add_user("lead", PASSWORD, "lead", ASSAY)
    browser = Browser(desk, "lead")
    assert "Nothing was scored yet." in browser.get("/").text
    assert "assay score" in browser.get("/").text
    assert browser.get("/dashboard").status_code == browser.get("/export").status_code == 200
    assert browser.do("/next", script=True).json()["said"] == "Nothing waits."
    desk.close()


def test_an_empty_queue_says_that_nothing_waits_and_a_filter_that_it_finds_nothing(desk) -> None:
    browser = Browser(desk, "analyst")
    browser.do("/decide", [("do", "fraud"), ("sure", "1"), *(("seen", pair) for pair in keys(browser).values())])
    assert "Nothing waits." in browser.get("/").text
    assert "No alert is like that." in browser.get("/?q=nobody").text
    assert browser.do("/next").headers["location"] == "/"


def test_the_toolbar_filters_by_a_value_of_any_column_or_of_one(desk) -> None:
    browser = Browser(desk, "analyst")
    page = browser.get("/?column=channel&value=web").text
    columns = re.search(r'<select name="column">(.*?)</select>', page)[1]
    assert re.findall(r'value="([^"]*)"', columns) == ["", *desk.config.contract.key_columns[1:]]
    assert '<option value="channel" selected>' in columns
    assert '<input name="value" class="short" value="web"' in page
    of_web = keys(browser, "/?column=channel&value=web")
    assert of_web == keys(browser, "/?column=&value=web")
    assert 0 < len(of_web) < len(keys(browser))


def test_what_is_late_nearly_late_or_urgent_is_marked_and_a_view(tmp_path) -> None:
    desk = make_desk(tmp_path, urgent_risk=75.0)
    browser = Browser(desk, "analyst")
    page = browser.get("/").text
    assert page.count('<span class="tag urgent">urgent</span>') == 3
    assert '<option value="urgent">' in page
    assert len(keys(browser, "/?priority=urgent")) == 3
    now = desk.store.clock()
    clock = Clock(now)
    desk.store.clock = clock
    clock.ahead(hours=3, minutes=30)
    browser.sign_in("analyst")
    assert browser.get("/?state=soon").text.count('<span class="tag soon">nearly late</span>') == 3
    clock.ahead(hours=1)
    browser.sign_in("analyst")
    assert browser.get("/?state=late").text.count('<span class="tag fraud">late</span>') == 3
    assert keys(browser, "/?state=soon") == {}
    desk.close()


def test_ten_thousand_characters_are_cut_visibly_and_can_be_opened(tmp_path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.pipeline.review.scored import score_batch

    desk = make_desk(tmp_path)
    folder = score_batch(desk.config, [77], batch="b2", score=500.0)
    alerts = pq.read_table(folder / "alerts.parquet")
    text = "<i>" + "x" * 9_997
    for name in ("card", "device"):
        alerts = alerts.set_column(alerts.column_names.index(name), name, pa.array([text]))
    pq.write_table(alerts, folder / "alerts.parquet")
    browser = Browser(desk, "analyst")
    page = browser.get("/").text
    assert "… 9,980 more" in page
    assert "x" * 200 not in page
    key = next(iter(keys(browser)))
    whole = browser.get(f"/alerts/{key}").text
    assert "&lt;i&gt;" + "x" * 9_997 in whole
    assert "<i>" not in whole
    desk.close()
