"""An item as planting sees it: which of its tokens count and which are numbers, from the item and rule alone.

Whether an item can be planted in some way is decided by its shape, never by what the matcher finds: else a
matcher that is blind to an item would excuse itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tulu_data.decontam.distinctive import DistinctiveMatcher
from tulu_data.decontam.items import EvalItems, SuiteItems
from tulu_data.decontam.planting.texts import is_number
from tulu_data.decontam.rules import Coverage, Distinctive, Rule
from tulu_data.text.tokens import UNSPACED_CLASS, Token, normalise

COUNTED, NUMBER, DIGIT, IGNORED, SHARED = 1, 2, 4, 8, 16
"""Bits of a token in a shape: it counts (learned boilerplate does not); it is a number in digits; it begins
with a digit; the n-gram that begins here is one that the rule ignores; it is of a field that is nothing but
boilerplate, so that all of it counts after all."""

Mask = npt.NDArray[np.bool_]
_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(f"[{UNSPACED_CLASS}]")
_DIGIT = re.compile(r"\d|[^\x00-\x7f]")
"""What a text without numbers does not hold; normalising makes digits of other characters."""
_DIGITS = frozenset("0123456789")


_NO_NUMBERS = bytes(flags & ~(NUMBER | DIGIT) & 0xFF for flags in range(256))
_COUNT, _NUMBERS = (bytes(flags for flags in range(32) if flags & bit) for bit in (COUNTED, NUMBER))


class Shape(NamedTuple):
    """An item's fields that have tokens, a byte of flags for each token; and how many options have some."""

    fields: tuple[bytes, ...]
    options: int = 0
    needs: str = ""
    """What it needs besides being there: `alone`, that it is all that a message says; `options`, these."""


def has_number(field: bytes) -> bool:
    """Whether some token of a field is a number in digits."""
    return len(field.translate(None, _NUMBERS)) < len(field)


def has_boilerplate(field: bytes) -> bool:
    """Whether some token of a field does not count."""
    return counted_in(field) < len(field)


def counted_in(field: bytes) -> int:
    """How many tokens count."""
    return len(field) - len(field.translate(None, _COUNT))


@dataclass(frozen=True)
class Shapes:
    """The different shapes of an eval's items, and which of them each item has."""

    different: list[Shape]
    which: npt.NDArray[np.int64]

    def counts(self) -> list[int]:
        """How many items have each shape."""
        return np.bincount(self.which, minlength=len(self.different)).tolist()  # type: ignore[no-any-return]

    def without_numbers(self) -> Shapes:
        """The same, numbers not told from words: far fewer are different."""
        numbers: dict[Shape, int] = {}
        plain = (
            Shape(tuple(field.translate(_NO_NUMBERS) for field in fields), options, needs)
            for fields, options, needs in self.different
        )
        new = np.array([numbers.setdefault(shape, len(numbers)) for shape in plain], np.int64)
        return Shapes(list(numbers), new[self.which])


@dataclass(frozen=True)
class Slot:
    """One text of an item, its tokens, and which of them count."""

    text: str
    tokens: Sequence[Token]
    counted: Mask


@dataclass(frozen=True)
class Specimen:
    """One item, ready to be planted; its fields and options without a token are left out."""

    eval: str
    item_id: str
    fields: tuple[Slot, ...]
    options: tuple[Slot, ...]
    rule: Rule
    salt: int
    """A number of the item's own, from the seed: what varies between plants hangs on it."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Fields, then options."""
        return (*self.fields, *self.options)


