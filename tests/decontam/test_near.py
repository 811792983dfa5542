"""Near-duplicates: the matcher says what its plain twin says, and misses next to nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.kernel import TRICKY
from tulu_data.decontam.match import COPY, NEAR_DUPLICATE, Column, Findings
from tulu_data.decontam.near import MinHashMatcher
from tulu_data.decontam.plain_near import match
from tulu_data.decontam.rules import MinHash
from tulu_data.text import minhash_plain
from tulu_data.text.hashing import Texts
from tulu_data.text.tokens import tokens

RULE = MinHash(rule="minhash")
LOOSE = RULE.model_copy(update={"at_least": 1})
STORY = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. "
    "How many clips did Natalia sell altogether in April and May?"
)
OTHERS = "Once upon a time there was a miller who had three sons and a mill and a donkey and nothing else."


def found(
    matcher: MinHashMatcher, rows: Sequence[Sequence[str]], wanted: Sequence[int] | None = None
) -> Findings:
    flat = [message for row in rows for message in row]
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows]).astype(np.int32)
    looked = np.array([1] * len(flat) if wanted is None else wanted, np.uint8)
    return matcher.find([Column(Texts.of(pa.array(flat, pa.string())), numbers, looked)])


def scores(findings: Findings) -> dict[tuple[int, int], float]:
    return {
        (row, item): score
        for row, item, score in zip(
            findings.rows.tolist(), findings.items.tolist(), findings.scores.tolist(), strict=True
        )
    }


def told(item: Sequence[str], messages: Sequence[str], rule: MinHash) -> float | None:
    """The score by the plain twin."""
    plain = match(item, messages, rule.ngram, rule.threshold, shortest=rule.shortest, at_least=rule.at_least)
    return plain.score if plain else None


words = st.sampled_from(
    ["one", "two", "Three", "FOUR", "fi\u00adve", "É", "e\u0301", "日本", "ไทย", "ﬁn", "😀", "x²"]
)
text = st.lists(words, max_size=16).map(" ".join) | st.text(st.sampled_from("ab 日!"), max_size=24) | TRICKY
rules = st.builds(
    lambda ngram, threshold, shortest, at_least: LOOSE.model_copy(
        update={"ngram": ngram, "threshold": threshold, "shortest": shortest, "at_least": at_least}
    ),
    st.integers(1, 4), st.sampled_from([0.3, 0.5, 0.6, 0.8, 1.0]), st.sampled_from([0.1, 0.8, 1.0]),
    st.sampled_from([1, 1, 1, 6]),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.lists(text, min_size=1, max_size=2), min_size=1, max_size=4),
    st.lists(st.lists(text, max_size=3), min_size=1, max_size=4),
    rules,
)
def test_every_finding_is_the_twins_with_the_same_score(
    items: list[list[str]], rows: list[list[str]], rule: MinHash
) -> None:
    ours = scores(found(MinHashMatcher(rule, items), rows))
    for (row, item), score in ours.items():
        assert score == told(items[item], rows[row], rule)


@settings(deadline=None, max_examples=200)
@given(st.lists(text, min_size=1, max_size=3), text, text, rules)
def test_a_whole_item_is_found_wherever_it_stands(
    item: list[str], before: str, behind: str, rule: MinHash
) -> None:
    ours = found(MinHashMatcher(rule, [item, [before]]), [[f"{before} \n{' '.join(item)} \n{behind}"]])
    if any(tokens(part) for part in item):
        assert scores(ours)[0, 0] == 1.0
        assert ours.kinds[0] == COPY


def edited(text: str, rate: float, rng: random.Random, vocabulary: Sequence[str]) -> str:
    """A share of the words replaced, deleted, or followed by another."""
    out: list[str] = []
    for word in text.split():
        kind = rng.choice("rid") if rng.random() < rate else ""
        out += {"": [word], "r": [rng.choice(vocabulary)], "i": [word, rng.choice(vocabulary)], "d": []}[kind]
    return " ".join(out)


@pytest.mark.parametrize("place", ["alone", "inside a message", "between items"])
def test_of_edited_copies_above_the_threshold_99_percent_are_found(place: str) -> None:
    rng = random.Random(20)
    vocabulary = [f"w{number}" for number in range(400)]
    items = [" ".join(rng.choices(vocabulary, k=rng.randint(16, 90))) for _ in range(200)]
    matcher = MinHashMatcher(RULE, [[item] for item in items])
    rows, expected = [], []
    for number, item in enumerate(items):
        for _ in range(4):
            copy = edited(item, rng.uniform(0, 0.12), rng, vocabulary)
            around = {
                "alone": ["", ""],
                "inside a message": [
                    " ".join(rng.choices(vocabulary, k=rng.randint(1, 200))) for _ in range(2)
                ],
                "between items": rng.choices(items, k=2),
            }[place]
            rows.append(["\n".join([around[0], copy, around[1]])])
            both = (minhash_plain.shingles(minhash_plain.tokens_of(side), 3) for side in (item, copy))
            if minhash_plain.jaccard(*both) >= RULE.threshold:
                expected.append((len(rows) - 1, number))
    ours = scores(found(matcher, rows))
    assert len(expected) > 400
    assert sum(pair in ours for pair in expected) >= 0.99 * len(expected)


def test_the_evidence_is_what_both_share_in_characters_of_both() -> None:
    item = [
        "Natalia sold clips to 48 of her friends in April.",
        "!",
        "And how many clips did she sell in May, in all?",
    ]
    shared = "And how many clips did she sell in May, in all"
    message = f"Well: Natalia sold clips to 48 of her FRIENDS in March. {shared}? Ok"
    ours = found(MinHashMatcher(RULE, [item]), [["nothing", message]])
    assert ours.kinds.tolist() == [NEAR_DUPLICATE]
    assert ours.scores.tolist() == [16 / 22]  # one word of 21 is another: three shingles on either side
    assert ours.slots.tolist() == [0, 2]
    assert ours.slot_scores.tolist() == [7 / 10, 9 / 11]
    shown = [(slot, item[slot][start:end]) for _, slot, start, end in ours.item_spans.tolist()]
    assert shown == [
        (0, "Natalia sold clips to 48 of her friends in"),
        (2, shared),
    ]
    said = [message[start:end] for _, text, start, end in ours.train_spans.tolist() if text == 1]
    assert said == [
        "Natalia sold clips to 48 of her FRIENDS in",
        "And how many clips did she sell in May, in all",
    ]


def test_the_best_of_a_rows_messages_is_the_finding() -> None:
    worse = STORY.replace("Natalia", "Ada")
    ours = found(MinHashMatcher(RULE, [[STORY], [STORY]]), [[worse, f"So: {STORY}", worse]])
    assert ours.items.tolist() == [0, 1]
    assert ours.scores.tolist() == [1.0, 1.0]
    assert {text for _, text, *_ in ours.train_spans.tolist()} == {1}


def test_messages_that_are_not_wanted_are_not_looked_at() -> None:
    assert scores(found(MinHashMatcher(RULE, [[STORY]]), [[STORY], [STORY]], [0, 1])) == {(1, 0): 1.0}


def test_part_of_an_item_is_no_near_duplicate_of_it() -> None:
    part = " ".join(STORY.split()[:19])  # of 30
    assert not scores(found(MinHashMatcher(RULE, [[STORY]]), [[f"{OTHERS} {part} {OTHERS}"]]))


def test_a_short_item_must_be_there_whole() -> None:
    matcher = MinHashMatcher(RULE, [["What is the capital of Peru?"], ["yes"], ["Pô"]])
    rows = [["what is the capital of Chad"], ["So, what is the CAPITAL of peru, yes?"], ["pô"], ["poyes"]]
    assert scores(found(matcher, rows)) == {(1, 0): 1.0, (1, 1): 1.0, (2, 2): 1.0}


def test_a_copy_in_another_unicode_form_is_a_copy() -> None:
    composed, decomposed = (
        "Où était né Héloïse d'Argenteuil ? " * 3,
        "Où e\u0301tait ne\u0301 He\u0301lo\u0308ïse",
    )
    item = composed.replace("ë", "e\u0308")
    assert scores(found(MinHashMatcher(RULE, [[item]]), [[f"{decomposed}. {composed}"]])) == {(0, 0): 1.0}


def test_scripts_without_spaces_are_cut_into_characters() -> None:
    item = "小明有五个苹果，他给了小红两个，请问他还剩下几个苹果？"
    near = item.replace("小红", "小刚")
    (score,) = scores(found(MinHashMatcher(RULE, [[item]]), [[f"题目：{near}谢谢"]])).values()
    assert 0.6 <= score < 1


def test_items_say_what_counts_and_what_cannot_be_found() -> None:
    matcher = MinHashMatcher(RULE, [["🙂!", ""], ["yes"], ["Two words, or", "more"]])
    assert [bool(matcher.unchecked(item)) for item in range(3)] == [True, False, False]
    assert [matcher.caution(item) for item in range(3)] == ["", "short", ""]
    assert [matcher.counted(2, slot).tolist() for slot in (0, 1)] == [[True] * 3, [True]]
    assert not scores(found(matcher, [["🙂!"], [""]]))


def test_without_items_or_columns_nothing_is_found() -> None:
    assert len(found(MinHashMatcher(RULE, []), [[STORY]])) == 0
    assert len(MinHashMatcher(RULE, [[STORY]]).find([])) == 0


LETTERS, CHARACTERS = "a" * (1 << 20), "哈" * (1 << 18)
MANY = " ".join(f"{STORY} {number}" for number in range(15_000))
"""Half a million tokens."""


@pytest.mark.parametrize(
    "message", [LETTERS, CHARACTERS, MANY, "ha " * (1 << 18)], ids=["a", "哈", "many", "ha"]
)
def test_a_huge_message_costs_no_more_than_its_length(message: str) -> None:
    items = [
        [STORY],
        [STORY, OTHERS],
        ["哈" * 20],
        ["哈" * 400],
        ["ha " * 20],
        ["ha " * 2_000],
        ["ha ha ho " * 300],
    ]
    matcher = MinHashMatcher(RULE, items)
    found(matcher, [[message[:2_000]]])  # compiles
    start = time.process_time()
    ours = scores(found(matcher, [[message]]))
    assert time.process_time() - start < 10
    assert set(ours) == {
        LETTERS: set(), CHARACTERS: {(0, 2), (0, 3)}, MANY: {(0, 0)}, "ha " * (1 << 18): {(0, 4), (0, 5)},
    }[message]  # fmt: skip


def test_a_huge_item_is_found_in_a_huge_message() -> None:
    rng = random.Random(1)
    item = " ".join(rng.choices([f"w{number}" for number in range(500)], k=100_000))
    matcher = MinHashMatcher(RULE, [[item], [STORY]])
    assert set(scores(found(matcher, [[f"{STORY} {edited(item, 0.02, rng, ['x'])} {STORY}"]]))) == {
        (0, 0),
        (0, 1),
    }
