"""Laying a field beside a row, in slow, legible Python: the twin of `kernels/comparing.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tulu_data.decontam.compare import ARTICLES, NUMBER_WORDS
from tulu_data.text.tokens import ngrams

END = 3
GAP = 64
UNLIKE = 4
PARALLEL = 0.6
FORMULA = 3
"""The constants of the kernel, which tells their reasons."""

Words = list[str]
Place = tuple[int, int]
"""A stream of a row, and a token of it."""
Hit = tuple[list[int], Place]
"""Where in a field the grams begin that stand at a place of the row."""


def is_number(word: str) -> bool:
    """Whether a token is a number."""
    return word[0] in "0123456789"


def is_symbol(word: str) -> bool:
    """Whether a token is a number, a number word or a single letter."""
    return (
        is_number(word)
        or word in NUMBER_WORDS
        or (len(word) == 1 and word.isascii() and word not in ARTICLES)
    )


class Beside(NamedTuple):
    """A field laid beside a row."""

    whole: bool
    """All of it stands there."""
    equal: int
    """So many tokens are equal."""
    symbols: int
    """So many times numbers, number words or single letters were replaced."""
    words: int
    """So many tokens were replaced otherwise."""
    core: int = 0
    """So many of the equal tokens lie in no boilerplate."""


class Run(NamedTuple):
    """Tokens that field and row share, numbers counting as equal."""

    i0: int
    """The field's tokens are [i0, i1)."""
    i1: int
    j0: int
    """The row's are [j0, j1)."""
    j1: int
    stream: int


def lay_beside(words: Words, hits: Sequence[Hit], row: Sequence[Words], core: Collection[int]) -> Beside:
    """A field beside a row: whole, or by the runs that both share; `core`: its places in no boilerplate."""
    if any(True for _ in whole_places(words, row)):
        return Beside(True, len(words), 0, 0, len(core))
    chain = chain_of(runs_of(words, hits, row), len(words))
    there = row[chain[0].stream]
    pairs = [(words[run.i0 + k], there[run.j0 + k]) for run in chain for k in range(run.i1 - run.i0)]
    same = sum(a == b for a, b in pairs)
    gaps = [(0, *change(words[a.i1 : b.i0], there[a.j1 : b.j0])) for a, b in pairwise(chain)]
    first = end_change(words[: chain[0].i0], there[: chain[0].j0], first=True)
    last = end_change(words[chain[-1].i1 :], there[chain[-1].j1 :], first=False)
    runs = (same, len(pairs) - same, 0)
    kept = [
        run.i0 + k for run in chain for k in range(run.i1 - run.i0) if words[run.i0 + k] == there[run.j0 + k]
    ]
    equal, symbols, replaced = (sum(column) for column in zip(runs, first, last, *gaps, strict=True))
    return Beside(False, equal, symbols, replaced, sum(place in core for place in kept))


def whole_places(words: Words, row: Sequence[Words]) -> Iterator[Place]:
    """Where all tokens of a field stand."""
    for number, stream in enumerate(row):
        for place, there in enumerate(ngrams(stream, len(words))):
            if there == tuple(words):
                yield number, place


def like(ours: str, theirs: str) -> bool:
    """Whether two tokens are equal, or both numbers."""
    return ours == theirs or (is_number(ours) and is_number(theirs))


def runs_of(words: Words, hits: Sequence[Hit], row: Sequence[Words]) -> list[Run]:
    """The runs that field and row share, in the row's order; none begins inside the one before it.

    Of a gram that the field holds several times, the first place behind the last run is meant, else the
    first of all.
    """
    runs: list[Run] = []
    for starts, (stream, j) in hits:
        there = row[stream]
        last = runs[-1] if runs and runs[-1].stream == stream else Run(0, 0, 0, 0, stream)
        if j < last.j1:
            continue
        i = next((start for start in starts if start >= last.i1), starts[0])
        back = ahead = 0
        while back < min(i, j - last.j1) and like(words[i - back - 1], there[j - back - 1]):
            back += 1
        while ahead < min(len(words) - i, len(there) - j) and like(words[i + ahead], there[j + ahead]):
            ahead += 1
        runs.append(Run(i - back, i + ahead, j - back, j + ahead, stream))
    return runs


