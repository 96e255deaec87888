import threading

import pytest

from pipeline.tables.ahead import ahead


def test_items_come_in_their_order_and_no_more_are_made_ahead_than_are_to():
    made, here = [], threading.get_ident()

    def items():
        for number in range(6):
            made.append((number, threading.get_ident()))
            yield number

    taken, most = [], 0
    for number in ahead(items(), depth=2):
        taken.append(number)
        most = max(most, len(made) - len(taken))
    assert taken == list(range(6)) == [number for number, _ in made]
    assert most <= 2
    assert {thread for _, thread in made}.isdisjoint({here})
    assert list(ahead([])) == []


def test_an_error_comes_where_its_item_would_have_and_the_items_before_it_are_there():
    def items():
        yield 1
        yield 2
        raise ValueError("the third cannot be read")

    numbers = ahead(items())
    assert (next(numbers), next(numbers)) == (1, 2)
    with pytest.raises(ValueError, match="the third cannot be read"):
        next(numbers)


def test_whoever_stops_early_ends_what_made_the_items():
    ended = []

    def items():
        try:
            yield from range(1000)
        finally:
            ended.append(threading.get_ident())

    threads = threading.active_count()
    numbers = ahead(items())
    assert next(numbers) == 0
    numbers.close()
    assert len(ended) == 1
    assert threading.active_count() == threads
