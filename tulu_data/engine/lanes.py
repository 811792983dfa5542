"""Several consumers of one stream, side by side: each has a thread of its own and sees the items in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

T = TypeVar("T")

AHEAD = 2
"""So many items a consumer may be behind."""


def feed(items: Iterable[T], consumers: Sequence[Callable[[T], Any]], threads: int) -> None:
    """Hands every item to every consumer, in order; they run at the same time unless `threads` is 1.

    Returns when all are through. Ends at the first error, theirs or of the items: what has not begun is left.
    """
    if threads <= 1:
        for item in items:
            for consume in consumers:
                consume(item)
        return
    with ExitStack() as stack:
        lanes = []
        for consume in consumers:
            pool = ThreadPoolExecutor(1, thread_name_prefix="tulu-data")
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            lanes.append((consume, pool, deque[Future[Any]]()))
        for item in items:
            for consume, pool, waiting in lanes:
                waiting.append(pool.submit(consume, item))
                while len(waiting) > AHEAD or (waiting and waiting[0].done()):
                    waiting.popleft().result()
        for _, _, waiting in lanes:
            for future in waiting:
                future.result()
