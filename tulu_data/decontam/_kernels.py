"""The kernels of matching: `scan` finds where the suite's n-grams occur in texts, `judge` scores the items.

Both run without the interpreter's lock. Their plain twin is `plain.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from tulu_data.decontam.rules import EPSILON
from tulu_data.text._kernels import NEEDS_PYTHON, NEEDS_ROOM, enough_room, locate, longest, make_room
from tulu_data.text._memory import load1
from tulu_data.text.kernel_cache import keep_true

PRIME = np.uint64(0x9FB21C651E98DF25)
"""Odd base of the rolling hash: an n-gram's is the sum of its tokens' hashes times falling powers of it."""
END_BITS = 1 << 18
"""32 kB, for the first-level cache: a suite has some thousand grams shorter than n."""
SIZES = 1 << 16
SHORT_BITS = 1 << 18
SHORT_SHIFT = np.uint64(64 - 18)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_PAIR = np.uint64(0xC2B2AE3D27D4EB4F)


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
    singles: np.ndarray  # uint64 [END_BITS / 64]: a bit for each gram of one token
    sizes: (
        np.ndarray
    )  # uint64 [SIZES]: by the last three tokens, the lengths of the grams that end so, as a mask
    short_filter: np.ndarray  # uint64 [SHORT_BITS / 64]: one bit each
    short_lengths: np.ndarray  # uint8 [n]: whether a gram of that length exists
    # All grams: open addressing; a row is a key, then the place of its text << 32 | its number + 1 (0: free).
    table: np.ndarray  # uint64 [slots, 2]
    table_shift: int
    text: np.ndarray  # uint8: tokens in the form that hashing sees, each followed by a space
    length: np.ndarray  # int32 [grams]: in tokens


class Fields(NamedTuple):
    """The suite's distinct field texts and items, for `judge`."""

    tokens: np.ndarray  # int32 [fields]
    gram_offsets: np.ndarray  # int64 [fields + 1]
    grams: np.ndarray  # int32: the gram at each position of each field
    char_offsets: np.ndarray  # int64 [fields + 1]: where a field's tokens lie in the next two
    char_starts: np.ndarray  # int32: characters of the original text
    char_ends: np.ndarray  # int32
    probe_offsets: np.ndarray  # int64 [grams + 1]
    probes: np.ndarray  # int32: the fields that a gram makes a candidate
    item_offsets: np.ndarray  # int64 [items + 1]
    item_fields: np.ndarray  # int32: the distinct text of each field that has tokens
    holder_offsets: np.ndarray  # int64 [fields + 1]
    holders: np.ndarray  # int32: the items that a field belongs to


@njit(nogil=True, cache=True)
def key_of(hash_, size, n):
    """The key of a gram: its hash, made different for each length below n."""
    return hash_ if size == n else (hash_ ^ np.uint64(size)) * _PAIR


@njit(nogil=True, cache=True)
def end_bit(second, last):
    """Which of END_BITS bits stands for the last two tokens of a gram (0 before the only one)."""
    return (second * _MIX + last) >> np.uint64(46)


@njit(nogil=True, cache=True)
def end_slot(third, second, last):
    """Which of SIZES slots stands for the last three tokens of a gram (0 before the first)."""
    return ((third * _MIX ^ second) * _MIX ^ last) * _PAIR >> np.uint64(48)


@njit(nogil=True, cache=True)
def _bit(bits, number):
    return (bits[number >> np.uint64(6)] >> (number & np.uint64(63))) & np.uint64(1)


@njit(nogil=True, cache=True)
def _two_bits(mixed, shift):
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
        mixed = key * _MIX
        if lengths[gram] == n:
            word, bits = _two_bits(mixed, np.uint64(filter_shift))
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
        word, bits = _two_bits(key * _MIX, np.uint64(shift))
        sample[word] |= bits


