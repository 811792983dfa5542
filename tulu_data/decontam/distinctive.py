"""Our rule, made ready for the items of a suite: `Distinctive` in `rules.py` tells it.

Three steps. Scanning and judging find the items of which enough distinctive tokens lie in n-grams of the row,
where a few numbers in an n-gram may be others. Comparing lays each such item beside the row. Deciding gives
the finding its kind, or drops it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam import kernels
from tulu_data.decontam.compare import Compared, Rows, compared, words_of
from tulu_data.decontam.index import Cut, Index, Learning, build_index, cut_texts
from tulu_data.decontam.match import (
    CHANGED_NUMBERS,
    COPY,
    NEAR_DUPLICATE,
    OPTIONS,
    PARTIAL,
    SHORT,
    Column,
    Findings,
    hits_of,
    judged,
)
from tulu_data.decontam.rules import Distinctive
from tulu_data.text.hashing import Texts

NONE = -1

Span = tuple[int, int, int, int]
"""Finding, slot or text, and characters [start, end)."""


@dataclass(frozen=True)
class _Choices:
    """The options of all items, one item's behind the other's."""

    cut: Cut
    offsets: npt.NDArray[np.int64]
    """[items + 1]: where an item's options begin."""
    first_slot: npt.NDArray[np.int64]
    """[items]: the slot of an item's first option."""


