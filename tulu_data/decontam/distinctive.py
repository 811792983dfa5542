"""Our rule, made ready for the items of a suite: `Distinctive` in `rules.py` tells it.

Three steps. Scanning and judging find the items of which enough distinctive tokens lie in n-grams of the row,
where a few numbers in an n-gram may be others. Comparing lays each such item beside the row. Deciding gives
the finding its kind, or drops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam import kernels
from tulu_data.decontam.compare import Compared, Rows, compared, words_of
from tulu_data.decontam.index import Cut, Keep, Learning, build_anew, build_index, cut_texts
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
from tulu_data.decontam.rules import EPSILON, Distinctive
from tulu_data.text.hashing import Texts

NONE = -1
TRIES = 16
"""At so many places at most options are looked for; and so many tokens of a message may be letters and other
small words around a question of numbers and its options."""

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
        keep: Keep = build_anew,
    ) -> None:
        """Indexes items.

        Args:
            rule: the settings.
            items: the texts of each item's fields.
            options: the answer options of each item; empty where it has none.
            groups: the eval of each item, ascending.
            keep: has the index built, or brings one that was kept.
        """
        self.rule = rule
        learning = Learning(groups, rule.boilerplate, rule.phrase)
        self.index = keep(
            lambda: build_index(items, rule.ngram, rule.threshold, learning=learning, characters=True)
        )
        self._ours = words_of(self.index.cut, self.index.core)
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
    def _short(self) -> npt.NDArray[np.bool_]:
        """[items]: no field is as long as an n-gram."""
        return np.asarray(self._per_item(np.diff(self.index.cut.offsets) >= self.rule.ngram) == 0)

    @cached_property
    def _wordy(self) -> npt.NDArray[np.bool_]:
        """[items]: question and options have as many words that are no numbers or letters as an n-gram."""
        ours = np.add.reduceat(np.append(1 - self._ours.symbols.astype(np.int64), 0), self._ours.offsets[:-1])
        ours[np.diff(self._ours.offsets) == 0] = 0
        theirs = np.concatenate([[0], np.cumsum(1 - self._choice_words.symbols.astype(np.int64))])
        at = theirs[self._choices.cut.offsets][self._choices.offsets]
        return np.asarray(self._per_item(ours) + np.diff(at) >= self.rule.ngram)

    @cached_property
    def _weak(self) -> npt.NDArray[np.bool_]:
        """[items]: found whole it may be chance; it is a few words, a phrase of others, or boilerplate."""
        tokens = np.diff(self.index.cut.offsets)
        distinctive = np.concatenate([[0], np.cumsum(self.index.distinctive)])[self.index.cut.offsets]
        strong = np.diff(distinctive) > 0
        long = tokens >= self.rule.ngram
        strong[~long] = (tokens >= self.rule.phrase)[~long] & ~self._common[~long]
        own = strong & (self._askers < 2)
        return np.asarray(np.where(self._has_options, self._per_item(own), self._per_item(strong)) == 0)

    @cached_property
    def _askers(self) -> npt.NDArray[np.int64]:
        """[distinct texts]: how many items with options ask with it."""
        fields = self.index.fields
        owners = np.repeat(np.arange(len(self._has_options)), np.diff(fields.item_offsets))
        texts = fields.item_fields[self._has_options[owners]]
        return np.bincount(texts, minlength=len(fields.tokens)).astype(np.int64)

    @cached_property
    def _common(self) -> npt.NDArray[np.bool_]:
        """[distinct texts]: shorter than an n-gram, and a phrase of `boilerplate` other texts of its eval."""
        index, cut = self.index, self.index.cut
        texts = len(cut.offsets) - 1
        tokens = np.diff(cut.offsets)
        whole = Texts(cut.text, np.concatenate([[0], cut.ends + 1])[cut.offsets], prepared=True)
        column = Column(whole, np.arange(texts, dtype=np.int32), np.ones(texts, np.uint8))
        blind = index.grams._replace(sample=np.zeros_like(index.grams.sample))  # to all but short grams
        hits, _ = hits_of(replace(index, grams=blind), [column])
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
        """What an item needs besides being there whole: `options`, `alone`, `sentence`, or nothing."""
        if self._with[item]:
            return "options"
        if self._short[item] and self._tokens[item]:
            return "alone" if self._weak[item] else "sentence"
        return ""

    def unchecked(self, item: int) -> str:
        """Why nothing can match an item, or an empty string."""
        return self.index.unchecked(item)

    def hides(self, item: int) -> bool:
        """Whether question and options are so few words that a message must say little else."""
        return bool(self._with[item] and not self._wordy[item])

    def caution(self, item: int) -> str:
        """What an item needs besides being there whole, or `whole` where it is nothing but boilerplate."""
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
        ours, theirs = self._settle(kinds, found, hits, hit_rows, rows)
        more = replace(
            found,
            kinds=kinds.astype(np.int8),
            item_spans=_merged(found.item_spans, ours),
            train_spans=_merged(found.train_spans, theirs),
        )
        return more.only(kinds != NONE)

    def _decide(self, found: Findings, beside: Compared) -> npt.NDArray[np.int64]:
        """The kind of each finding, or NONE; of weak items, whether all of one is there (SHORT or COPY)."""
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
        core = np.add.reduceat(np.append(self._ours.core, 0).astype(np.int64), self._ours.offsets[:-1])
        core[np.diff(self._ours.offsets) == 0] = 0
        outside = total(core[texts])
        all_core = (outside >= rule.phrase) & (total(beside.core) >= outside)
        below = found.scores <= rule.threshold + EPSILON
        changes = total(beside.symbols)
        some = covered >= rule.at_least // 2
        changed = changes > 0
        related = some & (equal + changes > rule.threshold * tokens)
        faithful = total(beside.words) <= rule.replaced * tokens
        verbatim = (covered >= rule.at_least) & (equal > rule.threshold * tokens)
        near = (some & (equal >= rule.similar * tokens)) | (covered >= rule.at_least)
        return np.select(
            [
                whole & short,
                whole,
                self._weak[found.items] | (changed & ~related),
                all_core & ~changed,
                below,
                changed,
                verbatim & faithful,
                near,
            ],
            [SHORT, COPY, NONE, PARTIAL, NONE, CHANGED_NUMBERS, PARTIAL, NEAR_DUPLICATE],
            NONE,
        )

    def _settle(
        self, kinds: npt.NDArray[np.int64], found: Findings, hits: Any, hit_rows: Any, rows: Rows
    ) -> tuple[list[Span], list[Span]]:
        """The second look at whole items that are short or weak; the spans of options on both sides."""
        ours: list[Span] = []
        theirs: list[Span] = []
        second = (kinds == SHORT) | ((kinds == COPY) & self._weak[found.items])
        asked = np.flatnonzero(second & self._with[found.items])
        follow = self._options_follow(found, asked, hits, hit_rows, rows)
        gone = asked[~follow & self._weak[found.items[asked]]]
        kinds[gone] = NONE
        second[gone] = False
        for number in np.flatnonzero(second).tolist():
            item, row = int(found.items[number]), int(found.rows[number])
            begin, stop = np.searchsorted(hit_rows, [row, row + 1]).tolist()
            need = self.needs(item)
            if not need:
                continue
            stands = [
                self._places(field, hits[begin:stop], rows)
                for field in self.index.fields.item_fields[
                    slice(*self.index.fields.item_offsets[item : item + 2])
                ]
            ]
            if need == "options":
                spans = self._with_options(item, stands, rows)
                bare = not self._weak[item] and _fit("sentence", stands, rows)
                kinds[number] = OPTIONS if spans else NEAR_DUPLICATE if bare else NONE
                ours += [(number, *span[0]) for span in spans]
                theirs += [(number, *span[1]) for span in spans]
            elif not _fit(need, stands, rows):
                kinds[number] = NONE
        return ours, theirs

    @cached_property
    def _with(self) -> npt.NDArray[np.bool_]:
        """[items]: it needs its options."""
        return np.asarray((self._weak | self._short) & self._has_options)

    @cached_property
    def _needed(self) -> npt.NDArray[np.int64]:
        """[items]: so many options must stand behind it."""
        full = np.concatenate([[0], np.cumsum(np.diff(self._choices.cut.offsets) > 0)])
        counts = np.diff(full[self._choices.offsets])
        return np.maximum(2, np.ceil(self.rule.options * counts)).astype(np.int64)

    def _options_follow(
        self, found: Findings, numbers: npt.NDArray[np.int64], hits: Any, hit_rows: Any, rows: Rows
    ) -> npt.NDArray[np.bool_]:
        """Of some findings, whether enough options are there at all: quickly, since most have none."""
        items, own = found.items[numbers], found.rows[numbers]
        follow = kernels.options_follow(
            items, np.searchsorted(hit_rows, own), np.searchsorted(hit_rows, own, side="right"), hits,
            self.index.fields, self._choice_words, self._choices.offsets, self._needed[items],
            self._ours, rows.words, rows.text_of, TRIES,
        )  # fmt: skip
        return np.asarray(follow > 0)

    def _places(self, field: int, hits: npt.NDArray[np.int32], rows: Rows) -> list[_Places]:
        """Where the whole of a field stands in a row, by text; of a long one the first TRIES."""
        fields = self.index.fields
        start, size = int(self._ours.offsets[field]), int(fields.tokens[field])
        mine = hits[hits[:, 1] == fields.grams[fields.gram_offsets[field]]]
        found = []
        for text in np.unique(rows.text_of[mine[:, 0]]).tolist():
            low, high = rows.cut.offsets[text : text + 2].tolist()
            if size < self.rule.ngram:  # its gram is the field itself
                firsts = mine[rows.text_of[mine[:, 0]] == text, 2].astype(np.int64)
            else:
                firsts = kernels.whole_places(self._ours, start, size, rows.words, low, high, TRIES) - low
            if len(firsts):
                found.append(_Places(text, firsts, size))
        return found

    def _with_options(
        self, item: int, stands: list[list[_Places]], rows: Rows
    ) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """Where enough of an item's options stand behind its question: slot and text, with characters."""
        first, last = self._choices.offsets[item : item + 2].tolist()
        if not all(stands):
            return []
        for places in (place for several in stands for place in several):
            low = int(rows.cut.offsets[places.text])
            for place in places.firsts[:TRIES].tolist():
                behind = low + place + places.size
                near = kernels.options_near(self._choice_words, first, last, rows.words, places.text, behind)
                seen = np.flatnonzero(near[:, 1] >= 0)
                if len(seen) >= self._needed[item] and (
                    self._wordy[item] or places.little_else(place, near, rows)
                ):
                    return [
                        self._spans(item, int(option), near[option], places.text, rows) for option in seen
                    ]
        return []

    def _spans(
        self, item: int, option: int, near: npt.NDArray[np.int64], text: int, rows: Rows
    ) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        choices, cut = self._choices, self._choices.cut
        place = int(choices.offsets[item]) + option
        start, end = cut.offsets[place : place + 2].tolist()
        slot = int(choices.first_slot[item]) + option
        begin, stop = near.tolist()
        return (
            (slot, int(cut.starts_at[start]), int(cut.ends_at[end - 1])),
            (int(rows.numbers[text]), int(rows.cut.starts_at[begin]), int(rows.cut.ends_at[stop - 1])),
        )


