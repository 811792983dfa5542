"""The rule `Distinctive`: kernels and twin find the same, to the last bit and the last character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.decontam.test_match import by_finding
from tulu_data.decontam.match import KINDS, Column, Pieces
from tulu_data.decontam.matchers import matcher_of
from tulu_data.decontam.plain_distinctive import Eval, PlainItem, Stream
from tulu_data.decontam.rules import Distinctive
from tulu_data.text.hashing import Texts

Row = Sequence[Sequence[str]]
"""Of each column the messages."""


def column_of(rows: Sequence[Sequence[str]]) -> Column:
    """The messages of each row as one stream; a row without messages has none."""
    counts = np.array([len(messages) for messages in rows], np.int64)
    full = np.flatnonzero(counts)
    pieces = Pieces(
        pa.array([message for messages in rows for message in messages], pa.string()),
        np.concatenate([np.arange(0), *map(np.arange, counts)]).astype(np.int32),
        np.concatenate([[0], np.cumsum(counts[full])]).astype(np.int64),
    )
    joined = pa.array(["\n".join(rows[row]) for row in full.tolist()], pa.string())
    return Column(Texts.of(joined), full.astype(np.int32), np.ones(len(full), np.uint8), pieces)


def fast(rule: Distinctive, evals: Sequence[Sequence[PlainItem]], rows: Sequence[Row]) -> dict[Any, Any]:
    """What the kernels find, by row, eval and item."""
    items = [item for part in evals for item in part]
    groups = np.repeat(np.arange(len(evals), dtype=np.int32), [len(part) for part in evals])
    matcher = matcher_of(rule, [item.fields for item in items], [item.options for item in items], groups)
    columns = [column_of([row[number] for row in rows]) for number in range(len(rows[0]) if rows else 0)]
    found = matcher.find(columns)
    names = [(group, number) for group, part in enumerate(evals) for number in range(len(part))]
    texts = [(row, number) for number, column in enumerate(columns) for row in column.rows.tolist()]
    ours, theirs = (by_finding(spans, len(found)) for spans in (found.item_spans, found.train_spans))
    out = {}
    for i in range(len(found)):
        row = int(found.rows[i])
        slots = slice(*found.slot_offsets[i : i + 2].tolist())
        scores = zip(found.slots[slots].tolist(), found.slot_scores[slots].tolist(), strict=True)
        assert {texts[text][0] for text, _, _ in theirs[i]} <= {row}
        out[row, *names[found.items[i]]] = (
            KINDS[found.kinds[i]],
            float(found.scores[i]),
            {str(slot): score for slot, score in scores},
            [(str(slot), start, end) for slot, start, end in ours[i]],
            [(texts[text][1], start, end) for text, start, end in theirs[i]],
        )
    return out


def slow(rule: Distinctive, evals: Sequence[Sequence[PlainItem]], rows: Sequence[Row]) -> dict[Any, Any]:
    """What the twin finds."""
    out = {}
    for group, part in enumerate(evals):
        told = Eval(rule, part)
        for number, row in enumerate(rows):
            streams = [Stream(messages) for messages in row]
            for name, item in enumerate(part):
                if found := told.find(item, streams):
                    spans = found.item_spans, found.train_spans
                    out[number, group, name] = found.kind, found.score, found.field_scores, *spans
    return dict(sorted(out.items()))


WORDS = [
    "ann", "Bob", "3", "7", "12", "2nd", "three", "five", "x", "y", "the", "sum", "is", "_", "pears",
    "中", "国人", "กข", "é", "e\u0301", "x²", "ﬁn", "fin", "٣",
]  # fmt: skip
GAPS = [" ", " ", " ", " ", ", ", ". ", "\n", "-", "? ", "\u200b ", "\u0301 "]
TEMPLATES = ["answer the next one: ", "what is the sum of 3 and ", ""]

word = st.sampled_from(WORDS)
text = st.lists(st.tuples(word, st.sampled_from(GAPS)), min_size=1, max_size=12).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
echo = st.lists(st.sampled_from(["a ", "b ", "3 "]), min_size=2, max_size=14).map("".join)
field = st.tuples(st.sampled_from(TEMPLATES), text | echo).map("".join) | st.just("") | word
option = st.sampled_from(["3", "12", "the sum", "pears", "ann is", "", "x y", "中国"]) | text


@st.composite
def evals(draw: st.DrawFn) -> list[list[PlainItem]]:
    """Evals whose items have fields of their own, and fields that other items have too."""
    pool = st.sampled_from(draw(st.lists(field, min_size=1, max_size=4)))
    fields = st.lists(field | pool, min_size=1, max_size=2)
    item = st.builds(PlainItem, fields, st.lists(option, max_size=4))
    return draw(st.lists(st.lists(item, min_size=1, max_size=5), min_size=1, max_size=2))


rules = st.builds(
    lambda **settings: Distinctive(rule="any", **settings),
    ngram=st.sampled_from([2, 3, 3, 4, 8]), threshold=st.sampled_from([0.0, 0.3, 0.5, 0.8]),
    boilerplate=st.integers(2, 3), at_least=st.sampled_from([1, 2, 4, 6, 20]),
    replaced=st.sampled_from([0.0, 0.1, 0.4]), similar=st.sampled_from([0.3, 0.8]),
    phrase=st.integers(1, 4), options=st.sampled_from([0.5, 0.75, 1.0]),
)  # fmt: skip
edits = st.lists(
    st.tuples(st.sampled_from(["put", "put", "drop", "add"]), st.integers(0, 14), word), max_size=4
)


def edited(given: str, changes: Sequence[tuple[str, int, str]]) -> str:
    """A text with words replaced, dropped and added."""
    words = given.split(" ")
    for what, place, other in changes:
        if place < len(words):
            words[place : place + (what != "add")] = [] if what == "drop" else [other]
    return " ".join(words)


@st.composite
def planted(draw: st.DrawFn, items: Sequence[PlainItem]) -> str:
    """A message made of an item: edited, repeated, or with its options."""
    one = draw(st.sampled_from(items))
    said = [edited(given, draw(edits)) for given in one.fields]
    said += draw(st.permutations(list(one.options)))
    around = draw(st.sampled_from(["", "", "so ", "ann is the x. "]))
    joined = draw(st.sampled_from(["\n", " ", " (B) ", "; "])).join(said)
    return around + joined + draw(st.sampled_from(["", "", " is the sum", ". 中"]))


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(rule=rules, evals=evals(), width=st.integers(1, 2), height=st.integers(0, 3), data=st.data())
def test_kernels_and_twin_find_the_same(
    rule: Distinctive, evals: list[list[PlainItem]], width: int, height: int, data: st.DataObject
) -> None:
    said = st.lists(planted([item for part in evals for item in part]) | text | echo, max_size=3)
    rows = [[data.draw(said) for _ in range(width)] for _ in range(height)]
    expected = slow(rule, evals, rows)
    for kind, *_ in expected.values():
        event(kind)
    assert fast(rule, evals, rows) == expected
