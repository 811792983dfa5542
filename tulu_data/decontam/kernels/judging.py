"""Scoring the suite's items against the rows in which their n-grams were found.

The parts of `judge` are inlined, because a dozen arrays would be passed with every call.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tulu_data.decontam.kernels.grams import grown
from tulu_data.decontam.rules import EPSILON


class Fields(NamedTuple):
    """The suite's distinct field texts and items, for `judge`."""

    tokens: np.ndarray  # int32 [fields]
    counted: (
        np.ndarray
    )  # int32 [fields + tokens]: for each field, how many of its first k tokens count, k = 0, 1, …
    counted_offsets: np.ndarray  # int64 [fields + 1]: where a field's begin
    limits: np.ndarray  # float64 [fields]: a field's score must be above it to make its items candidates
    gram_offsets: np.ndarray  # int64 [fields + 1]
    grams: np.ndarray  # int32: the gram at each position of each field, or -1 where it is not looked for
    char_offsets: np.ndarray  # int64 [fields + 1]: where a field's tokens lie in the next two
    char_starts: np.ndarray  # int32: characters of the original text
    char_ends: np.ndarray  # int32
    probe_offsets: np.ndarray  # int64 [grams + 1]
    probes: np.ndarray  # int32: the fields that a gram makes a candidate
    item_offsets: np.ndarray  # int64 [items + 1]
    item_fields: np.ndarray  # int32: the distinct text of each field that has tokens
    item_limits: np.ndarray  # float64 [items]: an item's score must be above it
    holder_offsets: np.ndarray  # int64 [fields + 1]
    holders: np.ndarray  # int32: the items that a field belongs to


@njit(nogil=True, cache=True)
def probe_grams(tokens, counted, counted_offsets, limits, gram_offsets, grams, frequency, n):
    """Which positions of each field can make it a candidate: uint8 for each position.

    The field's most frequent grams stay silent as long as all silent ones together cover no more than its
    limit: then a field above the limit has at least one gram that is not silent (the prefix filter of
    similarity joins).
    """
    probes = np.ones(grams.size, np.uint8)
    for f in range(tokens.size):
        start, end = gram_offsets[f], gram_offsets[f + 1]
        for p in range(start, end):
            if grams[p] < 0:
                probes[p] = 0
        if tokens[f] < n:
            continue
        count = counted[counted_offsets[f] : counted_offsets[f + 1]]
        covered = np.zeros(tokens[f], np.uint8)
        total = 0
        for p in np.argsort(-frequency[grams[start:end]], kind="mergesort"):
            if grams[start + p] < 0:
                continue
            new = 0
            for k in range(p, p + n):
                new += (1 - covered[k]) * (count[k + 1] - count[k])
            if (total + new) / count[tokens[f]] > limits[f] - EPSILON:
                break
            total += new
            covered[p : p + n] = 1
            probes[start + p] = 0
    return probes


@njit(nogil=True, cache=True, inline="always")
def _score(field, fields, n, gram_seen, row):
    """The share of a field's counted tokens that the grams seen in this row cover."""
    start, end = fields.gram_offsets[field], fields.gram_offsets[field + 1]
    tokens = fields.tokens[field]
    counts = fields.counted_offsets[field]
    size = min(n, tokens)
    covered = 0
    reach = 0
    for p in range(end - start):
        gram = fields.grams[start + p]
        if gram >= 0 and gram_seen[gram] == row:
            covered += fields.counted[counts + p + size] - fields.counted[counts + max(p, reach)]
            reach = p + size
    return covered / fields.counted[counts + tokens]


@njit(nogil=True, cache=True, inline="always")
def _candidates(
    hits,
    begin,
    stop,
    fields,
    n,
    gram_seen,
    field_tried,
    field_seen,
    field_scores,
    item_seen,
    gram_mark,
    now,
    items,
):
    """The items that have a field above the threshold, into `items`; returns how many.

    Where the mean of an item's scores is above its limit, one of them is (limits of fields are no higher).
    """
    count = 0
    for h in range(begin, stop):
        gram = hits[h, 1]
        if gram_mark[gram] == now:  # it was here before, in this row
            continue
        gram_mark[gram] = now
        for q in range(fields.probe_offsets[gram], fields.probe_offsets[gram + 1]):
            field = fields.probes[q]
            if field_tried[field] == now:
                continue
            field_tried[field] = now
            field_seen[field] = now
            field_scores[field] = _score(field, fields, n, gram_seen, now)
            if field_scores[field] <= fields.limits[field] - EPSILON:
                continue
            for w in range(fields.holder_offsets[field], fields.holder_offsets[field + 1]):
                item = fields.holders[w]
                if item_seen[item] != now:
                    item_seen[item] = now
                    items[count] = item
                    count += 1
    return count


