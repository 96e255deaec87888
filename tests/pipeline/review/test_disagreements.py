"""Decisions and deliveries that say different things of one row."""

from datetime import timedelta
from pathlib import Path

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.work import Action
from pipeline.workspace.workspace import Workspace
from tests.pipeline.review.scored import ANN, MONDAY


def test_the_later_label_holds_and_the_two_are_listed(desk: Desk, tmp_path: Path) -> None:
    assert desk.disagreements(ANN) == []
    for line in desk.page(View(), ANN).lines[:4]:
        desk.act({line.key: line.event}, Action(kind="decide", label="fraud"), ANN)
    before, after = (MONDAY - timedelta(hours=1)).isoformat(), (MONDAY + timedelta(hours=1)).isoformat()
    cells = [
        f"1,0,{before}",
        f"2,0,{after}",
        f"3,1,{after}",
        f"4,1,{before}",
        f"4,0,{MONDAY.isoformat()}",
        f"9,0,{after}",
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["tx,fraud,labelled_at", *cells]))
    Workspace(desk.config).reviewed.append(tmp_path / "labels.csv", now=MONDAY + timedelta(hours=2))
    listed = {item.id: (item.decision, item.delivered, item.holds) for item in desk.disagreements(ANN)}
    assert listed == {
        "1": ("fraud", "not_fraud", "fraud"),
        "2": ("fraud", "not_fraud", "not_fraud"),
        "4": ("fraud", "not_fraud", "fraud"),
    }
