"""`Coverage` and `Exact` in slow, legible Python: the twin that the fast kernel is tested against.

A token of a field is *covered* if it lies in an n-gram of that field that occurs inside one message of the
training row; coverage is the union over the row's messages. A field's score is covered / tokens. A field with
fewer than n tokens scores 1 if it occurs whole in one message, else 0. An item's score is the mean over its
fields that have any token; the item is matched if its score is above the threshold. What a rule ignores
covers nothing, and still counts among the tokens.

>>> tokens_of = "what is seven plus five times the number of apples".split()
>>> sorted(covered_positions(tokens_of, [["so", *tokens_of[:8], "pears"]], 8))
[0, 1, 2, 3, 4, 5, 6, 7]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tulu_data.decontam.rules import EPSILON
from tulu_data.text.tokens import Token, ngrams, tokens

Span = tuple[int, int]
Ignored = Callable[[Sequence[Token]], bool]
"""Whether an n-gram (or a whole field, if it has fewer tokens) is looked for nowhere."""

WHOLE = 8
"""A field with fewer tokens makes a whole item `short`."""


@dataclass(frozen=True)
class PlainFinding:
    """What matched: the kind, the scores, and the matching characters on both sides."""

    score: float
    field_scores: dict[str, float]
    item_spans: list[tuple[str, int, int]]
    train_spans: list[tuple[int, int, int]]
    kind: str = "copy"


def covered_positions(
    field: Sequence[str], messages: Sequence[Sequence[str]], n: int, ignored: Collection[int] = ()
) -> set[int]:
    """The positions of the field's tokens that are covered by the messages.

    Args:
        field: its tokens.
        messages: the tokens of each.
        n: length of the n-grams.
        ignored: where in the field n-grams begin that are ignored.
    """
    size = min(n, len(field))
    if size == 0:
        return set()
    seen = {gram for message in messages for gram in ngrams(message, size)}
    hits = [i for i, gram in enumerate(ngrams(field, size)) if gram in seen and i not in ignored]
    return {position for i in hits for position in range(i, i + size)}


def covered_positions_in(
    message: Sequence[str], field: Sequence[str], n: int, ignored: Collection[int] = ()
) -> set[int]:
    """The positions of a message's tokens that lie in an n-gram of the field (or all of a shorter one)."""
    size = min(n, len(field))
    own = {gram for i, gram in enumerate(ngrams(field, size)) if i not in ignored}
    return {p for i, gram in enumerate(ngrams(message, size)) if gram in own for p in range(i, i + size)}


def ignored_by(generic: Sequence[str] = (), single: float | None = None) -> Ignored:
    """What `Coverage` ignores: what lies in a generic phrase or holds one, and what is mostly of one letter.

    >>> ignore = ignored_by(["Round your answer to the nearest hundredth"], 0.5)
    >>> ignore(tokens("round your answer")), ignore(tokens("x + y is")), ignore(tokens("x + y is even"))
    (True, True, False)
    """
    phrases = [_words(tokens(phrase)) for phrase in generic]

    def ignored(gram: Sequence[Token]) -> bool:
        words = _words(gram)
        letters = sum(token.end - token.start == 1 for token in gram)
        mostly_letters = single is not None and letters > single * len(gram)
        return mostly_letters or any(p and (holds(p, words) or holds(words, p)) for p in phrases)

    return ignored


def holds(words: Sequence[str], part: Sequence[str]) -> bool:
    """Whether all of `part` stands in `words`, one word behind the other."""
    return tuple(part) in set(ngrams(words, len(part)))


def match(
    item: Mapping[str, str],
    messages: Sequence[str],
    n: int = 8,
    threshold: float = 0.5,
    *,
    ignored: Ignored = lambda _gram: False,
) -> PlainFinding | None:
    """The finding of one evaluation item in one training row by `Coverage`, or None if it is not matched.

    Args:
        item: the texts of the item's fields, by name.
        messages: the texts of the row's messages that are looked at.
        n: length of the n-grams, in tokens.
        threshold: the item's score must be above it.
        ignored: which n-grams are ignored.
    """
    fields = {name: cut for name, text in item.items() if (cut := tokens(text))}
    sides = [tokens(text) for text in messages]
    skip = {name: _ignored_places(cut, n, ignored) for name, cut in fields.items()}
    words = [_words(side) for side in sides]
    covered = {name: covered_positions(_words(cut), words, n, skip[name]) for name, cut in fields.items()}
    scores = {name: len(covered[name]) / len(cut) for name, cut in fields.items()}
    if not scores or sum(scores.values()) / len(scores) <= threshold + EPSILON:
        return None
    score = sum(scores.values()) / len(scores)
    long = any(scores[name] > 0 and len(cut) >= n for name, cut in fields.items())
    item_spans = [(name, *span) for name, cut in fields.items() for span in spans(cut, covered[name])]
    train_spans = []
    for number, side in enumerate(sides):
        here: set[int] = set()
        for name, cut in fields.items():
            here |= covered_positions_in(words[number], _words(cut), n, skip[name])
        train_spans += [(number, *span) for span in spans(side, here)]
    kind = "short" if not long else "copy" if score == 1 else "partial"
    return PlainFinding(score, scores, item_spans, train_spans, kind)


def _ignored_places(cut: Sequence[Token], n: int, ignored: Ignored) -> set[int]:
    size = min(n, len(cut))
    return {i for i in range(len(cut) - size + 1) if ignored(cut[i : i + size])}


def match_exact(item: Mapping[str, str], messages: Sequence[str]) -> PlainFinding | None:
    """The finding by `Exact`: every field stands whole in one message or another."""
    fields = [_words(cut) for text in item.values() if (cut := tokens(text))]
    sides = [_words(tokens(text)) for text in messages]
    found = match(item, messages, WHOLE, 0)
    if found is None or not all(any(holds(side, field) for side in sides) for field in fields):
        return None
    kind = "short" if all(len(field) < WHOLE for field in fields) else "copy"
    return PlainFinding(found.score, found.field_scores, found.item_spans, found.train_spans, kind)


def _words(cut: Sequence[Token]) -> list[str]:
    return [token.text for token in cut]


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
