"""Matching texts against an index: the fast path of the rule that `plain.py` tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tulu_data.decontam import kernels
from tulu_data.decontam.index import Index, kernel_tables
from tulu_data.text.hashing import Texts, prepare_texts

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Column:
    """A column of texts of a batch: which row each belongs to (ascending), and whether it is looked at."""

    texts: Texts
    rows: Ints
    wanted: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Findings:
    """The matched items of a batch, ordered by row, with the evidence.

    `train_spans` names texts by their number over all columns, one column behind the other.
    """

    rows: Ints
    items: Ints
    scores: npt.NDArray[np.float64]
    slot_scores: npt.NDArray[np.float64]
    slot_offsets: npt.NDArray[np.int64]
    item_spans: Ints
    train_spans: Ints

    def __len__(self) -> int:
        return len(self.rows)


def find(index: Index, columns: list[Column]) -> Findings:
    """Every item of the index that matches a row of the columns."""
    hits, hit_rows = hits_of(index, columns)
    lengths = index.grams.length[hits[:, 1]]
    with index.memory() as memory:
        pairs, scores, slots, item_spans, train_spans = kernels.judge(
            hits, hit_rows, lengths, index.fields, index.n, memory
        )
    counts = np.diff(index.fields.item_offsets)[pairs[:, 1]]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Findings(
        np.ascontiguousarray(pairs[:, 0]),
        np.ascontiguousarray(pairs[:, 1]),
        scores,
        slots,
        offsets,
        item_spans,
        train_spans,
    )


def hits_of(index: Index, columns: list[Column]) -> tuple[Any, Any]:
    """The hits of all columns, ordered by row, text and first token."""
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
