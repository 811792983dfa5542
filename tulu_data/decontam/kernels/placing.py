"""Where whole fields and options of items stand in the rows that they were found in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit


class Words(NamedTuple):
    """The tokens of texts, as `Cut` has them."""

    offsets: np.ndarray  # int64 [texts + 1]
    hashes: np.ndarray  # uint64 [tokens]
    numbers: np.ndarray  # uint8 [tokens]: begins with a digit
    core: np.ndarray  # uint8 [tokens]: lies in no boilerplate
    symbols: np.ndarray  # uint8 [tokens]: a number, a number word or a single letter
    places: np.ndarray  # int64 [tokens]: where it begins in `text`
    ends: np.ndarray  # int64 [tokens]
    text: np.ndarray  # uint8


@njit(nogil=True, cache=True)
def stands_at(ours, start, size, theirs, place, stop):
    """How many of `size` tokens are equal from `place` on, up to the first that is not."""
    for k in range(size):
        if place + k >= stop or ours.hashes[start + k] != theirs.hashes[place + k]:
            return k
    return size


@njit(nogil=True, cache=True)
def find_whole(ours, start, size, theirs, first, stop, used):
    """The first place in [first, stop) at which all `size` tokens stand, or -1; in linear time.

    By Knuth, Morris and Pratt. `used` (uint8) may mark tokens from `first` on that must not be among them.
    """
    back = np.zeros(size, np.int64)
    k = 0
    for i in range(1, size):
        while k and ours.hashes[start + i] != ours.hashes[start + k]:
            k = back[k - 1]
        k += ours.hashes[start + i] == ours.hashes[start + k]
        back[i] = k
    k = 0
    taken = first - 1  # the last token that is used
    for j in range(first, stop):
        if used.size and used[j - first]:
            taken = j
        while k and theirs.hashes[j] != ours.hashes[start + k]:
            k = back[k - 1]
        k += theirs.hashes[j] == ours.hashes[start + k]
        if k == size:
            if taken <= j - size:
                return j - size + 1
            k = back[k - 1]
    return -1


@njit(nogil=True, cache=True)
def whole_places(ours, start, size, theirs, first, stop, most):
    """The first places, at most so many, in [first, stop) at which all `size` tokens stand (int64)."""
    found = np.empty(most, np.int64)
    nothing = np.zeros(0, np.uint8)
    for count in range(most):
        found[count] = find_whole(ours, start, size, theirs, first, stop, nothing)
        if found[count] < 0:
            return found[:count]
        first = found[count] + 1
    return found


@njit(nogil=True, cache=True)
def options_near(choices, first, last, theirs, text, place):
    """Where an item's options stand within reach behind a place: int64 [options, 2], tokens [first, last).

    Args:
        choices: the Words of the options of all items.
        first: the item's first option in `choices`.
        last: one past its last.
        theirs: the Words of the texts with hits.
        text: which of them.
        place: the token behind the question.

    Returns:
        -1 where an option was not found, or has no tokens. Reach: three times the options' tokens, and 8 for
        each; no token is used twice.
    """
    out = np.full((last - first, 2), -1, np.int64)
    total = choices.offsets[last] - choices.offsets[first]
    stop = min(theirs.offsets[text + 1], place + 3 * total + 8 * (last - first))
    used = np.zeros(max(0, stop - place), np.uint8)
    sizes = choices.offsets[first + 1 : last + 1] - choices.offsets[first:last]
    for option in np.argsort(
        -sizes, kind="mergesort"
    ):  # the longest first, so that no short one takes part of it
        start, size = choices.offsets[first + option], sizes[option]
        found = find_whole(choices, start, size, theirs, place, stop, used) if 0 < size <= used.size else -1
        if found >= 0:
            used[found - place : found - place + size] = 1
            out[option, 0], out[option, 1] = found, found + size
    return out


@njit(nogil=True, cache=True)
def options_follow(
    found, begins, stops, hits, fields, choices, option_offsets, needed, ours, theirs, text_of, tries
):
    """Which findings may have enough options behind their question; of the others nothing more need be asked.

    Args:
        found: int32 [findings], their items.
        begins: int64 [findings], the row's first hit.
        stops: int64 [findings], one past its last.
        hits: of `scan`, ordered by row, text and first token.
        fields: the suite.
        choices: the Words of the options of all items.
        option_offsets: int64 [items + 1], where an item's options begin in `choices`.
        needed: int64 [findings], how many options must be there.
        ours: the Words of the distinct field texts.
        theirs: the Words of the texts with hits.
        text_of: int32, which text of `theirs` each text of the batch is.
        tries: at so many places of each text at most options are looked for.

    Returns:
        uint8 [findings].
    """
    out = np.zeros(found.size, np.uint8)
    for f in range(found.size):
        item = found[f]
        first, last = option_offsets[item], option_offsets[item + 1]
        for s in range(fields.item_offsets[item], fields.item_offsets[item + 1]):
            field = fields.item_fields[s]
            gram = fields.grams[fields.gram_offsets[field]]
            start, size = ours.offsets[field], fields.tokens[field]
            count, last_text = 0, -1
            for h in range(begins[f], stops[f]):
                if out[f] or hits[h, 1] != gram:
                    continue
                text = text_of[hits[h, 0]]
                if text != last_text:
                    count, last_text = 0, text
                place = theirs.offsets[text] + hits[h, 2]
                stop = theirs.offsets[text + 1]
                if count == tries or stands_at(ours, start, size, theirs, place, stop) < size:
                    continue
                count += 1
                near = options_near(choices, first, last, theirs, text, place + size)
                out[f] = (near[:, 1] >= 0).sum() >= needed[f]
    return out
