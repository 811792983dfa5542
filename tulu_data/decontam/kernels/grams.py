"""The suite's n-grams as the kernels search them: keys, filters, table; and how they are filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tulu_data.text._kernels import NEEDS_PYTHON, NEEDS_ROOM, enough_room, locate, longest, make_room
from tulu_data.text._memory import load1

PRIME = np.uint64(0x9FB21C651E98DF25)
"""Odd base of the rolling hash: an n-gram's is the sum of its tokens' hashes times falling powers of it."""
END_BITS = 1 << 18
"""32 kB, for the first-level cache: a suite has some thousand grams shorter than n."""
SINGLE_BITS = 1 << 12
"""512 bytes: hardly any field is a single token, and this is asked for every token."""
SIZES = 1 << 16
SHORT_BITS = 1 << 18
SHORT_SHIFT = np.uint64(64 - 18)
MIX = np.uint64(0x9E3779B97F4A7C15)
NUMBER = np.uint64(0xD6E8FEB86659FD93)
"""Stands for the hash of a number in a masked gram; any odd constant would do."""
MASKED_MOST = 3
"""So many of a masked gram's tokens may be numbers: one with more says too little."""
PAIR = np.uint64(0xC2B2AE3D27D4EB4F)


class Grams(NamedTuple):
    """The suite's n-grams, for `scan`. A field shorter than n is one gram of its own length.

    A filter holds keys as two bits in one 64-bit word: the word by the leading bits of the mixed key, the
    bits by the last twelve.
    """

    n: int
    powers: np.ndarray  # uint64 [n + 1]: PRIME ** k
    # Grams of n tokens. Every stride-th place of a text is sampled; `sample` filters runs of n - stride + 1.
    stride: int
    sample: np.ndarray  # uint64
    sample_shift: int
    filter: np.ndarray  # uint64: filters the n-grams themselves
    filter_shift: int
    # Shorter grams: how they end, and a filter of their own.
    ends: np.ndarray  # uint64 [END_BITS / 64]: a bit for the last two tokens, of grams of two and more
    singles: np.ndarray  # uint64 [SINGLE_BITS / 64]: a bit for each gram of one token
    sizes: np.ndarray  # uint8 or uint64 [SIZES]: by the last three tokens, the lengths, as a mask
    short_filter: np.ndarray  # uint64 [SHORT_BITS / 64]: one bit each
    short_lengths: np.ndarray  # uint8 [n]: whether a gram of that length exists
    # All grams: open addressing; a row is a key, then the place of its text << 32 | its number + 1 (0: free).
    table: np.ndarray  # uint64 [slots, 2]
    table_shift: int
    text: np.ndarray  # uint8: tokens in the form that hashing sees, each followed by a space
    length: np.ndarray  # int32 [grams]: in tokens
    masked: np.ndarray  # uint8 [grams]: whether its numbers stand for any number
    masks: bool  # whether there are masked grams


@njit(nogil=True, cache=True)
def key_of(hash_, size, n):
    """The key of a gram: its hash, made different for each length below n."""
    return hash_ if size == n else (hash_ ^ np.uint64(size)) * PAIR


@njit(nogil=True, cache=True)
def masked_key(hash_):
    """The key of a masked gram of n tokens: unlike that of any other gram."""
    return (hash_ ^ NUMBER) * PAIR


@njit(nogil=True, cache=True)
def is_digit(byte):
    """Whether a byte is an ASCII digit; a token that begins with one is a number."""
    return 48 <= byte <= 57


@njit(nogil=True, cache=True)
def end_bit(second, last):
    """Which of END_BITS bits stands for the last two tokens of a gram."""
    return (second * MIX + last) >> np.uint64(46)


@njit(nogil=True, cache=True)
def single_bit(token):
    """Which of SINGLE_BITS bits stands for a gram of one token."""
    return token >> np.uint64(52)


@njit(nogil=True, cache=True)
def end_slot(third, second, last):
    """Which of SIZES slots stands for the last three tokens of a gram (0 before the first)."""
    return ((third * MIX ^ second) * MIX ^ last) * PAIR >> np.uint64(48)


@njit(nogil=True, cache=True)
def bit_of(bits, number):
    """One bit of an array of 64-bit words, as 0 or 1."""
    return (bits[number >> np.uint64(6)] >> (number & np.uint64(63))) & np.uint64(1)


