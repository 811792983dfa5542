"""The kernels of `minhash.py`, in Numba; all run without the interpreter's lock."""

from __future__ import annotations

import numpy as np
from numba import njit

from tulu_data.text._kernels import NEEDS_PYTHON, NEEDS_ROOM, enough_room, locate, longest, make_room

BASE = np.uint64(0x9FB21C651E98DF25)
"""Odd base of the rolling hash: a shingle's is the sum of its tokens' hashes times falling powers of it."""
MIX1 = np.uint64(0xFF51AFD7ED558CCD)
"""With MIX2, of MurmurHash3's 64-bit finaliser: after it every bit of a hash hangs on all others."""
MIX2 = np.uint64(0xC4CEB9FE1A85EC53)
FREE = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Marks a free slot; no shingle has this hash."""
LARGEST = np.uint32(0xFFFFFFFF)
"""Of a signature without any shingle, in every place; as in datasketch."""


@njit(nogil=True, cache=True, inline="always")
def finalised(value):
    """MurmurHash3's 64-bit finaliser, a bijection."""
    value ^= value >> np.uint64(33)
    value *= MIX1
    value ^= value >> np.uint64(33)
    value *= MIX2
    return value ^ (value >> np.uint64(33))


@njit(nogil=True, cache=True, inline="always")
def premixed(value):
    """MurmurHash3's 32-bit finaliser of a hash's leading 32 bits: what the scheme `affine32` begins with."""
    h = np.uint32(value >> np.uint64(32))
    h ^= h >> np.uint32(16)
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h ^= h >> np.uint32(13)
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit(nogil=True, cache=True)
def _more(array, size):
    """The array, with room for at least `size` entries."""
    if size <= array.size:
        return array
    larger = np.empty(max(size, 2 * array.size), array.dtype)
    larger[: array.size] = array
    return larger


@njit(nogil=True, cache=True)
def _enter(table, shift, value):
    """Enters a hash where ascending order wants it; says whether it is new.

    Hashes are evenly spread, so their leading bits say about where in order they belong: a table with linear
    probing that keeps runs in order is sorted as it stands, in linear time.
    """
    slot = np.int64(value >> shift)
    while table[slot] < value:  # ends at a free slot, which is larger than every hash
        slot += 1
    if table[slot] == value:
        return False
    while value != FREE:
        table[slot], value = value, table[slot]
        slot += 1
    return True


@njit(nogil=True, cache=True)
def _distinct_shingles(stream, tokens, n, power, salt, table, out, total):
    """Writes the distinct shingles of a stream of tokens, ascending, behind `out[:total]`; the new total.

    Args:
        stream: uint64, the hashes of the tokens.
        tokens: how many.
        n: tokens in a shingle; fewer tokens are one shingle.
        power: BASE ** n.
        salt: what makes these shingles differ from those of another field.
        table: uint64, all FREE, and again at the end; at least four times as long as there are tokens.
        out: uint64, with room for all.
        total: where to write.
    """
    bits = 3
    while (1 << bits) < 2 * tokens:
        bits += 1
    shift = np.uint64(64 - bits)
    rolling = np.uint64(0)
    first = min(n, tokens)
    for i in range(first):
        rolling = rolling * BASE + stream[i]
    left = 0
    for i in range(first, tokens + 1):
        value = finalised(rolling ^ salt)
        if value == FREE:
            value -= np.uint64(1)
        left += np.int64(_enter(table, shift, value))
        if i < tokens:
            rolling = rolling * BASE + stream[i] - stream[i - n] * power
    slot = 0
    while left:
        value = table[slot]
        out[total] = value
        fresh = np.int64(value != FREE)
        total += fresh
        left -= fresh
        table[slot] = FREE
        slot += 1
    return total


