"""The passage of a text that is most like a set of shingles, exactly.

A passage is a run of shingles of the text, neither shorter than `shortest` nor longer than `longest`. The one
is looked for whose Jaccard with the set is largest: shared / union, counted in distinct shingles.

Whether some passage has more than shared / union is a question without a fraction: is union * (its shared) -
shared * (its union) above 0 for any? So each shingle that a passage holds for the first time weighs `union`
if it is in the set (a *hit*), else -`shared`, and a tree over the places where passages begin keeps their
sums while their end moves on. Asked again with each better passage found, this ends at the best after a few
rounds (Dinkelbach 1967). All in integers, and the time is linear in the text but for a logarithm.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ASLEEP = np.int64(1) << np.int64(60)
"""By so much less than its sum stands a place in the tree where no passage with the present end can begin."""


@njit(nogil=True, cache=True)
def _add(tree, late, size, first, last, value):
    """Adds to the leaves [first, last). `tree` keeps each node's maximum, `late` what its leaves lack."""
    left = first + size
    right = last + size
    while left < right:
        if left & 1:
            tree[left] += value
            late[left] += value
            left += 1
        if right & 1:
            right -= 1
            tree[right] += value
            late[right] += value
        left >>= 1
        right >>= 1
    for leaf in (first + size, last - 1 + size):
        node = leaf >> 1
        while node:
            tree[node] = max(tree[2 * node], tree[2 * node + 1]) + late[node]
            node >>= 1


@njit(nogil=True, cache=True)
def _better(begin, stop, places, hit, before, own, shortest, longest, shared, union):
    """A passage inside a region with more than shared / union: its first and last place, or (-1, -1).

    Args:
        begin: the first place of the region.
        stop: its last.
        places: int32, where the hits are, ascending.
        hit: the first of them that is not before the region.
        before: int32, for each place of the text the one before with the same shingle, or -1.
        own: shingles of the set.
        shortest: shingles of the shortest passage.
        longest: of the longest.
        shared: of the best passage so far.
        union: likewise.
    """
    size = 1
    while size < stop - begin + 1:
        size *= 2
    tree = np.full(2 * size, -ASLEEP)
    late = np.zeros(2 * size, np.int64)
    base = np.int64(0)  # what all sums lack
    oldest = begin  # where a passage with the present end can begin
    best = shared * own
    first, last = -1, -1
    for end in range(begin, stop + 1):
        weight = -shared
        if hit < places.size and places[hit] == end:
            weight = union
            hit += 1
        tree[size + end - begin] = -ASLEEP - base  # no sum above it changes, since it sleeps
        if end - longest >= oldest:
            _add(tree, late, size, oldest - begin, oldest - begin + 1, -ASLEEP)
            oldest += 1
        if before[end] < oldest:
            base += weight
        else:
            _add(tree, late, size, before[end] + 1 - begin, end - begin + 1, weight)
        woken = end - shortest + 1 - begin
        if woken >= 0:
            _add(tree, late, size, woken, woken + 1, ASLEEP)
        if tree[1] + base > best:
            best = tree[1] + base
            node = 1
            while node < size:
                node = 2 * node if tree[2 * node] >= tree[2 * node + 1] else 2 * node + 1
            first, last = begin + node - size, end
    return first, last


@njit(nogil=True, cache=True)
def _measure(places, hit, before, first, last):
    """How many shingles the passage [first, last] shares with the set, and how many it has, each once."""
    total = 0
    shared = 0
    while hit < places.size and places[hit] < first:
        hit += 1
    for place in range(first, last + 1):
        fresh = np.int64(before[place] < first)
        total += fresh
        if hit < places.size and places[hit] == place:
            shared += fresh
            hit += 1
    return shared, total


@njit(nogil=True, cache=True)
def _regions(count, places, before, behind, need, shortest, longest):
    """Where the passages lie that share enough: int32 [regions, 2], first and last places.

    Args:
        count: shingles of the text.
        places: int32, where the hits are, ascending.
        before: see `_better`.
        behind: int32, for each hit's place the next with the same shingle, or -1.
        need: shingles that a passage must share.
        shortest: shingles of the shortest passage.
        longest: of the longest.
    """
    regions = np.empty((places.size, 2), np.int32)
    found = 0
    low = 0
    distinct = 0
    for high in range(places.size):
        place = places[high]
        while place - places[low] >= longest:
            again = behind[places[low]]
            distinct -= again < 0 or again >= place
            low += 1
        distinct += before[place] < places[low]
        if distinct >= need:
            begin, stop = max(0, places[low] - shortest + 1), min(count - 1, place + shortest - 1)
            if found and begin <= regions[found - 1, 1]:
                regions[found - 1, 1] = stop
            else:
                regions[found, 0] = begin
                regions[found, 1] = stop
                found += 1
    return regions[:found]


@njit(nogil=True, cache=True)
def best_passage(count, places, before, behind, own, need, shortest, longest, threshold):
    """The passage most like a set, if its Jaccard is at least the threshold.

    Args:
        count: shingles of the text.
        places: int32, where the text holds shingles of the set, ascending.
        before: int32, for each place of the text the one before with the same shingle, or -1.
        behind: int32, for each of `places` the next with the same shingle, or -1.
        own: shingles of the set.
        need: shingles that a passage with that Jaccard shares at least.
        shortest: shingles of the shortest passage; of a text with fewer, all of it.
        longest: of the longest.
        threshold: the least Jaccard, as a fraction of 2^30.

    Returns:
        (shared, union, first place, last place); shared is 0 if there is none.
    """
    shared, union = np.int64(threshold), np.int64(1) << np.int64(30)
    best_first, best_last = np.int64(-1), np.int64(-1)
    shortest = min(shortest, count)
    for begin, stop in _regions(count, places, before, behind, need, shortest, longest):
        hit = np.searchsorted(places, begin)
        while shared < union:
            first, last = _better(begin, stop, places, hit, before, own, shortest, longest, shared, union)
            if first < 0:
                break
            shared, total = _measure(places, hit, before, first, last)
            union, best_first, best_last = own + total - shared, np.int64(first), np.int64(last)
    return (shared, union, best_first, best_last) if best_first >= 0 else (np.int64(0), np.int64(1), -1, -1)
