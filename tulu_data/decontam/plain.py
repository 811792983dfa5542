"""The matching rule in slow, legible Python: the twin that the fast kernel is tested against.

A token of a field is *covered* if it lies in an n-gram of that field that occurs inside one message of the
training row; coverage is the union over the row's messages. A field's score is covered / tokens. A field with
fewer than n tokens scores 1 if it occurs whole in one message, else 0. An item's score is the mean over its
fields that have any token; the item is matched if its score is above the threshold.

>>> tokens_of = "what is seven plus five times the number of apples".split()
>>> sorted(covered_positions(tokens_of, [["so", *tokens_of[:8], "pears"]], 8))
[0, 1, 2, 3, 4, 5, 6, 7]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nltk.util import ngrams

from tulu_data.decontam.rules import EPSILON
from tulu_data.text.tokens import Token, tokens

Span = tuple[int, int]


@dataclass(frozen=True)
class PlainFinding:
    """What matched: the scores, and the matching characters on both sides."""

    score: float
    field_scores: dict[str, float]
    item_spans: list[tuple[str, int, int]]
    train_spans: list[tuple[int, int, int]]


def covered_positions(field: Sequence[str], messages: Sequence[Sequence[str]], n: int) -> set[int]:
    """The positions of the field's tokens that are covered by the messages."""
    size = min(n, len(field))
    if size == 0:
        return set()
    seen = {gram for message in messages for gram in ngrams(message, size)}
    hits = [i for i, gram in enumerate(ngrams(field, size)) if gram in seen]
    return {position for i in hits for position in range(i, i + size)}


def match(
    item: Mapping[str, str], messages: Sequence[str], n: int = 8, threshold: float = 0.5
) -> PlainFinding | None:
    """The finding of one evaluation item in one training row, or None if it is not matched.

    Args:
        item: the texts of the item's fields, by name.
        messages: the texts of the row's messages that are looked at.
        n: length of the n-grams, in tokens.
        threshold: the item's score must be above it.
    """
    fields = {name: cut for name, text in item.items() if (cut := tokens(text))}
    sides = [tokens(text) for text in messages]
    words = [[t.text for t in side] for side in sides]
    covered = {name: covered_positions([t.text for t in cut], words, n) for name, cut in fields.items()}
    scores = {name: len(covered[name]) / len(cut) for name, cut in fields.items()}
    if not scores or sum(scores.values()) / len(scores) <= threshold + EPSILON:
        return None
    item_spans = [(name, *span) for name, cut in fields.items() for span in spans(cut, covered[name])]
    train_spans = []
    for number, side in enumerate(sides):
        here: set[int] = set()
        for cut in fields.values():
            here |= covered_positions_in([t.text for t in side], [t.text for t in cut], n)
        train_spans += [(number, *span) for span in spans(side, here)]
    return PlainFinding(sum(scores.values()) / len(scores), scores, item_spans, train_spans)


def covered_positions_in(message: Sequence[str], field: Sequence[str], n: int) -> set[int]:
    """The positions of a message's tokens that lie in an n-gram of the field (or all of a shorter one)."""
    size = min(n, len(field))
    own = set(ngrams(field, size))
    return {p for i, gram in enumerate(ngrams(message, size)) if gram in own for p in range(i, i + size)}


def spans(cut: Sequence[Token], positions: set[int]) -> list[Span]:
    """Runs of neighbouring tokens as characters of the original text."""
    out: list[tuple[int, int]] = []
    last = -2
    for position in sorted(positions):
        token = cut[position]
        if position == last + 1:
            out[-1] = (out[-1][0], token.end)
        else:
            out.append((token.start, token.end))
        last = position
    return out
