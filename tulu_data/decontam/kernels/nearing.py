"""Finding which items texts are like: MinHash over windows names candidates, `best_passage` measures them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tulu_data.decontam.kernels.grams import PRIME, grown
from tulu_data.decontam.kernels.near_tables import RAREST, hash_of, key_of_band, number_of
from tulu_data.decontam.kernels.passages import best_passage
from tulu_data.text._kernels import NEEDS_PYTHON, NEEDS_ROOM, enough_room, locate, longest, make_room
from tulu_data.text._minhash_kernels import LARGEST, premixed


class Marks(NamedTuple):
    """Stamps for one call of `near`: what carries the clock's present time is marked."""

    clock: np.ndarray  # int64 [1]
    in_window: np.ndarray  # int64 [shingles]
    first_place: np.ndarray  # int32 [shingles]: where the text first holds each, if `in_text`
    in_text: np.ndarray  # int64 [shingles]
    looked_at: np.ndarray  # int64 [sets]: in this window
    measured: np.ndarray  # int64 [sets]: in this text


class Stream(NamedTuple):
    """A text's shingles, by the place of their first token."""

    hashes: np.ndarray  # uint64
    shingles: np.ndarray  # int32: the number of each, -1 where no item has it
    hits: np.ndarray  # int32: the places with a number
    places: np.ndarray  # int32: of some of the hits; scratch
    mixed: np.ndarray  # uint32: their hashes as permutations begin; scratch
    before: np.ndarray  # int32: the place before with the same shingle, or -1
    behind: np.ndarray  # int32: the next, or -1


