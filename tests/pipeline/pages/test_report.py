"""pipeline/pages/report.py: the page is read back with html.parser."""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.metrics import evaluate
from pipeline.pages import charts, runs
from pipeline.pages.report import Report, render
from pipeline.scoring.alerts import AlertRow, alert_rows
from pipeline.scoring.maps import Map
from pipeline.settings.columns import ColumnConfig
from pipeline.settings.sensitive import MASK
from pipeline.settings.titles import descriptions
from tests.pipeline.pages.page import Page
from tests.pipeline.scoring.small_alerts import alerts_table, config, reason


def full_batch():
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.02).astype(float)
    scores = rng.gamma(3, 1, 2000) + 9 * labels * rng.random(2000)
    flagged = scores > 8
    measured = evaluate(np.zeros(2000), rng.integers(0, 900, 2000), scores, labels, is_flagged=flagged)
    report = Report(
        kind="batch",
        title="march.parquet",
        subtitle="1 March 2025",
        counts={"read": 12_345, "accepted": 2000, "quarantined": 45, "outside": 10_300, "refused": 0}
        | {"scored": 2000, "flagged": int(flagged.sum())},
        promise="About 20 alerts a day.",
        outcome="31 alerts on 1 day.",
        notes=("The history has a gap.",),
        histogram=charts.count_scores(scores, 8.0, labels),
        scores_of="All scored rows",
        threshold=8.0,
        alerts_per_day={date(2025, 3, 1): int(flagged.sum())},
        expected_per_day=20.0,
        alerts=alert_rows(alerts_table(), config(), show_labels=True),
        rules={"eur: is finite": 40, "tx: is unique": 5, "eur: is not negative": 0},
        unseen={"country": 3},
        docs="data docs/index.html",
        evaluation=measured,
        measured_on="the scored rows",
        facts={"Model": "cards version 3"},
    )
    return report, measured


def test_a_batch_shows_every_figure_it_was_given():
    report, measured = full_batch()
    page = Page(render(report))
    for figure in ("12,345", "10,300", "2,000", f"{report.counts['flagged']:,}", "45"):
        assert figure in page.text
    for text in ("march.parquet", "About 20 alerts a day.", "31 alerts on 1 day.", "The history has a gap."):
        assert text in page.text
    assert f"{measured.auroc:.3f}" in page.text
    assert f"{measured.average_precision:.3f}" in page.text
    assert f"{measured.card_precision:.3f}" in page.text
    assert f"{measured.flagged_frauds} of {measured.frauds}" in page.text
    assert page.text.index("eur: is finite 40") < page.text.index("tx: is unique 5")
    assert "eur: is not negative" not in page.text
    assert "country in 3 rows" in page.text
    assert "Model cards version 3" in page.text
    assert "threshold 8" in page.text
    assert ("href", "data%20docs/index.html") in page.attributes
    assert page.tags.count("svg") == 5  # the mark, scores, alerts a day, precision and recall, what alerts find


def test_an_alert_shows_who_when_how_much_and_why():
    page = Page(render(full_batch()[0]))
    for text in ("#1 fraud", "Sat 1 Mar 2025, 03:14:09", "id 9001", "card 77123", "412.25", "< 0.001"):
        assert text in page.text
    assert "eur 62 % 1,240.50 35.20" in page.text
    assert "country 24 % US DE" in page.text
    assert "eur 1,240.50, expected about 35.20 Why" in page.text
    assert page.text.index("id 9001") < page.text.index("id 9002") < page.text.index("id 9003")


def test_a_training_run_shows_its_losses_and_the_best_epoch():
    epochs = [
        {"epoch": 1, "train_loss": 0.9, "held_out_loss": 0.8},
        {"epoch": 2, "train_loss": 0.5, "held_out_loss": 0.45},
        {"epoch": 3, "train_loss": 0.4, "held_out_loss": 0.5},
    ]
    page = Page(render(Report(kind="training", title="cards", counts={"read": 9, "accepted": 9}, epochs=epochs)))
    assert "Training run" in page.text
    assert "best held-out loss 0.45 in epoch 2" in page.text
    assert [name for name, value in page.attributes if value == "line held-out"] == ["class"]


def scripts(html):
    """Texts of a page's scripts."""
    return re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)


