"""The page of a small backtest."""

from dataclasses import replace

import numpy as np

from pipeline.evaluation.results import summarise
from pipeline.pages.backtest import agreements, render_backtest
from tests.pipeline.evaluation.small_backtest import PLAN, backtest, rows_of_backtest
from tests.pipeline.fitted import config


def page(result, **more):
    return render_backtest(result, title="<b>t</b>", subtitle="s", facts={"a": "<script>"}, segment="channel", **more)


def test_the_page_shows_every_block_and_escapes_what_comes_from_data(backtest_results):
    segments = np.where(backtest_results[0].segments == "web", "<img src=x>", backtest_results[0].segments)
    html = page(summarise([replace(backtest_results[0], segments=segments), *backtest_results[1:]]), notes=["a & b"])
    assert all(item.block.short in html for item in backtest_results)
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html
    assert "<script>" not in html
    assert "a &amp; b" in html
    assert html.count("<svg") > 8


def test_a_backtest_without_a_label_or_a_card_has_a_page(backtest_results, tmp_path):
    outcomes = backtest_results[0].outcomes
    unlabelled = replace(outcomes, labels=np.full(len(outcomes.labels), np.nan))
    assert "Block by block" in page(summarise([replace(backtest_results[0], outcomes=unlabelled)]))
    plain = config(contract={"label": None, "entities": ()}, features={"families": ("amount", "columns")})
    bare = backtest(tmp_path / "bare", rows_of_backtest().drop_columns(["fraud"]), PLAN[:1], plain)
    assert "Block by block" in page(summarise(bare))


def test_models_agree_with_the_block_before_and_with_another_seed(backtest_results):
    lines = agreements(summarise(backtest_results))
    assert [label.partition(", ")[2] for label, _ in lines] == [
        "with another seed",
        *["with the block before", "with another seed"] * 2,
    ]
    assert [text for _, text in lines[:2]] == [str(backtest_results[0].again), str(backtest_results[1].before)]
