"""The items as `near` searches them, and how the tables are filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tulu_data.decontam.kernels.grams import MIX, PRIME
from tulu_data.text._minhash_kernels import finalised

FREE = np.uint64(0)
"""Marks a free slot of a table by its second column."""
RAREST = np.uint64(1) << np.uint64(63)
"""In `Near.classes`: a shingle by which some short set is looked for."""


class Near(NamedTuple):
    """The items as `near` searches them. Items of the same shingles are one *set*."""

    n: int  # tokens in a shingle
    # Shingles: a filter of one bit each, and open addressing; a row is a hash, then its shingle's number + 1.
    filter: np.ndarray  # uint64
    filter_shift: int
    table: np.ndarray  # uint64 [slots, 2]
    table_shift: int
    classes: np.ndarray  # uint64 [shingles]: the classes of sets that hold each, as bits, and RAREST
    sizes: np.ndarray  # int64: tokens in the shingles that there are: n, and fewer
    short_offsets: np.ndarray  # int64 [shingles + 1]: the short sets that are looked for by this shingle
    short: np.ndarray  # int32
    # Sets.
    set_offsets: np.ndarray  # int64 [sets + 1]
    set_shingles: np.ndarray  # int32: the shingles of each set
    threshold: np.ndarray  # int64 [sets]: the least Jaccard, as a fraction of 2^30
    need: np.ndarray  # int64 [sets]: so many shingles a passage must share
    least: np.ndarray  # int64 [sets]: so many a window must share
    shortest: np.ndarray  # int64 [sets]: shingles of the shortest passage that is looked at
    longest: np.ndarray  # int64 [sets]: of the longest
    # Classes: sets of about the same size.
    widths: np.ndarray  # int64 [classes]: shingles of a window
    steps: np.ndarray  # int64 [classes]: from one window to the next
    class_least: np.ndarray  # int64 [classes]: the least `least` of its sets
    # Bands: the keys of each band of each set's signature, each with the sets that have it.
    a: np.ndarray  # uint32 [bands * rows]
    b: np.ndarray  # uint32 [bands * rows]
    rows: int
    key_filter: np.ndarray  # uint64
    key_filter_shift: int
    keys: np.ndarray  # uint64 [slots, 2]
    keys_shift: int
    key_offsets: np.ndarray  # int64 [keys + 1]
    key_sets: np.ndarray  # int32


@njit(nogil=True, cache=True, inline="always")
def hash_of(rolling, size, n):
    """A shingle's hash; those shorter than n tokens have others than all longer ones."""
    return finalised(rolling if size == n else rolling ^ (np.uint64(size) * MIX))


@njit(nogil=True, cache=True)
def item_shingles(hashes, offsets, n):
    """The shingles of items, in their order: (uint64 hashes, int64 [items + 1] offsets).

    Args:
        hashes: uint64, of the tokens of all items.
        offsets: int64 [items + 1].
        n: tokens in a shingle.
    """
    ends = np.zeros(offsets.size, np.int64)
    for item in range(offsets.size - 1):
        tokens = offsets[item + 1] - offsets[item]
        ends[item + 1] = ends[item] + (max(1, tokens - n + 1) if tokens else 0)
    found = np.empty(ends[-1], np.uint64)
    for item in range(offsets.size - 1):
        size = min(n, offsets[item + 1] - offsets[item])
        for k in range(ends[item + 1] - ends[item]):
            rolling = np.uint64(0)
            for token in range(offsets[item] + k, offsets[item] + k + size):
                rolling = rolling * PRIME + hashes[token]
            found[ends[item] + k] = hash_of(rolling, size, n)
    return found, ends


@njit(nogil=True, cache=True)
def fill_numbers(hashes, filter_, filter_shift, table, table_shift):
    """Enters distinct hashes, each with its number, into a filter and a table."""
    for number in range(hashes.size):
        bit = hashes[number] >> np.uint64(filter_shift)
        filter_[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
        slot = hashes[number] * MIX >> np.uint64(table_shift)
        while table[slot, 1] != FREE:
            slot = (slot + np.uint64(1)) & np.uint64(table.shape[0] - 1)
        table[slot, 0] = hashes[number]
        table[slot, 1] = np.uint64(number + 1)


@njit(nogil=True, cache=True, inline="always")
def number_of(hash_, filter_, filter_shift, table, table_shift):
    """The number of a hash, or -1."""
    bit = hash_ >> np.uint64(filter_shift)
    if filter_[bit >> np.uint64(6)] >> (bit & np.uint64(63)) & np.uint64(1):
        slot = hash_ * MIX >> np.uint64(table_shift)
        while table[slot, 1] != FREE:
            if table[slot, 0] == hash_:
                return np.int64(table[slot, 1]) - 1
            slot = (slot + np.uint64(1)) & np.uint64(table.shape[0] - 1)
    return np.int64(-1)


@njit(nogil=True, cache=True, inline="always")
def key_of_band(signature, band, rows, class_):
    """The key of a band: sets of different classes share none."""
    key = finalised(np.uint64(band) ^ (np.uint64(class_) << np.uint64(32)))
    for k in range(band * rows, (band + 1) * rows):
        key = finalised(key ^ np.uint64(signature[k]))
    return key


@njit(nogil=True, cache=True)
def set_keys(signatures, classes, bands, rows):
    """The keys of all bands of all sets: uint64 [sets, bands]."""
    keys = np.empty((signatures.shape[0], bands), np.uint64)
    for number in range(signatures.shape[0]):
        for band in range(bands):
            keys[number, band] = key_of_band(signatures[number], band, rows, classes[number])
    return keys
