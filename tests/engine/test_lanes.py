"""Consumers side by side: every one sees every item in order, and the first error ends all."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tulu_data.engine.lanes import AHEAD, feed

ITEMS = list(range(20))


def no_threads_left() -> bool:
    return not [t for t in threading.enumerate() if t.name.startswith("tulu-data")]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_consumer_sees_every_item_in_order(threads: int) -> None:
    seen: list[list[int]] = [[], [], []]
    feed(iter(ITEMS), [one.append for one in seen], threads)
    assert seen == [ITEMS] * 3
    assert no_threads_left()


def test_they_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=5)
    feed([0, 1], [lambda _: meeting.wait(), lambda _: meeting.wait()], 2)


def test_the_stream_is_ahead_of_the_slowest_but_not_far() -> None:
    ahead = threading.Event()
    given: list[int] = []

    def items() -> Iterator[int]:
        for item in ITEMS:
            given.append(item)
            if item == AHEAD:
                ahead.set()
            yield item

    def slow(item: int) -> None:
        assert ahead.wait(5)
        assert given[-1] <= item + AHEAD + 1

    feed(items(), [slow, lambda _: None], 2)
    assert given == ITEMS


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bad", [0, 7, ITEMS[-1]])
def test_the_first_error_of_a_consumer_ends_all(threads: int, bad: int) -> None:
    seen: list[int] = []

    def refuse(item: int) -> None:
        if item == bad:
            raise OSError(f"no room for {item}")

    with pytest.raises(OSError, match=f"no room for {bad}"):
        feed(ITEMS, [seen.append, refuse], threads)
    assert seen == ITEMS[: len(seen)]
    assert no_threads_left()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_the_stream_ends_all(threads: int) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("cut short")

    with pytest.raises(OSError, match="cut short"):
        feed(broken(), [lambda _: None], threads)
    assert no_threads_left()
