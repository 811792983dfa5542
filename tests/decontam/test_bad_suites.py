"""Suites and rows that nobody wishes for are checked, or told, in time that grows with their size."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decontam.test_distinctive import found, kind, suite, write
from tulu_data.decontam import kernels
from tulu_data.decontam.check import check_suite
from tulu_data.decontam.kernels import comparing, judging, placing
from tulu_data.decontam.match import KINDS, Column
from tulu_data.decontam.matchers import matcher_of
from tulu_data.decontam.rules import PRESETS, rule_of
from tulu_data.text.hashing import Texts

RULE = PRESETS["tulu-data"]
TASK = "Read the sentence and say whether the two words in it mean the same thing"


def in_row(items: Sequence[str], text: str, options: Sequence[Sequence[str]] = ()) -> dict[int, str]:
    """The kinds of what the rule finds in one message, by the number of the item."""
    groups = np.zeros(len(items), np.int32)
    matcher = matcher_of(RULE, [[item] for item in items], options or [()] * len(items), groups)
    column = Column(Texts.of(pa.array([text])), np.zeros(1, np.int32), np.ones(1, np.uint8))
    findings = matcher.find([column])
    return {item: KINDS[kind] for item, kind in zip(findings.items.tolist(), findings.kinds, strict=True)}


# Suites


def test_a_suite_whose_items_are_all_boilerplate_is_found_whole_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, "task", [f"{TASK}: {n}" for n in (10, 20, 30, 40)])
    task = suite(tmp_path, "task")
    assert [warning.what for warning in check_suite(task)] == [
        (
            "4 of 4 items of eval 'task' have nothing but what other items of the eval have too "
            "(numbers not looked at)"
        )
    ]
    assert [one["item_id"] for one in found(task, f"{TASK}: 20")] == ["1"]
    assert found(task, f"{TASK}: 50") == found(task, TASK) == []


def test_an_eval_of_one_item_has_no_boilerplate(tmp_path: Path) -> None:
    write(tmp_path, "one", [f"{TASK}: bank and bank"])
    one = suite(tmp_path, "one")
    assert one.matcher.counted(0, 0).all()
    assert [finding["kind"] for finding in found(one, f"{TASK}: bank and bank")] == ["copy"]
    assert check_suite(one) == []


def test_items_of_one_token_are_found_only_as_a_message(tmp_path: Path) -> None:
    write(tmp_path, "words", ["Goethe", "x", "7", "中"])
    words = suite(tmp_path, "words")
    said = ["Goethe!", "x", "7.", "中"]
    assert [one["item_id"] for one in found(words, *said)] == ["0", "1", "2", "3"]
    assert found(words, "Goethe said: x is 7, not 中.") == []
    (warning,) = check_suite(words)
    assert warning.what.startswith("4 of 4 items of eval 'words' have so few words")


def test_items_longer_than_every_row_are_found_by_their_parts() -> None:
    item = " ".join(f"word{n}" for n in range(5_000))
    assert in_row([item], " ".join(f"word{n}" for n in range(1_000, 4_000))) == {0: "partial"}
    assert in_row([item], " ".join(f"word{n}" for n in range(1_000, 1_100))) == {}
    assert in_row([item], "word1") == {}


def test_items_without_a_letter_are_listed_as_unchecked(tmp_path: Path) -> None:
    write(
        tmp_path,
        "emoji",
        ["😀😀😀", "👩\u200d👩\u200d👧 🇫🇷", "!?", "What does 😀 mean in a letter to a stranger?"],
    )
    emoji = suite(tmp_path, "emoji")
    assert emoji.unchecked(emoji.evals[0]) == 3
    assert [bool(emoji.matcher.unchecked(item)) for item in range(4)] == [True, True, True, False]
    assert "3 of 4 items of eval 'emoji' cannot be checked: no field of it has a letter or a digit" in [
        warning.what for warning in check_suite(emoji)
    ]
    assert found(emoji, "😀😀😀", "!?") == []
    assert [one["kind"] for one in found(emoji, "What does 🙃 mean in a letter to a stranger?")] == ["copy"]


def test_items_of_which_a_rule_ignores_everything_are_listed_as_unchecked(tmp_path: Path) -> None:
    write(
        tmp_path,
        "algebra",
        ["a b c d e f g h i j", "x + y", "Where is the square root of a + b defined at all?"],
    )
    algebra = suite(tmp_path, "algebra", rule="olmo3")
    assert algebra.unchecked(algebra.evals[0]) == 2
    assert "2 of 3 items of eval 'algebra' cannot be checked: the rule ignores all of its n-grams" in [
        warning.what for warning in check_suite(algebra)
    ]
    assert found(algebra, "a b c d e f g h i j", "x + y") == []


def test_a_suite_of_which_a_rule_ignores_everything_matches_nothing(tmp_path: Path) -> None:
    write(tmp_path, "algebra", ["a b c d e f g h i j"])
    assert found(suite(tmp_path, "algebra", rule="olmo3"), "a b c d e f g h i j") == []


def test_generic_phrases_that_run_from_one_item_into_the_next_are_none() -> None:
    rule = rule_of({"rule": "mine", "like": "tulu3", "generic": ["which of the following is true"]})
    texts = [["which of the following"], ["is true and is known to all of us here"]]
    matcher = matcher_of(rule, texts, [(), ()], np.zeros(2, np.int32))
    assert not matcher.unchecked(1)
    alone = matcher_of(rule, texts[1:], [()], np.zeros(1, np.int32))
    column = Column(Texts.of(pa.array([texts[1][0]])), np.zeros(1, np.int32), np.ones(1, np.uint8))
    assert matcher.find([column]).scores.tolist() == alone.find([column]).scores.tolist() == [1.0]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("מי כתב את הספר הזה?", "שלום. מי כתב את הספר הזה? תודה"),
        ("\u202bמי כתב את הספר הזה?\u202c", "מִי כָּתַב אֶת הַסֵּפֶר הַזֶּה?"),
        ("من كتب هذا الكتاب؟", "مرحبا. من كتب هذا الكتاب؟ شكرا"),
        ("من كتب هذا الكتاب؟", "\u202eمن كتب \u200fهذا الكتاب؟"),
    ],
)
def test_right_to_left_text_is_found_and_marks_tell_texts_apart(item: str, text: str) -> None:
    """A vowel point is no letter: it parts a word in two, in `re` and here; so pointed text is another."""
    pointed = any("\u05b0" <= char <= "\u05c2" for char in text)
    assert kind(item, text) == ("no match" if pointed else "short")
    assert kind(text, text) in {"short", "copy"}


# Size


def test_a_row_that_holds_a_whole_eval_of_two_thousand_items() -> None:
    items = [
        f"In the year {n} the {n}th ship of the fleet, the Saint {n:b} of harbour {n % 7}, was built by "
        f"{n // 3} carpenters from town {n:o}. How many of them were called Jean{n:x}?" for n in range(2_000)
    ]  # fmt: skip
    found = in_row(items, "\n".join(items))
    assert list(found) == list(range(2_000))
    assert set(found.values()) == {"copy"}


MEGABYTE = 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["a", "a ", "中", "7 ", "é ", "\u0301"])
def test_a_megabyte_of_one_character_in_an_item_in_a_row_and_in_both(unit: str) -> None:
    item = "the one " + unit * (MEGABYTE // len(unit.encode()))
    for text in (unit * 30, item, item[: len(item) // 3], f"{unit * 9}! " * 9):
        in_row([item, "a short question here"], text)
    assert in_row([item], item) == ({0: "short"} if unit in {"a", "\u0301"} else {0: "copy"})
    assert in_row([f"what is this {unit}"], f"so {item} so") == {}


@contextmanager
def counting() -> Iterator[list[int]]:
    """Runs the kernels behind the scan as Python, and counts the lines that they execute."""
    lines = [0]
    plain = {
        (module, name): value.py_func
        for module in (comparing, judging, placing)
        for name, value in vars(module).items()
        if hasattr(value, "py_func")
    }
    files = {comparing.__file__, judging.__file__, placing.__file__}

    def count(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        lines[0] += event == "line"
        return count

    def counted(function: Any) -> Any:
        def run(*arguments: Any) -> Any:
            before = sys.gettrace()
            sys.settrace(count)
            try:
                return function(*arguments)
            finally:
                sys.settrace(before)

        return run

    patches = [patch.object(module, name, value) for (module, name), value in plain.items()]
    called = {
        comparing: ("compare",),
        judging: ("judge",),
        placing: ("options_follow", "options_near", "whole_places"),
    }
    for module, names in called.items():
        patches += [patch.object(kernels, name, counted(plain[module, name])) for name in names]
    for one in patches:
        one.start()
    try:
        yield lines
    finally:
        for one in patches:
            one.stop()


MOST = 400
"""So many lines for each token of item, options and row: 16 tries to find a field whole, twice as many for
options, and the comparison of two ends, which is bounded by itself."""

block = st.tuples(st.sampled_from(["a ", "z ", "3 ", "a z ", "b c d "]), st.integers(1, 12)).map(
    lambda one: one[0] * one[1]
)
blocks = st.lists(block, min_size=1, max_size=3).map("".join)


def repeated(part: str, size: int) -> str:
    """A text of so many tokens, part by part."""
    words = part.split()
    return " ".join((words * (size // len(words) + 1))[:size])


@settings(max_examples=10, deadline=None)
@given(item=blocks, again=st.booleans(), row=blocks, option=blocks)
def test_the_work_grows_with_the_size(item: str, again: bool, row: str, option: str) -> None:
    size = 500
    ours, theirs = repeated(item, size), repeated(row, size)
    text = f"{ours} {theirs}" if again else theirs
    options = [repeated(option, size // 4), repeated(row, size // 8)]
    with counting() as lines:
        in_row([ours, "a z", "a"], f"{text} {' '.join(options)}", [options, options, options])
    assert lines[0] <= MOST * (len(text.split()) + 2 * size)


def test_places_of_one_ngram_are_not_walked_again_for_every_run() -> None:
    """A field that says one thing a thousand times, laid beside a row that says it in a thousand pieces."""
    lines = []
    for size in (1_000, 2_000):
        item = "a " * size + "q r s t u v w x y " + "a " * size
        row = "a a a a a a a a a b q r s t u v w x y b " * (size // 20)
        with counting() as count:
            in_row([item], row)
        lines.append(count[0])
    assert lines[1] <= 2.3 * lines[0]
