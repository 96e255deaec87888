"""Data Docs: what the page shows, and what it must not."""

import re
from datetime import datetime

import pytest

from expectations.docs import render_docs
from expectations.runs import Outcome


def outcome(name: str, column: str, values: list[object]) -> Outcome:
    made = Outcome(name, "expect_column_values_to_be_between", {"column": column, "min_value": 0}, "warning", (column,))
    made.add(10, 2, 4, values)
    return made


@pytest.fixture(scope="module")
def page() -> str:
    hostile = outcome("eur: <i>$x ${column}", "eur", ["<script>alert(1)</script>", "$boom", "a" * 500, float("nan")])
    hidden = outcome("card: known", "card", ["4111-1111"])
    mean = Outcome("card: mean", "expect_column_mean_to_be_between", {"column": "card"}, "critical", ("card",))
    mean.about_rows, mean.success, mean.observed = False, False, 4711.25
    held = Outcome("eur: usual mean", "expect_column_mean_to_be_between", {"column": "eur"}, "info", ("eur",))
    held.about_rows, held.observed = False, 21.5
    return render_docs(
        [hostile, hidden, mean, held],
        title="<b>in.csv",
        batch_id="b<1>",
        sensitive=["card"],
        at=datetime(2025, 1, 1),
    )


def test_it_shows_rules_counts_and_values(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "eur: &lt;i&gt;&#36;x &#36;{column} (min_value 0, warning)" in text
    assert "4 unexpected values found. 40% of 10 total rows." in text
    assert "$boom" in text
    assert "21.5" in text
    assert "Evaluated Expectations 4" in text
    assert "Successful Expectations 1" in text


def test_values_of_sensitive_columns_are_masked(page: str) -> None:
    assert "4111" not in page
    assert "4711" not in page
    assert page.count("(masked)") == 2


def test_it_runs_and_fetches_nothing(page: str) -> None:
    assert not re.search(r"<(script|link|img|iframe|object)\b", page, re.IGNORECASE)
    assert not re.search(r"https?://|//[a-z]+\.", page)
    assert "<b>in.csv" not in page
    assert "b<1>" not in page
