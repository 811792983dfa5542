"""Results come in order, work stays bounded, and an end is an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulu_data.engine import ahead, ordered_map


def workers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("tulu-data")]


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 4))
def test_results_are_in_the_order_of_the_items(naps: list[int], threads: int) -> None:
    def work(item: tuple[int, int]) -> int:
        time.sleep(item[1] / 10_000)
        return item[0]

    assert list(ordered_map(work, enumerate(naps), threads)) == list(range(len(naps)))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_than_two_items_per_thread_are_in_flight(threads: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    for done, _ in enumerate(ordered_map(lambda x: x, items(), threads)):
        assert taken - done <= 2 * threads


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_ends_the_work(threads: int) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    results = ordered_map(work, range(1000), threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(begun) <= 3 + 2 * threads
    assert workers() == []


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_the_source_ends_the_work(threads: int) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        list(ordered_map(lambda x: x, items(), threads))
    assert workers() == []


def test_closing_cancels_what_has_not_begun() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            gate.wait(10)
        return number

    results = ordered_map(work, range(1000), 2)
    assert next(results) == 0
    threading.Timer(0.05, gate.set).start()
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 4
    assert workers() == []


def test_the_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)
    assert len(list(ordered_map(lambda _: meeting.wait(), range(4), 2))) == 4


# -- ahead ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_items_come_in_order_and_what_fails_is_told_where_it_stands(threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the source ended")

    seen: list[int] = []
    with pytest.raises(ValueError, match="the source ended"):
        seen.extend(ahead(items(), threads))
    assert seen == [0, 1, 2, 3, 4]
    assert list(ahead([], threads)) == []


def test_the_next_item_is_made_while_the_one_before_is_used() -> None:
    made = Event()

    def items() -> Iterator[int]:
        yield 0
        made.set()
        yield 1

    stream = ahead(items(), 2)
    assert next(stream) == 0
    assert made.wait(10)
    assert list(stream) == [1]


def test_a_stream_that_is_left_closes_its_source() -> None:
    closed = Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    stream = ahead(items(), 2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert closed.is_set()