class Anatomy:
    """The items of one eval: the shape of every one, and the specimens of those that are planted."""

    def __init__(self, suite: SuiteItems, part: EvalItems, seed: int) -> None:
        self.suite, self.part, self.seed = suite, part, seed
        self.rule = suite.suite.rule
        self.first = suite.starts[suite.evals.index(part)]
        self._masks: dict[str, bytes] = {}
        self._slots: dict[str, Slot] = {}

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The items by BLAKE2b(seed, eval, item id): the sample is the first of them that are eligible."""
        keys = [_key(self.seed, self.part.eval.name, name) for name in self.part.ids]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)

    @cached_property
    def shapes(self) -> Shapes:
        """The shape of every item."""
        part = self.part
        options = np.zeros(len(part.ids), np.int64)
        for column in part.texts[len(part.eval.fields) :]:
            options += [bool(_WORD.search(text)) for text in column]
        slots = [
            [self._mask(item, slot, text) for item, text in enumerate(column)]
            for slot, column in enumerate(part.texts[: len(part.eval.fields)])
        ]
        numbers: dict[Shape, int] = {}
        which = []
        for item, (masks, given) in enumerate(zip(zip(*slots, strict=True), options.tolist(), strict=True)):
            shape = Shape(tuple(filter(None, masks)), given, needs_of(self.suite, self.first + item))
            which.append(numbers.setdefault(shape, len(numbers)))
        return Shapes(list(numbers), np.array(which, np.int64))

    def specimen(self, item: int) -> Specimen:
        """One item with its tokens."""
        slots = [self._slot(item, slot, column[item]) for slot, column in enumerate(self.part.texts)]
        fields = len(self.part.eval.fields)
        name, eval_ = self.part.ids[item], self.part.eval.name
        return Specimen(
            eval_,
            name,
            tuple(slot for slot in slots[:fields] if slot.tokens),
            tuple(slot for slot in slots[fields:] if slot.tokens),
            self.rule,
            int.from_bytes(_key(self.seed, eval_, name), "big"),
        )

    def identity(self, name: str) -> tuple[tuple[str, ...], ...]:
        """The words of an item's fields and options: items of the same words are the same item."""
        item = self._numbers[name]
        return tuple(tuple(words(column[item])) for column in self.part.texts)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.part.ids)}

    def _slot(self, item: int, slot: int, text: str) -> Slot:
        if text not in self._slots:
            cut = self.rule.tokens(text)
            counted = self._counted(item, slot) if cut else None
            self._slots[text] = Slot(text, cut, np.ones(len(cut), np.bool_) if counted is None else counted)
        return self._slots[text]

    def _mask(self, item: int, slot: int, text: str) -> bytes:
        """The flags of a field; what counts in a text is the same wherever in the eval it stands."""
        mask = self._masks.get(text)
        if mask is None:
            mask = self._masks[text] = self._new_mask(item, slot, _flags(self.rule, text))
        return mask

    def _new_mask(self, item: int, slot: int, mask: bytes) -> bytes:
        counted = self._counted(item, slot) if mask else None
        if counted is None:
            return mask
        if counted.all():
            shared = SHARED if has_number(mask) and self._is_shared(item, slot) else 0
            return bytes(flag | shared for flag in mask) if shared else mask
        return bytes((np.frombuffer(mask, np.uint8) & ~np.uint8(COUNTED)) | counted.astype(np.uint8))

    def _is_shared(self, item: int, slot: int) -> bool:
        """Whether a field is nothing but boilerplate."""
        matcher = self.suite.matcher
        assert isinstance(matcher, DistinctiveMatcher)
        index, number = matcher.index, self.first + item
        for place in range(*index.fields.item_offsets[number : number + 2].tolist()):
            if index.slots[place] == slot:
                text = index.fields.item_fields[place]
                return not index.distinctive[index.cut.offsets[text] : index.cut.offsets[text + 1]].any()
        return False

    def _counted(self, item: int, slot: int) -> Mask | None:
        """Which tokens count; None where all do: in options, and for rules that learn no boilerplate."""
        if not isinstance(self.rule, Distinctive) or slot >= len(self.part.eval.fields):
            return None
        return self.suite.matcher.counted(self.first + item, slot)


def _flags(rule: Rule, text: str) -> bytes:
    """A byte for each token of a text, as if all of them counted."""
    found = rule_words(rule, text)
    flags = bytes(map(_flags_of, found)) if _DIGIT.search(text) else b"\x01" * len(found)
    if isinstance(rule, Coverage) and (rule.generic or rule.single is not None):
        marked = bytearray(flags)
        widths = [len(word) for word in found]
        if not text.isascii():
            widths = [token.end - token.start for token in rule.tokens(text)]
        for place in _ignored(rule, found, widths):
            marked[place] |= IGNORED
        return bytes(marked)
    return flags


def _flags_of(word: str) -> int:
    if word[0] not in _DIGITS:
        return COUNTED
    return COUNTED | DIGIT | NUMBER if is_number(word) else COUNTED | DIGIT


def _ignored(rule: Coverage, found: Sequence[str], widths: Sequence[int]) -> Iterator[int]:
    """Where the n-grams begin that the rule ignores, told plainly."""
    size = min(rule.ngram, len(found))
    text = f" {' '.join(found)} "
    every = [words(phrase) for phrase in rule.generic]
    phrases = [phrase for phrase in every if f" {' '.join(phrase)} " in text]
    for first in range(len(found) - size + 1):
        gram = found[first : first + size]
        single = rule.single is not None and widths[first : first + size].count(1) > rule.single * size
        if single or any(_inside(gram, phrase) or _inside(phrase, gram) for phrase in phrases):
            yield first


def _inside(part: Sequence[str], whole: Sequence[str]) -> bool:
    return any(part == whole[i : i + len(part)] for i in range(len(whole) - len(part) + 1))


def words(text: str) -> list[str]:
    r"""The runs of `\w` in the normalised text: what every rule's tokens are, or are cut from."""
    return _WORD.findall(normalise(text))


def rule_words(rule: Rule, text: str) -> list[str]:
    """The tokens of a text as the rule cuts it, without their places."""
    plain = normalise(text)
    if rule.characters and not plain.isascii() and _UNSPACED.search(plain):
        return [token.text for token in rule.tokens(text)]
    return _WORD.findall(plain)


def needs_of(suite: SuiteItems, item: int) -> str:
    """What an item needs besides being there, as `Shape.needs` has it."""
    matcher = suite.matcher
    if not isinstance(matcher, DistinctiveMatcher):
        return ""
    return "alone" if matcher.hides(item) else matcher.caution(item)


def _key(seed: int, *names: str) -> bytes:
    return blake2b("\0".join([str(seed), *names]).encode(), digest_size=8).digest()
