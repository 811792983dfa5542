"""`Coverage` and `Exact` of `rules.py`, made ready for the items of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam.compare import Rows, compared, words_of
from tulu_data.decontam.index import ALL, Cut, Keep, build_anew, build_index, cut_texts
from tulu_data.decontam.match import COPY, SHORT, Column, Findings, find, hits_of, judged
from tulu_data.decontam.rules import Coverage


class CoverageMatcher:
    """Finds the items of a suite by the rule `Coverage`."""

    streams = False

    def __init__(self, rule: Coverage, items: Sequence[Sequence[str]], keep: Keep = build_anew) -> None:
        """Indexes items, each the texts of its fields."""
        ignore = _Ignored(rule) if rule.generic or rule.single is not None else None
        self.index = keep(lambda: build_index(items, rule.ngram, rule.threshold, ignore=ignore))

    def find(self, columns: list[Column]) -> Findings:
        """Every item that matches a row of the columns."""
        return find(self.index, columns)

    def counted(self, item: int, slot: int) -> npt.NDArray[np.bool_]:
        """Which tokens of a field of an item count: all."""
        return self.index.counted(item, slot)

    def unchecked(self, item: int) -> str:
        """Why nothing can match an item, or an empty string."""
        if self._sought[item]:
            return ""
        return self.index.unchecked(item) or "the rule ignores all of its n-grams"

    def caution(self, item: int) -> str:
        """`short`: no field is as long as an n-gram."""
        return "short" if self._tokened[item] and not self._long[item] else ""

    @cached_property
    def _sought(self) -> list[bool]:
        """[items]: some n-gram of it is looked for."""
        fields = self.index.fields
        owners = np.repeat(np.arange(len(fields.tokens)), np.diff(fields.gram_offsets))
        return self.index.of_items(
            np.bincount(owners, weights=fields.grams >= 0, minlength=len(fields.tokens))
        )

    @cached_property
    def _long(self) -> list[bool]:
        """[items]: some field is as long as an n-gram."""
        return self.index.of_items(self.index.fields.tokens >= self.index.n)

    @cached_property
    def _tokened(self) -> list[bool]:
        """[items]: some field has tokens."""
        return self.index.of_items(self.index.fields.tokens)


class ExactMatcher:
    """Finds whole items: `Exact`."""

    streams = False
    NGRAM = 8
    """Only how the candidates are found; the result is the same for any."""

    def __init__(self, items: Sequence[Sequence[str]], keep: Keep = build_anew) -> None:
        """Indexes items, each the texts of its fields."""
        self.index = keep(lambda: build_index(items, self.NGRAM, ALL))
        self._ours = words_of(self.index.cut)

    def find(self, columns: list[Column]) -> Findings:
        """Every item that stands in a row of the columns."""
        hits, hit_rows = hits_of(self.index, columns)
        found = judged(self.index, hits, hit_rows)
        if not len(found):
            return found
        rows = Rows.of(columns, hits, hit_rows, found.rows, characters=False)
        beside = compared(self.index, self._ours, found, hits, hit_rows, rows)
        owners = np.repeat(np.arange(len(found)), np.diff(found.slot_offsets))
        tokens = self.index.fields.tokens[self.index.fields.item_fields[self.index.places(found.items)]]
        short = np.bincount(owners, weights=tokens >= self.NGRAM, minlength=len(found)) == 0
        kinds = np.where(short, SHORT, COPY).astype(np.int8)
        whole = np.bincount(owners, weights=~beside.whole, minlength=len(found)) == 0
        return replace(found, kinds=kinds).only(whole)

    def counted(self, item: int, slot: int) -> npt.NDArray[np.bool_]:
        """Which tokens of a field of an item count: all."""
        return self.index.counted(item, slot)

    def unchecked(self, item: int) -> str:
        """Why nothing can match an item, or an empty string."""
        return self.index.unchecked(item)

    def caution(self, item: int) -> str:  # noqa: ARG002
        """Nothing: whole items are found."""
        return ""


class _Ignored:
    """Where the n-grams begin that a rule ignores."""

    def __init__(self, rule: Coverage) -> None:
        self.rule = rule

    def __call__(self, cut: Cut) -> npt.NDArray[np.uint8]:
        out = np.zeros(len(cut.hashes), np.bool_)
        if self.rule.single is not None:
            out |= self._mostly_single(cut)
        for phrase in self.rule.generic:
            out |= self._generic(cut, phrase)
        return out.astype(np.uint8)

    def _sizes(self, cut: Cut) -> npt.NDArray[np.int64]:
        """The tokens of the gram that begins at each token, 0 where none does."""
        n, offsets = self.rule.ngram, cut.offsets
        left = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(len(cut.hashes))
        size = np.repeat(np.minimum(np.diff(offsets), n), np.diff(offsets))
        return np.where(left >= size, size, 0)

    def _mostly_single(self, cut: Cut) -> npt.NDArray[np.bool_]:
        assert self.rule.single is not None
        single = np.concatenate([[0], np.cumsum(cut.ends_at - cut.starts_at == 1)])
        sizes = self._sizes(cut)
        first = np.arange(len(sizes))
        return np.asarray(single[first + sizes] - single[first] > self.rule.single * sizes)

    def _generic(self, cut: Cut, phrase: str) -> npt.NDArray[np.bool_]:
        """The grams that lie inside the phrase, and those that hold all of it."""
        words = cut_texts(pa.array([phrase])).hashes
        out, sizes = np.zeros(len(cut.hashes), np.bool_), self._sizes(cut)
        for start in range(len(words)):
            left = len(words) - start
            firsts = np.flatnonzero((cut.hashes == words[start]) & (sizes > 0) & (sizes <= left))
            for step in range(1, left):
                ended = sizes[firsts] <= step
                there = cut.hashes[np.minimum(firsts + step, len(sizes) - 1)]
                firsts = firsts[ended | (there == words[start + step])]
            out[firsts] = True
        if not len(words):
            return out
        places = np.flatnonzero(cut.hashes == words[0])
        places = places[places + len(words) <= len(sizes)]
        for step in range(1, len(words)):
            places = places[cut.hashes[places + step] == words[step]]
        for before in range(self.rule.ngram - len(words) + 1):
            firsts = places[places >= before] - before
            out[firsts[sizes[firsts] >= before + len(words)]] = True
        return out
