"""Laying an item's field beside the passage of a row that it was found in: what is equal, what was changed.

The runs that both share are chained in order, from the longest one outwards. What lies between two runs, or
little before the first or behind the last, was changed if both sides have something there. A change of
numbers, number words or single letters is told from a change of other words.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tulu_data.decontam.kernels.grams import grown
from tulu_data.decontam.kernels.placing import find_whole, stands_at

END = 3
"""So few tokens before the first run or behind the last are compared with whatever stands in their place."""
GAP = 64
"""So much is compared token by token at most, between two runs or at an end."""
UNLIKE = 4
"""Where one side of a gap is so many times as long as the other, it is not what the other was changed to."""
PARALLEL = 0.6
"""Of a longer end so much must stand in the row too, in order, for the rest to count as replaced: where a
copy was cut off, chance gives a third."""
FORMULA = 3
"""An end is a formula if each third token is a number, a number word or a single letter."""
PATIENCE = 16
"""So many times the length of both sides is compared before a whole field is searched for in linear time."""


@njit(nogil=True, cache=True)
def _like(ours, i, theirs, j):
    """Whether two tokens are equal, or both numbers."""
    return ours.hashes[i] == theirs.hashes[j] or (ours.numbers[i] and theirs.numbers[j])


@njit(nogil=True, cache=True)
def _whole(hits, begin, stop, gram, ours, start, size, theirs, text_of):
    """Where the row holds the whole field, as (text, token), else (-1, -1). `gram` is the field's first."""
    nothing = np.zeros(0, np.uint8)
    for attempt in range(2):
        spent, last = 0, -1
        for h in range(begin, stop):
            text = text_of[hits[h, 0]]
            first, end = theirs.offsets[text], theirs.offsets[text + 1]
            if attempt == 1:
                if text != last:
                    place = find_whole(ours, start, size, theirs, first, end, nothing)
                    if place >= 0:
                        return text, place
                last = text
                continue
            if hits[h, 1] != gram:
                continue
            same = stands_at(ours, start, size, theirs, first + hits[h, 2], end)
            if same == size:
                return text, first + hits[h, 2]
            spent += same + 1
            if spent > PATIENCE * (size + end - first):
                break
        else:
            if attempt == 0:
                return -1, -1
    return -1, -1


@njit(nogil=True, cache=True)
def _by_gram(grams, mark, number_of, stamp):
    """Where each gram of a field begins in it: the places, one gram's behind the other's, and their offsets.

    Each gram is marked with the stamp, and gets a number in the field.
    """
    offsets = np.zeros(grams.size + 1, np.int64)
    count = 0
    for gram in grams:
        if gram < 0:
            continue
        if mark[gram] != stamp:
            mark[gram] = stamp
            number_of[gram] = count
            count += 1
        offsets[number_of[gram] + 1] += 1
    offsets = np.cumsum(offsets)
    places, filled = np.empty(grams.size, np.int64), offsets.copy()
    for place in range(grams.size):
        gram = grams[place]
        if gram >= 0:
            places[filled[number_of[gram]]] = place
            filled[number_of[gram]] += 1
    return places, offsets