@njit(nogil=True, cache=True)
def shingle_sets(data, offsets, firsts, prepared, tables, n, salt):
    """The distinct shingles of every document, ascending.

    Args:
        data: uint8, the texts.
        offsets: int64, text i is `data[offsets[i]:offsets[i + 1]]`.
        firsts: int64, document d is the texts firsts[d] to firsts[d + 1], one behind the other.
        prepared: whether the texts hold only normalised word characters and spaces.
        tables: (pages, values, expansions) of `unicode_tables`.
        n: tokens in a shingle.
        salt: uint64, what makes these shingles differ from those of another field.

    Returns:
        hashes: uint64, the shingles of one document behind those of the other.
        ends: int64 [documents + 1], document d has `hashes[ends[d]:ends[d + 1]]`.
        python: int64, the documents that Python must normalise first; they have none here.
    """
    pages, values, expansions = tables
    out, origins, starts, stops, hashes = make_room(longest(offsets) + 8192)
    stream = np.empty(1024, np.uint64)
    table = np.full(4096, FREE)
    sets = np.empty(max(1024, (offsets[-1] - offsets[0]) // 4), np.uint64)
    ends = np.zeros(firsts.size, np.int64)
    python = np.empty(16, np.int64)
    hard = 0
    total = 0
    power = np.uint64(1)
    for _ in range(n):
        power *= BASE
    for document in range(firsts.size - 1):
        tokens = 0
        for text in range(firsts[document], firsts[document + 1]):
            start, length = offsets[text], offsets[text + 1] - offsets[text]
            while True:
                _, count, _ = locate(
                    data, start, length, prepared, pages, values, expansions,
                    out, origins, starts, stops, hashes,
                )  # fmt: skip
                if count != NEEDS_ROOM:
                    break
                out, origins, starts, stops, hashes = enough_room(length)
            if count == NEEDS_PYTHON:
                tokens = -1
                break
            stream = _more(stream, tokens + count)
            stream[tokens : tokens + count] = hashes[:count]
            tokens += count
        if tokens < 0:
            python = _more(python, hard + 1)
            python[hard] = document
            hard += 1
        elif tokens:
            if table.size < 5 * tokens + 16:
                table = np.full(8 * tokens, FREE)
            sets = _more(sets, total + tokens + 1)
            total = _distinct_shingles(stream, tokens, n, power, salt, table, sets, total)
        ends[document + 1] = total
    return sets[:total], ends, python[:hard]


@njit(nogil=True, cache=True)
def sign(hashes, ends, a, b):
    """The signature of every set: for each permutation a * h + b (modulo 2^32) the least value.

    Args:
        hashes: uint64, the sets one behind the other.
        ends: int64 [sets + 1].
        a: uint32 [permutations], odd.
        b: uint32 [permutations].

    Returns:
        uint32 [sets, permutations].
    """
    signatures = np.full((ends.size - 1, a.size), LARGEST)
    for number in range(ends.size - 1):
        row = signatures[number]
        last = ends[number + 1]
        i = ends[number]
        while i + 3 < last:  # four at once: each value of the signature is read and written once for them
            h0, h1, h2, h3 = (
                premixed(hashes[i]),
                premixed(hashes[i + 1]),
                premixed(hashes[i + 2]),
                premixed(hashes[i + 3]),
            )
            for k in range(a.size):
                low = np.uint32(a[k] * h0 + b[k])
                low = min(low, np.uint32(a[k] * h1 + b[k]))
                low = min(low, np.uint32(a[k] * h2 + b[k]))
                low = min(low, np.uint32(a[k] * h3 + b[k]))
                row[k] = min(row[k], low)
            i += 4
        while i < last:
            h = premixed(hashes[i])
            for k in range(a.size):
                row[k] = min(row[k], np.uint32(a[k] * h + b[k]))
            i += 1
    return signatures


@njit(nogil=True, cache=True)
def band_keys(signatures, bands, rows):
    """One 64-bit key for every band of every signature.

    Returns:
        uint64 [sets, bands].
    """
    keys = np.empty((signatures.shape[0], bands), np.uint64)
    for number in range(signatures.shape[0]):
        for band in range(bands):
            key = np.uint64(band)
            for k in range(band * rows, (band + 1) * rows):
                key = finalised(key ^ np.uint64(signatures[number, k]))
            keys[number, band] = key
    return keys


@njit(nogil=True, cache=True)
def digests(hashes, ends):
    """A 128-bit digest of every set, as two words: equal sets have equal ones.

    Returns:
        uint64 [sets, 2].
    """
    found = np.zeros((ends.size - 1, 2), np.uint64)
    for number in range(ends.size - 1):
        one = np.uint64(ends[number + 1] - ends[number])
        two = ~one
        for i in range(ends[number], ends[number + 1]):
            one = (one ^ hashes[i]) * MIX1
            one ^= one >> np.uint64(32)
            two = (two + hashes[i]) * MIX2
            two ^= two >> np.uint64(29)
        found[number, 0] = one
        found[number, 1] = two
    return found


@njit(nogil=True, cache=True)
def shared(left, right):
    """How many hashes two ascending arrays share."""
    i = 0
    j = 0
    both = 0
    while i < left.size and j < right.size:
        x = left[i]
        y = right[j]
        both += np.int64(x == y)
        i += np.int64(x <= y)
        j += np.int64(y <= x)
    return both


@njit(nogil=True, cache=True)
def jaccards(left, left_ends, lefts, right, right_ends, rights):
    """The Jaccard of pairs of sets: shared over all; 0 where both are empty.

    Args:
        left: uint64, sets one behind the other, each ascending.
        left_ends: int64 [sets + 1].
        lefts: int64 [pairs], which set.
        right: likewise.
        right_ends: likewise.
        rights: likewise.
    """
    found = np.zeros(lefts.size)
    for pair in range(lefts.size):
        x = left[left_ends[lefts[pair]] : left_ends[lefts[pair] + 1]]
        y = right[right_ends[rights[pair]] : right_ends[rights[pair] + 1]]
        if x.size and y.size:
            both = shared(x, y)
            found[pair] = both / (x.size + y.size - both)
    return found


@njit(nogil=True, cache=True)
def gather(hashes, ends, wanted):
    """Some of the sets, in the order in which they are named: (hashes, ends)."""
    new_ends = np.zeros(wanted.size + 1, np.int64)
    for k in range(wanted.size):
        new_ends[k + 1] = new_ends[k] + ends[wanted[k] + 1] - ends[wanted[k]]
    taken = np.empty(new_ends[-1], np.uint64)
    first = 0
    while first < wanted.size:
        last = first  # neighbours are copied as one
        while last + 1 < wanted.size and wanted[last + 1] == wanted[last] + 1:
            last += 1
        shift = ends[wanted[first]] - new_ends[first]
        for i in range(new_ends[first], new_ends[last + 1]):
            taken[i] = hashes[i + shift]
        first = last + 1
    return taken, new_ends
