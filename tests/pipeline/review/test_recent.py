"""pipeline/review/recent.py: what was done of late."""

import pytest

from pipeline.review.listing import View
from pipeline.review.recent import recent
from pipeline.review.refusals import Forbidden
from pipeline.review.work import Action
from tests.pipeline.review.scored import ANN, BOB, LEA


def test_events_come_newest_first_and_by_whom_and_what(desk) -> None:
    first, second, *_ = desk.page(View(), ANN).lines
    desk.act({first.key: first.event}, Action(kind="decide", label="fraud"), ANN)
    desk.act({second.key: second.event}, Action(kind="escalate"), BOB)
    with desk.store.reading() as reading:
        events = recent(reading, LEA)
        assert [event.kind for event in events] == ["escalate", "decide", "publish"]
        assert [event.kind for event in recent(reading, LEA, by="ann")] == ["decide"]
        assert [event.who for event in recent(reading, LEA, kind="escalate")] == ["bob"]
        assert [event.kind for event in recent(reading, LEA, before=events[0].number, limit=1)] == ["decide"]
        with pytest.raises(Forbidden, match="lead"):
            recent(reading, ANN)
