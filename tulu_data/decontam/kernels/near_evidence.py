"""What an item and a passage have in common: shares of its fields, and characters on both sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tulu_data.decontam.kernels.grams import grown


class NearItems(NamedTuple):
    """Items as `near_evidence` shows them: each its tokens, of all fields one behind the other."""

    token_offsets: np.ndarray  # int64 [items + 1]
    slots: np.ndarray  # int32 [tokens]: which of its item's fields each is in
    starts: np.ndarray  # int32 [tokens]: in characters of the field
    ends: np.ndarray  # int32 [tokens]
    shingle_offsets: np.ndarray  # int64 [items + 1]
    shingles: np.ndarray  # int32: the number of the shingle that begins at each token


@njit(nogil=True, cache=True)
def _span(spans, count, finding, owner, start, end, joins):
    """Enters a run of characters, or makes the last one longer; how many there are, and the spans."""
    if joins:
        spans[count - 1, 3] = end
        return count, spans
    if count == spans.shape[0]:
        spans = grown(spans)
    spans[count, 0], spans[count, 1], spans[count, 2], spans[count, 3] = finding, owner, start, end
    return count + 1, spans


@njit(nogil=True, cache=True)
def near_evidence(passages, texts, n, char_offsets, chars, items, in_passage, in_item, clock):
    """The evidence of findings.

    A field's score is the share of the item's shingles with a token of the field that the passage has.

    Args:
        passages: int64 [findings, 2]: the passage and the item of each.
        texts: int64 [findings]: what the spans of a passage name its text.
        n: tokens in a shingle.
        char_offsets: int64 [passages + 1], where the tokens of each begin in `chars`.
        chars: int32, for each token where it begins and ends, and the shingle that begins there, or -1.
        items: a `NearItems`.
        in_passage: int64 [shingles], stamps.
        in_item: likewise.
        clock: int64 [1], their time.

    Returns:
        slot_offsets: int64 [findings + 1].
        slots: int32, the fields of each finding that have tokens.
        scores: float64, of each.
        item_spans: int32 [spans, 4]: finding, slot, and characters [start, end).
        train_spans: int32 [spans, 4]: finding, text, and characters.
    """
    slot_offsets = np.zeros(passages.shape[0] + 1, np.int64)
    slots = np.empty((1024, 1), np.int32)
    scores = np.empty(1024, np.float64)
    ours = np.empty((1024, 4), np.int32)
    theirs = np.empty((1024, 4), np.int32)
    total, our_count, their_count = 0, 0, 0
    for finding in range(passages.shape[0]):
        passage, item = passages[finding]
        clock[0] += 1
        now = clock[0]
        begin, stop = char_offsets[passage], char_offsets[passage + 1]
        for place in range(begin, stop):
            if chars[place, 2] >= 0:
                in_passage[chars[place, 2]] = now
        first_token, last_token = items.token_offsets[item], items.token_offsets[item + 1]
        first = items.shingle_offsets[item]
        count = items.shingle_offsets[item + 1] - first
        size = min(n, last_token - first_token)
        covered = 0  # tokens before this one are
        token = 0
        while token < last_token - first_token:
            slot = items.slots[first_token + token]
            begins = token
            held, of = 0, 0
            for k in range(max(0, token - size + 1), min(token, count)):
                held += in_passage[items.shingles[first + k]] == now
                of += 1
            last = -2
            while token < last_token - first_token and items.slots[first_token + token] == slot:
                if token < count:
                    shingle = items.shingles[first + token]
                    in_item[shingle] = now
                    of += 1
                    if in_passage[shingle] == now:
                        held += 1
                        covered = token + size
                if token < covered:
                    at = first_token + token
                    our_count, ours = _span(
                        ours, our_count, finding, slot, items.starts[at], items.ends[at],
                        last == token - 1 and last >= begins,
                    )  # fmt: skip
                    last = token
                token += 1
            if total == scores.size:
                slots = np.append(slots, np.empty_like(slots)).reshape(-1, 1)
                scores = np.append(scores, np.empty_like(scores))
            slots[total, 0] = slot
            scores[total] = held / of
            total += 1
        slot_offsets[finding + 1] = total
        covered = begin
        last = -2
        for place in range(begin, stop):
            if chars[place, 2] >= 0 and in_item[chars[place, 2]] == now:
                covered = place + size
            if place < covered:
                their_count, theirs = _span(
                    theirs, their_count, finding, texts[finding], chars[place, 0], chars[place, 1],
                    last == place - 1,
                )  # fmt: skip
                last = place
    return slot_offsets, slots[:total, 0].copy(), scores[:total], ours[:our_count], theirs[:their_count]