@njit(nogil=True, cache=True)
def _find(table, shift, key):
    """The gram with that key and where its text begins, or -1."""
    slot = key * _MIX >> shift
    while table[slot, 1] != 0:
        if table[slot, 0] == key:
            found = table[slot, 1]
            return np.int64(found & np.uint64(0xFFFFFFFF)) - 1, np.int64(found >> np.uint64(32))
        slot = (slot + np.uint64(1)) & np.uint64(table.shape[0] - 1)
    return np.int64(-1), np.int64(0)


@njit(nogil=True, cache=True)
def _same(text, place, address, starts, ends, first, size):
    """Whether `size` tokens from `first` on are those that stand in `text` at `place`, byte by byte."""
    for token in range(first, first + size):
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
def _grown(hits):
    more = np.empty((2 * hits.shape[0], hits.shape[1]), np.int32)
    more[: hits.shape[0]] = hits
    return more


@njit(nogil=True, cache=True)
def _enter(hits, count, text, gram, first, starts, ends, origins, mapped, size):
    if count == hits.shape[0]:
        hits = _grown(hits)
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
    word, bits = _two_bits(key * _MIX, shift)
    return filter_[word] & bits == bits


@njit(nogil=True, cache=True)
def _long_candidates(hashes, tokens, n, stride, sample, sample_shift, filter_, shift, samples, places, keys):
    """The places where an n-gram begins that passes the filters, and its key.

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
def _short_candidates(hashes, tokens, last_two, singles, any_single, places):
    """The places whose last two tokens (or last one) may end a gram shorter than n."""
    count = 0
    none = np.uint64(0)
    before = none
    for i in range(tokens):
        token = hashes[i]
        places[count] = i
        ending = _bit(last_two, end_bit(before, token))
        if any_single:
            ending |= _bit(singles, end_bit(none, token))
        count += np.int64(ending)
        before = token
    return count


@njit(nogil=True, cache=True)
def _candidates_room(tokens):
    return np.empty(tokens + 1, np.int32), np.empty(tokens + 1, np.int32), np.empty(tokens + 1, np.uint64)


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
        if tokens == NEEDS_PYTHON:
            if left == python.size:
                python = np.append(python, np.empty_like(python))
            python[left] = text
            left += 1
            continue
        found = _long_candidates(
            hashes, tokens, n, stride, sample, sample_shift, filter_, shift, samples, places, keys
        )
        for c in range(found):
            gram, place = _find(table, table_shift, keys[c])
            first = places[c]
            if gram >= 0 and lengths[gram] == n and _same(grams_text, place, address, starts, ends, first, n):
                hits = _enter(hits, count, text, gram, first, starts, ends, origins, mapped, n)
                count += 1
        if not any_short:
            continue
        found = _short_candidates(hashes, tokens, last_two, singles, any_single, places)
        for c in range(found):
            last = places[c]
            third = hashes[last - 2] if last > 1 else np.uint64(0)
            second = hashes[last - 1] if last else np.uint64(0)
            possible = always | sizes[end_slot(third, second, hashes[last])]
            part = np.uint64(0)
            size = 0
            while possible >> np.uint64(size + 1) and size <= last:
                size += 1
                part += hashes[last - size + 1] * powers[size - 1]
                key = key_of(part, size, n)
                if not (possible >> np.uint64(size)) & one or not _bit(
                    short_filter, key * _MIX >> SHORT_SHIFT
                ):
                    continue
                gram, place = _find(table, table_shift, key)
                first = last - size + 1
                if (
                    gram >= 0
                    and lengths[gram] == size
                    and _same(grams_text, place, address, starts, ends, first, size)
                ):
                    hits = _enter(hits, count, text, gram, first, starts, ends, origins, mapped, size)
                    count += 1
    return hits[:count], python[:left]


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
            chars = _grown(chars)
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
def probe_grams(tokens, gram_offsets, grams, frequency, n, threshold):
    """Which positions of each field can make it a candidate: uint8 for each position.

    The field's most frequent grams stay silent as long as all silent ones together cover no more than the
    threshold: then a field above the threshold has at least one gram that is not silent (the prefix filter of
    similarity joins).
    """
    probes = np.ones(grams.size, np.uint8)
    for f in range(tokens.size):
        start, end = gram_offsets[f], gram_offsets[f + 1]
        if tokens[f] < n:
            continue
        covered = np.zeros(tokens[f], np.uint8)
        total = 0
        for p in np.argsort(-frequency[grams[start:end]], kind="mergesort"):
            new = 0
            for k in range(p, p + n):
                new += 1 - covered[k]
            if (total + new) / tokens[f] > threshold - EPSILON:
                break
            total += new
            covered[p : p + n] = 1
            probes[start + p] = 0
    return probes


@njit(nogil=True, cache=True)
def _score(field, fields, n, gram_seen, row):
    """Covered / tokens of a field, given the grams seen in this row."""
    start, end = fields.gram_offsets[field], fields.gram_offsets[field + 1]
    tokens = fields.tokens[field]
    size = min(n, tokens)
    covered = 0
    reach = 0
    for p in range(end - start):
        if gram_seen[fields.grams[start + p]] == row:
            covered += p + size - max(p, reach)
            reach = p + size
    return covered / tokens


@njit(nogil=True, cache=True)
def _push(rows, count, a, b, c, d):
    if count == rows.shape[0]:
        rows = _grown(rows)
    rows[count, 0] = a
    rows[count, 1] = b
    rows[count, 2] = c
    rows[count, 3] = d
    return rows


@njit(nogil=True, cache=True)
def judge(hits, hit_rows, hit_lengths, fields, n, threshold, memory):
    """The items that match each row, with the evidence on both sides.

    Args:
        hits: of `scan`, ordered by row, text and first token.
        hit_rows: int32 [hits], the row that each hit's text belongs to.
        hit_lengths: int32 [hits], tokens of each hit's gram.
        fields: the suite.
        n: tokens in a gram.
        threshold: an item's score must be above it.
        memory: (gram_seen, field_tried, field_seen, field_scores, item_seen, gram_mark, clock): int64 stamps
            and float64 scores, kept between calls so that nothing is cleared; `clock` [1] counts the stamps
            given.

    Returns:
        findings: int32 [findings, 2]: row, item
        scores: float64 [findings]
        slot_scores: float64, of each field of each finding, one finding behind the other
        item_spans: int32 [spans, 4]: finding, slot, start, end
        train_spans: int32 [spans, 4]: finding, text, start, end
    """
    gram_seen, field_tried, field_seen, field_scores, item_seen, gram_mark, clock = memory
    found = np.empty((64, 4), np.int32)
    scores = np.empty(64, np.float64)
    slot_scores = np.empty(256, np.float64)
    item_spans = np.empty((256, 4), np.int32)
    train_spans = np.empty((256, 4), np.int32)
    n_found = 0
    n_slots = 0
    n_item = 0
    n_train = 0
    begin = 0
    while begin < hit_rows.size:
        row = hit_rows[begin]
        stop = begin
        clock[0] += 1
        now = clock[0]
        while stop < hit_rows.size and hit_rows[stop] == row:
            gram_seen[hits[stop, 1]] = now
            stop += 1
        for h in range(begin, stop):
            gram = hits[h, 1]
            for q in range(fields.probe_offsets[gram], fields.probe_offsets[gram + 1]):
                field = fields.probes[q]
                if field_tried[field] == now:
                    continue
                field_tried[field] = now
                if field_seen[field] != now:
                    field_seen[field] = now
                    field_scores[field] = _score(field, fields, n, gram_seen, now)
                if field_scores[field] <= threshold - EPSILON:
                    continue
                for w in range(fields.holder_offsets[field], fields.holder_offsets[field + 1]):
                    item = fields.holders[w]
                    if item_seen[item] == now:
                        continue
                    item_seen[item] = now
                    first, last = fields.item_offsets[item], fields.item_offsets[item + 1]
                    total = 0.0
                    for s in range(first, last):
                        other = fields.item_fields[s]
                        if field_seen[other] != now:
                            field_seen[other] = now
                            field_scores[other] = _score(other, fields, n, gram_seen, now)
                        total += field_scores[other]
                    score = total / (last - first)
                    if score <= threshold + EPSILON:
                        continue
                    found = _push(found, n_found, row, item, 0, 0)
                    if n_found == scores.size:
                        scores = np.append(scores, np.empty_like(scores))
                    scores[n_found] = score
                    clock[0] += 1
                    for s in range(first, last):
                        other = fields.item_fields[s]
                        if n_slots == slot_scores.size:
                            slot_scores = np.append(slot_scores, np.empty_like(slot_scores))
                        slot_scores[n_slots] = field_scores[other]
                        n_slots += 1
                        item_spans, n_item = _item_spans(
                            item_spans,
                            n_item,
                            n_found,
                            s - first,
                            other,
                            fields,
                            n,
                            gram_seen,
                            now,
                            gram_mark,
                            clock[0],
                        )
                    train_spans, n_train = _train_spans(
                        train_spans, n_train, n_found, hits, begin, stop, hit_lengths, gram_mark, clock[0]
                    )
                    n_found += 1
        begin = stop
    return (
        found[:n_found, :2],
        scores[:n_found],
        slot_scores[:n_slots],
        item_spans[:n_item],
        train_spans[:n_train],
    )


@njit(nogil=True, cache=True)
def _item_spans(spans, count, finding, slot, field, fields, n, gram_seen, row, gram_mark, stamp):
    """Appends the covered runs of a field, and marks its grams with the finding's stamp."""
    start, end = fields.gram_offsets[field], fields.gram_offsets[field + 1]
    chars = fields.char_offsets[field]
    size = min(n, fields.tokens[field])
    reach = -1  # one past the last covered token
    for p in range(end - start):
        gram = fields.grams[start + p]
        gram_mark[gram] = stamp
        if gram_seen[gram] != row:
            continue
        if reach >= p:
            spans[count - 1, 3] = fields.char_ends[chars + p + size - 1]
        else:
            spans = _push(
                spans,
                count,
                finding,
                slot,
                fields.char_starts[chars + p],
                fields.char_ends[chars + p + size - 1],
            )
            count += 1
        reach = p + size
    return spans, count