@njit(nogil=True, cache=True, inline="always")
def _mean(item, fields, n, gram_seen, field_seen, field_scores, now):
    """An item's score: the mean over its fields that have tokens."""
    first, last = fields.item_offsets[item], fields.item_offsets[item + 1]
    total = 0.0
    for s in range(first, last):
        field = fields.item_fields[s]
        if field_seen[field] != now:
            field_seen[field] = now
            field_scores[field] = _score(field, fields, n, gram_seen, now)
        total += field_scores[field]
    return total / (last - first)


@njit(nogil=True, cache=True)
def judge(hits, hit_rows, hit_lengths, fields, n, memory):
    """The items that match each row, with the evidence on both sides.

    Args:
        hits: of `scan`, ordered by row, text and first token.
        hit_rows: int32 [hits], the row that each hit's text belongs to.
        hit_lengths: int32 [hits], tokens of each hit's gram.
        fields: the suite.
        n: tokens in a gram.
        memory: (gram_seen, field_tried, field_seen, field_scores, item_seen, items, gram_mark, gram_number,
            clock): int64 stamps, float64 scores, a list of items and numbers in a field, kept between calls
            so that nothing is cleared; `clock` [1] counts the stamps given.

    Returns:
        findings: int32 [findings, 2]: row, item; ordered by both
        scores: float64 [findings]
        slot_scores: float64, of each field of each finding, one finding behind the other
        item_spans: int32 [spans, 4]: finding, slot, start, end
        train_spans: int32 [spans, 4]: finding, text, start, end
    """
    gram_seen, field_tried, field_seen, field_scores, item_seen, items, gram_mark, _, clock = memory
    found = np.empty((64, 4), np.int32)
    scores, slot_scores = np.empty(64, np.float64), np.empty(256, np.float64)
    item_spans, train_spans = np.empty((256, 4), np.int32), np.empty((256, 4), np.int32)
    n_found = n_slots = n_item = n_train = 0
    begin = 0
    while begin < hit_rows.size:
        row = hit_rows[begin]
        stop = begin
        clock[0] += 1
        now = clock[0]
        while stop < hit_rows.size and hit_rows[stop] == row:
            gram_seen[hits[stop, 1]] = now
            stop += 1
        candidates = _candidates(
            hits,
            begin,
            stop,
            fields,
            n,
            gram_seen,
            field_tried,
            field_seen,
            field_scores,
            item_seen,
            gram_mark,
            now,
            items,
        )
        for item in np.sort(items[:candidates]):  # in the order of the suite
            score = _mean(item, fields, n, gram_seen, field_seen, field_scores, now)
            if score <= fields.item_limits[item] + EPSILON:
                continue
            found = _push(found, n_found, row, item, 0, 0)
            if n_found == scores.size:
                scores = np.append(scores, np.empty_like(scores))
            scores[n_found] = score
            clock[0] += 1
            first = fields.item_offsets[item]
            for slot in range(fields.item_offsets[item + 1] - first):
                field = fields.item_fields[first + slot]
                if n_slots == slot_scores.size:
                    slot_scores = np.append(slot_scores, np.empty_like(slot_scores))
                slot_scores[n_slots] = field_scores[field]
                n_slots += 1
                item_spans, n_item = _item_spans(
                    item_spans, n_item, n_found, slot, field, fields, n, gram_seen, now, gram_mark, clock[0]
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
def _push(rows, count, a, b, c, d):
    if count == rows.shape[0]:
        rows = grown(rows)
    rows[count, 0] = a
    rows[count, 1] = b
    rows[count, 2] = c
    rows[count, 3] = d
    return rows


@njit(nogil=True, cache=True, inline="always")
def _item_spans(spans, count, finding, slot, field, fields, n, gram_seen, row, gram_mark, stamp):
    """Appends the covered runs of a field, and marks its grams with the finding's stamp."""
    start, end = fields.gram_offsets[field], fields.gram_offsets[field + 1]
    chars = fields.char_offsets[field]
    size = min(n, fields.tokens[field])
    reach = -1  # one past the last covered token
    for p in range(end - start):
        gram = fields.grams[start + p]
        if gram < 0:
            continue
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


@njit(nogil=True, cache=True, inline="always")
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
