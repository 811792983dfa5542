"""The kernel of `minhash.py`: which sets of shingles are like which, without comparing all with all."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tulu_data.text._minhash_kernels import FREE

MOST = 65_535
"""Counts of shingles stop here: beyond it they only tell what is common."""
ROUNDING = 1e-9
"""By so much a product of floats may be above the number that is meant, such as 0.8 * 5."""


@njit(nogil=True, cache=True)
def repeated(keys, rows):
    """Which rows share a key with another row, in any column.

    Args:
        keys: uint32 [all rows, columns], evenly spread.
        rows: int64, those that are looked at.

    Returns:
        bool [rows]
    """
    found = np.zeros(rows.size, np.bool_)
    bits = 4
    while (1 << bits) < 2 * rows.size:
        bits += 1
    shift = np.uint32(max(0, 32 - bits))
    mask = (1 << bits) - 1
    table = np.empty(1 << bits, np.int32)  # numbers of rows
    for column in range(keys.shape[1]):
        table[:] = -1
        for number in range(rows.size):
            key = keys[rows[number], column]
            slot = np.int64(key >> shift)
            while table[slot] >= 0 and keys[rows[table[slot]], column] != key:
                slot = (slot + 1) & mask
            if table[slot] >= 0:
                found[table[slot]] = True
                found[number] = True
            else:
                table[slot] = number
    return found


@njit(nogil=True, cache=True)
def counted(hashes):
    """About how many sets hold each shingle: (counts by the leading bits, the shift that leads to them)."""
    bits = 10
    while bits < 26 and (1 << bits) < 2 * hashes.size:
        bits += 1
    shift = np.uint64(64 - bits)
    counts = np.zeros(1 << bits, np.uint16)
    for value in hashes:
        slot = value >> shift
        if counts[slot] < MOST:
            counts[slot] += 1
    return counts, shift


@njit(nogil=True, cache=True)
def at_least(left, right, need):
    """How many hashes two ascending arrays share, or -1 as soon as it cannot be `need`."""
    i = 0
    j = 0
    both = 0
    while i < left.size and j < right.size:
        if both + min(left.size - i, right.size - j) < need:
            return -1
        x = left[i]
        y = right[j]
        both += np.int64(x == y)
        i += np.int64(x <= y)
        j += np.int64(y <= x)
    return both if both >= need else -1


@njit(nogil=True, cache=True)
def size_class(size):
    """Sets of one class are of about one size: of the same below 64 shingles, within 3 % above."""
    return size if size < 64 else 64 + np.int64(math.log(size / 64) * 32)


@njit(nogil=True, cache=True)
def _slot(keys, key):
    """Where the key lies in the table, or the free place for it."""
    mask = np.uint64(keys.size - 1)
    slot = (key >> np.uint64(20)) & mask
    while keys[slot] != FREE and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(nogil=True, cache=True)
def _key(shingle, kind):
    """The key of a shingle in sets of a size class."""
    key = (shingle ^ (np.uint64(kind) << np.uint64(50))) * np.uint64(0x9E3779B97F4A7C15)
    return key - np.uint64(key == FREE)


@njit(nogil=True, cache=True)
def _twice(keys, heads):
    """The table with twice the room."""
    more_keys = np.full(2 * keys.size, FREE)
    more_heads = np.full(2 * keys.size, np.int32(-1))
    for old in range(keys.size):
        if keys[old] != FREE:
            slot = _slot(more_keys, keys[old])
            more_keys[slot] = keys[old]
            more_heads[slot] = heads[old]
    return more_keys, more_heads


@njit(nogil=True, cache=True)
def _least_first(values, wanted):
    """Sorts so far that the least `wanted` values stand first in their order, the others behind in any."""
    low, high = 0, values.size - 1
    while low < high and 0 < wanted < values.size:  # Hoare's selection
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted - 1 <= j:
            high = j
        elif wanted - 1 >= i:
            low = i
        else:
            break
    values[:wanted].sort()


@njit(nogil=True, cache=True)
def _rarest_first(own, counts, shift, early, order):
    """Sorts the shingles of a set by how many sets hold them; how many no other set holds.

    These come first and are never looked up, so they are left out. Of each other one, `order` has that count
    and the leading 48 bits of the hash; only those among the first `early` of all are wanted.
    """
    common = 0
    for i in range(own.size):
        count = np.uint64(counts[own[i] >> shift])
        if count > 1:
            order[common] = (count << np.uint64(48)) | (own[i] >> np.uint64(16))
            common += 1
    alone = own.size - common
    _least_first(order[:common], min(common, max(0, early - alone)))
    return alone


@njit(nogil=True, cache=True)
def leaders(hashes, starts, stops, threshold):
    """For every set the earlier one that stays for it, and their Jaccard; itself and 1 where it stays.

    A set stays unless its Jaccard with one that stays already is at least the threshold; of several such, the
    most like leads it, of equally like ones the earliest. Every Jaccard is exact; but few are needed:

    - Two sets of that Jaccard share at least threshold / (1 + threshold) of the sum of their sizes. So their
      sizes differ by no more than the threshold, and if their shingles are sorted, the first one that they
      share stands so early in both that enough can follow. Sorted with the rarest first, the early ones are
      hardly ever shared by chance, and common ones (a template's) are not looked up at all.
    - What only one set holds need not be looked up either.

    Args:
        hashes: uint64, ascending within a set.
        starts: int64 [sets], set k is `hashes[starts[k]:stops[k]]` and not empty.
        stops: int64 [sets].
        threshold: above 0.

    Returns:
        (int64 [sets], float64 [sets])
    """
    sets = starts.size
    led_by = np.arange(sets)
    likeness = np.ones(sets)
    counts, shift = counted(hashes)
    largest = 0
    for number in range(sets):
        largest = max(largest, stops[number] - starts[number])
    order = np.empty(largest, np.uint64)
    share = threshold / (1 + threshold)
    # A table of the shingles of those that stay: of each the entries, as a list linked by `following`.
    keys = np.full(1 << 12, FREE)
    heads = np.full(1 << 12, np.int32(-1))
    used = 0
    following = np.empty(1 << 12, np.int32)  # 2^31 entries would take 40 GB of memory
    holder = np.empty(1 << 12, np.int32)
    place = np.empty(1 << 12, np.int32)
    entries = 0
    looked_at = np.full(sets, np.int64(-1))
    for number in range(sets):
        own = hashes[starts[number] : stops[number]]
        size = own.size
        smallest = math.ceil(threshold * size - ROUNDING)
        early = size - smallest + 1
        alone = _rarest_first(own, counts, shift, early, order)
        best = -1.0
        for i in range(alone, early):
            most = math.floor((size - i) / share - size + ROUNDING)
            if most < smallest:
                break
            for kind in range(size_class(smallest), size_class(most) + 1):
                entry = heads[_slot(keys, _key(order[i - alone], kind))]
                while entry >= 0:
                    other = holder[entry]
                    before = place[entry]
                    entry = following[entry]
                    if looked_at[other] == number:
                        continue
                    looked_at[other] = number
                    there = stops[other] - starts[other]
                    need = math.ceil(share * (size + there) - ROUNDING)
                    if size - i < need or there - before < need:
                        continue
                    both = at_least(own, hashes[starts[other] : stops[other]], need)
                    if both < 0:
                        continue
                    jaccard = both / (size + there - both)
                    if jaccard < threshold or jaccard < best or (jaccard == best and other > led_by[number]):
                        continue
                    best = jaccard
                    led_by[number] = other
                    likeness[number] = jaccard
        if best >= 0:
            continue
        kind = size_class(size)
        for i in range(alone, early):
            key = _key(order[i - alone], kind)
            slot = _slot(keys, key)
            if keys[slot] == FREE:
                if 2 * used >= keys.size:
                    keys, heads = _twice(keys, heads)
                    slot = _slot(keys, key)
                keys[slot] = key
                used += 1
            if entries == holder.size:
                following = np.append(following, np.empty_like(following))
                holder = np.append(holder, np.empty_like(holder))
                place = np.append(place, np.empty_like(place))
            following[entries] = heads[slot]
            holder[entries] = number
            place[entries] = i
            heads[slot] = entries
            entries += 1
    return led_by, likeness
