"""pipeline/review/web/views/export.py: alerts with decisions, as files."""

import io

import pyarrow.parquet as pq

from tests.pipeline.review.web.served import Browser, keys


def test_a_view_is_downloaded_with_its_decisions(desk) -> None:
    browser = Browser(desk, "analyst")
    (pair, *_) = keys(browser).values()
    browser.do("/decide", {"do": "fraud", "seen": pair})
    answer = browser.get("/export?state=decided")
    assert answer.headers["content-disposition"] == 'attachment; filename="alerts.csv"'
    head, line, *rest = answer.content.decode("utf-8-sig").splitlines()
    assert rest == []
    assert '"fraud"' in line
    assert "analyst" in line
    assert {"tx", "at", "eur", "card", "label", "decided_by"} <= set(head.replace(chr(34), "").split(","))
    table = pq.read_table(io.BytesIO(browser.get("/export?state=open&as=parquet").content))
    assert sorted(map(int, table["tx"].to_pylist())) == list(range(2, 11))
