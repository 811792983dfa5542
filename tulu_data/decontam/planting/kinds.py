"""The ways in which an item is planted, and the decoys: one function each.

A plant must be found where the rule promises its kind. A decoy must not be: it holds too little of the item.
Every function's docstring says which items it is for; the certificate quotes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tulu_data.decontam.planting.layout import body, boilerplate, laid_out, lettered, parts, too_much
from tulu_data.decontam.planting.reach import is_match, is_skeleton, run_of
from tulu_data.decontam.planting.shapes import (
    Shape,
    Specimen,
    has_boilerplate,
    has_number,
    words,
)
from tulu_data.decontam.planting.texts import disguised, renumbered, respaced
from tulu_data.decontam.rules import Rule

PlantKind = Literal[
    "exact",
    "inside",
    "case_and_spacing",
    "unicode",
    "later_turn",
    "assistant_turn",
    "part_60",
    "split_turns",
    "shuffled_options",
    "changed_numbers",
]
"""What a rule can promise to find."""

DecoyKind = Literal["part_40", "answer_alone", "template_only"]
"""What no rule should take for an item."""

Place = Literal["message", "inside", "later", "assistant", "split"]
"""Where in a conversation: as a whole message, inside one, in a later turn, in an answer, over two turns."""

PART, TOO_LITTLE = 0.6, 0.4

Texts = tuple[str, ...]
"""What is planted: one text, two where an item is split; none where its own words forbid it."""

Reason = Callable[[Shape, Rule], str | None]
"""Why an item of some shape cannot be checked in some way; None where it can."""


@dataclass(frozen=True)
class Planting:
    """Texts to be put somewhere in a conversation."""

    place: Place
    texts: Texts

    @property
    def characters(self) -> int:
        """How long the texts are."""
        return sum(map(len, self.texts))


@dataclass(frozen=True)
class Way:
    """A way to plant an item."""

    name: PlantKind | DecoyKind
    about: str
    """What is planted."""
    eligible: str
    """Which items it is for."""
    place: Place
    decoy: bool
    reason: Reason
    texts: Callable[[Specimen], Texts]

    def plant(self, item: Specimen) -> Planting | None:
        """The item made ready; None where its own words forbid it."""
        texts = self.texts(item)
        return Planting(self.place, texts) if texts else None


WAYS: list[Way] = []
"""All of them, plants first; the certificate shows them in this order."""


def unfit(shape: Shape, rule: Rule) -> str | None:
    """Why an item of this shape cannot be checked in any way; None where it can."""
    if not shape.fields:
        return "no token in any field"
    return None if is_match(rule, shape) else "what the rule ignores is too much of it"


def _fit(_shape: Shape, _rule: Rule) -> str | None:
    return None


def _way(
    name: PlantKind | DecoyKind,
    about: str,
    *,
    place: Place = "message",
    decoy: bool = False,
    reason: Reason = _fit,
) -> Callable[[Callable[[Specimen], Texts]], Callable[[Specimen], Texts]]:
    """Enters a function among the ways; `reason` is asked where `unfit` says nothing against an item."""

    def entered(texts: Callable[[Specimen], Texts]) -> Callable[[Specimen], Texts]:
        WAYS.append(Way(name, about, (texts.__doc__ or "").strip(), place, decoy, reason, texts))
        return texts

    return entered


# -- plants --------------------------------------------------------------------------------------------------


@_way("exact", "the item as a message of its own")
def _exact(item: Specimen) -> Texts:
    """For items with a token that counts: without one there is nothing to find."""
    return (body(item),)


def _needs_to_be_alone(shape: Shape, _rule: Rule) -> str | None:
    return (
        "too few words to be told from chance, unless alone in a message" if shape.needs == "alone" else None
    )


@_way("inside", "the item inside a longer prompt", place="inside", reason=_needs_to_be_alone)
def _inside(item: Specimen) -> Texts:
    """For items of `exact` that are more than a few common words."""
    return (body(item),)


@_way("case_and_spacing", "the item in other case, with other spaces and punctuation between its tokens")
def _case_and_spacing(item: Specimen) -> Texts:
    """For the same items as `exact`; no token is joined or split."""
    return _edited(item, [respaced(slot.text, slot.tokens, item.salt) for slot in item.slots])


@_way("unicode", "the item in other forms of Unicode, all of which NFKC without format characters undoes")
def _unicode(item: Specimen) -> Texts:
    """For items of `exact` with a letter or digit that has another form; ideographs have none."""
    new = [disguised(slot.text, slot.tokens, item.salt) for slot in item.slots]
    changed = any(text != slot.text for text, slot in zip(new, item.slots, strict=True))
    return _edited(item, new) if changed else ()


@_way("later_turn", "the item as a later turn", place="later")
def _later_turn(item: Specimen) -> Texts:
    """For the same items as `exact`."""
    return (body(item),)


@_way("assistant_turn", "the item as what an assistant says", place="assistant")
def _assistant_turn(item: Specimen) -> Texts:
    """For the same items as `exact`, where the run looks at what assistants say."""
    return (body(item),)


def _short_part(shape: Shape, rule: Rule) -> str | None:
    return None if is_match(rule, shape, PART) else "60 % of it is no match by the rule"


@_way("part_60", "60 % of the item: of each field a run from its middle", reason=_short_part)
def _part_60(item: Specimen) -> Texts:
    """For items that are long enough: 60 % of a 12-token item holds no 8-gram."""
    return (parts(item, PART),)


def _whole_only(shape: Shape, rule: Rule) -> str | None:
    return _needs_to_be_alone(shape, rule) or (
        None if max(map(len, shape.fields)) > 1 else "one token cannot be split"
    )


@_way("split_turns", "the item cut in its middle, over two turns", place="split", reason=_whole_only)
def _split_turns(item: Specimen) -> Texts:
    """For items of `inside` with two tokens or more."""
    text = body(item)
    longest = max(item.fields, key=lambda slot: len(slot.tokens))
    cut = text.index(longest.text) + longest.tokens[len(longest.tokens) // 2].start
    return text[:cut], text[cut:]


def _few_options(shape: Shape, _rule: Rule) -> str | None:
    return None if shape.options > 1 else "no options"


@_way(
    "shuffled_options", "the item with its options in another order, under other letters", reason=_few_options
)
def _shuffled_options(item: Specimen) -> Texts:
    """For items with two options or more whose words differ."""
    texts = [slot.text for slot in item.options]
    if len({tuple(words(text)) for text in texts}) < 2:
        return ()
    turn = 1 + item.salt % (len(texts) - 1)
    lines = [f"({number}) {text}" for number, text in enumerate([*texts[turn:], *texts[:turn]], 1)]
    return ("\n".join([*(slot.text for slot in item.fields), *lines]),)


def _no_number(shape: Shape, rule: Rule) -> str | None:
    if not any(map(has_number, shape.fields)):
        return "no number in digits"
    return None if is_skeleton(rule, shape) else "too few words beside its numbers"


@_way(
    "changed_numbers", "the item with every number replaced by another of as many digits", reason=_no_number
)
def _changed_numbers(item: Specimen) -> Texts:
    """For items with a number written in digits, and enough words beside its numbers."""
    salt = str(item.salt)
    return (laid_out(item, [renumbered(slot.text, slot.tokens, salt) for slot in item.slots]),)


# -- decoys --------------------------------------------------------------------------------------------------


def _much_part(shape: Shape, rule: Rule) -> str | None:
    if not any(run_of(field, TOO_LITTLE) for field in shape.fields):
        return "40 % of it is less than a token"
    return "40 % of it is a match by the rule" if is_match(rule, shape, TOO_LITTLE) else None


@_way("part_40", "40 % of the item: of each field a run from its middle", decoy=True, reason=_much_part)
def _part_40(item: Specimen) -> Texts:
    """For items of which 40 % is no match by the rule's own definition, nor says the rest over again."""
    return _too_little(item, parts(item, TOO_LITTLE))


def _no_options(shape: Shape, _rule: Rule) -> str | None:
    return None if shape.options else "no options"


@_way("answer_alone", "the item's options without the question", decoy=True, reason=_no_options)
def _answer_alone(item: Specimen) -> Texts:
    """For items with options that do not say the question over again."""
    return _too_little(item, "\n".join(lettered([slot.text for slot in item.options])))


def _no_boilerplate(shape: Shape, _rule: Rule) -> str | None:
    return None if any(map(has_boilerplate, shape.fields)) else "no boilerplate"


@_way("template_only", "what the item shares with many others, alone", decoy=True, reason=_no_boilerplate)
def _template_only(item: Specimen) -> Texts:
    """For items with boilerplate, as the rule learns it from their eval."""
    return _too_little(item, boilerplate(item))


def _edited(item: Specimen, texts: Sequence[str]) -> Texts:
    """The item in other texts, if these have its words."""
    same = all(words(new) == words(slot.text) for new, slot in zip(texts, item.slots, strict=True))
    return (laid_out(item, texts),) if same else ()


def _too_little(item: Specimen, text: str) -> Texts:
    return () if too_much(item, text) else (text,)