def test_the_page_asks_for_nothing_from_outside_and_runs_nothing_but_its_own_script():
    html = render(full_batch()[0])
    page = Page(html)
    links = [value for name, value in page.attributes if name in ("href", "src", "srcset", "action", "data")]
    assert links == ["data%20docs/index.html"]
    assert not {"link", "iframe", "img", "object"} & set(page.tags)
    [text] = scripts(html)
    assert page.tags.count("script") == 1
    assert text == (Path(runs.__file__).parent / "templates" / "alerts.js").read_text()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert ("content", policy) in page.attributes
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|fetch|import\(", text)
    assert "http" not in re.sub(r'http-equiv="', "", html)
    assert "url(" not in html
    assert "@import" not in html
    quiet = Page(render(Report(kind="batch", title="t")))
    assert "script" not in quiet.tags
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in quiet.attributes


def test_every_alert_is_on_the_page_and_says_what_it_can_be_found_by():
    rows = alert_rows(alerts_table(rows=600), config(sensitive=("card",)), limit=5000)
    html = render(Report(kind="batch", title="t", counts={"flagged": 600, "scored": 9000}, alerts=rows))
    page = Page(html)
    assert page.tags.count("article") == 600
    assert all(f"id {number} " in page.text for number in (9001, 9300, 9600))
    assert "shown; all are in the alerts table" not in page.text
    whose = dict(rows[0].keys)["card"]
    assert page.text.count(f"card {whose} ") == 600
    assert html.count('<span class="what">country</span>') == 600
    some = render(Report(kind="batch", title="t", counts={"flagged": 601, "scored": 9000}, alerts=rows))
    assert "600 of 601 shown; all are in the alerts table" in Page(some).text
    assert runs.MOST_ALERTS == 5000


def test_what_is_odd_only_together_is_said_so_and_expects_nothing():
    both = {"column": "country, km", "actual": "country 'US', km 9", "expected": "", "share": 0.4}
    together = {**both, "text": "the combination of country 'US' and km 9"}
    html = everywhere(alert_rows(alerts_table(rows=1, reasons=[together, reason("eur", "9", "5", 0.2)]), config())[0])
    assert "country, km unusual only together 40 % country 'US', km 9" in Page(html).text
    assert html.count("data-together>") == 1


def test_headings_and_lists_are_built_as_readers_of_screens_need_them():
    page = Page(render(full_batch()[0]))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1
    assert {tag for parent, tag in page.pairs if parent == "dl"} == {"div"}
    assert {parent for parent, tag in page.pairs if tag in ("dt", "dd")} == {"div"}
    assert {tag for parent, tag in page.pairs if parent == "div" and tag == "small"} == set()


def luminance(colour):
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], parts))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "card", "tint"])
@pytest.mark.parametrize(
    ("text", "least"),
    [("ink", 4.5), ("soft", 4.5), ("faint", 4.5), ("good", 4.5), ("fraud", 4.5), ("alarm", 3.0)],  # alarm is large
)
def test_text_stands_out_from_its_ground(*, scheme, ground, text, least):
    css = (Path(runs.__file__).parent / "templates" / "chart.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w{6})", css.split("@media")[scheme]))
    one, other = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (one + 0.05) / (other + 0.05) >= least


def test_text_from_the_data_stays_text():
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    table = alerts_table(country=hostile, reasons=[reason(hostile, hostile, "x" + hostile, 2.0, text=hostile)])
    report = Report(
        kind="batch",
        title=hostile,
        subtitle=hostile,
        counts={"read": 1, "flagged": 3, "scored": 3},
        promise=hostile,
        outcome=hostile,
        notes=[hostile],
        histogram=charts.count_scores(np.array([1.0, 2.0]), None),
        scores_of=hostile,
        alerts=alert_rows(table, config()),
        rules={hostile: 1},
        unseen={hostile: 1},
        measured_on=hostile,
        facts={hostile: hostile},
    )
    page = Page(render(report))
    assert page.tags.count("script") == 1
    assert "alert(1)" not in scripts(render(report))[0]
    assert "img" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count("alert(1)") >= 15


@pytest.mark.parametrize("docs", ["javascript:alert(1)", "https://example.org/", "/etc/passwd", "\\\\host\\share"])
def test_docs_is_a_relative_path_only(docs):
    with pytest.raises(ValueError, match="relative path only"):
        render(Report(kind="batch", title="t", docs=docs))


def everywhere(row: AlertRow):
    return render(Report(kind="batch", title="t", counts={"read": 1, "flagged": 1, "scored": 1}, alerts=[row]))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tx", ["9001"]),
        ("at", ["02:14", "03:14", "2025-03-01"]),
        ("eur", ["1240.5", "1,240.50", "35.20"]),
        ("card", ["77123"]),
        ("country", ["US", "DE"]),
    ],
)
def test_a_sensitive_column_is_masked_wherever_it_stands(name, values):
    said = "card 77123 paid 1,240.50 in US (9001) at 2025-03-01 02:14:09"
    reasons = [reason("merchant", "a", "b", 0.4, text=said), reason("eur", "1,240.50", "35.20", 0.3)]
    table = alerts_table(rows=1, reasons=[*reasons, reason("country", "US", "DE", 0.2)])
    shown = everywhere(alert_rows(table, config())[0])
    hidden = everywhere(alert_rows(table, config(sensitive=(name,)))[0])
    text = Page(hidden).text.split("Written by Assay")[0]
    assert any(value in Page(shown).text for value in values)
    assert not [value for value in values if value in text]
    assert MASK in text
    assert "p-value" in text