@njit(nogil=True, cache=True)
def two_bits(mixed, shift):
    """The word of a filter that a mixed key belongs to, and its two bits in there."""
    low = np.uint64(63)
    one = np.uint64(1)
    return mixed >> shift, (one << (mixed & low)) | (one << ((mixed >> np.uint64(6)) & low))


@njit(nogil=True, cache=True)
def set_bit(bits, number):
    """Sets one bit of an array of 64-bit words."""
    bits[number >> np.uint64(6)] |= np.uint64(1) << (number & np.uint64(63))


@njit(nogil=True, cache=True)
def fill(keys, lengths, places, n, filter_, filter_shift, short_filter, table, table_shift):
    """Enters every gram's key into its filter and the table; `places` (int64) is where its text begins."""
    for gram in range(keys.size):
        key = keys[gram]
        mixed = key * MIX
        if lengths[gram] == n:
            word, bits = two_bits(mixed, np.uint64(filter_shift))
            filter_[word] |= bits
        else:
            set_bit(short_filter, mixed >> SHORT_SHIFT)
        slot = mixed >> np.uint64(table_shift)
        while table[slot, 1] != 0:
            slot = (slot + np.uint64(1)) & np.uint64(table.shape[0] - 1)
        table[slot, 0] = key
        table[slot, 1] = (np.uint64(places[gram]) << np.uint64(32)) | np.uint64(gram + 1)


@njit(nogil=True, cache=True)
def fill_sample(keys, sample, shift):
    """Enters keys into a filter."""
    for key in keys:
        word, bits = two_bits(key * MIX, np.uint64(shift))
        sample[word] |= bits


@njit(nogil=True, cache=True)
def gram_keys(hashes, offsets, n):
    """The key of the gram at each position of each field, and where each field's positions begin.

    Args:
        hashes: uint64 [tokens], of all fields.
        offsets: int64 [fields + 1].
        n: tokens in a gram; a field with fewer has one gram, itself.
    """
    fields = offsets.size - 1
    starts = np.zeros(fields + 1, np.int64)
    for f in range(fields):
        tokens = offsets[f + 1] - offsets[f]
        starts[f + 1] = starts[f] + (tokens - n + 1 if tokens >= n else 1 if tokens else 0)
    keys = np.empty(starts[fields], np.uint64)
    firsts = np.empty(starts[fields], np.int64)
    for f in range(fields):
        tokens = offsets[f + 1] - offsets[f]
        size = min(n, tokens)
        for p in range(starts[f + 1] - starts[f]):
            value = np.uint64(0)
            for k in range(size):
                value = value * PRIME + hashes[offsets[f] + p + k]
            keys[starts[f] + p] = key_of(value, size, n)
            firsts[starts[f] + p] = offsets[f] + p
    return keys, firsts, starts


@njit(nogil=True, cache=True)
def masked_keys(hashes, numbers, offsets, n):
    """The masked key of each n-gram of each field: as of `gram_keys`, but every number counts as the same.

    Args:
        hashes: uint64 [tokens], of all fields.
        numbers: uint8 [tokens], whether a token is a number.
        offsets: int64 [fields + 1].
        n: tokens in a gram.

    Returns:
        keys: uint64 [positions], as numbered by `gram_keys`; the exact key where the gram holds no number, or
            is a whole field of fewer than n tokens
        counts: int32 [positions], how many numbers the gram holds (0 for such a field)
    """
    fields = offsets.size - 1
    keys, _, starts = gram_keys(hashes, offsets, n)
    counts = np.zeros(keys.size, np.int32)
    for f in range(fields):
        if offsets[f + 1] - offsets[f] < n:
            continue
        for p in range(starts[f + 1] - starts[f]):
            value = np.uint64(0)
            count = 0
            for k in range(offsets[f] + p, offsets[f] + p + n):
                value = value * PRIME + (NUMBER if numbers[k] else hashes[k])
                count += numbers[k]
            if count:
                keys[starts[f] + p] = masked_key(value)
                counts[starts[f] + p] = count
    return keys, counts


