"""Matching texts against an index: the fast path of the rules that `plain.py` tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam import kernels
from tulu_data.decontam.index import Index, kernel_tables
from tulu_data.text.hashing import Texts, prepare_texts

Ints = npt.NDArray[np.int32]

KINDS = ("copy", "partial", "short", "options", "changed_numbers", "near_duplicate")
"""What a finding can be; see `Rule`."""
COPY, PARTIAL, SHORT, OPTIONS, CHANGED_NUMBERS, NEAR_DUPLICATE = range(6)


@dataclass(frozen=True)
class Pieces:
    """The messages that streams are joined from, with a line break between two."""

    texts: pa.Array
    numbers: Ints
    """Which message of its row each is."""
    offsets: npt.NDArray[np.int64]
    """[streams + 1]: where each stream's messages begin."""

    def starts(self, stream: int) -> npt.NDArray[np.int64]:
        """The characters of the stream at which its messages begin, and where one more would."""
        first, last = self.offsets[stream : stream + 2].tolist()
        lengths = pc.utf8_length(self.texts.slice(first, last - first)).to_numpy(zero_copy_only=False)
        return np.concatenate([[0], np.cumsum(lengths + 1)]).astype(np.int64)


@dataclass(frozen=True)
class Column:
    """A column of texts of a batch: which row each belongs to (ascending), and whether it is looked at."""

    texts: Texts
    rows: Ints
    wanted: npt.NDArray[np.uint8]
    pieces: Pieces | None = None
    """The messages that the texts are joined from; None where each text is a message of its own."""


@dataclass(frozen=True)
class Findings:
    """The matched items of a batch, ordered by row, then item, with the evidence.

    Slots are the texts of an item, numbered as in `EvalItems.texts`. `train_spans` names texts by their
    number over all columns, one column behind the other.
    """

    rows: Ints
    items: Ints
    kinds: npt.NDArray[np.int8]
    """Which of KINDS."""
    scores: npt.NDArray[np.float64]
    slot_offsets: npt.NDArray[np.int64]
    """[findings + 1]: where each finding's slots begin in the next two."""
    slots: Ints
    slot_scores: npt.NDArray[np.float64]
    item_spans: Ints = field(default_factory=lambda: np.zeros((0, 4), np.int32))
    """[spans, 4]: finding, slot, and characters [start, end)."""
    train_spans: Ints = field(default_factory=lambda: np.zeros((0, 4), np.int32))
    """[spans, 4]: finding, text, and characters [start, end)."""

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, kept: npt.NDArray[np.bool_]) -> Findings:
        """Some of the findings."""
        number = np.cumsum(kept) - 1
        counts = np.diff(self.slot_offsets)
        slots = np.repeat(kept, counts)
        ours, theirs = (spans[kept[spans[:, 0]]] for spans in (self.item_spans, self.train_spans))
        for spans in (ours, theirs):
            spans[:, 0] = number[spans[:, 0]]
        offsets = np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64)
        return Findings(
            self.rows[kept], self.items[kept], self.kinds[kept], self.scores[kept],
            offsets, self.slots[slots], self.slot_scores[slots], ours, theirs,
        )  # fmt: skip


class Matcher(Protocol):
    """A rule, made ready for the items of a suite."""

    streams: bool
    """Whether a row's messages of one role are compared as one text."""

    def find(self, columns: list[Column]) -> Findings:
        """Every item that matches a row of the columns."""
        ...

    def counted(self, item: int, slot: int) -> npt.NDArray[np.bool_]:
        """Which tokens of a slot of an item count; learned boilerplate does not."""
        ...

    def unchecked(self, item: int) -> str:
        """Why nothing can match an item, or an empty string."""
        ...

    def caution(self, item: int) -> str:
        """What is to be said of how an item is found: a word of `check.CAUTIONS`, or an empty string."""
        ...


def find(index: Index, columns: list[Column]) -> Findings:
    """Every item of the index that matches a row of the columns, by coverage alone."""
    hits, hit_rows = hits_of(index, columns)
    found = judged(index, hits, hit_rows)
    return Findings(
        found.rows, found.items, _kinds(index, found), found.scores, found.slot_offsets, found.slots,
        found.slot_scores, found.item_spans, found.train_spans,
    )  # fmt: skip


def judged(index: Index, hits: Ints, hit_rows: Ints) -> Findings:
    """The items above their limits, all as copies."""
    lengths = index.grams.length[hits[:, 1]]
    with index.memory() as memory:
        pairs, scores, slot_scores, item_spans, train_spans = kernels.judge(
            hits, hit_rows, lengths, index.fields, index.n, memory
        )
    counts = np.diff(index.fields.item_offsets)[pairs[:, 1]]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    slots = index.slots[index.places(pairs[:, 1])]
    if len(item_spans):
        item_spans[:, 1] = slots[offsets[item_spans[:, 0]] + item_spans[:, 1]]
    rows, items = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    kinds = np.full(len(rows), COPY, np.int8)
    return Findings(rows, items, kinds, scores, offsets, slots, slot_scores, item_spans, train_spans)


def _kinds(index: Index, found: Findings) -> npt.NDArray[np.int8]:
    """`copy`: every token covered; `short`: only fields too short for an n-gram match; else `partial`."""
    owners = np.repeat(np.arange(len(found)), np.diff(found.slot_offsets))
    tokens = index.fields.tokens[index.fields.item_fields[index.places(found.items)]]
    long = (tokens >= index.n) & (found.slot_scores > 0)
    has_long = np.bincount(owners, weights=long, minlength=len(found)) > 0
    return np.where(~has_long, SHORT, np.where(found.scores == 1.0, COPY, PARTIAL)).astype(np.int8)


def hits_of(index: Index, columns: list[Column]) -> tuple[Any, Any]:
    """The hits of all columns, ordered by row, text and first token, and the row of each."""
    found, rows, base = [np.zeros((0, 5), np.int32)], [np.zeros(0, np.int32)], 0
    for column in columns:
        hits = _scan(index, column)
        rows.append(column.rows[hits[:, 0]])
        hits[:, 0] += base
        found.append(hits)
        base += len(column.rows)
    hits, hit_rows = np.concatenate(found), np.concatenate(rows).astype(np.int32)
    order = np.lexsort((hits[:, 2], hits[:, 0], hit_rows))
    return np.ascontiguousarray(hits[order]), np.ascontiguousarray(hit_rows[order])


def _scan(index: Index, column: Column) -> Any:
    texts, tables = column.texts, kernel_tables(characters=index.characters)
    hits, hard = kernels.scan(texts.data, texts.offsets, column.wanted, texts.prepared, tables, index.grams)
    if not len(hard):
        return hits
    prepared = prepare_texts([texts.text(i) for i in hard], characters=index.characters)
    ours = prepared.texts
    all_wanted = np.ones(len(hard), np.uint8)
    more, _ = kernels.scan(ours.data, ours.offsets, all_wanted, True, tables, index.grams)
    more = more[np.argsort(more[:, 0], kind="stable")]
    more[:, 3], more[:, 4] = prepared.characters(more[:, 0], more[:, 3], more[:, 4])
    more[:, 0] = hard[more[:, 0]]
    return np.concatenate([hits, more])