def test_very_long_cells_do_not_fill_the_page():
    rows = alert_rows(alerts_table(rows=1, tx="i" * 5000, country="c" * 5000), config())
    html = render(Report(kind="batch", title="cards", counts={"read": 1, "accepted": 1}, alerts=rows))
    assert max(map(len, re.findall("i{9,}|c{9,}", html))) < 80


@pytest.mark.parametrize(
    ("scores", "threshold"),
    [
        ([3.2], 9.1),
        ([7.0] * 50, 7.0),
        ([0.0] * 50, 0.0),
        ([-3.0, -1.0, 2.0], 0.0),
        ([1e-30, 1.0, 1e30], 5.0),
        ([1.0, np.inf, np.nan], np.inf),
        ([], 1.0),
        ([np.nan], None),
        ([1.0, 2.0], None),
    ],
)
def test_unusual_scores_still_make_a_page(scores, threshold):
    scores = np.array(scores)
    counts = {"read": len(scores), "accepted": len(scores), "scored": len(scores), "flagged": 0}
    histogram = charts.count_scores(scores, threshold)
    html = render(Report(kind="batch", title="t", counts=counts, histogram=histogram, threshold=threshold))
    drawn = re.sub(r"<title>.*?</title>", "", "".join(re.findall(r"<svg class=\"chart\".*?</svg>", html, re.DOTALL)))
    assert not re.search(r"\bnan\b|\binf\b", drawn)
    Page(html)
    if len(scores):
        assert histogram.counts.sum() == np.isfinite(scores).sum()


def test_no_alerts_a_batch_of_one_row_and_a_refused_batch_make_pages():
    one = {"read": 1, "accepted": 1, "quarantined": 0, "outside": 0, "refused": 0, "scored": 1, "flagged": 0}
    days = {date(2025, 3, 1): 0}
    scores = charts.count_scores(np.array([1.0]), 2.0)
    quiet = Report(kind="batch", title="t", counts=one, histogram=scores, threshold=2.0, alerts_per_day=days)
    page = Page(render(quiet))
    assert "nothing to review" in page.text
    assert "Every row inside the period satisfied every rule." in page.text
    refused = {
        "read": 7,
        "accepted": 0,
        "quarantined": 0,
        "outside": 0,
        "refused": 7,
        "scored": 0,
        "flagged": 0,
    }
    assert "Refused No row of this batch" in Page(render(Report(kind="batch", title="t", counts=refused))).text
    Page(render(Report(kind="batch", title="nothing but a title")))


def test_labels_of_one_class_say_that_figures_are_not_defined():
    measured = evaluate(np.zeros(5), np.arange(5), np.arange(5.0), np.zeros(5), is_flagged=np.arange(5) > 3)
    page = Page(render(Report(kind="batch", title="t", evaluation=measured)))
    assert "AUROC not defined" in page.text
    assert "5 rows, 0 frauds." in page.text


def test_maps_and_suspect_fit_rows_are_on_the_page_and_the_rows_are_folded_away():
    points = np.random.default_rng(0).normal(size=(50, 2))
    ranks = np.arange(50) // 49
    suspects = alert_rows(alerts_table(rows=2), config(sensitive=("card",)))
    maps = [Map("Map of the code", "<i>where</i>", points, ranks), Map("Map of the columns", "PCA", points, ranks)]
    html = render(Report(kind="training", title="cards", maps=maps, suspects=suspects))
    page = Page(html)
    assert page.tags.count("svg") == 3
    assert "alert #1" in page.text
    assert "<i>where" not in html
    assert "open" not in dict(page.attributes)
    folded = html[html.index("<details") : html.index("</details>")]
    assert "9001" in folded
    assert "77123" not in folded
    assert "expected about" in folded
    without = render(Report(kind="training", title="cards"))
    assert "Where the alerts lie" not in without
    assert "Fitted on as normal" not in without


@pytest.mark.parametrize(("cards", "drawn"), [(np.arange(40) % 8, "whole customers"), (None, "single rows")])
def test_the_text_of_intervals_says_what_was_drawn(cards, drawn):
    scores = np.arange(40.0)
    measured = evaluate(np.arange(40) % 6, cards, scores, scores % 3 == 0, is_flagged=scores > 30)
    text = render(Report(kind="batch", title="t", evaluation=measured))
    assert f"of {drawn} for measures of rows" in text


def test_titles_stand_for_names_and_say_what_columns_mean():
    columns = {"eur": ColumnConfig(title="<b>Amount", unit="EUR", description="<script>paid</script>")}
    settings = config().model_copy(update={"columns": columns})
    report = Report(
        kind="batch",
        title="march",
        counts={"flagged": 1},
        alerts=alert_rows(alerts_table(rows=1), settings),
        columns=descriptions(settings),
    )
    html = render(report)
    assert "&lt;b&gt;Amount 1,240.50 EUR, expected about 35.20 EUR" in html
    assert "<dt>&lt;b&gt;Amount (EUR)</dt><dd>&lt;script&gt;paid&lt;/script&gt;</dd>" in html
    assert "What the columns mean" not in render(replace(report, columns=()))