@njit(nogil=True, cache=True)
def _train_spans(spans, count, finding, hits, begin, stop, lengths, gram_mark, stamp):
    """Appends the runs of the row's tokens that lie in grams of the finding's item."""
    text = -1
    reach = -1
    for h in range(begin, stop):
        if gram_mark[hits[h, 1]] != stamp:
            continue
        first = hits[h, 2]
        last = first + lengths[h]
        if hits[h, 0] == text and first <= reach:
            if last > reach:
                spans[count - 1, 3] = hits[h, 4]
                reach = last
        else:
            spans = _push(spans, count, finding, hits[h, 0], hits[h, 3], hits[h, 4])
            count += 1
            text = hits[h, 0]
            reach = last
    return spans, count


@njit(nogil=True, cache=True)
def one_gram_each(numbers, where, places, lengths, text):
    """Whether all positions that share a key also share their tokens.

    Args:
        numbers: int64 [positions], the gram of each position.
        where: int64 [grams], a position of each gram.
        places: int64 [positions], where the gram's text begins.
        lengths: int32 [positions], its tokens.
        text: uint8, tokens, each followed by a space.
    """
    for p in range(numbers.size):
        q = where[numbers[p]]
        if lengths[p] != lengths[q]:
            return False
        a, b, left = places[p], places[q], lengths[p]
        while a != b and left > 0:
            if text[a] != text[b]:
                return False
            left -= text[a] == 32
            a += 1
            b += 1
    return True


def _sources() -> list[Path]:
    here = Path(__file__).resolve()
    text = here.parent.parent / "text"
    return [here, here.with_name("rules.py"), text / "_kernels.py", text / "_memory.py"]


keep_true({scan.stats.cache_path, locate.stats.cache_path}, _sources())
