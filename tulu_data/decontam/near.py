"""`MinHash` of `rules.py`, made ready for the items of a suite.

Two steps. Windows of a text whose MinHash signatures agree with an item's in some band make it a candidate
(`kernels/nearing.py`). Then the passage of the text that is most like the candidate is found and measured
exactly (`kernels/passages.py`); which that is does not hang on the windows.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam import kernels
from tulu_data.decontam.index import Cut, cut_texts, kernel_tables
from tulu_data.decontam.kernels import RAREST, Marks, Near, NearItems
from tulu_data.decontam.match import COPY, NEAR_DUPLICATE, Column, Findings
from tulu_data.decontam.rules import MinHash
from tulu_data.text import minhash
from tulu_data.text.hashing import prepare_texts

ROUNDING = 1e-9
"""Thresholds are written in decimals, scores are fractions: closer than this they are equal."""
MISSED = 0.99
"""The weight of missed pairs in the choice of bands; pairs in vain only cost a measurement."""

LIKENESS = 0.8
"""By about so much is a window less like an item than its best passage is: they lie askew."""
FILTER_BITS = 8
"""Bits for each hash: one in 8 to 16 of others passes, and costs a look at the table."""
Passages = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int32]]
"""As `kernels.near` gives them: passages, char_offsets, chars."""


class MinHashMatcher:
    """Finds the items of a suite by the rule `MinHash`."""

    streams = False

    def __init__(self, rule: MinHash, items: Sequence[Sequence[str]]) -> None:
        """Indexes items, each the texts of its fields."""
        self.rule = rule
        self._items, hashes, self._sizes = _items(items, rule)
        self._set_of, self.index = _index(rule, self._items, hashes)
        self._items_of, self._item_offsets = _inverse(self._set_of, len(self.index.need))
        self._idle: list[Marks] = []
        self._lock = threading.Lock()

    def find(self, columns: list[Column]) -> Findings:
        """Every item that a message of the columns is like."""
        with self._marks() as marks:
            parts, base = [], 0
            for column in columns:
                passages, char_offsets, chars = self._scan(column, marks)
                rows = column.rows[passages[:, 0]]
                passages[:, 0] += base
                parts.append((passages, np.diff(char_offsets), chars, rows))
                base += len(column.rows)
            joined = [np.concatenate(part) for part in zip(*parts, strict=True)] if parts else []
            return self._findings(joined, marks) if parts else _none()

    def _scan(self, column: Column, marks: Marks) -> Passages:
        texts, tables = column.texts, kernel_tables(characters=self.rule.characters)
        *found, hard = kernels.near(
            texts.data, texts.offsets, column.wanted, texts.prepared, tables, self.index, marks
        )
        if not len(hard):
            return found[0], found[1], found[2]
        prepared = prepare_texts([texts.text(i) for i in hard], characters=self.rule.characters)
        all_wanted = np.ones(len(hard), np.uint8)
        passages, char_offsets, chars, _ = kernels.near(
            prepared.texts.data, prepared.texts.offsets, all_wanted, True, tables, self.index, marks
        )
        numbers = np.repeat(passages[:, 0], np.diff(char_offsets))
        chars[:, 0], chars[:, 1] = prepared.characters(numbers, chars[:, 0], chars[:, 1])
        passages[:, 0] = hard[passages[:, 0]]
        behind = np.concatenate([found[1], char_offsets[1:] + found[1][-1]])
        return np.concatenate([found[0], passages]), behind, np.concatenate([found[2], chars])

    def _findings(self, joined: list[Any], marks: Marks) -> Findings:
        """The best passage of each row for each item, with the evidence."""
        passages, widths, chars, passage_rows = joined
        counts = np.diff(self._item_offsets)[passages[:, 1]]
        owners = np.repeat(np.arange(len(passages)), counts)
        firsts = self._item_offsets[passages[:, 1]] - (np.cumsum(counts) - counts)
        items = self._items_of[np.repeat(firsts, counts) + np.arange(counts.sum())]
        scores, rows = (passages[:, 2] / passages[:, 3])[owners], passage_rows[owners]
        order = np.lexsort((passages[owners, 0], -scores, items, rows))
        rows, items, scores, owners = rows[order], items[order], scores[order], owners[order]
        best = np.ones(len(rows), np.bool_)
        best[1:] = (rows[1:] != rows[:-1]) | (items[1:] != items[:-1])
        rows, items, scores, owners = rows[best], items[best], scores[best], owners[best]
        slot_offsets, slots, slot_scores, item_spans, train_spans = kernels.near_evidence(
            np.stack([owners, items], axis=1).astype(np.int64), passages[owners, 0].astype(np.int64),
            self.index.n, _offsets(widths), chars, self._items, marks.in_window, marks.in_text, marks.clock,
        )  # fmt: skip
        kinds = np.where(scores == 1.0, COPY, NEAR_DUPLICATE).astype(np.int8)
        return Findings(
            rows.astype(np.int32), items.astype(np.int32), kinds, scores, slot_offsets, slots, slot_scores,
            item_spans, train_spans,
        )  # fmt: skip

    def counted(self, item: int, slot: int) -> npt.NDArray[np.bool_]:
        """Which tokens of a field of an item count: all."""
        first, last = self._items.token_offsets[item : item + 2]
        return np.ones(int((self._items.slots[first:last] == slot).sum()), np.bool_)

    def unchecked(self, item: int) -> str:
        """Why nothing can match an item, or an empty string."""
        return "" if self._sizes[item] else "no field of it has a letter or a digit"

    def caution(self, item: int) -> str:
        """`short`: it is not as long as an n-gram."""
        return "short" if 0 < self._sizes[item] < self.rule.ngram else ""

    @contextmanager
    def _marks(self) -> Iterator[Marks]:
        """Stamps for one call; kept and lent again, so that they need no clearing."""
        with self._lock:
            marks = self._idle.pop() if self._idle else self._new_marks()
        try:
            yield marks
        finally:
            with self._lock:
                self._idle.append(marks)

    def _new_marks(self) -> Marks:
        shingles, sets = len(self.index.classes), len(self.index.need)
        times = [np.zeros(size, np.int64) for size in (1, shingles, shingles, sets, sets)]
        return Marks(times[0], times[1], np.zeros(shingles, np.int32), *times[2:])


def _none() -> Findings:
    nothing = np.zeros(0, np.int32)
    return Findings(
        nothing, nothing, nothing.astype(np.int8), np.zeros(0), np.zeros(1, np.int64), nothing, np.zeros(0)
    )


def _offsets(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _inverse(numbers: npt.NDArray[Any], size: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """For each number the places that have it, one number's behind the other's, and where they begin."""
    order = np.argsort(numbers, kind="stable")
    order = order[numbers[order] >= 0]
    return order.astype(np.int32), _offsets(np.bincount(numbers[order], minlength=size))


def _items(
    items: Sequence[Sequence[str]], rule: MinHash
) -> tuple[NearItems, npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The items, whose shingles have no numbers yet; the hashes of the shingles; the tokens of each item."""
    flat = pa.array([text for fields in items for text in fields], pa.large_string())
    cut: Cut = cut_texts(flat, characters=rule.characters)
    widths = np.array([len(fields) for fields in items], np.int64)
    firsts = _offsets(widths)
    token_offsets = cut.offsets[firsts]
    hashes, shingle_offsets = kernels.item_shingles(cut.hashes, token_offsets, rule.ngram)
    fields = (np.arange(firsts[-1]) - np.repeat(firsts[:-1], widths)).astype(np.int32)
    slots = np.repeat(fields, np.diff(cut.offsets))
    made = NearItems(
        token_offsets, slots, cut.starts_at, cut.ends_at, shingle_offsets, np.zeros(len(hashes), np.int32)
    )
    return made, hashes, np.diff(token_offsets)


