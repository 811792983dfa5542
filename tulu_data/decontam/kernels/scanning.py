"""Finding where the suite's n-grams occur in texts."""

from __future__ import annotations

import numpy as np
from numba import njit

from tulu_data.decontam.kernels.grams import (
    MASKED_MOST,
    MIX,
    NUMBER,
    PRIME,
    SHORT_SHIFT,
    bit_of,
    end_bit,
    end_slot,
    grown,
    is_digit,
    key_of,
    masked_key,
    single_bit,
    two_bits,
)
from tulu_data.text._kernels import NEEDS_PYTHON, NEEDS_ROOM, enough_room, locate, longest, make_room
from tulu_data.text._memory import load1


@njit(nogil=True, cache=True)
def _find(table, shift, key):
    """The gram with that key and where its text begins, or -1."""
    slot = key * MIX >> shift
    while table[slot, 1] != 0:
        if table[slot, 0] == key:
            found = table[slot, 1]
            return np.int64(found & np.uint64(0xFFFFFFFF)) - 1, np.int64(found >> np.uint64(32))
        slot = (slot + np.uint64(1)) & np.uint64(table.shape[0] - 1)
    return np.int64(-1), np.int64(0)


@njit(nogil=True, cache=True)
def _same(text, place, address, starts, ends, first, size, masked):
    """Whether `size` tokens from `first` on are those that stand in `text` at `place`, byte by byte.

    With `masked`, a number is as good as another.
    """
    for token in range(first, first + size):
        if masked and is_digit(text[place]) and is_digit(load1(address + np.uint64(starts[token]))):
            while text[place] != 32:
                place += 1
            place += 1
            continue
        for b in range(starts[token], ends[token]):
            byte = load1(address + np.uint64(b))
            if text[place] != (byte if byte >= 128 else byte | 32):
                return False
            place += 1
        if text[place] != 32:
            return False
        place += 1
    return True


@njit(nogil=True, cache=True)
def _enter(hits, count, text, gram, first, starts, ends, origins, mapped, size):
    if count == hits.shape[0]:
        hits = grown(hits)
    last = first + size - 1
    hits[count, 0] = text
    hits[count, 1] = gram
    hits[count, 2] = first
    hits[count, 3] = origins[starts[first]] if mapped else starts[first]
    hits[count, 4] = origins[ends[last] - 1] + 1 if mapped else ends[last]
    return hits


@njit(nogil=True, cache=True)
def _key_at(hashes, start, size):
    """Two tokens at a time, so that a product need not wait for the one before: 5 % of a scan."""
    key = np.uint64(0)
    k = start
    stop = start + size
    while k + 1 < stop:
        key = key * (PRIME * PRIME) + (hashes[k] * PRIME + hashes[k + 1])
        k += 2
    return key * PRIME + hashes[k] if k < stop else key


@njit(nogil=True, cache=True)
def _passes(filter_, shift, key):
    word, bits = two_bits(key * MIX, shift)
    return filter_[word] & bits == bits


@njit(nogil=True, cache=True)
def _mask(address, tokens, starts, hashes, masked, numbers):
    """Hashes with every number's replaced, and before each token the number of numbers. Returns how many."""
    count = 0
    for i in range(tokens):
        number = is_digit(load1(address + np.uint64(starts[i])))
        numbers[i] = count
        masked[i] = NUMBER if number else hashes[i]
        count += number
    numbers[tokens] = count
    return count


@njit(nogil=True, cache=True)
def _sampled(hashes, tokens, n, stride, sample, sample_shift, samples, keys):
    """The places of runs that the sample knows: one of them lies in every n-gram of the suite.

    Every window of n tokens holds exactly one run of n - stride + 1 tokens that begins at a multiple of the
    stride. So it is enough to look up these runs, and the windows around those that are known.
    """
    size = n - stride + 1
    sampled = (tokens - size) // stride + 1 if tokens >= size else 0
    for k in range(sampled):
        keys[k] = _key_at(hashes, k * stride, size)
    known = 0
    for k in range(
        sampled
    ):  # nothing else in this loop, so that many looks into memory are under way at once
        samples[known] = k * stride
        known += np.int64(_passes(sample, sample_shift, keys[k]))
    return known


@njit(nogil=True, cache=True)
def _long_candidates(hashes, tokens, n, stride, known, samples, filter_, shift, places, keys):
    """The places around known runs where an n-gram begins that passes the filter, and its key."""
    count = 0
    for k in range(known):
        p = samples[k]
        for start in range(max(0, p - stride + 1), min(p, tokens - n) + 1):
            key = _key_at(hashes, start, n)
            places[count] = start
            keys[count] = key
            count += np.int64(_passes(filter_, shift, key))
    return count


@njit(nogil=True, cache=True)
def _masked_candidates(masked, numbers, tokens, n, stride, known, samples, filter_, shift, places, keys):
    """As `_long_candidates`, of the n-grams that hold one to MASKED_MOST numbers, with their masked keys."""
    count = 0
    for k in range(known):
        p = samples[k]
        for start in range(max(0, p - stride + 1), min(p, tokens - n) + 1):
            inside = numbers[start + n] - numbers[start]
            if inside == 0 or inside > MASKED_MOST:
                continue
            key = masked_key(_key_at(masked, start, n))
            places[count] = start
            keys[count] = key
            count += np.int64(_passes(filter_, shift, key))
    return count


