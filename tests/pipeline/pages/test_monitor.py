"""The page of the watch, read back with html.parser."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np

from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.weeks import Week
from pipeline.monitoring.checks import Check, Seen
from pipeline.monitoring.columns import ColumnDrift
from pipeline.monitoring.martingale import BLOCKS, LEVELS, Bounds, Course
from pipeline.monitoring.profile import DayProfile
from pipeline.monitoring.volume import Expected
from pipeline.pages.monitor import render_monitor
from pipeline.pages.report import Report, render
from pipeline.workspace.watch import WatchEvent
from tests.pipeline.pages.page import Page

DAYS = [date(2025, 3, 1) + timedelta(days=n) for n in range(4)]
BAD = "<img src=x>\x1b[31m"


def seen():
    blocks, hours = np.full(BLOCKS, 10), np.full(24, 26)
    up_to = np.full((len(LEVELS), BLOCKS), 1)
    profile = DayProfile(640, 7, hours, blocks, up_to, {}, {})
    drift = ColumnDrift(BAD, BAD, 0.4321, 0.25, 0.0001, 0.125, 0.01, 0.0, has_moved=True)
    return Seen(
        days=DAYS,
        profiles=dict.fromkeys(DAYS, profile),
        drifts={day: [drift] for day in DAYS},
        volume=dict.fromkeys(DAYS, 1.25),
        hours=dict.fromkeys(DAYS, 0.1),
        limits=Bounds((0.01, 0.05, 0.25, 0.5), (0, 0, 0.1, 0.3), (0.02, 0.1, 0.4, 0.7)),
        scores=Course(np.array([0.0, 0.1, 90.0, 20_000.0]), np.array([False, False, False, True]), 7300.0),
        tested=DAYS,
        alerts=Expected(6.0, 2.0, 12.0),
        checks=[Check("scores", "warn", f"Odd: {BAD}."), Check("rows", "ok", "Fine.")],
    )


def page(**more):
    return render_monitor(seen(), title=BAD, subtitle="version 3", **more)


def test_every_check_chart_and_change_is_there_and_text_of_data_is_escaped():
    event = WatchEvent(
        check="scores", state="warn", previous="ok", reason=BAD, day=DAYS[3], batch_id="b", model_version="3",
        at=datetime(2025, 3, 5),
    )  # fmt: skip
    week = Week(DAYS[0], 900, 800, 12, Interval(0.5, 0.4, 0.6), Interval(0.031, 0.02, 0.04))
    html = page(events=[event], weeks=[week], missed=["version 3: about 4 frauds."])
    assert "<img" not in html
    assert "\x1b" not in html
    text = Page(html).text
    for part in ("Odd: <img src=x>", "0.432", "12.5 %", "2 to 12 expected", "800 of 900", ".500 (.400 to .600)"):
        assert part in text
    assert "about 4 frauds" in text
    assert html.count('<svg class="chart"') == 5
    assert "it calls from 7,300 on" in text
    assert "<script" not in html
    assert "worse" not in text
    assert "warn worse" in Page(page(events=[replace(event, previous="warn")])).text


def test_where_nothing_is_known_nothing_is_shown():
    empty = replace(seen(), tested=[], drifts={}, scores=Course(np.empty(0), np.empty(0, bool), 7300.0))
    html = render_monitor(empty, title="t", subtitle="s")
    assert html.count('<svg class="chart"') == 2
    text = Page(html).text
    assert "No check has ever been anything but ok." in text
    assert "Against labels" not in text


def test_the_report_of_a_batch_has_the_checks():
    html = render(Report(kind="batch", title="march.parquet", watch=seen()))
    text = Page(html).text
    assert "the last days against the training" in text
    assert "Odd: <img src=x>" in text
    assert "<img" not in html
    assert "the last days against the training" not in Page(render(Report(kind="batch", title="march.parquet"))).text