class DistinctiveMatcher:
    """Finds the items of a suite by the rule `Distinctive`."""

    streams = True

    def __init__(
        self,
        rule: Distinctive,
        items: Sequence[Sequence[str]],
        options: Sequence[Sequence[str]],
        groups: npt.NDArray[np.int32],
    ) -> None:
        """Indexes items.

        Args:
            rule: the settings.
            items: the texts of each item's fields.
            options: the answer options of each item; empty where it has none.
            groups: the eval of each item, ascending.
        """
        self.rule = rule
        learning = Learning(groups, rule.boilerplate)
        self.index: Index = build_index(items, rule.ngram, rule.threshold, learning=learning, characters=True)
        self._ours = words_of(self.index.cut)
        flat = pa.array([option for given in options for option in given], pa.string())
        offsets = np.concatenate([[0], np.cumsum([len(given) for given in options])]).astype(np.int64)
        widths = np.array([len(fields) for fields in items], np.int64)
        self._choices = _Choices(cut_texts(flat, characters=True), offsets, widths)
        self._choice_words = words_of(self._choices.cut)

    @cached_property
    def _has_options(self) -> npt.NDArray[np.bool_]:
        """[items]: at least two options have tokens."""
        sizes = np.diff(self._choices.cut.offsets)
        full = np.concatenate([[0], np.cumsum(sizes > 0)])
        return np.asarray(np.diff(full[self._choices.offsets]) >= 2)

    @cached_property
    def _tokens(self) -> npt.NDArray[np.int64]:
        """[items]: tokens over all fields."""
        return self._per_item(np.diff(self.index.cut.offsets))

    @cached_property
    def _weak(self) -> npt.NDArray[np.bool_]:
        """[items]: found whole it may still be chance; a few words, a phrase of other items, or boilerplate."""
        tokens = np.diff(self.index.cut.offsets)
        strong = np.zeros(len(tokens), np.bool_)
        long = tokens >= self.rule.ngram
        strong[long] = self.index.fields.limits[long] <= self.rule.threshold
        strong[~long] = (tokens >= self.rule.phrase)[~long] & ~self._common[~long]
        return self._per_item(strong) == 0

    @cached_property
    def _common(self) -> npt.NDArray[np.bool_]:
        """[distinct texts]: shorter than an n-gram, and a phrase of `boilerplate` other texts of its eval."""
        index, cut = self.index, self.index.cut
        texts = len(cut.offsets) - 1
        tokens = np.diff(cut.offsets)
        whole = Texts(cut.text, np.concatenate([[0], cut.ends + 1])[cut.offsets], prepared=True)
        column = Column(whole, np.arange(texts, dtype=np.int32), np.ones(texts, np.uint8))
        hits, _ = hits_of(index, [column])
        hits = hits[index.grams.length[hits[:, 1]] < index.n]
        pairs = np.unique(np.stack([hits[:, 1], hits[:, 0]], axis=1), axis=0)  # each text once
        inside = [index.groups[pairs[:, 1]], pairs[:, 0]]
        groups, counts = np.unique(np.stack(inside, axis=1), axis=0, return_counts=True)
        often = {(int(g), int(gram)) for g, gram in groups[counts > self.rule.boilerplate].tolist()}
        short = np.flatnonzero((tokens > 0) & (tokens < index.n))
        grams = index.fields.grams[index.fields.gram_offsets[short]]
        found = np.zeros(texts, np.bool_)
        found[short] = [
            (int(g), int(gram)) in often for g, gram in zip(index.groups[short], grams, strict=True)
        ]
        return found

    def _per_item(self, of_texts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A sum over the fields of each item."""
        fields, items = self.index.fields, len(self.index.fields.item_offsets) - 1
        owners = np.repeat(np.arange(items), np.diff(fields.item_offsets))
        sums = np.bincount(owners, weights=of_texts[fields.item_fields], minlength=items)
        return sums.astype(np.int64)

    def counted(self, item: int, slot: int) -> npt.NDArray[np.bool_]:
        """Which tokens of a field of an item are more than boilerplate; all, where nothing else is there."""
        return self.index.counted(item, slot)

    def needs(self, item: int) -> str:
        """What an item needs besides being there: nothing, or "options" or "alone" for a weak one."""
        if not self._weak[item]:
            return ""
        if self._has_options[item]:
            return "options"
        return "alone" if self._tokens[item] < self.rule.ngram else ""

    def unchecked(self, item: int) -> str:
        """Why nothing can match an item, or an empty string."""
        return self.index.unchecked(item)

    def caution(self, item: int) -> str:
        """What a weak item needs, or `whole` where it is nothing but boilerplate."""
        if need := self.needs(item):
            return need
        return "whole" if self._tokens[item] and self._weak[item] else ""

    def find(self, columns: list[Column]) -> Findings:
        """Every item that matches a row of the columns."""
        hits, hit_rows = hits_of(self.index, columns)
        found = judged(self.index, hits, hit_rows)
        if not len(found):
            return found
        rows = Rows.of(columns, hits, hit_rows, found.rows, characters=True)
        beside = compared(self.index, self._ours, found, hits, hit_rows, rows)
        kinds = self._decide(found, beside)
        ours, theirs = self._settle_weak(kinds, found, beside, rows)
        more = replace(
            found,
            kinds=kinds.astype(np.int8),
            item_spans=_merged(found.item_spans, ours),
            train_spans=_merged(found.train_spans, theirs),
        )
        return more.only(kinds != NONE)

    def _decide(self, found: Findings, beside: Compared) -> npt.NDArray[np.int64]:
        """The kind of each finding, or NONE; of weak items only whether all of one is there (SHORT or COPY)."""
        rule, fields = self.rule, self.index.fields
        texts = fields.item_fields[self.index.places(found.items)]
        owners = np.repeat(np.arange(len(found)), np.diff(found.slot_offsets))

        def total(of_slots: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.bincount(owners, weights=of_slots, minlength=len(found))

        counts = fields.counted[fields.counted_offsets[texts] + fields.tokens[texts]]
        covered = np.rint(total(found.slot_scores * counts))
        tokens, equal = total(fields.tokens[texts]), total(beside.equal)
        whole = total(~beside.whole) == 0
        short = total(fields.tokens[texts] >= rule.ngram) == 0
        changed = total(beside.symbols) > 0
        faithful = total(beside.words) <= rule.replaced * tokens
        verbatim = (covered >= rule.at_least) & (equal > rule.threshold * tokens)
        near = (equal >= rule.similar * tokens) | (covered >= rule.at_least)
        return np.select(
            [whole & short, whole, self._weak[found.items], changed, verbatim & faithful, near],
            [SHORT, COPY, NONE, CHANGED_NUMBERS, PARTIAL, NEAR_DUPLICATE],
            NONE,
        )

    def _settle_weak(
        self, kinds: npt.NDArray[np.int64], found: Findings, beside: Compared, rows: Rows
    ) -> tuple[list[Span], list[Span]]:
        """Decides weak items by their options, or whether they stand alone; the spans of options on both sides."""
        ours: list[Span] = []
        theirs: list[Span] = []
        whole = (kinds == SHORT) | (kinds == COPY)
        for number in np.flatnonzero(whole & self._weak[found.items]).tolist():
            item = int(found.items[number])
            need = self.needs(item)
            slots = range(*found.slot_offsets[number : number + 2].tolist())
            if need == "alone" and not all(rows.alone(beside, slot) for slot in slots):
                kinds[number] = NONE
            elif need == "options":
                kinds[number] = (
                    OPTIONS if self._options(number, item, slots, beside, rows, ours, theirs) else NONE
                )
        return ours, theirs

    def _options(
        self,
        number: int,
        item: int,
        slots: range,
        beside: Compared,
        rows: Rows,
        ours: list[Span],
        theirs: list[Span],
    ) -> bool:
        """Whether enough of an item's options stand behind its last field; enters their spans if so."""
        choices, cut = self._choices, self._choices.cut
        first, last = choices.offsets[item : item + 2].tolist()
        slot = max(slots, key=lambda s: int(beside.place[s]))
        text, behind = int(beside.text[slot]), int(beside.place[slot] + beside.equal[slot])
        places = kernels.options_near(self._choice_words, first, last, rows.words, text, behind)
        full = int((np.diff(cut.offsets[first : last + 1]) > 0).sum())
        seen = np.flatnonzero(places[:, 1] >= 0)
        if len(seen) < max(2, math.ceil(self.rule.options * full)):
            return False
        for option in seen.tolist():
            start, end = cut.offsets[first + option : first + option + 2].tolist()
            place = int(choices.first_slot[item]) + option
            ours.append((number, place, int(cut.starts_at[start]), int(cut.ends_at[end - 1])))
            begin, stop = places[option].tolist()
            chars = int(rows.cut.starts_at[begin]), int(rows.cut.ends_at[stop - 1])
            theirs.append((number, int(rows.numbers[text]), *chars))
        return True


def _merged(spans: npt.NDArray[np.int32], more: list[Span]) -> npt.NDArray[np.int32]:
    """All spans, ordered by finding and place."""
    if not more:
        return spans
    both = np.concatenate([spans, np.array(more, np.int32)])
    return np.ascontiguousarray(both[np.lexsort((both[:, 2], both[:, 1], both[:, 0]))])