@dataclass(frozen=True)
class _Places:
    """Where a field stands whole in one text of a row."""

    text: int
    firsts: npt.NDArray[np.int64]
    """Tokens, counted from the text's first."""
    size: int

    def fits(self, need: str, rows: Rows) -> bool:
        """Whether one of them is a sentence, or all that a message says."""
        if need == "sentence":
            text, size = self.text, self.size
            return any(
                rows.sentence_edge(text, first) and rows.sentence_edge(text, first + size)
                for first in self.firsts.tolist()
            )
        edges = rows.message_edges(self.text)
        return bool(np.any(edges[self.firsts] & edges[self.firsts + self.size]))

    def little_else(self, first: int, options: npt.NDArray[np.int64], rows: Rows) -> bool:
        """Whether a message says hardly more than the question and its options."""
        edges = np.flatnonzero(rows.message_edges(self.text))
        start = int(edges[np.searchsorted(edges, first, side="right") - 1])
        low = int(rows.cut.offsets[self.text])
        last = max(first + self.size, int(options[:, 1].max()) - low)
        stop = int(edges[np.searchsorted(edges, last)])
        said = self.size + int((options[:, 1] - options[:, 0])[options[:, 1] >= 0].sum())
        return stop - start <= 2 * said + TRIES


def _fit(need: str, stands: list[list[_Places]], rows: Rows) -> bool:
    """Whether each field of an item is a sentence, or all that a message says, somewhere."""
    return all(any(place.fits(need, rows) for place in places) for places in stands)


def _merged(spans: npt.NDArray[np.int32], more: list[Span]) -> npt.NDArray[np.int32]:
    """All spans, ordered by finding and place."""
    if not more:
        return spans
    both = np.concatenate([spans, np.array(more, np.int32)])
    return np.ascontiguousarray(both[np.lexsort((both[:, 2], both[:, 1], both[:, 0]))])
