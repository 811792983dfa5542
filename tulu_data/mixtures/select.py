"""Which rows of a source a mixture takes: those with the smallest `record.sort_keys`.

Nothing here holds text: of every row there are its 16-byte content hash, its occurrence and its key.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.record import row_ids, sort_keys

Hashes = npt.NDArray[np.uint8]
"""Content hashes, one row of 16 bytes each."""

KEY = "_key"
"""The sort key of a row, a column while a mixture is built; columns that begin with `_` are never stored."""

_ROWS_AT_ONCE = 1 << 16
"""Ids are text; so many exist at a time."""


def occurrences(hashes: Hashes) -> npt.NDArray[np.int64]:
    """How many earlier rows have the same hash, for each row.

    >>> occurrences(np.repeat(np.array([[7], [8], [7]], np.uint8), 16, axis=1))
    array([0, 0, 1])
    """
    if not len(hashes):
        return np.zeros(0, np.int64)
    halves = np.ascontiguousarray(hashes).view(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: reading order within equal hashes
    ranked = halves[order]
    first = np.ones(len(order), bool)
    first[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    places = np.arange(len(order))
    result = np.empty(len(order), np.int64)
    result[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    return result


def binary_hashes(hashes: Hashes) -> pa.Array:
    """The hashes as Arrow's `fixed_size_binary(16)`."""
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(hashes), [None, pa.py_buffer(hashes.tobytes())]
    )


def as_numpy(hashes: pa.Array) -> Hashes:
    """Arrow's `fixed_size_binary(16)` as rows of bytes."""
    raw = np.frombuffer(hashes.buffers()[1], np.uint8).reshape(-1, 16)
    return raw[hashes.offset : hashes.offset + len(hashes)]


def target(rows: int, *, count: int | None, fraction: float | None) -> int:
    """How many of `rows` are asked for; halves of a fraction round up.

    The fraction is taken as it is written: 0.29 of 50 rows is 14.5, so 15, though the float is a little less.
    """
    if count is not None:
        return count
    if fraction is not None:
        return int((Decimal(repr(fraction)) * rows).to_integral_value(ROUND_HALF_UP))
    return rows


@dataclass(frozen=True)
class Chosen:
    """Of every row of a source: its hash, occurrence and key, and whether it is taken."""

    source: str
    hashes: Hashes
    occurrences: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    taken: npt.NDArray[np.bool_]

    def ids(self, rows: slice) -> pa.Array:
        """The ids of the rows taken among `rows`."""
        taken = self.taken[rows]
        hashes = binary_hashes(self.hashes[rows][taken])
        return row_ids(self.source, hashes, pa.array(self.occurrences[rows][taken]))


def taking_order(
    keys: npt.NDArray[np.uint64], strata: npt.NDArray[np.int64] | None = None, *, equal: bool = False
) -> npt.NDArray[np.int64]:
    """The places of rows in the order in which they are taken: by key, so that taking more only adds rows.

    With `strata`, one number per row for the value of a column, each value keeps its share in every beginning
    of the order, by the method of Webster. If they shall be `equal`, each has as many rows as any other, or
    all of its own.
    """
    order = np.argsort(keys, kind="stable")
    if strata is None:
        return order
    codes = strata[order]
    grouped = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=1)
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty(len(order), np.int64)
    ranks[grouped] = np.arange(len(order)) - starts[codes[grouped]]
    turn = ranks.astype(float) if equal else (ranks + 0.5) / sizes[codes]
    return order[np.lexsort((np.arange(len(order)), turn))]


def choose(
    source: str,
    hashes: Hashes,
    seed: int,
    *,
    count: int | None,
    fraction: float | None,
    strata: npt.NDArray[np.int64] | None = None,
    equal: bool = False,
) -> Chosen:
    """Take the first rows of `source` in `taking_order`; all where neither count nor fraction is given.

    A count above the number of rows takes them all: whether that is a fault is the caller's matter.
    """
    times = occurrences(hashes)
    keys = np.empty(len(hashes), np.uint64)
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        ids = row_ids(source, binary_hashes(hashes[part]), pa.array(times[part]))
        keys[part] = sort_keys(ids, seed).to_numpy()
    taken = np.zeros(len(hashes), bool)
    order = taking_order(keys, strata, equal=equal)
    taken[order[: target(len(hashes), count=count, fraction=fraction)]] = True
    return Chosen(source, hashes, times, keys, taken)
