r"""What a rule could find of an item, by its own definition and by counting alone.

The certificate is honest about what could be found at all: 60 % of a 12-token item is 7 tokens, and holds no
8-gram. This is worked out from how many tokens there are and which of them count, not from what is found.

>>> from tulu_data.decontam.rules import rule_of
>>> [size for size in (12, 13, 14, 100) if is_match(rule_of("tulu3"), Shape((b"\x01" * size,)), 0.6)]
[14, 100]
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tulu_data.decontam.kernels import MASKED_MOST
from tulu_data.decontam.planting.shapes import (
    COUNTED,
    DIGIT,
    IGNORED,
    SHARED,
    Mask,
    Shape,
    counted_in,
    has_boilerplate,
)
from tulu_data.decontam.rules import EPSILON, Coverage, Distinctive, MinHash, Rule


def is_match(rule: Rule, shape: Shape, share: float = 1.0) -> bool:
    """Whether an item is a match by the rule where of each field there is only a run with `share` of it."""
    if share == 1.0 and not isinstance(rule, Coverage):
        return True
    runs = [run_of(field, share) for field in shape.fields]
    match rule:
        case Coverage():
            return _mean(rule, shape, runs) > rule.threshold + EPSILON
        case MinHash():
            return _similarity(rule, shape, runs) >= rule.threshold
        case Distinctive():
            return not shape.needs and _is_part(rule, shape, runs)
        case _:
            return False


def is_skeleton(rule: Rule, shape: Shape) -> bool:
    """Whether an item of this shape is still a candidate where every number in digits is another."""
    match rule:
        case Distinctive():
            return not shape.needs and _is_related(rule, shape)
        case _:
            return any(COUNTED in field for field in shape.fields)


def run_of(field: bytes, share: float) -> range:
    """The run of a field's tokens, about its middle, that holds `share` of those that count, rounded down.

    Args:
        field: a byte for each token, as in a `Shape`.
        share: of the tokens that count.
    """
    counted: Sequence[int] = range(len(field))
    if has_boilerplate(field):
        counted = [place for place in counted if field[place] & COUNTED]
    size = int(share * len(counted) + 1e-9)
    if not size:
        return range(0)
    first = (len(counted) - size) // 2
    return range(counted[first], counted[first + size - 1] + 1)


def _mean(rule: Coverage, shape: Shape, runs: Sequence[range]) -> float:
    """The score of `Coverage`: the mean over the fields."""
    shares = [
        _covered(field, run, rule.ngram, _not_ignored(field)) / len(field)
        for field, run in zip(shape.fields, runs, strict=True)
    ]
    return sum(shares) / len(shares)


def _similarity(rule: MinHash, shape: Shape, runs: Sequence[range]) -> float:
    """At most so similar are the n-grams of the runs and those of the item."""
    whole, part = (max(0, sum(map(len, texts)) - rule.ngram + 1) for texts in (shape.fields, runs))
    return part / whole if whole else 0.0


def _is_part(rule: Distinctive, shape: Shape, runs: Sequence[range]) -> bool:
    """Whether the runs are a `partial`: enough of the item, and enough tokens."""
    covered = [_covered(field, run, rule.ngram, None) for field, run in zip(shape.fields, runs, strict=True)]
    shares = (part / counted_in(field) for part, field in zip(covered, shape.fields, strict=True))
    found = sum(len(run) for run, part in zip(runs, covered, strict=True) if part)
    return (
        sum(shares) / len(covered) > rule.threshold + EPSILON
        and sum(covered) >= rule.at_least
        and found > rule.threshold * sum(map(len, shape.fields))
    )


def _is_related(rule: Distinctive, shape: Shape) -> bool:
    """Whether the item with other numbers is a candidate, with enough left to be a `changed_numbers`."""
    covered = [_without_numbers(field, rule.ngram) for field in shape.fields]
    shares = (part / counted_in(field) for part, field in zip(covered, shape.fields, strict=True))
    found = sum(len(field) for part, field in zip(covered, shape.fields, strict=True) if part)
    return (
        sum(shares) / len(covered) > rule.threshold + EPSILON
        and sum(covered) >= rule.at_least // 2
        and found > rule.threshold * sum(map(len, shape.fields))
    )


def _covered(field: bytes, run: range, n: int, usable: Mask | None) -> int:
    """The tokens that count and lie in a usable n-gram inside the run; a shorter field is one n-gram."""
    size = min(n, len(field))
    if len(run) < size:
        return 0
    if usable is None:
        return counted_in(field[run.start : run.stop])
    change = np.zeros(len(run) + 1, np.int64)  # +1 where a usable n-gram begins, -1 behind it
    begins = usable[run.start : run.stop - size + 1]
    change[: len(begins)] += begins
    change[size : size + len(begins)] -= begins
    flags = np.frombuffer(field, np.uint8)[run.start : run.stop]
    return int(np.count_nonzero((np.cumsum(change[:-1]) > 0) & (flags & COUNTED > 0)))


def _not_ignored(field: bytes) -> Mask | None:
    """Which n-grams the rule looks for; None where all."""
    flags = np.frombuffer(field, np.uint8)
    return (flags & IGNORED) == 0 if max(field) >= IGNORED else None


@lru_cache(8192)  # items share their passages
def _without_numbers(field: bytes, n: int) -> int:
    """The tokens covered where all numbers are others: by n-grams with few numbers that are distinctive."""
    flags = np.frombuffer(field, np.uint8)
    size = min(n, len(field))
    inside, counted = (
        np.convolve(flags & bit > 0, np.ones(size, np.int64), "valid") for bit in (DIGIT, COUNTED)
    )
    masked = (inside <= MASKED_MOST) & (counted == n) & (flags[: len(counted)] & SHARED == 0)
    return _covered(field, range(len(field)), n, (inside == 0) | masked)
