"""pipeline/review/choices.py: what the queue can be filtered by."""

from pipeline.review.choices import choices, lines_of
from pipeline.review.listing import View
from tests.pipeline.review.scored import ANN, score_batch


def test_the_filters_offer_what_the_queue_has_newest_first(desk) -> None:
    score_batch(desk.config, [21, 22], batch="b2", version="2", scored_at=desk.store.clock())
    desk.sync()
    with desk.store.reading() as reading:
        values = choices(reading)
        assert (values.batches, values.versions) == (("b2", "b1"), ("2", "1"))
        assert (values.reasons, values.people) == (("eur",), ())


def test_alerts_come_in_the_order_of_their_keys(desk) -> None:
    lines = desk.page(View(), ANN).lines
    with desk.store.reading() as reading:
        assert lines_of(reading, [lines[2].key, lines[0].key], ANN) == (lines[2], lines[0])
