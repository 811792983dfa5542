"""The rule `Distinctive` in slow, legible Python: the twin that the fast kernels are tested against.

What an item says is compared in tokens; the *grams* of a text are its n-grams, or the whole of a text with
fewer than n tokens. A *number* is a token that begins with an ASCII digit; a *symbol* is a number, a number
word, or a single ASCII letter.

Boilerplate   A gram that `boilerplate` distinct field texts of the eval hold, whatever its numbers are.
Counted       The tokens of a field in some other gram; all of them, if it has no other gram.
Stands        A gram stands where the row has the same tokens. If it has n tokens, one to three numbers, and
              is no boilerplate, its numbers may be others.
Score         Of a field, the share of its counted tokens that lie in grams which stand in the row; of an
              item, the mean over its fields that have tokens.
Candidates    Items with a score above `threshold`; of an item that is all boilerplate, the score must be 1.
Laid beside   Each field of a candidate is laid beside the row: `plain_beside.py`.
Kind          `Eval.kind` decides; short and weak items are looked at again by `Eval.second_look`.

A row is a list of streams: of one column, the messages of one role, joined by line breaks. Where several
places would do, the first is taken: by stream, then by token.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tulu_data.decontam.compare import JOINING
from tulu_data.decontam.plain import PlainFinding, holds, spans
from tulu_data.decontam.plain_beside import (
    Beside,
    Hit,
    Place,
    Words,
    is_number,
    is_symbol,
    lay_beside,
    whole_places,
)
from tulu_data.decontam.rules import EPSILON, Distinctive
from tulu_data.text.tokens import Token, ngrams, tokens

NUMBER = "#"
"""Stands for any number in a gram; no token has such a sign."""
MASKED_MOST = 3
"""So many numbers at most may be others; `kernels/grams.py` tells why."""
TRIES = 16
"""So many places are tried for options, and so many tokens more may be said: see `distinctive.py`."""

BELOW = 1 - 1e-6
"""As in `index.py`."""

Gram = tuple[str, ...]


@dataclass(frozen=True)
class PlainItem:
    """An item: the texts of its fields, and its answer options."""

    fields: Sequence[str]
    options: Sequence[str] = ()


class Stream:
    """Messages as one text."""

    def __init__(self, messages: Sequence[str]) -> None:
        self.text = "\n".join(messages)
        self.tokens = tokens(self.text, characters=True)
        self.words = [token.text for token in self.tokens]
        starts = [sum(len(message) + 1 for message in messages[:m]) for m in range(len(messages))]
        self.messages = {0, len(self.words)} | {self._first_token(start) for start in starts}
        """Before which tokens a message begins; and the number of tokens."""

    def _first_token(self, start: int) -> int:
        return sum(token.start < start for token in self.tokens)

    @cached_property
    def sentences(self) -> set[int]:
        """Before which tokens a sentence may begin; and the number of tokens.

        A line break parts two sentences, and so does any sign but a comma, an apostrophe and a hyphen.
        """
        gaps = [self.text[a.end : b.start] for a, b in zip(self.tokens, self.tokens[1:], strict=False)]
        return {0, len(self.words)} | {place for place, gap in enumerate(gaps, 1) if any(map(parts, gap))}


def parts(char: str) -> bool:
    """Whether a character may part two sentences."""
    return char == "\n" or (unicodedata.category(char)[0] in "PS" and char not in JOINING)


def masked(gram: Sequence[str]) -> Gram:
    """A gram with its numbers replaced.

    >>> masked(["ann", "has", "3", "pears"])
    ('ann', 'has', '#', 'pears')
    """
    return tuple(NUMBER if is_number(word) else word for word in gram)


class Eval:
    """The items of one eval, and what is learned from them."""

    def __init__(self, rule: Distinctive, items: Sequence[PlainItem]) -> None:
        self.rule, self.items = rule, items
        self.cuts = {text: tokens(text, characters=True) for item in items for text in item.fields}
        self.words = {text: [token.text for token in cut] for text, cut in self.cuts.items()}
        held: Counter[Gram] = Counter()
        for words in self.words.values():
            held.update({self._form(gram) for gram in self.grams(words)})
        self.boilerplate = {form for form, texts in held.items() if texts >= rule.boilerplate}

    # Learning

    def grams(self, words: Words) -> list[Gram]:
        """The n-grams of a text; or the whole of it, if it has fewer tokens."""
        return list(ngrams(words, min(self.rule.ngram, len(words)))) if words else []

    def _form(self, gram: Gram) -> Gram:
        return masked(gram) if len(gram) == self.rule.ngram else gram

    def counted(self, words: Words) -> set[int]:
        """The positions of the tokens of a field that count."""
        found = {
            place
            for start, gram in enumerate(self.grams(words))
            if self._form(gram) not in self.boilerplate
            for place in range(start, start + len(gram))
        }
        return found or set(range(len(words)))

    def core(self, words: Words) -> set[int]:
        """The positions of the tokens of a field that lie in no boilerplate."""
        inside = {
            place
            for start, gram in enumerate(self.grams(words))
            if self._form(gram) in self.boilerplate
            for place in range(start, start + len(gram))
        }
        return set(range(len(words))) - inside

    def limit(self, words: Words) -> float:
        """What the score of a field must be above: no more than what all tokens in no boilerplate make."""
        core, counted = len(self.core(words)), len(self.counted(words))
        share = core / counted * BELOW
        return min(self.rule.threshold, share) if core >= self.rule.phrase else self.rule.threshold

    def is_boilerplate(self, words: Words) -> bool:
        """Whether a field is nothing but boilerplate."""
        return all(self._form(gram) in self.boilerplate for gram in self.grams(words))

    def is_phrase(self, words: Words) -> bool:
        """Whether a short field is a phrase of others: `boilerplate` other texts of the eval hold it."""
        return sum(holds(text, words) for text in self.words.values()) > self.rule.boilerplate

    def is_weak(self, item: PlainItem) -> bool:
        """Whether each field says little: a few words, a phrase of others, or nothing but boilerplate.

        So does the field of an item with options, if another such item has the same.
        """
        asked = Counter(text for other in self.items if has_options(other) for text in other.fields)
        shared = [has_options(item) and asked[text] >= 2 for text in item.fields]
        return all(shared[slot] or self._says_little(words) for slot, words in self.fields(item).items())

    def _says_little(self, words: Words) -> bool:
        if len(words) >= self.rule.ngram:
            return self.is_boilerplate(words)
        return len(words) < self.rule.phrase or self.is_phrase(words)

    def fields(self, item: PlainItem) -> dict[int, Words]:
        """The words of the fields that have any, by number."""
        return {slot: self.words[text] for slot, text in enumerate(item.fields) if self.words[text]}

    # Finding

    def stands(self, gram: Gram, there: Gram) -> bool:
        """Whether a gram stands where a row has other tokens or the same."""
        numbers = sum(map(is_number, gram))
        if (
            len(gram) == self.rule.ngram
            and 0 < numbers <= MASKED_MOST
            and masked(gram) not in self.boilerplate
        ):
            return masked(gram) == masked(there)
        return gram == there

    def standing(self, words: Words, row: Sequence[Stream]) -> Iterator[Hit]:
        """Each place of the row where grams of the field stand, and where these begin in the field."""
        grams = self.grams(words)
        for number, stream in enumerate(row):
            for place, there in enumerate(ngrams(stream.words, len(grams[0]))):
                if starts := [start for start, gram in enumerate(grams) if self.stands(gram, there)]:
                    yield starts, (number, place)

    def find(self, item: PlainItem, row: Sequence[Stream]) -> PlainFinding | None:
        """The finding of an item in a row, or None."""
        fields = self.fields(item)
        hits = {slot: list(self.standing(words, row)) for slot, words in fields.items()}
        size = {slot: min(self.rule.ngram, len(words)) for slot, words in fields.items()}
        covered = {
            slot: {start + k for starts, _ in hits[slot] for start in starts for k in range(size[slot])}
            for slot in fields
        }
        counted = {slot: self.counted(words) for slot, words in fields.items()}
        scores = {slot: len(covered[slot] & counted[slot]) / len(counted[slot]) for slot in fields}
        score = sum(scores.values()) / len(scores) if scores else 0
        all_boilerplate = all(map(self.is_boilerplate, fields.values()))
        limit = sum(map(self.limit, fields.values())) / max(1, len(fields))
        if score < 1 and (all_boilerplate or score <= limit + EPSILON):
            return None
        beside = [
            lay_beside(words, hits[slot], [stream.words for stream in row], self.core(words))
            if scores[slot]
            else Beside(False, 0, 0, 0)
            for slot, words in fields.items()
        ]
        total = sum(len(covered[slot] & counted[slot]) for slot in fields)
        kind = self.kind(item, beside, total, below=score <= self.rule.threshold + EPSILON)
        options: list[tuple[int, Place, int]] = []
        if kind == "short" or (kind == "copy" and self.is_weak(item)):
            kind, options = self.second_look(item, kind, row)
        if not kind:
            return None
        ours = [(slot, *span) for slot in fields for span in spans(self._cut(item, slot), covered[slot])]
        theirs = []
        for number, stream in enumerate(row):
            here = {
                place + k
                for slot in fields
                for _, (at, place) in hits[slot]
                if at == number
                for k in range(size[slot])
            }
            theirs += [(number, *span) for span in spans(stream.tokens, here)]
        for option, (number, place), length in options:
            cut = tokens(item.options[option], characters=True)
            there = row[number].tokens[place : place + length]
            ours.append((len(item.fields) + option, cut[0].start, cut[-1].end))
            theirs.append((number, there[0].start, there[-1].end))
        by_slot = {str(slot): value for slot, value in scores.items()}
        told = [(str(slot), start, end) for slot, start, end in sorted(ours, key=lambda span: span[:2])]
        return PlainFinding(score, by_slot, told, sorted(theirs, key=lambda span: span[:2]), kind)

    def _cut(self, item: PlainItem, slot: int) -> list[Token]:
        return self.cuts[item.fields[slot]]

    def kind(self, item: PlainItem, beside: Sequence[Beside], covered: int, *, below: bool) -> str:
        """The kind of a finding, or nothing; `covered` counted tokens stand in the row.

        `below` the threshold only what has all tokens that lie in no boilerplate is a finding.

        Where more than one fits, it is the first.
        """
        rule, sizes = self.rule, [len(words) for words in self.fields(item).values()]
        size = sum(sizes)
        equal, symbols, words = (sum(b[part] for b in beside) for part in (1, 2, 3))
        some, enough = covered >= rule.at_least // 2, covered >= rule.at_least
        if all(b.whole for b in beside):
            return "short" if max(sizes) < rule.ngram else "copy"
        if self.is_weak(item):
            return ""
        core = sum(len(self.core(words)) for words in self.fields(item).values())
        all_core = not symbols and core >= rule.phrase and sum(b.core for b in beside) >= core
        if below or all_core:
            return "partial" if all_core else ""
        if symbols:
            return "changed_numbers" if some and equal + symbols > rule.threshold * size else ""
        if enough and equal > rule.threshold * size and words <= rule.replaced * size:
            return "partial"
        return "near_duplicate" if enough or (some and equal >= rule.similar * size) else ""

    # The second look

    def second_look(
        self, item: PlainItem, kind: str, row: Sequence[Stream]
    ) -> tuple[str, list[tuple[int, Place, int]]]:
        """What becomes of whole items that are short or weak: the kind, and the options that were found.

        A weak one with options needs these. Of others that are short, each field must be all that a message
        says if the item is weak, else a sentence.
        """
        options = [[token.text for token in tokens(text, characters=True)] for text in item.options]
        places = {
            slot: list(whole_places(words, [stream.words for stream in row]))
            for slot, words in self.fields(item).items()
        }
        if (self.is_weak(item) or kind == "short") and sum(map(bool, options)) >= 2:
            for slot, words in self.fields(item).items():
                for number in range(len(row)):
                    for at, place in [found for found in places[slot] if found[0] == number][:TRIES]:
                        near = options_behind(options, row[at], place + len(words))
                        if self._enough(item, words, options, near, row[at], place):
                            return "options", [(o, (at, j), len(options[o])) for o, j in sorted(near.items())]
            if self.is_weak(item):
                return "", []
            bare = all(
                any({place, place + len(words)} <= row[at].sentences for at, place in places[slot])
                for slot, words in self.fields(item).items()
            )
            return "near_duplicate" if bare else "", []
        if kind == "short":
            edges = [stream.messages if self.is_weak(item) else stream.sentences for stream in row]
            for slot, words in self.fields(item).items():
                if not any({place, place + len(words)} <= edges[at] for at, place in places[slot]):
                    return "", []
        return kind, []

    def _enough(
        self,
        item: PlainItem,
        words: Words,
        options: list[Words],
        near: Mapping[int, int],
        stream: Stream,
        place: int,
    ) -> bool:
        """Whether enough options were found; and of few words, that the message says little else."""
        if len(near) < max(2, math.ceil(self.rule.options * sum(map(bool, options)))):
            return False
        said = [word for field in [*self.fields(item).values(), *options] for word in field]
        if sum(not is_symbol(word) for word in said) >= self.rule.ngram:
            return True
        last = max(j + len(options[o]) for o, j in near.items())
        start = max(edge for edge in stream.messages if edge <= place)
        stop = min(edge for edge in stream.messages if edge >= last)
        return stop - start <= 2 * (len(words) + sum(len(options[o]) for o in near)) + TRIES


def has_options(item: PlainItem) -> bool:
    """Whether at least two of an item's options have words."""
    return sum(bool(tokens(text, characters=True)) for text in item.options) >= 2


def options_behind(options: list[Words], stream: Stream, place: int) -> dict[int, int]:
    """Where options stand behind a place: for the number of each that was found, its first token.

    The longest is looked for first, and no token is used twice. Reach is three times the options' tokens, and
    8 for each option.
    """
    reach = stream.words[: place + 3 * sum(map(len, options)) + 8 * len(options)]
    used: set[int] = set()
    found = {}
    for number in sorted(range(len(options)), key=lambda o: -len(options[o])):
        words = options[number]
        for j in range(place, len(reach) - len(words) + 1 if words else 0):
            mine = set(range(j, j + len(words)))
            if reach[j : j + len(words)] == words and not mine & used:
                used |= mine
                found[number] = j
                break
    return found
