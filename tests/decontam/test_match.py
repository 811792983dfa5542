"""The fast matcher equals its plain twin: same items, same scores to the last bit, same characters on both sides."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tulu_data.decontam.index import build_index
from tulu_data.decontam.match import Column, find
from tulu_data.decontam.plain import match
from tulu_data.text.hashing import Texts

WORDS = ["one", "two", "Three", "FOUR", "fi\u00adve", "six", "a", "_", "É", "e\u0301", "ﬁn", "日本", "ΟΔΟΣ", "x²", "İ", "٣", "incomprehensibilities"]
GAPS = [" ", " ", " ", ", ", "\n", "—", "'", "\u200b ", "  ", "😀", "\x00"]

text = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=14).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
items = st.lists(st.lists(text, min_size=1, max_size=3), min_size=1, max_size=5)
rows = st.lists(st.lists(text | st.text(max_size=12), max_size=3), max_size=4)


def column_of(messages: list[list[str]]) -> Column:
    flat = pa.array([m for row in messages for m in row], pa.string())
    numbers = np.repeat(np.arange(len(messages)), [len(row) for row in messages]).astype(np.int32)
    return Column(Texts.of(flat), numbers, np.ones(len(flat), np.uint8))


def fast(items: list[list[str]], rows: list[list[str]], n: int, threshold: float) -> dict:
    index = build_index(items, n, threshold)
    found = find(index, [column_of(rows)])
    first_text = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    out: dict = {}
    for i in range(len(found)):
        row, item = int(found.rows[i]), int(found.items[i])
        first, last = index.fields.item_offsets[item : item + 2]
        slots = index.slots[first:last]
        scores = found.slot_scores[found.slot_offsets[i] : found.slot_offsets[i + 1]]
        out[row, item] = (
            float(found.scores[i]),
            {str(s): float(v) for s, v in zip(slots, scores, strict=True)},
            [(str(slots[s]), int(a), int(b)) for f, s, a, b in found.item_spans if f == i],
            [(int(t - first_text[row]), int(a), int(b)) for f, t, a, b in found.train_spans if f == i],
        )
    return out


def slow(items: list[list[str]], rows: list[list[str]], n: int, threshold: float) -> dict:
    out = {}
    for r, row in enumerate(rows):
        for i, item in enumerate(items):
            found = match({str(s): t for s, t in enumerate(item)}, row, n, threshold)
            if found:
                out[r, i] = (found.score, found.field_scores, found.item_spans, found.train_spans)
    return out


@settings(max_examples=300, deadline=None)
@given(items=items, rows=rows, n=st.sampled_from([2, 3, 8]), threshold=st.sampled_from([0.0, 0.3, 0.5, 0.8]), data=st.data())
def test_the_kernel_equals_its_twin(items, rows, n, threshold, data):
    pieces = data.draw(st.lists(st.sampled_from([t for item in items for t in item]), max_size=4))
    rows = [*rows, *([p, *(rows[0] if rows else [])] for p in pieces)]
    assert fast(items, rows, n, threshold) == slow(items, rows, n, threshold)
