"""Streams of Arrow tables: cut to a size in bytes, and mapped over threads in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar, cast

import pyarrow as pa

BATCH_BYTES = 8 << 20
"""Large enough that per-batch work vanishes, small enough that a few in flight per thread stay within the
caches' and memory's reach (measured: 4 to 32 MiB scan equally fast)."""

T = TypeVar("T")
R = TypeVar("R")


def rebatch(tables: Iterable[pa.Table], limit: int = BATCH_BYTES) -> Iterator[pa.Table]:
    """The same rows in tables of about `limit` bytes, one chunk per column: large cut, small joined.

    A single row above the limit is a table of its own. All tables must have one schema.
    """
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        for piece in _cut(table, limit):
            if held and size + piece.nbytes > limit:
                yield _join(held)
                held, size = [], 0
            held.append(piece)
            size += piece.nbytes
    if held:
        yield _join(held)


def _cut(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Halves until each piece fits: rows of different length would make any fixed number of rows wrong."""
    if table.num_rows == 0:
        return
    if table.nbytes <= limit or table.num_rows == 1:
        yield table
        return
    half = table.num_rows // 2
    yield from _cut(table.slice(0, half), limit)
    yield from _cut(table.slice(half), limit)


def _join(tables: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables)
    return table if all(column.num_chunks == 1 for column in table.columns) else table.combine_chunks()


def ordered_map(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`map` over threads: results in the order of the items, at most two items per thread in flight.

    Ends at the first error or interrupt: what has not begun is cancelled.
    """
    if threads <= 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tulu-data")
    flying: deque[Future[R]] = deque()
    try:
        for item in items:
            flying.append(pool.submit(work, item))
            if len(flying) >= threads * 2:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(items: Iterable[T], threads: int) -> Iterator[T]:
    """The items in their order, each made by a thread of its own while the one before is used."""
    if threads <= 1:
        yield from items
        return
    found, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="tulu-data") as pool:
        coming = pool.submit(next, found, end)
        try:
            while (item := coming.result()) is not end:
                coming = pool.submit(next, found, end)
                yield cast(T, item)
        finally:
            wait([coming])  # before it is closed: a generator must not run meanwhile
            if isinstance(found, Generator):
                found.close()
