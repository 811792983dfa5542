"""The fast matcher equals its plain twin: same items, scores to the last bit, characters on both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulu_data.decontam import kernels
from tulu_data.decontam.index import build_index
from tulu_data.decontam.match import KINDS, Column, Findings, find
from tulu_data.decontam.matchers import matcher_of
from tulu_data.decontam.plain import PlainFinding, ignored_by, match, match_exact
from tulu_data.decontam.rules import Coverage, Exact, Rule
from tulu_data.text.hashing import Texts
from tulu_data.text.tokens import tokens

WORDS = [
    "one",
    "two",
    "Three",
    "FOUR",
    "fi\u00adve",
    "six",
    "a",
    "_",
    "É",
    "e\u0301",
    "ﬁn",
    "日本",
    "ΟΔΟΣ",
    "x²",
    "İ",
    "٣",
    "incomprehensibilities",
]
GAPS = [" ", " ", " ", ", ", "\n", "—", "'", "\u200b ", "  ", "😀", "\x00"]

text = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=14).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
echo = st.lists(st.sampled_from(["a ", "b "]), min_size=3, max_size=30).map("".join)
items = st.lists(st.lists(text | echo, min_size=1, max_size=3), min_size=1, max_size=5)
Row = list[tuple[str, bool]]
"""The messages of one column of a row, and whether each is looked at."""
side = st.lists(st.tuples(text | echo | st.text(max_size=12), st.booleans()), max_size=3)


def column_of(rows: Sequence[Row]) -> Column:
    flat = pa.array([message for row in rows for message, _ in row], pa.string())
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows]).astype(np.int32)
    return Column(Texts.of(flat), numbers, np.array([wanted for row in rows for _, wanted in row], np.uint8))


def by_finding(spans: Any, count: int) -> list[list[tuple[int, int, int]]]:
    out: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]
    for finding, *span in spans.tolist():
        out[finding].append(tuple(span))
    return out


def told(index: Any, found: Findings, sizes: list[list[int]]) -> dict[tuple[int, int], Any]:
    """Findings by row and item; texts are told as (column, number in the row's part of it)."""
    places = [
        (row, column, number)
        for column, counts in enumerate(sizes)
        for row, n in enumerate(counts)
        for number in range(n)
    ]
    out = {}
    ours, theirs = (by_finding(spans, len(found)) for spans in (found.item_spans, found.train_spans))
    for i in range(len(found)):
        row, item = int(found.rows[i]), int(found.items[i])
        first, last = index.fields.item_offsets[item : item + 2]
        slots = index.slots[first:last]
        scores = found.slot_scores[found.slot_offsets[i] : found.slot_offsets[i + 1]]
        trains = [(places[t], a, b) for t, a, b in theirs[i]]
        assert all(place[0] == row for place, _, _ in trains)
        out[row, item] = (
            float(found.scores[i]),
            {str(s): float(v) for s, v in zip(slots, scores, strict=True)},
            [(str(s), a, b) for s, a, b in ours[i]],
            [(place[1:], a, b) for place, a, b in trains],
            KINDS[found.kinds[i]],
        )
    return out


def fast(
    items: list[list[str]], columns: list[list[Row]], n: int = 8, threshold: float = 0.5
) -> dict[tuple[int, int], Any]:
    return found_by(Coverage(rule="any", ngram=n, threshold=threshold), items, columns)


def found_by(rule: Rule, items: list[list[str]], columns: list[list[Row]]) -> dict[tuple[int, int], Any]:
    """What a rule's matcher finds."""
    matcher: Any = matcher_of(rule, items, [()] * len(items), np.zeros(len(items), np.int32))
    found = matcher.find([column_of(rows) for rows in columns])
    return told(matcher.index, found, [[len(row) for row in rows] for rows in columns])


def slow(
    items: list[list[str]], columns: list[list[Row]], n: int = 8, threshold: float = 0.5
) -> dict[tuple[int, int], Any]:
    return told_plainly(lambda item, messages: match(item, messages, n, threshold), items, columns)


def told_plainly(
    match: Callable[[dict[str, str], list[str]], PlainFinding | None],
    items: list[list[str]],
    columns: list[list[Row]],
) -> dict[tuple[int, int], Any]:
    """What a twin finds."""
    out = {}
    for r in range(len(columns[0])):
        places = [(c, m) for c, rows in enumerate(columns) for m, (_, wanted) in enumerate(rows[r]) if wanted]
        messages = [columns[c][r][m][0] for c, m in places]
        for i, item in enumerate(items):
            if found := match({str(s): t for s, t in enumerate(item)}, messages):
                spans = [(places[number], a, b) for number, a, b in found.train_spans]
                out[r, i] = (found.score, found.field_scores, found.item_spans, spans, found.kind)
    return out


@settings(max_examples=400, deadline=None)
@given(
    items=items, n=st.sampled_from([1, 2, 3, 8, 9]), threshold=st.sampled_from([0.0, 0.3, 0.5, 0.8]),
    width=st.integers(1, 3), height=st.integers(0, 4), data=st.data(),
)  # fmt: skip
def test_the_kernel_equals_its_twin(
    items: list[list[str]], n: int, threshold: float, width: int, height: int, data: st.DataObject
) -> None:
    fields = st.sampled_from([field for item in items for field in item])
    planted = st.lists(
        st.tuples(fields, st.booleans()) | st.tuples(fields, fields).map(lambda p: ("".join(p), True)),
        max_size=3,
    )
    columns = [[data.draw(side | planted) for _ in range(height)] for _ in range(width)]
    assert fast(items, columns, n, threshold) == slow(items, columns, n, threshold)


@settings(max_examples=200, deadline=None)
@given(
    items=items, n=st.sampled_from([1, 2, 3, 8]), generic=st.lists(text, max_size=2),
    single=st.sampled_from([None, 0.3, 0.5]), height=st.integers(0, 3), data=st.data(),
)  # fmt: skip
def test_the_kernel_equals_its_twin_in_what_is_ignored(
    items: list[list[str]], n: int, generic: list[str], single: float | None, height: int, data: st.DataObject
) -> None:
    """`olmo3`: phrases are drawn from the items too, so that they lie inside of them, and across two."""
    fields = [field for item in items for field in item]
    generic += data.draw(st.lists(st.sampled_from([*fields, "".join(fields[:2])]), max_size=2))
    planted = st.lists(st.tuples(st.sampled_from(fields), st.just(True)), max_size=3)
    columns = [[data.draw(side | planted) for _ in range(height)]]
    rule = Coverage(rule="any", ngram=n, threshold=0.3, generic=tuple(generic), single=single)
    ignored = ignored_by(generic, single)
    assert found_by(rule, items, columns) == told_plainly(
        lambda item, messages: match(item, messages, n, 0.3, ignored=ignored), items, columns
    )


@settings(max_examples=200, deadline=None)
@given(items=items, width=st.integers(1, 2), height=st.integers(0, 3), data=st.data())
def test_the_kernel_equals_its_twin_in_whole_items(
    items: list[list[str]], width: int, height: int, data: st.DataObject
) -> None:
    fields = st.sampled_from([field for item in items for field in item])
    message = fields | st.tuples(text, fields, text).map("".join) | fields.map(lambda field: field[1:])
    planted = st.lists(st.tuples(message, st.just(True)), max_size=3)
    columns = [[data.draw(side | planted) for _ in range(height)] for _ in range(width)]
    assert found_by(Exact(rule="any"), items, columns) == told_plainly(match_exact, items, columns)


def test_no_rows_and_no_columns_match_nothing() -> None:
    assert fast([["one two three"]], [[]]) == {}
    assert fast([["one two three"]], [[[], []]]) == {}
    assert len(find(build_index([["one two three"]]), [])) == 0


def test_a_suite_without_a_token_matches_nothing() -> None:
    assert fast([["", "!"], [""]], [[[("one two three ! ", True)]]]) == {}


QUESTION = "How many apples are left after Ann eats two of her nine apples"


@pytest.mark.parametrize("message", [QUESTION, "Ann eats two of her"])
def test_a_hash_hit_whose_tokens_differ_is_no_match(message: str) -> None:
    """Another suite's words under the same hashes: as if all n-grams of the message collided."""
    index = build_index([[message]])
    assert len(find(index, [column_of([[(message, True)]])])) == 1
    index.grams = index.grams._replace(text=index.grams.text[::-1].copy())
    assert len(find(index, [column_of([[(message, True)]])])) == 0


def test_a_suite_whose_ngrams_collide_among_themselves_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keys_of = kernels.gram_keys

    def colliding(*arguments: Any) -> Any:
        keys, *rest = keys_of(*arguments)
        return np.zeros_like(keys), *rest

    monkeypatch.setattr(kernels, "gram_keys", colliding)
    with pytest.raises(ValueError, match="one hash"):
        build_index([[QUESTION], ["short one"]])


def test_findings_do_not_depend_on_what_was_searched_before() -> None:
    index = build_index([[QUESTION], ["short one"]])
    rows: list[list[Row]] = [
        [[(QUESTION, True)]],
        [[("nothing", True)]],
        [[("a short one", True)]],
        [[(QUESTION, True)]],
    ]
    seen = [find(index, [column_of(row)]).items.tolist() for row in rows]
    assert seen == [[0], [], [1], [0]]


def test_many_threads_share_an_index() -> None:
    from concurrent.futures import ThreadPoolExecutor

    index = build_index([[f"{QUESTION} number {i}"] for i in range(50)])
    rows: list[Row] = [[(f"{QUESTION} number {i}", True)] for i in range(50)]
    alone = find(index, [column_of(rows)])
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: find(index, [column_of(rows)]), range(40)):
            assert found.items.tolist() == alone.items.tolist()
            assert found.scores.tolist() == alone.scores.tolist()


