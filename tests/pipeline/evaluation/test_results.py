"""What a backtest came to: its tables, its JSON and its figures."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.measures import measure
from pipeline.evaluation.results import counts, figures, summarise
from tests.pipeline.evaluation.small_backtest import PLAN, backtest, rows_of_backtest
from tests.pipeline.fitted import config


def test_the_result_has_each_block_all_of_them_and_each_segment(backtest_results):
    result = summarise(backtest_results, k=5)
    assert len(result.rows) == len(backtest_results) + 1
    assert [row["tested"] for row in result.rows] == ["03-14 to 03-20", "03-21 to 03-27", "03-28 to 03-30", "all"]
    assert result.rows[-1]["rows"] == f"{sum(len(item.outcomes.scores) for item in backtest_results):,}"
    assert {row["tested"] for row in result.segment_rows} == {"web", "shop", "phone"}
    hostile = replace(result, of_segments={"x\x1b[2J" + "y" * 3000: result.pooled})
    assert [row["tested"] for row in hostile.segment_rows] == ["x [2J" + "y" * 18 + "…"]
    rows = result.table().to_pylist()
    one = next(row for row in rows if row["block"] == 2 and row["measure"] == "auroc")
    expected = measure(backtest_results[1].outcomes, 5)["auroc"]
    assert (one["value"], one["low"], one["high"]) == (expected.value, expected.low, expected.high)
    every = next(row for row in rows if row["block"] is None and row["segment"] is None and row["measure"] == "auroc")
    assert every["value"] == pytest.approx(
        np.mean([measure(item.outcomes)["auroc"].value for item in backtest_results])
    )
    content = json.loads(result.to_json({"train_days": 8}))
    assert [block["rows"] for block in content["blocks"]] == [counts(item)["rows"] for item in backtest_results]
    assert content["all"]["auroc"]["value"] == result.figures["auroc"] == figures(result.pooled)["auroc"]


def test_rows_without_a_label_stay_unknown_in_every_table(backtest_results):
    labels = backtest_results[0].outcomes.labels.copy()
    labels[::2] = math.nan
    partly = replace(backtest_results[0], outcomes=replace(backtest_results[0].outcomes, labels=labels))
    assert counts(partly)["without_label"] == len(labels[::2])
    nothing = replace(
        backtest_results[0], outcomes=replace(backtest_results[0].outcomes, labels=np.full(len(labels), math.nan))
    )
    result = summarise([nothing])
    assert result.rows[0]["AUROC"] == "-"
    assert set(result.figures) == {"alerts_per_day", "alerts_per_day_low", "alerts_per_day_high"}


def test_a_table_without_labels_or_cards_has_volume_and_agreement_only(tmp_path):
    plain = config(contract={"label": None, "entities": ()}, features={"families": ("amount", "columns")})
    bare = backtest(tmp_path / "bare", rows_of_backtest().drop_columns(["fraud"]), PLAN[:2], plain)
    result = summarise(bare)
    assert [row["AUROC"] for row in result.rows] == ["-"] * 3
    assert result.figures["alerts_per_day"] > 0
    assert "of single rows for measures of rows" in result.left_out
    assert bare[1].before.rank_correlation > 0.5
    assert counts(bare[0])["without_label"] == counts(bare[0])["rows"]