@njit(nogil=True, cache=True)
def _short_candidates(hashes, tokens, last_two, singles, any_single, places):
    """The places whose last two tokens (or last one) may end a gram shorter than n."""
    count = 0
    before = np.uint64(0)
    for i in range(tokens):
        token = hashes[i]
        places[count] = i
        ending = bit_of(last_two, end_bit(before, token))
        if any_single:
            ending |= bit_of(singles, single_bit(token))
        count += np.int64(ending)
        before = token
    return count


@njit(nogil=True, cache=True)
def _candidates_room(tokens):
    return np.empty(tokens + 1, np.int32), np.empty(tokens + 1, np.int32), np.empty(tokens + 1, np.uint64)


@njit(nogil=True, cache=True)
def _masking_room(size):
    return np.empty(size, np.uint64), np.empty(size + 1, np.int32)


@njit(nogil=True, cache=True)
def scan(data, offsets, wanted, prepared, tables, grams):
    """Every place where a gram of the suite occurs in the texts.

    Args:
        data: uint8, the texts.
        offsets: int64, text i is `data[offsets[i]:offsets[i + 1]]`.
        wanted: uint8, whether to look at text i.
        prepared: whether the texts hold only normalised word characters and spaces.
        tables: (pages, values, expansions) of `unicode_tables`.
        grams: what to find.

    Returns:
        hits: int32 [hits, 5]: text, gram, first token, and the characters [start, end) of the text (bytes, if
            it is prepared); ordered by text.
        python: int32, the texts that Python must normalise first.
    """
    pages, values, expansions = tables
    # Fields of the tuple are read once: Numba counts references at each reading.
    n, filter_, last_two, singles = grams.n, grams.filter, grams.ends, grams.singles
    powers, short_lengths, short_filter = grams.powers, grams.short_lengths, grams.short_filter
    table, table_shift = grams.table, np.uint64(grams.table_shift)
    shift, sample_shift = np.uint64(grams.filter_shift), np.uint64(grams.sample_shift)
    stride, sample, sizes = grams.stride, grams.sample, grams.sizes
    grams_text, lengths = grams.text, grams.length
    one = np.uint64(1)
    any_short = short_lengths.max() > 0
    any_single = n > 1 and short_lengths[min(1, n - 1)] > 0
    any_pair = n > 2 and short_lengths[min(2, n - 1)] > 0
    always = (np.uint64(any_single) << one) | (np.uint64(any_pair) << np.uint64(2))
    out, origins, starts, ends, hashes = make_room(longest(offsets) + 8192)
    samples, places, keys = _candidates_room(starts.size)
    masks = grams.masks
    masked_grams = grams.masked
    masked, numbers = _masking_room(starts.size if masks else 0)
    hits = np.empty((1024, 5), np.int32)
    count = 0
    python = np.empty(64, np.int32)
    left = 0
    for text in range(offsets.size - 1):
        if not wanted[text]:
            continue
        start, length = offsets[text], offsets[text + 1] - offsets[text]
        while True:
            address, tokens, mapped = locate(
                data, start, length, prepared, pages, values, expansions, out, origins, starts, ends, hashes
            )
            if tokens != NEEDS_ROOM:
                break
            out, origins, starts, ends, hashes = enough_room(length)
            samples, places, keys = _candidates_room(starts.size)
            masked, numbers = _masking_room(starts.size if masks else 0)
        if tokens == NEEDS_PYTHON:
            if left == python.size:
                python = np.append(python, np.empty_like(python))
            python[left] = text
            left += 1
            continue
        any_number = masks and _mask(address, tokens, starts, hashes, masked, numbers) > 0
        known = _sampled(
            masked if any_number else hashes, tokens, n, stride, sample, sample_shift, samples, keys
        )
        for kind in range(2):
            if kind == 0:
                found = _long_candidates(
                    hashes, tokens, n, stride, known, samples, filter_, shift, places, keys
                )
            elif any_number:
                found = _masked_candidates(
                    masked, numbers, tokens, n, stride, known, samples, filter_, shift, places, keys
                )
            else:
                break
            for c in range(found):
                gram, place = _find(table, table_shift, keys[c])
                first = places[c]
                if (
                    gram >= 0
                    and lengths[gram] == n
                    and masked_grams[gram] == kind
                    and _same(grams_text, place, address, starts, ends, first, n, kind)
                ):
                    hits = _enter(hits, count, text, gram, first, starts, ends, origins, mapped, n)
                    count += 1
        if not any_short:
            continue
        found = _short_candidates(hashes, tokens, last_two, singles, any_single, places)
        for c in range(found):
            last = places[c]
            third = hashes[last - 2] if last > 1 else np.uint64(0)
            second = hashes[last - 1] if last else np.uint64(0)
            possible = always | np.uint64(sizes[end_slot(third, second, hashes[last])])
            part = np.uint64(0)
            size = 0
            while possible >> np.uint64(size + 1) and size <= last:
                size += 1
                part += hashes[last - size + 1] * powers[size - 1]
                key = key_of(part, size, n)
                if not (possible >> np.uint64(size)) & one or not bit_of(
                    short_filter, key * MIX >> SHORT_SHIFT
                ):
                    continue
                gram, place = _find(table, table_shift, key)
                first = last - size + 1
                if (
                    gram >= 0
                    and lengths[gram] == size
                    and _same(grams_text, place, address, starts, ends, first, size, 0)
                ):
                    hits = _enter(hits, count, text, gram, first, starts, ends, origins, mapped, size)
                    count += 1
    return hits[:count], python[:left]