def _index(
    rule: MinHash, items: NearItems, hashes: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], Near]:
    """The set of each item, -1 where it has no token; and the sets. Numbers the shingles of `items`."""
    distinct, firsts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(firsts)  # in the order of the items: what is kept by shingle lies together
    distinct = distinct[order]
    items.shingles[:] = np.argsort(order)[inverse]
    set_of, example, numbers, offsets = _sets(items, distinct)
    own, lengths = np.diff(offsets), np.diff(items.shingle_offsets)[example]
    tokens = np.diff(items.token_offsets)[example]
    short = tokens < max(rule.at_least, rule.ngram)
    threshold = np.where(short, 1.0, rule.threshold)
    need = np.maximum(1, np.ceil(own * threshold - ROUNDING)).astype(np.int64)
    # A passage is no longer than so many items, and a run as long as an item lies inside some window: of what
    # a passage shares with its item, this much is in one window.
    least = -(-need // math.ceil(1 / rule.threshold))
    class_of, widths, steps = _classes(np.where(short, 0, lengths))
    class_least = np.array([least[class_of == k].min() for k in range(len(widths))], np.int64)
    classes = np.zeros(len(distinct), np.uint64)
    bits = np.where(short, 0, np.uint64(1) << np.maximum(class_of, 0).astype(np.uint64)).astype(np.uint64)
    np.bitwise_or.at(classes, numbers, np.repeat(bits, own))
    short_sets, short_offsets = _by_rarest(np.flatnonzero(short), numbers, offsets, len(distinct))
    classes[np.diff(short_offsets) > 0] |= np.uint64(RAREST)
    return set_of, Near(
        rule.ngram, *_table(distinct), classes, np.unique(np.minimum(tokens, rule.ngram)), short_offsets,
        short_sets, offsets, numbers, np.floor((threshold - ROUNDING) * (1 << 30)).astype(np.int64), need,
        least, np.where(short, lengths, np.ceil(lengths * rule.shortest - ROUNDING)).astype(np.int64),
        (lengths / threshold).astype(np.int64), widths, steps, class_least,
        *_bands(rule, distinct, numbers, offsets, class_of),
    )  # fmt: skip


def _by_rarest(short: Any, numbers: Any, offsets: Any, shingles: int) -> tuple[Any, npt.NDArray[np.int64]]:
    """The short sets by the shingle of each that the fewest sets have."""
    holders = np.bincount(numbers, minlength=shingles)
    rarest = [
        min(numbers[slice(*offsets[k : k + 2])].tolist(), key=holders.__getitem__) for k in short.tolist()
    ]
    places, by_shingle = _inverse(np.array(rarest, np.int64), shingles)
    return short[places].astype(np.int32), by_shingle


def _sets(items: NearItems, hashes: npt.NDArray[np.uint64]) -> tuple[Any, Any, Any, Any]:
    """Items of the same shingles, and as many of them with repetitions, are one set.

    Returns:
        The set of each item, or -1; an item of each set; the shingles of all sets; where each set's begin.
    """
    lengths = np.diff(items.shingle_offsets)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    pairs = np.sort(owners << 32 | items.shingles)
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # what np.unique does by hashing, ten times slower
    numbers = (pairs & 0xFFFFFFFF).astype(np.int32)
    offsets = _offsets(np.bincount(pairs >> 32, minlength=len(lengths)))
    digests = minhash.digests(minhash.Shingles(hashes[numbers], offsets))
    keys = np.column_stack([digests, lengths.astype(np.uint64)])[lengths > 0]
    _, example, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    set_of = np.full(len(lengths), -1, np.int64)
    set_of[lengths > 0] = inverse
    example = np.flatnonzero(lengths)[example]
    taken = minhash.Shingles(numbers.astype(np.uint64), offsets).take(example)
    return set_of, example, taken.hashes.astype(np.int32), taken.ends


def _classes(lengths: npt.NDArray[Any]) -> tuple[Any, Any, Any]:
    """Sets of about the same length, those of length 0 in none (-1): the class of each, widths and steps.

    Windows lie half an item apart, and are wider than one by so much that every run as long as an item of the
    class lies in one of them.
    """
    halves = np.where(lengths > 0, np.floor(2 * np.log2(np.maximum(lengths, 1))), -1).astype(np.int64)
    present = np.unique(halves[halves >= 0])
    class_of = np.where(halves < 0, -1, np.searchsorted(present, halves))
    members = [lengths[class_of == k] for k in range(len(present))]
    steps = np.array([max(1, of.min() // 2) for of in members], np.int64)
    return class_of, np.array([of.max() for of in members], np.int64) + steps - 1, steps


def _table(hashes: npt.NDArray[np.uint64]) -> tuple[Any, int, Any, int]:
    """Distinct hashes, each with its number: a filter and a table for `kernels.near`, and their shifts."""
    bits = max(9, (len(hashes) * FILTER_BITS).bit_length())
    slots = max(6, (len(hashes) * 2).bit_length())
    filter_, table = np.zeros(1 << (bits - 6), np.uint64), np.zeros((1 << slots, 2), np.uint64)
    kernels.fill_numbers(hashes, filter_, 64 - bits, table, 64 - slots)
    return filter_, 64 - bits, table, 64 - slots


def _bands(rule: MinHash, hashes: Any, numbers: Any, offsets: Any, class_of: Any) -> tuple[Any, ...]:
    """The permutations, the rows of a band, and the sets of each band key."""
    bands, rows = minhash.bands_for(rule.threshold * LIKENESS, rule.permutations, MISSED)
    signatures = minhash.signatures(minhash.Shingles(hashes[numbers], offsets), rule.permutations)
    signed = np.flatnonzero(class_of >= 0)
    keys = kernels.set_keys(signatures[signed], class_of[signed], bands, rows)
    distinct, inverse = np.unique(keys, return_inverse=True)
    places, key_offsets = _inverse(inverse.ravel(), len(distinct))
    a, b = (part[: bands * rows] for part in minhash.permutations(rule.permutations))
    return a, b, rows, *_table(distinct), key_offsets, signed[places // bands].astype(np.int32)