@pytest.mark.parametrize("filler", ["word ", "wörd ", "e\u0301 "])
def test_a_long_message_among_short_ones(filler: str) -> None:
    """The scratch of the kernel grows with the longest text, in each of its three ways through a text."""
    rows: list[Row] = [[("a", True)], [(filler * 20_000 + QUESTION, True)], [(QUESTION, True)]]
    found = fast([[QUESTION]], [rows])
    assert {key: value[0] for key, value in found.items()} == {(1, 0): 1.0, (2, 0): 1.0}
    start = len(filler) * 20_000
    assert found[1, 0][3] == [((0, 0), start, start + len(QUESTION))]


@pytest.mark.slow
@pytest.mark.parametrize("filler", ["lorem ipsum ", "ipsüm ", "e\u0301 x "])
def test_a_message_of_twenty_megabytes(filler: str) -> None:
    body = filler * (20_000_000 // len(filler.encode()))
    found = fast([[QUESTION]], [[[(body + QUESTION, True)]]])
    assert found[0, 0][3] == [((0, 0), len(body), len(body) + len(QUESTION))]


@pytest.mark.slow
def test_a_message_that_repeats_one_ngram_a_million_times() -> None:
    assert fast([["a a a a a a a a"]], [[[("a " * 1_000_000, True)]]])[0, 0][3] == [((0, 0), 0, 1_999_999)]


def test_five_thousand_items_in_one_row_and_one_item_in_five_thousand_rows() -> None:
    items = [[f"{QUESTION} of kind {i}"] for i in range(5_000)]
    assert len(fast(items, [[[(QUESTION, True)]]])) == 5_000
    assert len(fast(items[:1], [[[(QUESTION, True)] for _ in range(5_000)]])) == 5_000


def test_tokens_of_the_example_are_what_the_rule_counts() -> None:
    assert len(tokens(QUESTION)) == 13
