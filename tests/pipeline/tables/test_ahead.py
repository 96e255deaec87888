import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.tables.ahead import ahead, behind


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


def test_work_is_done_behind_in_its_order_by_one_thread_and_all_of_it_at_the_end():
    done, here, goes_on = [], threading.get_ident(), threading.Event()

    def work(number):
        assert goes_on.wait(60)
        done.append((number, threading.get_ident()))

    with behind(work, depth=2) as put:
        for number in range(3):  # one is worked on and two wait: a fourth has no room
            put(number)
        assert done == []
        goes_on.set()
        for number in range(3, 6):
            put(number)
    assert [number for number, _ in done] == list(range(6))
    assert len({thread for _, thread in done} - {here}) == 1


def test_work_that_fails_behind_is_raised_where_a_later_item_is_handed_over_or_at_the_end():
    handed = []

    def work(number):
        if number == 1:
            raise ValueError("the second cannot be written")

    def hand_over(numbers):
        with behind(work) as put:
            for number in numbers:
                put(number)
                handed.append(number)

    with pytest.raises(ValueError, match="the second cannot be written"):
        hand_over([0, 1])
    with pytest.raises(ValueError, match="the second cannot be written"):
        hand_over(range(100))
    assert handed == [0, 1, 0, 1, 2]


def test_where_the_caller_fails_what_waits_is_left_out(monkeypatch):
    done, begins, goes_on = [], threading.Event(), threading.Event()

    class Pool(ThreadPoolExecutor):
        def __exit__(self, *error):
            goes_on.set()
            return super().__exit__(*error)

    def work(number):
        begins.set()
        assert goes_on.wait(60)
        done.append(number)

    def fail():
        with behind(work, depth=2) as put:
            for number in range(3):
                put(number)
            assert begins.wait(60)
            raise KeyError("the caller")

    monkeypatch.setattr("pipeline.tables.ahead.ThreadPoolExecutor", Pool)
    with pytest.raises(KeyError, match="the caller"):
        fail()
    assert done == [0]