@njit(nogil=True, cache=True)
def _place_behind(places, first, last, behind):
    """Of ascending places [first, last) the first from `behind` on, or the first of all; by bisection."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if places[middle] < behind:
            low = middle + 1
        else:
            high = middle
    return places[low if low < last else first]


@njit(nogil=True, cache=True)
def _runs(hits, begin, stop, ours, start, size, theirs, text_of, memory, places, offsets, runs):
    """The runs that field and row share (numbers count as equal), in the row's order: how many, and the runs.

    A run is text, the field's tokens [i0, i1) and the row's [j0, j1). A gram that the field holds twice goes
    to the place behind the last run, if there is one.
    """
    mark, number_of, clock = memory[6], memory[7], memory[8]
    count = 0
    for h in range(begin, stop):
        gram = hits[h, 1]
        if mark[gram] != clock[0]:
            continue
        text = text_of[hits[h, 0]]
        low, high = theirs.offsets[text], theirs.offsets[text + 1]
        j = low + hits[h, 2]
        behind = 0
        if count and runs[count - 1, 0] == text:
            if j < runs[count - 1, 4]:
                continue
            low, behind = max(low, np.int64(runs[count - 1, 4])), runs[count - 1, 2]
        number = number_of[gram]
        i = _place_behind(places, offsets[number], offsets[number + 1], behind)
        i0, j0 = i, j
        while i0 > 0 and j0 > low and _like(ours, start + i0 - 1, theirs, j0 - 1):
            i0 -= 1
            j0 -= 1
        i1, j1 = i, j
        while i1 < size and j1 < high and _like(ours, start + i1, theirs, j1):
            i1 += 1
            j1 += 1
        if i1 == i:
            continue
        if count == runs.shape[0]:
            runs = grown(runs)
        runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3], runs[count, 4] = text, i0, i1, j0, j1
        count += 1
    return count, runs


@njit(nogil=True, cache=True)
def _chain(runs, count, size):
    """The runs that follow one another on both sides, around the longest; overlaps are cut off."""
    pivot = 0
    for k in range(count):
        if runs[k, 2] - runs[k, 1] > runs[pivot, 2] - runs[pivot, 1]:
            pivot = k
    reach = 2 * size + GAP
    chain = np.empty((count, 4), np.int64)
    left = pivot
    chain[pivot] = runs[pivot, 1:5]
    for k in range(pivot - 1, -1, -1):
        over = max(0, runs[k, 2] - chain[left, 0])
        near = runs[k, 0] == runs[pivot, 0] and chain[left, 2] - runs[k, 4] <= reach
        if near and runs[k, 2] - runs[k, 1] - over >= END:
            left -= 1
            chain[left] = runs[k, 1:5]
            chain[left, 1] -= over
            chain[left, 3] -= over
    right = pivot
    for k in range(pivot + 1, count):
        over = max(0, chain[right, 1] - runs[k, 1])
        near = runs[k, 0] == runs[pivot, 0] and runs[k, 3] - chain[right, 3] <= reach
        if near and runs[k, 2] - runs[k, 1] - over >= END:
            right += 1
            chain[right] = runs[k, 1:5]
            chain[right, 0] += over
            chain[right, 2] += over
    return chain[left : right + 1], runs[pivot, 0]


@njit(nogil=True, cache=True)
def _same_letters(ours, i0, i1, theirs, j0, j1):
    """Whether both sides are equal but for where their words are parted: `frac12` and `frac 1 2`."""
    a, b = ours.places[i0], theirs.places[j0]
    a1, b1 = ours.ends[i1 - 1], theirs.ends[j1 - 1]
    while True:
        while a < a1 and ours.text[a] == 32:
            a += 1
        while b < b1 and theirs.text[b] == 32:
            b += 1
        if a == a1 or b == b1:
            return a == a1 and b == b1
        if ours.text[a] != theirs.text[b]:
            return False
        a += 1
        b += 1


@njit(nogil=True, cache=True)
def _same_symbols(ours, i0, i1, theirs, j0, j1):
    """Whether both sides hold the same numbers, number words and single letters, in the same order."""
    j = j0
    for i in range(i0, i1):
        if not ours.symbols[i]:
            continue
        while j < j1 and not theirs.symbols[j]:
            j += 1
        if j == j1 or theirs.hashes[j] != ours.hashes[i]:
            return False
        j += 1
    while j < j1 and not theirs.symbols[j]:
        j += 1
    return j == j1


@njit(nogil=True, cache=True)
def _change(ours, i0, i1, theirs, j0, j1):
    """What was changed where [i0, i1) of the field became [j0, j1) of the row: (symbols, words)."""
    if (
        i0 >= i1
        or j0 >= j1
        or (i1 - i0 <= GAP and j1 - j0 <= GAP and _same_letters(ours, i0, i1, theirs, j0, j1))
    ):
        return 0, 0
    shorter, longer = min(i1 - i0, j1 - j0), max(i1 - i0, j1 - j0)
    if longer > UNLIKE * shorter + END:
        return 0, shorter  # something was left out there, or put in
    if longer <= GAP and not _same_symbols(ours, i0, i1, theirs, j0, j1):
        return 1, 0
    return 0, max(i1 - i0, min(j1 - j0, GAP))


@njit(nogil=True, cache=True)
def _formula(words, start, stop):
    """Whether many of the tokens are numbers, number words or single letters."""
    count = 0
    for k in range(start, stop):
        count += words.symbols[k] > 0
    return stop > start and FORMULA * count >= stop - start


@njit(nogil=True, cache=True)
def _in_order(ours, i, theirs, j, size, room, step):
    """The longest common subsequence of `size` tokens from i on and `room` from j on, by `step` (1 or -1).

    Returns its length, and how many of the row's tokens it takes.
    """
    before, now = np.zeros(room + 1, np.int32), np.zeros(room + 1, np.int32)
    for a in range(size):
        for b in range(room):
            if ours.hashes[i + step * a] == theirs.hashes[j + step * b]:
                now[b + 1] = before[b] + 1
            else:
                now[b + 1] = max(before[b + 1], now[b])
        before, now = now, before
    taken = 0
    while before[taken] < before[room]:
        taken += 1
    return before[room], taken


@njit(nogil=True, cache=True)
def _end_change(ours, i0, i1, theirs, low, high, step):
    """What was changed at an end of the field, [i0, i1): (equal, symbols, words).

    `step` is 1 for the last tokens, where the row goes on at `low`; -1 for the first, where it has come to
    `high`. A short end is compared with what stands in its place; symbols were changed if one faces another
    next to the chain. Of a longer end most must stand there in order, or both sides be formulas; else the
    copy was cut off there, and nothing was changed.
    """
    size = i1 - i0
    room = min(high - low, size)
    if size <= END:
        j0 = low if step > 0 else high - room
        symbols, words = _change(ours, i0, i1, theirs, j0, j0 + room)
        if not symbols:
            return 0, 0, words
        i, j = (i0, low) if step > 0 else (i1 - 1, high - 1)
        if ours.symbols[i] and theirs.symbols[j] and ours.hashes[i] != theirs.hashes[j]:
            return 0, 1, 0
        return 0, 0, size  # what stands beside a cut field need not replace it
    part, reach = min(size, GAP), min(high - low, 2 * min(size, GAP))
    i, j = (i0, low) if step > 0 else (i1 - 1, high - 1)
    equal, taken = _in_order(ours, i, theirs, j, part, reach, step)
    a0, b0 = (i0, low) if step > 0 else (i1 - part, high - taken)
    if equal >= PARALLEL * part:
        if _same_letters(ours, a0, a0 + part, theirs, b0, b0 + taken):
            return equal, 0, 0
        other = not _same_symbols(ours, a0, a0 + part, theirs, b0, b0 + taken)
        return equal, np.int64(other), np.int64(0 if other else part - equal)
    j0 = low if step > 0 else high - room
    return 0, np.int64(_formula(ours, i0, i1) and _formula(theirs, j0, j0 + room)), 0


@njit(nogil=True, cache=True)
def _measure(chain, text, ours, start, size, theirs):
    """How many tokens of a chain are equal, and what was changed: (equal, symbols, words, core).

    `core` counts the equal tokens that lie in no boilerplate.
    """
    low, high = theirs.offsets[text], theirs.offsets[text + 1]
    equal = symbols = words = core = 0
    for k in range(chain.shape[0]):
        i0, i1, j0 = chain[k, 0], chain[k, 1], chain[k, 2]
        for step in range(i1 - i0):
            same = ours.hashes[start + i0 + step] == theirs.hashes[j0 + step]
            equal += same
            symbols += not same
            core += same and ours.core[start + i0 + step] > 0
        if k:
            more = _change(ours, start + chain[k - 1, 1], start + i0, theirs, chain[k - 1, 3], j0)
            symbols += more[0]
            words += more[1]
    first = _end_change(ours, start, start + chain[0, 0], theirs, low, chain[0, 2], -1)
    last = _end_change(ours, start + chain[-1, 1], start + size, theirs, chain[-1, 3], high, 1)
    return equal + first[0] + last[0], symbols + first[1] + last[1], words + first[2] + last[2], core


@njit(nogil=True, cache=True)
def compare(pairs, slot_offsets, slot_scores, begins, stops, hits, fields, ours, theirs, text_of, memory):
    """Lays each field of each finding beside the row.

    Args:
        pairs: int32 [findings, 2]: row, item.
        slot_offsets: int64 [findings + 1], where each finding's fields begin in the result.
        slot_scores: float64 [slots], of `judge`.
        begins: int64 [findings], the row's first hit.
        stops: int64 [findings], one past its last.
        hits: of `scan`, ordered by row, text and first token.
        fields: the suite.
        ours: the Words of the distinct field texts.
        theirs: the Words of the texts with hits.
        text_of: int32, which text of `theirs` each text of the batch is.
        memory: as of `judge`; its marks and numbers of grams are used.

    Returns:
        int64 [slots, 7]: whether the whole field stands there; how many tokens are equal; how many places
        have other symbols; how many words are replaced; the text of `theirs` and the token where it was found
        (-1 where it was not); how many of the equal tokens lie in no boilerplate.
    """
    out = np.zeros((slot_scores.size, 7), np.int64)
    mark, number_of, clock = memory[6], memory[7], memory[8]
    runs = np.empty((64, 5), np.int32)
    for f in range(pairs.shape[0]):
        begin, stop = begins[f], stops[f]
        base = fields.item_offsets[pairs[f, 1]]
        for slot in range(slot_offsets[f], slot_offsets[f + 1]):
            field = fields.item_fields[base + slot - slot_offsets[f]]
            out[slot, 4] = out[slot, 5] = -1
            if slot_scores[slot] == 0:
                continue
            start, size = ours.offsets[field], fields.tokens[field]
            g0, g1 = fields.gram_offsets[field], fields.gram_offsets[field + 1]
            if slot_scores[slot] == 1:
                text, place = _whole(hits, begin, stop, fields.grams[g0], ours, start, size, theirs, text_of)
                if text >= 0:
                    out[slot, 0], out[slot, 1], out[slot, 4], out[slot, 5] = 1, size, text, place
                    out[slot, 6] = ours.core[start : start + size].sum()
                    continue
            clock[0] += 1
            places, offsets = _by_gram(fields.grams[g0:g1], mark, number_of, clock[0])
            count, runs = _runs(
                hits, begin, stop, ours, start, size, theirs, text_of, memory, places, offsets, runs
            )
            if count:
                chain, text = _chain(runs, count, size)
                laid = _measure(chain, text, ours, start, size, theirs)
                out[slot, 1], out[slot, 2], out[slot, 3], out[slot, 6] = laid
                out[slot, 4], out[slot, 5] = text, chain[0, 2]
    return out
