"""How an item looks when it is planted: whole, in part, or only what it shares with others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tulu_data.decontam.plain import covered_positions
from tulu_data.decontam.planting.reach import run_of
from tulu_data.decontam.planting.shapes import Slot, Specimen, rule_words
from tulu_data.decontam.rules import EPSILON, Coverage, Distinctive, MinHash
from tulu_data.text.tokens import ngrams

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def body(item: Specimen) -> str:
    """The item as an evaluation shows it: its fields, then its options under letters."""
    return laid_out(item, [slot.text for slot in item.slots])


def laid_out(item: Specimen, texts: Sequence[str]) -> str:
    """Texts of an item's fields and options, the latter under letters."""
    fields = len(item.fields)
    return "\n".join([*texts[:fields], *lettered(texts[fields:])])


def lettered(options: Sequence[str]) -> list[str]:
    """Options under letters.

    >>> lettered(["three", "four"])
    ['A. three', 'B. four']
    """
    return [f"{LETTERS[number % len(LETTERS)]}. {text}" for number, text in enumerate(options)]


def parts(item: Specimen, share: float) -> str:
    """Of each field the run of tokens that holds `share` of those that count."""
    found = []
    for slot in item.fields:
        run = run_of(slot.counted.astype(np.uint8).tobytes(), share)
        if run:
            found.append(slot.text[slot.tokens[run.start].start : slot.tokens[run.stop - 1].end])
    return "\n".join(found)


def boilerplate(item: Specimen) -> str:
    """The runs of tokens that do not count, with a dash for what was between them."""
    return "\n".join(filter(None, map(_of_slot, item.fields)))


def _of_slot(slot: Slot) -> str:
    out: list[str] = []
    last = -1
    for number in np.flatnonzero(~slot.counted).tolist():
        start = slot.tokens[number].start
        joined = out and number == last + 1
        if out and not joined:
            out.append(" — ")
        out.append(slot.text[slot.tokens[number - 1].end if joined else start : slot.tokens[number].end])
        last = number
    return "".join(out)


def too_much(item: Specimen, text: str) -> bool:
    """Whether a text that should be no match holds more than the rule's share of the item after all.

    Items say things over again: a part of such an item, or its options, can hold most of its n-grams. Told by
    the plain twin of the rule, not by the matcher that is being checked.
    """
    rule = item.rule
    said = rule_words(rule, text)
    fields = [[token.text for token in slot.tokens] for slot in item.fields]
    match rule:
        case Coverage() | Distinctive():
            shares = []
            for field, slot in zip(fields, item.fields, strict=True):
                covered = list(covered_positions(field, [said], rule.ngram))
                shares.append(slot.counted[covered].sum() / slot.counted.sum())
            return bool(sum(shares) / len(shares) > rule.threshold + EPSILON)
        case MinHash():
            ours, theirs = (
                set(ngrams(side, rule.ngram)) for side in ([word for field in fields for word in field], said)
            )
            return len(ours & theirs) >= rule.threshold * max(1, len(ours | theirs))
        case _:
            return all(len(covered_positions(field, [said], len(field))) == len(field) for field in fields)
