"""pipeline/review/peers.py: quantiles of everybody's numbers, counted by hand."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.review import peers
from pipeline.review.peers import keep_quantiles, shares_below
from pipeline.workspace.workspace import Workspace
from tests.pipeline.review.scored import desk_config


def test_an_amount_stands_where_it_would_among_all(tmp_path, monkeypatch):
    workspace = Workspace(desk_config(tmp_path))
    assert shares_below(workspace, {"eur": 5.0}) == {}
    amounts = [float(number) for number in range(1, 10_001)]
    pq.write_table(pa.table({"eur": [*amounts, None, float("nan")]}), tmp_path / "one.parquet")
    keep_quantiles(tmp_path / "one.parquet", workspace)
    for amount in (0.5, 2_500.5, 9_900.5, 20_000.0):
        by_hand = sum(other < amount for other in amounts) / len(amounts)
        assert abs(shares_below(workspace, {"eur": amount})["eur"] - by_hand) < 0.002
    assert (shares_below(workspace, {"eur": 0.5})["eur"], shares_below(workspace, {"eur": 20_000.0})["eur"]) == (
        0.0,
        1.0,
    )
    # Of more amounts than are sampled, every so many-th.
    monkeypatch.setattr(peers, "SAMPLED", 100)
    pq.write_table(pa.table({"eur": amounts}), tmp_path / "two.parquet")
    keep_quantiles(tmp_path / "two.parquet", workspace)
    assert abs(shares_below(workspace, {"eur": 2_500.5})["eur"] - 0.25) < 0.02


def test_they_are_worked_out_anew_for_another_copy_only(tmp_path):
    workspace = Workspace(desk_config(tmp_path))
    pq.write_table(pa.table({"eur": [1.0, 2.0]}), tmp_path / "one.parquet")
    keep_quantiles(tmp_path / "one.parquet", workspace)
    file = next(tmp_path.rglob("quantiles.json"))
    file.write_text(json.dumps({"copy": "one.parquet", "columns": {"eur": [7.0]}}))
    keep_quantiles(tmp_path / "one.parquet", workspace)
    assert shares_below(workspace, {"eur": 8.0})["eur"] == 1.0
    pq.write_table(pa.table({"eur": pa.array([None], pa.float64())}), tmp_path / "two.parquet")
    keep_quantiles(tmp_path / "two.parquet", workspace)
    assert shares_below(workspace, {"eur": 8.0}) == {}