@njit(nogil=True, cache=True)
def _stream(size):
    return Stream(
        np.empty(size, np.uint64), np.empty(size, np.int32), np.empty(size, np.int32),
        np.empty(size, np.int32), np.empty(size, np.uint32),
        np.empty(size, np.int32), np.empty(size, np.int32),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _read(hashes, tokens, size, index, stream):
    """The shingles of `size` tokens of a text, into `stream`: (how many, hits, the classes of the hits)."""
    power = np.uint64(1)
    rolling = np.uint64(0)
    for token in range(min(size, tokens)):
        power *= PRIME
        rolling = rolling * PRIME + hashes[token]
    hits = 0
    classes = np.uint64(0)
    count = max(0, tokens - size + 1)
    for place in range(count):
        value = hash_of(rolling, size, index.n)
        number = number_of(value, index.filter, index.filter_shift, index.table, index.table_shift)
        stream.hashes[place] = value
        stream.shingles[place] = number
        stream.hits[hits] = place
        if number >= 0:
            hits += 1
            classes |= index.classes[number]
        if place + size < tokens:
            rolling = rolling * PRIME + hashes[place + size] - hashes[place] * power
    return count, hits, classes


@njit(nogil=True, cache=True)
def _chain(count, stream, marks, text_time):
    """Links each place with the next of the same shingle (`before`, `behind`), and marks the first."""
    bits = 3
    while (1 << bits) < 2 * count:
        bits += 1
    shift = np.uint64(64 - bits)
    latest = np.full(1 << bits, -1, np.int32)
    for place in range(count):
        value = stream.hashes[place]
        slot = value >> shift
        while latest[slot] >= 0 and stream.hashes[latest[slot]] != value:
            slot = (slot + np.uint64(1)) & np.uint64(latest.size - 1)
        stream.before[place] = latest[slot]
        stream.behind[place] = -1
        number = stream.shingles[place]
        if latest[slot] >= 0:
            stream.behind[latest[slot]] = place
        elif number >= 0:
            marks.first_place[number] = place
            marks.in_text[number] = text_time
        latest[slot] = place


@njit(nogil=True, cache=True)
def _measured(number, count, index, stream, marks, text_time):
    """The best passage for a set, of a text of `count` shingles that is chained; see `best_passage`."""
    first, last = index.set_offsets[number], index.set_offsets[number + 1]
    hits = 0
    for k in range(first, last):
        shingle = index.set_shingles[k]
        if marks.in_text[shingle] == text_time:
            place = marks.first_place[shingle]
            while place >= 0:
                stream.places[hits] = place
                hits += 1
                place = stream.behind[place]
    return best_passage(
        count, np.sort(stream.places[:hits]), stream.before, stream.behind, last - first, index.need[number],
        index.shortest[number], index.longest[number], index.threshold[number],
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _sign(mixed, first, last, a, b, signature):
    """The signature of some shingles; as `sign` of `text/_minhash_kernels.py`."""
    signature[:] = LARGEST
    i = first
    while i + 3 < last:  # four at once: each value of the signature is read and written once for them
        h0, h1, h2, h3 = mixed[i], mixed[i + 1], mixed[i + 2], mixed[i + 3]
        for k in range(a.size):
            low = np.uint32(a[k] * h0 + b[k])
            low = min(low, np.uint32(a[k] * h1 + b[k]))
            low = min(low, np.uint32(a[k] * h2 + b[k]))
            low = min(low, np.uint32(a[k] * h3 + b[k]))
            signature[k] = min(signature[k], low)
        i += 4
    while i < last:
        h = mixed[i]
        for k in range(a.size):
            signature[k] = min(signature[k], np.uint32(a[k] * h + b[k]))
        i += 1


@njit(nogil=True, cache=True)
def _candidates(class_, signature, first, last, index, stream, marks, text_time, found):
    """Sets that share a band and enough shingles with a window of hits, not yet measured, into `found`."""
    count = 0
    marks.clock[0] += 1
    now = marks.clock[0]
    marked = False
    for band in range(signature.size // index.rows):
        key = key_of_band(signature, band, index.rows, class_)
        known = number_of(key, index.key_filter, index.key_filter_shift, index.keys, index.keys_shift)
        if known < 0:
            continue
        for k in range(index.key_offsets[known], index.key_offsets[known + 1]):
            number = index.key_sets[k]
            if marks.measured[number] == text_time or marks.looked_at[number] == now:
                continue
            marks.looked_at[number] = now
            if not marked:
                for i in range(first, last):
                    marks.in_window[stream.shingles[stream.places[i]]] = now
                marked = True
            shared = 0
            for j in range(index.set_offsets[number], index.set_offsets[number + 1]):
                shared += marks.in_window[index.set_shingles[j]] == now
            if shared >= index.least[number]:
                found[count] = number
                count += 1
                marks.measured[number] = text_time
    return count


@njit(nogil=True, cache=True)
def _windows(class_, count, hits, index, stream, marks, text_time, signature, found, total):
    """The sets of a class that are worth measuring, behind `found[:total]`; the new total.

    A window's signature is that of the shingles in it that sets of the class have: others are in none of
    them, so that a window that is wider than the passage, or lies askew, stays as like to the set as can be.
    """
    bit = np.uint64(1) << np.uint64(class_)
    size = 0
    for k in range(hits):
        place = stream.hits[k]
        stream.places[size] = place
        stream.mixed[size] = premixed(stream.hashes[place])
        size += np.int64(index.classes[stream.shingles[place]] & bit != 0)
    width, step, least = index.widths[class_], index.steps[class_], index.class_least[class_]
    first, last = 0, 0
    old_first, old_last = 0, 0
    start = np.int64(0)
    while first + least <= size and (start == 0 or start + width < count + step):
        while last < size and stream.places[last] < start + width:
            last += 1
        if last - first >= least and (first != old_first or last != old_last):
            old_first, old_last = first, last
            _sign(stream.mixed, first, last, index.a, index.b, signature)
            total += _candidates(
                class_, signature, first, last, index, stream, marks, text_time, found[total:]
            )
        start += step
        if first + least <= size:  # on to the first window that reaches as far as it takes
            far = stream.places[first + least - 1] - width + 1
            if far > start:
                start += (far - start + step - 1) // step * step
        while first < size and stream.places[first] < start:
            first += 1
    return total


@njit(nogil=True, cache=True)
def _short_sets(hits, index, stream, marks, text_time, found):
    """The short sets of which all shingles are among the hits, into `found`; how many."""
    for k in range(hits):
        marks.in_text[stream.shingles[stream.hits[k]]] = text_time
    total = 0
    for k in range(hits):
        shingle = stream.shingles[stream.hits[k]]
        for j in range(index.short_offsets[shingle], index.short_offsets[shingle + 1]):
            number = index.short[j]
            if marks.measured[number] == text_time:
                continue
            marks.measured[number] = text_time
            found[total] = number
            total += 1
            for i in range(index.set_offsets[number], index.set_offsets[number + 1]):
                if marks.in_text[index.set_shingles[i]] != text_time:
                    total -= 1
                    break
    return total


@njit(nogil=True, cache=True)
def _long_sets(classes, count, hits, index, stream, marks, text_time, signature, found, total):
    """The sets of all classes that are worth measuring, behind `found[:total]`; the new total."""
    for class_ in range(index.widths.size):
        if classes >> np.uint64(class_) & np.uint64(1):
            total = _windows(class_, count, hits, index, stream, marks, text_time, signature, found, total)
    return total


@njit(nogil=True, cache=True)
def _room(passages, char_offsets, chars, total, tokens):
    """The results of `near`, with room for another passage of so many tokens."""
    if total == passages.shape[0]:
        passages = grown(passages)
        char_offsets = np.append(char_offsets, np.zeros(total, np.int64))
    while char_offsets[total] + tokens > chars.shape[0]:
        chars = grown(chars)
    return passages, char_offsets, chars


@njit(nogil=True, cache=True, inline="always")
def _enter_numbers(row, text, number, shared, union, first, stop):
    row[0], row[1], row[2], row[3], row[4], row[5] = text, number, shared, union, first, stop


@njit(nogil=True, cache=True)
def near(data, offsets, wanted, prepared, tables, index, marks):
    """The best passage of each text for each set that it is like.

    Args:
        data: uint8, the texts.
        offsets: int64 [texts + 1].
        wanted: uint8 [texts]: whether one is looked at.
        prepared: whether the texts hold only normalised word characters and spaces.
        tables: (pages, values, expansions) of `unicode_tables`.
        index: a `Near`.
        marks: a `Marks`, kept between calls.

    Returns:
        passages: int32 [found, 6]: text, set, shared, union, first token and one behind the last.
        char_offsets: int64 [found + 1].
        chars: int32, for each token of a passage where it begins and ends in the text, in characters (bytes,
            if it is prepared), and its hash's shingle or -1.
        python: int64, the texts that Python must normalise first.
    """
    pages, values, expansions = tables
    out, origins, starts, ends, hashes = make_room(longest(offsets) + 8192)
    stream = _stream(4096)
    signature = np.empty(index.a.size, np.uint32)
    found = np.empty(index.need.size, np.int32)
    passages = np.empty((64, 6), np.int32)
    total = 0
    chars = np.empty((1024, 3), np.int32)
    char_offsets = np.zeros(65, np.int64)
    python = np.empty(offsets.size, np.int64)
    hard = 0
    for text in range(offsets.size - 1):
        if not wanted[text]:
            continue
        start, length = offsets[text], offsets[text + 1] - offsets[text]
        while True:
            _, tokens, mapped = locate(
                data, start, length, prepared, pages, values, expansions, out, origins, starts, ends, hashes
            )
            if tokens != NEEDS_ROOM:
                break
            out, origins, starts, ends, hashes = enough_room(length)
        if tokens == NEEDS_PYTHON:
            python[hard] = text
            hard += 1
            continue
        if tokens >= stream.hashes.size:
            stream = _stream(tokens + tokens // 2)
        marks.clock[0] += 1
        text_time = marks.clock[0]
        for size in index.sizes:
            count, hits, classes = _read(hashes, tokens, size, index, stream)
            candidates = 0
            if classes & RAREST:
                candidates = _short_sets(hits, index, stream, marks, text_time, found)
            if classes & ~RAREST:
                candidates = _long_sets(
                    classes, count, hits, index, stream, marks, text_time, signature, found, candidates
                )
            if candidates:
                _chain(count, stream, marks, text_time)
            for k in range(candidates):
                shared, union, first, last = _measured(found[k], count, index, stream, marks, text_time)
                if not shared:
                    continue
                passages, char_offsets, chars = _room(
                    passages, char_offsets, chars, total, last + size - first
                )
                _enter_numbers(passages[total], text, found[k], shared, union, first, last + size)
                at = char_offsets[total]
                for token in range(first, last + size):
                    chars[at, 0] = origins[starts[token]] if mapped else starts[token]
                    chars[at, 1] = origins[ends[token] - 1] + 1 if mapped else ends[token]
                    chars[at, 2] = stream.shingles[token] if token <= last else -1
                    at += 1
                char_offsets[total + 1] = at
                total += 1
    return passages[:total], char_offsets[: total + 1], chars[: char_offsets[total]], python[:hard]