def chain_of(runs: list[Run], size: int) -> list[Run]:
    """The runs that follow one another on both sides, from the longest (the first such) outwards.

    What overlaps with the chain in the field is cut off; what then has fewer than END tokens, or lies more
    than GAP tokens and twice the field's `size` away, is left out.
    """
    pivot = max(range(len(runs)), key=lambda k: (runs[k].i1 - runs[k].i0, -k))
    near = 2 * size + GAP
    chain = [runs[pivot]]
    for run in runs[:pivot][::-1]:
        over = max(0, run.i1 - chain[0].i0)
        fits = run.stream == chain[0].stream and chain[0].j0 - run.j1 <= near
        if fits and run.i1 - run.i0 - over >= END:
            chain.insert(0, run._replace(i1=run.i1 - over, j1=run.j1 - over))
    for run in runs[pivot + 1 :]:
        over = max(0, chain[-1].i1 - run.i0)
        fits = run.stream == chain[-1].stream and run.j0 - chain[-1].j1 <= near
        if fits and run.i1 - run.i0 - over >= END:
            chain.append(run._replace(i0=run.i0 + over, j0=run.j0 + over))
    return chain


def same_symbols(ours: Words, theirs: Words) -> bool:
    """Whether both sides hold the same symbols in the same order."""
    return list(filter(is_symbol, ours)) == list(filter(is_symbol, theirs))


def change(ours: Words, theirs: Words) -> tuple[int, int]:
    """What was changed where the field says `ours` and the row `theirs`: (symbols, words).

    Nothing, if one side is empty or only the words are parted otherwise. Where one side is UNLIKE times as
    long as the other (and END more), something was left out or put in: the words of the shorter. Symbols, if
    both sides have others; else words, and so wherever a side is longer than GAP.

    >>> change(["frac12"], ["frac", "1", "2"]), change(["5"], ["6"])
    ((0, 0), (1, 0))
    >>> change(["a", "hen"], ["a", "duck", "pond"])
    (0, 3)
    """
    small = len(ours) <= GAP and len(theirs) <= GAP
    if not ours or not theirs or (small and "".join(ours) == "".join(theirs)):
        return 0, 0
    shorter, longer = sorted([len(ours), len(theirs)])
    if longer > UNLIKE * shorter + END:
        return 0, shorter
    if small and not same_symbols(ours, theirs):
        return 1, 0
    return 0, max(len(ours), min(len(theirs), GAP))


def end_change(ours: Words, theirs: Words, *, first: bool) -> tuple[int, int, int]:
    """What was changed at an end of the field: (equal, symbols, words).

    Args:
        ours: the field's tokens before the chain, or behind it.
        theirs: all that the row says there.
        first: before the chain; else behind it.

    An end of END tokens is compared with as much of the row; symbols were changed if one faces another next
    to the chain, else what stands beside a cut field need not replace it. Of a longer one (of GAP tokens at
    most) PARALLEL must stand there in order, among twice as many; or both are formulas. Else the copy was cut
    off there, and nothing was changed.
    """
    beside = next_to(theirs, len(ours), first=first)
    if len(ours) <= END:
        symbols, words = change(ours, beside)
        if not symbols:
            return 0, 0, words
        own, other = (ours[-1], beside[-1]) if first else (ours[0], beside[0])
        faces = is_symbol(own) and is_symbol(other) and own != other
        return (0, 1, 0) if faces else (0, 0, len(ours))
    part = next_to(ours, GAP, first=first)
    reach = next_to(theirs, 2 * len(part), first=first)
    lengths = in_order(part[::-1], reach[::-1]) if first else in_order(part, reach)
    equal = lengths[-1]
    if equal >= PARALLEL * len(part):
        taken = next_to(reach, lengths.index(equal), first=first)
        if "".join(part) == "".join(taken):
            return equal, 0, 0
        return (equal, 0, len(part) - equal) if same_symbols(part, taken) else (equal, 1, 0)
    return 0, int(is_formula(ours) and is_formula(beside)), 0


def next_to(words: Words, size: int, *, first: bool) -> Words:
    """At most so many tokens next to the chain: the last of those before it, or the first behind it."""
    return words[max(0, len(words) - size) :] if first else words[:size]


def in_order(ours: Words, theirs: Words) -> list[int]:
    """The longest common subsequence of `ours` with the first 0, 1, 2, … of `theirs`: its lengths.

    >>> in_order(["a", "b", "c"], ["a", "x", "c", "b"])
    [0, 1, 1, 2, 2]
    """
    before = [0] * (len(theirs) + 1)
    for word in ours:
        now = [0]
        for place, there in enumerate(theirs):
            now.append(before[place] + 1 if word == there else max(before[place + 1], now[place]))
        before = now
    return before


def is_formula(words: Words) -> bool:
    """Whether each third token is a symbol."""
    return bool(words) and FORMULA * sum(map(is_symbol, words)) >= len(words)