@njit(nogil=True, cache=True)
def frequencies(keys, starts, groups):
    """In how many fields of its group each position's gram occurs: int32 [positions].

    Args:
        keys: uint64 [positions].
        starts: int64 [fields + 1], where each field's positions begin.
        groups: int32 [fields], ascending.
    """
    slots = 16
    while slots < 2 * keys.size:
        slots *= 2
    table = np.zeros(slots, np.uint64)
    count, last = np.zeros(slots, np.int32), np.full(slots, -1, np.int64)
    place = np.empty(keys.size, np.int64)
    for f in range(groups.size):
        for p in range(starts[f], starts[f + 1]):
            key = (keys[p] ^ (np.uint64(groups[f] + 1) * PAIR)) * MIX | np.uint64(1)
            slot = np.int64(key >> np.uint64(20)) & (slots - 1)
            while table[slot] != 0 and table[slot] != key:
                slot = (slot + 1) & (slots - 1)
            table[slot] = key
            count[slot] += last[slot] != f
            last[slot] = f
            place[p] = slot
    return count[place]


@njit(nogil=True, cache=True)
def one_gram_each(numbers, where, places, lengths, text, masked):
    """Whether all positions that share a key also share their tokens.

    Args:
        numbers: int64 [positions], the gram of each position.
        where: int64 [grams], a position of each gram.
        places: int64 [positions], where the gram's text begins.
        lengths: int32 [positions], its tokens.
        text: uint8, tokens, each followed by a space.
        masked: uint8 [positions], whether its numbers stand for any.
    """
    for p in range(numbers.size):
        q = where[numbers[p]]
        if lengths[p] != lengths[q] or masked[p] != masked[q]:
            return False
        a, b, left = places[p], places[q], lengths[p]
        while a != b and left > 0:
            if masked[p] and is_digit(text[a]) and is_digit(text[b]):
                while text[a] != 32:
                    a += 1
                while text[b] != 32:
                    b += 1
            if text[a] != text[b]:
                return False
            left -= text[a] == 32
            a += 1
            b += 1
    return True


@njit(nogil=True, cache=True)
def cut_all(data, offsets, prepared, tables):
    """The tokens of every text: for the index.

    Returns:
        counts: int32 [texts], NEEDS_PYTHON where Python must normalise the text first
        text: uint8, the tokens in the form that hashing sees, each followed by a space
        ends: int64 [tokens], where each token ends in `text`, the space not counted
        hashes: uint64 [tokens]
        chars: int32 [tokens, 2], the characters of the original text (bytes, if it is prepared)
    """
    pages, values, expansions = tables
    out, origins, starts, ends, hashes = make_room(longest(offsets) + 8192)
    counts = np.empty(offsets.size - 1, np.int32)
    text = np.empty(1024, np.uint8)
    token_ends = np.empty(1024, np.int64)
    token_hashes = np.empty(1024, np.uint64)
    chars = np.empty((1024, 2), np.int32)
    total = 0
    size = 0
    for number in range(offsets.size - 1):
        start, length = offsets[number], offsets[number + 1] - offsets[number]
        while True:
            address, count, mapped = locate(
                data, start, length, prepared, pages, values, expansions, out, origins, starts, ends, hashes
            )
            if count != NEEDS_ROOM:
                break
            out, origins, starts, ends, hashes = enough_room(length)
        counts[number] = count
        if count == NEEDS_PYTHON:
            continue
        while total + count > token_ends.size:
            token_ends = np.append(token_ends, np.empty_like(token_ends))
            token_hashes = np.append(token_hashes, np.empty_like(token_hashes))
            chars = grown(chars)
        for i in range(count):
            width = ends[i] - starts[i]
            while size + width + 1 > text.size:
                text = np.append(text, np.empty_like(text))
            for b in range(width):
                byte = load1(address + np.uint64(starts[i] + b))
                text[size + b] = byte if byte >= 128 else byte | 32
            size += width
            token_ends[total] = size
            text[size] = 32
            size += 1
            token_hashes[total] = hashes[i]
            chars[total, 0] = origins[starts[i]] if mapped else starts[i]
            chars[total, 1] = origins[ends[i] - 1] + 1 if mapped else ends[i]
            total += 1
    return counts, text[:size], token_ends[:total], token_hashes[:total], chars[:total]


@njit(nogil=True, cache=True)
def grown(hits):
    """A table with room for twice as many rows."""
    more = np.empty((2 * hits.shape[0], hits.shape[1]), np.int32)
    more[: hits.shape[0]] = hits
    return more
