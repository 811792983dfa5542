"""The kernels of `relevance.py`: what words of prompts answers hold. The plain twin is in its tests."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _holds(words, first, last, word):
    """Whether an ascending stretch of an array holds a word."""
    while first < last:
        middle = (first + last) // 2
        if words[middle] < word:
            first = middle + 1
        elif words[middle] > word:
            last = middle
        else:
            return True
    return False


@njit(nogil=True, cache=True)
def parted(prompts, before, ones, others, ignored, most):
    """The words that tell of each row whether its answers belong to its prompt, by their leading 32 bits.

    Args:
        prompts: (uint64 hashes, int64 ends) of every row's distinct words, ascending; as the following.
        before: all words before the answers, those of the prompt too.
        ones: an answer's words.
        others: those of the other answer.
        ignored: uint64, ascending, what counts as no word.
        most: of a prompt, so many words with the least hashes are taken: a fair sample of a long one.

    Returns:
        (words, ends) of each: the words of the prompt that an answer holds; those that none holds; the words
        that both answers hold and that do not come before them.
    """
    rows = prompts[1].size - 1
    echoed = np.empty(prompts[0].size, np.uint32)
    missing = np.empty(prompts[0].size, np.uint32)
    foreign = np.empty(ones[0].size, np.uint32)
    ends = np.zeros((3, rows + 1), np.int64)
    high = np.uint64(32)
    for row in range(rows):
        e, m, f = ends[0, row], ends[1, row], ends[2, row]
        full = e + m + most
        for i in range(prompts[1][row], prompts[1][row + 1]):
            if e + m == full:
                break
            word = prompts[0][i]
            if _holds(ignored, 0, ignored.size, word):
                continue
            if _holds(ones[0], ones[1][row], ones[1][row + 1], word) or _holds(
                others[0], others[1][row], others[1][row + 1], word
            ):
                echoed[e] = np.uint32(word >> high)
                e += 1
            else:
                missing[m] = np.uint32(word >> high)
                m += 1
        for i in range(ones[1][row], ones[1][row + 1]):
            word = ones[0][i]
            if (
                _holds(others[0], others[1][row], others[1][row + 1], word)
                and not _holds(before[0], before[1][row], before[1][row + 1], word)
                and not _holds(ignored, 0, ignored.size, word)
            ):
                foreign[f] = np.uint32(word >> high)
                f += 1
        ends[0, row + 1], ends[1, row + 1], ends[2, row + 1] = e, m, f
    return echoed[: ends[0, rows]], missing[: ends[1, rows]], foreign[: ends[2, rows]], ends


@njit(nogil=True, cache=True)
def places(words, known):
    """Where each word stands among the known ones; all are there, and these ascend and are evenly spread."""
    bits = 1
    while bits < 24 and (1 << bits) < known.size:
        bits += 1
    shift = np.uint32(32 - bits)
    starts = np.zeros((1 << bits) + 1, np.int64)
    for word in known:
        starts[np.int64(word >> shift) + 1] += 1
    for i in range(1 << bits):
        starts[i + 1] += starts[i]
    found = np.empty(words.size, np.int32)
    for i in range(words.size):
        place = starts[np.int64(words[i] >> shift)]
        while known[place] < words[i]:
            place += 1
        found[i] = place
    return found


@njit(nogil=True, cache=True)
def _asked(echoed, missing, ends, count, limit):
    """Which prompts each word is in, where these are no more than `limit`: (rows, ends)."""
    counts = np.zeros(count + 1, np.int64)
    for word in echoed:
        counts[word + 1] += 1
    for word in missing:
        counts[word + 1] += 1
    for word in range(count):
        if counts[word + 1] > limit:
            counts[word + 1] = 0
    common = counts[1:] == 0
    for word in range(count):
        counts[word + 1] += counts[word]
    free = counts[:-1].copy()
    rows = np.empty(counts[-1], np.int32)
    for row in range(ends.shape[1] - 1):
        for i in range(ends[0, row], ends[0, row + 1]):
            if not common[echoed[i]]:
                rows[free[echoed[i]]] = row
                free[echoed[i]] += 1
        for i in range(ends[1, row], ends[1, row + 1]):
            if not common[missing[i]]:
                rows[free[missing[i]]] = row
                free[missing[i]] += 1
    return rows, counts


@njit(nogil=True, cache=True)
def explain(echoed, missing, foreign, ends, weights, common, own_at_most, least, limit, candidates):
    """How well each row's prompt explains its answers, and which other prompt does so best.

    Args:
        echoed: int32, see `parted`; words by number.
        missing: likewise.
        foreign: likewise.
        ends: int64 [3, rows + 1], of these.
        weights: float64, of every word; none below 0.
        common: words that weigh no more are of the language, not of a topic. Where the answers hold less than
            a sixth of the prompt's, they are in another language, any prompt of which would fit: such rows
            are not looked at further.
        own_at_most: rows whose own prompt explains more are not looked at further.
        least: so much must the words of a prompt weigh, for it to be missed and for another to be found.
        limit: prompts are looked for by words that no more of them share.
        candidates: so many of those are looked at in full.

    Returns:
        own: float64, the share of the prompt's weight that the answers hold; NaN for a prompt without words.
        other: float64, the share of the other prompt's weight that both answers hold.
        best: int64, the row of that prompt; -1 where there is none.
    """
    rows = ends.shape[1] - 1
    total = np.zeros(rows)
    own = np.full(rows, np.nan)
    other = np.zeros(rows)
    best = np.full(rows, -1, np.int64)
    for row in range(rows):
        held = 0.0
        for i in range(ends[0, row], ends[0, row + 1]):
            held += weights[echoed[i]]
        total[row] = held
        for i in range(ends[1, row], ends[1, row + 1]):
            total[row] += weights[missing[i]]
        if total[row] > 0:
            own[row] = held / total[row]
    prompts, firsts = _asked(echoed, missing, ends, weights.size, limit)
    gained = np.zeros(rows)
    touched = np.empty(rows, np.int64)
    held_by = np.full(weights.size, -1, np.int64)
    for row in range(rows):
        if not own[row] <= own_at_most or total[row] < least:
            continue
        spoken = 0
        silent = 0
        for i in range(ends[0, row], ends[0, row + 1]):
            spoken += np.int64(weights[echoed[i]] <= common)
        for i in range(ends[1, row], ends[1, row + 1]):
            silent += np.int64(weights[missing[i]] <= common)
        if silent > 5 * spoken:
            continue
        count = 0
        most = 0.0
        for i in range(ends[2, row], ends[2, row + 1]):
            word = foreign[i]
            held_by[word] = row
            if weights[word] == 0:
                continue
            for k in range(firsts[word], firsts[word + 1]):
                q = prompts[k]
                if gained[q] == 0:
                    touched[count] = q
                    count += 1
                gained[q] += weights[word]
                most = max(most, gained[q])
        bound = most / 2
        while True:
            wanted = 0
            for i in range(count):
                wanted += np.int64(gained[touched[i]] >= bound)
            if wanted <= candidates or bound >= most * 0.999:
                break
            bound = (bound + most) / 2
        worth = 0.0
        for i in range(count):
            q = touched[i]
            if gained[q] >= bound:
                found = 0.0
                for k in range(ends[0, q], ends[0, q + 1]):
                    if held_by[echoed[k]] == row:
                        found += weights[echoed[k]]
                for k in range(ends[1, q], ends[1, q + 1]):
                    if held_by[missing[k]] == row:
                        found += weights[missing[k]]
                if found >= least and found * found / total[q] > worth:
                    worth = found * found / total[q]
                    other[row] = found / total[q]
                    best[row] = q
            gained[q] = 0
    return own, other, best
