"""Near-duplicates in slow, legible Python: the twin that the fast matcher of `MinHash` is tested against.

An item's shingles are the distinct n-grams of the tokens of its fields, one behind the other; an item with
fewer than n tokens is one shingle. A *passage* is a run of tokens of one message. The score is the largest
Jaccard of the item's shingles and those of a passage that is, in n-grams, at least `shortest` and at most
1 / threshold times as long as the item; of a shorter message all is a passage. Of an item with fewer than
`at_least` tokens the score must be 1.

>>> match(["one two three four five six"], ["two", "So: one two three four five, seven six."], at_least=3)
PlainNear(score=0.6, message=1, passage='So: one two three four five')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from tulu_data.decontam.rules import EPSILON
from tulu_data.text.tokens import ngrams, tokens


@dataclass(frozen=True)
class PlainNear:
    """The passage that is most like an item."""

    score: float
    message: int
    passage: str


def match(
    item: Sequence[str],
    messages: Sequence[str],
    n: int = 3,
    threshold: float = 0.6,
    *,
    shortest: float = 0.8,
    at_least: int = 16,
) -> PlainNear | None:
    """The finding of one evaluation item in one training row, or None if no passage is like it.

    Args:
        item: the texts of the item's fields.
        messages: the texts of the row's messages that are looked at.
        n: tokens in a shingle.
        threshold: the least Jaccard.
        shortest: the least length of a passage, in items.
        at_least: an item with fewer tokens must be there whole.
    """
    words = [token.text for text in item for token in tokens(text, characters=True)]
    if not words:
        return None
    if len(words) < max(at_least, n):
        threshold = shortest = 1
    size = min(n, len(words))
    own = set(ngrams(words, size))
    length = len(words) - size + 1
    least, longest = ceil(length * shortest - 1e-9), int(length / threshold)
    best, found = Fraction(0), None
    for number, text in enumerate(messages):
        cut = tokens(text, characters=True)
        grams = list(ngrams([token.text for token in cut], size))
        for first in range(len(grams)):
            theirs: set[tuple[str, ...]] = set()
            for last in range(first, min(first + longest, len(grams))):
                theirs.add(grams[last])
                score = Fraction(len(own & theirs), len(own | theirs))
                if score > best and last - first + 1 >= min(least, len(grams)):
                    passage = text[cut[first].start : cut[last + size - 1].end]
                    best, found = score, PlainNear(float(score), number, passage)
    return found if found and found.score >= threshold - EPSILON else None
