"""What the rule `tulu-data` is for: copies in every form are found, and what only looks like one is not."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tulu_data.decontam.evidence import findings_of
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.match import Column
from tulu_data.decontam.matchers import matcher_of, tried
from tulu_data.decontam.rules import PRESETS
from tulu_data.decontam.suite import load_suite
from tulu_data.record import MESSAGES
from tulu_data.text.hashing import Texts
from tulu_data.text.tokens import tokens
from tulu_data.workspace import Workspace

RULE = PRESETS["tulu-data"]

GARDEN = (
    "The old gardener plants forty two rose bushes along the southern wall of the castle, waters each of "
    "them with three liters of rain water every second morning, and sells nine of the finest flowers at the "
    "market in Tours. How many liters of rain water does the gardener use in thirty days?"
)
TEMPLATE = "Question: Read the passage and choose the best answer. "
WELL = f"{TEMPLATE}What did the gardener hide under the third stone of the well before the rain?"
OTHERS = [
    f"{TEMPLATE}Why did the old captain refuse to leave his burning ship before dawn?",
    f"{TEMPLATE}Which of the rivers in the story freezes first in winter?",
    f"{TEMPLATE}Who taught the youngest daughter how to weave baskets from willow?",
]
CLOSE = '''from typing import List


def has_close_elements(numbers: List[float], threshold: float) -> bool:
    """ Check if in given list of numbers, are any two numbers closer to each other than
    given threshold.
    >>> has_close_elements([1.0, 2.0, 3.0], 0.5)
    False
    >>> has_close_elements([1.0, 2.8, 3.0, 4.0, 5.0, 2.0], 0.3)
    True
    """
'''


def kind(item: str | list[str], text: str, **more: Any) -> str:
    """The kind of what the rule finds of an item in a message, or `no match`."""
    found = tried(RULE, item, text, **more)
    return found if found == "no match" else found.split()[0]


def words(text: str, first: float, last: float) -> str:
    """A part of a text, by shares of its tokens."""
    cut = tokens(text, characters=True)
    part = cut[round(first * len(cut)) : round(last * len(cut))]
    return text[part[0].start : part[-1].end]


# Boilerplate


def test_a_template_that_an_eval_repeats_is_no_match_and_a_copied_item_is() -> None:
    assert kind(WELL, f"{TEMPLATE}What is the capital of the smallest canton?", others=OTHERS) == "no match"
    assert kind(WELL, f"Here is one. {WELL}", others=OTHERS) == "copy"
    assert kind(WELL, WELL.removeprefix(TEMPLATE), others=OTHERS) == "partial"  # all that is its own
    assert kind(WELL, words(WELL.removeprefix(TEMPLATE), 0, 0.6), others=OTHERS) == "no match"  # a phrase


def test_a_question_that_several_items_ask_needs_its_options() -> None:
    asked = "Which of these statements about the treaty that ended the long war of the two crowns is correct?"
    options = ["It was signed by the sea.", "It named three heirs.", "It was kept in secret."]
    others = ["It was broken within a year.", "It had no seal.", "It was read aloud twice."]
    items = [[asked], [asked]]
    matcher = matcher_of(RULE, items, [options, others], np.zeros(2, np.int32))

    def found_in(text: str) -> list[int]:
        column = Column(Texts.of(pa.array([text])), np.zeros(1, np.int32), np.ones(1, np.uint8))
        return matcher.find([column]).items.tolist()  # type: ignore[no-any-return]

    assert found_in(f"{asked}\n(1) {options[2]}\n(2) {options[0]}\n(3) {options[1]}") == [0]
    assert found_in(asked) == []


def test_a_short_question_without_its_options_is_for_review() -> None:
    asked, options = "Who crossed the river first?", ["Ann", "Bob", "Eve"]
    assert kind(asked, asked, options=options) == "near_duplicate"
    assert kind(asked, f"{asked} a) Eve b) Ann c) Bob. Say why.", options=options) == "options"
    assert tried(PRESETS["tulu3"], WELL, f"{TEMPLATE}What did the gardener hide?").startswith("partial")


def test_two_items_of_an_eval_may_be_alike_without_being_its_boilerplate() -> None:
    part, again, once_more = words(GARDEN, 0, 0.6), f"{GARDEN} Why?", f"Think. {GARDEN}"
    assert kind(GARDEN, part, others=[again]) == "partial"
    assert kind(GARDEN, part, others=[again, once_more]) == "no match"
    assert kind(GARDEN, GARDEN, others=[again, once_more]) == "copy"  # all boilerplate: found whole


def test_boilerplate_is_learned_by_eval(tmp_path: Path) -> None:
    """What another eval repeats says nothing of this one, so an eval more changes no finding of others."""
    write(tmp_path, "one", [WELL])
    write(tmp_path, "two", OTHERS)
    both, alone = suite(tmp_path, "one", "two"), suite(tmp_path, "one")
    text = f"{TEMPLATE}What did the gardener hide under the third stone?"
    assert [one["eval"] for one in found(both, text)] == [one["eval"] for one in found(alone, text)]
    assert both.matcher.counted(0, 0).all()
    assert not both.matcher.counted(1, 0).all()


# Short items


@pytest.mark.parametrize(
    ("item", "text", "expected"),
    [
        ("What is the capital of Chad?", "Tell me. What is the capital of Chad? Thanks!", "short"),
        ("What is the capital of Chad?", "Do you know what is the capital of Chad", "no match"),
        ("What is the capital of Chad?", "What is the capital of Chad, Mali and Niger?", "no match"),
        ("Who wrote Faust?", "who wrote FAUST", "short"),
        ("Who wrote Faust?", "Tell me. Who wrote Faust? Thanks!", "no match"),
        ("Why?", "Why?", "short"),
        ("Why?", "He left. Why? Nobody knows.", "no match"),
        ("谁写了浮士德？", "谁写了浮士德？", "short"),
        ("谁写了浮士德？", "我问你：谁写了浮士德？请回答。", "short"),
        ("谁写了浮士德？", "我不知道谁写了浮士德也不想知道", "no match"),
    ],
)
def test_a_short_item_is_a_sentence_and_a_few_words_are_a_whole_message(
    item: str, text: str, expected: str
) -> None:
    assert kind(item, text) == expected


def test_a_few_words_are_a_message_of_their_own_also_among_others(tmp_path: Path) -> None:
    write(tmp_path, "facts", ["Who wrote Faust?"])
    facts = suite(tmp_path, "facts")
    (one,) = found(facts, "Hello there, I have a question.", "Who wrote Faust?", "And who printed it?")
    assert (one["kind"], one["train_spans"]) == ("short", [span(2, 0, 15)])
    assert found(facts, "Hello there. Who wrote", "Faust?") == []


def test_a_common_phrase_is_not_taken_for_the_short_item_that_it_is() -> None:
    others = [f"Find the value of x if {n} x is even" for n in ("two", "three", "four")]
    assert kind("Find the value of x", "Hm. Find the value of x. Then add one.") == "short"
    assert kind("Find the value of x", "Hm. Find the value of x. Then add one.", others=others) == "no match"


# Options

OPTIONS = ["Goethe", "Schiller", "Heine", "Marlowe"]


@pytest.mark.parametrize(
    "text",
    [
        "Who wrote Faust?\nA. Goethe\nB. Schiller\nC. Heine\nD. Marlowe",
        "Well, who wrote Faust? (1) Marlowe (2) Heine (3) Goethe (4) Schiller",
        "Pick one. Who wrote Faust?\na) SCHILLER b) Heine c) Goethe",
        "Who wrote Faust? Marlowe, Goethe or Schiller?",
    ],
)
def test_a_question_of_few_words_is_found_with_its_options_shuffled_and_with_any_letters(text: str) -> None:
    assert kind("Who wrote Faust?", text, options=OPTIONS) == "options"


@pytest.mark.parametrize(
    "text",
    [
        "A. Goethe\nB. Schiller\nC. Heine\nD. Marlowe",
        "Who wrote Faust?",
        "Who wrote Faust? A. Goethe B. Byron C. Shelley D. Keats",
        "Goethe, Schiller, Heine, Marlowe: who wrote Faust?",
    ],
)
def test_options_alone_or_a_question_of_few_words_alone_are_no_match(text: str) -> None:
    assert kind("Who wrote Faust?", text, options=OPTIONS) == "no match"


def test_a_longer_question_needs_no_options() -> None:
    question = "Which body cavity of a mammal contains the pituitary gland?"
    options = ["Abdominal", "Cranial", "Pleural", "Spinal"]
    assert kind(question, question, options=options) == "copy"
    assert kind(question, f"{question} A. Spinal B. Cranial", options=options) == "copy"


def test_the_options_that_were_found_are_evidence_on_both_sides(tmp_path: Path) -> None:
    rows = [{"question": "Who wrote Faust?", "choices": ["Goethe", "Schiller"]}]
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = "Who wrote Faust? (A) Schiller (B) Goethe"
    (one,) = found(suite(tmp_path, "facts", fields="[question], options: [choices]"), text)
    assert [text[s["start"] : s["end"]] for s in one["train_spans"]] == [
        "Who wrote Faust",
        "Schiller",
        "Goethe",
    ]
    assert [(s["field"], s["start"], s["end"]) for s in one["item_spans"]] == [
        ("question", 0, 15),
        ("options.0", 0, 6),
        ("options.1", 0, 8),
    ]


# Turns


def test_an_item_that_is_split_over_turns_of_one_speaker_is_found_with_its_places(tmp_path: Path) -> None:
    write(tmp_path, "math", [GARDEN])
    math = suite(tmp_path, "math")
    first, rest = GARDEN[:110], GARDEN[110:].lstrip()
    (one,) = found(math, f"Hello. {first}", rest)
    assert one["kind"] == "copy"
    assert one["train_spans"] == [span(0, 7, 7 + len(first)), span(2, 0, len(rest) - 1)]
    middle, last = rest.split(" every ")
    (one,) = found(math, first, f"{middle} every", f"{last} Thanks.")
    assert (one["kind"], [s["message"] for s in one["train_spans"]]) == ("copy", [0, 2, 4])


def test_two_speakers_do_not_say_one_item(tmp_path: Path) -> None:
    write(tmp_path, "math", [GARDEN])
    turns = [{"role": "user", "content": words(GARDEN, 0, 0.45)}]
    turns += [{"role": "assistant", "content": words(GARDEN, 0.45, 1)}]
    assert findings(suite(tmp_path, "math"), turns, ["user"]) == []
    (one,) = findings(suite(tmp_path, "math"), turns, None)  # each n-gram lies in what one of them says
    assert (one["kind"], one["score"]) == ("partial", 1.0)


# Code


@pytest.mark.parametrize(
    "change",
    [
        lambda code: code.replace("    ", "\t"),
        lambda code: code.replace('"""', "'''").replace("\n", "\r\n"),
        lambda code: code.replace("\n", " ").replace("  ", " "),
        lambda code: code.replace("[1.0, 2.0, 3.0], 0.5", "[ 1.0,2.0,3.0 ],0.5").replace(": L", " : L"),
        lambda code: code.replace("    >>>", "    #").replace('"""', "#"),
        lambda code: f"Complete this function:\n```python\n{code}```",
    ],
)
def test_code_that_is_laid_out_otherwise_is_a_copy(change: Callable[[str], str]) -> None:
    assert kind(CLOSE, change(CLOSE)) == "copy"


def test_a_docstring_without_its_signature_and_both_apart_are_found() -> None:
    head, doc = CLOSE.split('"""')[:2]
    assert kind(CLOSE, f"{doc}\n\nWrite this:\n```python\n{head}```") == "partial"
    assert kind(CLOSE, f"Please write a function.{doc}") == "partial"
    assert kind(CLOSE, f"{head}    return any(abs(a - b) < threshold for a in numbers)") == "no match"


# Changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"three": "four", "thirty": "ninety"}, "changed_numbers"),
        ({"forty two": "17", "nine": "eleven"}, "changed_numbers"),
        ({"nine": "eight", "Tours": "Lyon"}, "changed_numbers"),
        (
            {"castle": "abbey", "gardener": "monk", "rose": "lily", "finest": "largest", "market": "fair"},
            "near_duplicate",
        ),
        ({"Tours": "Lyon"}, "partial"),
    ],
)
def test_changed_numbers_and_many_changed_names_are_to_be_reviewed(
    changes: dict[str, str], expected: str
) -> None:
    text = GARDEN
    for old, new in changes.items():
        text = text.replace(old, new)
    assert kind(GARDEN, text) == expected
    assert RULE.action(expected) == ("drop" if expected == "partial" else "review")


def test_another_problem_of_the_same_making_is_no_match() -> None:
    assert (
        kind("Find the remainder when 8 is divided by 3.", "Find the remainder when 9 is divided by 5.")
        == "no match"
    )
    other = (
        "The young baker sells forty two loaves of bread along the northern wall of the city, bakes each of "
        "them with two cups of flour every morning. How many cups of flour does the baker use in thirty days?"
    )
    assert kind(GARDEN, other) == "no match"


# Scripts

SCRIPTS = {
    "Chinese": (
        "小明有十二个苹果，他把其中的三分之一分给了妹妹，又买了五个苹果，请问小明现在一共有多少个苹果？",
        "小红有二十本书，她把其中的一半捐给了图书馆，请问小红现在还剩多少本书？",
    ),
    "Japanese": (
        "太郎さんは毎朝六時に起きて、公園を三周走ってから学校に行きます。一週間で何周走りますか。",
        "花子さんは毎晩九時に寝る前に、図書館で借りた小説を二章読みます。",
    ),
    "Thai": (
        "สมชายมีมะม่วงสิบสองลูก เขาให้น้องสาวไปสี่ลูก แล้วซื้อเพิ่มอีกเจ็ดผลจากตลาด ตอนนี้เหลือกี่ผล",
        "สมหญิงอ่านหนังสือทุกวันก่อนนอนเพราะเธอชอบนิทานมาก",
    ),
    "mixed": (
        (
            "请写一个 Python 函数 add_numbers(first, second)，返回两个数字的和，"
            "并且用 print 打印 result 变量的值。"
            "最后在 README 文件里说明如何运行 main.py。"
        ),
        "请写一个 JavaScript 函数 multiply(left, right)，计算矩阵的乘积，然后画出它的图像。",
    ),
    "Hebrew": (
        (
            "כמה תפוחים נשארו לדנה אחרי שנתנה שלושה תפוחים לאחיה הקטן ועוד שניים לחברתה הטובה ביותר מן הכיתה "
            "המקבילה בבית הספר שליד הים, ואחר כך קנתה עוד שבעה תפוחים אדומים וארבעה אגסים בשוק של יום שישי?"
        ),
        "כמה ספרים קרא יוסי בחופשת הקיץ הארוכה לפני שחזר לבית הספר החדש בעיר הגדולה?",
    ),
    "Arabic with marks": (
        "كَمْ عَدَدُ الكُتُبِ الَّتِي اشْتَرَاهَا أَحْمَدُ مِنَ المَكْتَبَةِ في يَوْمِ الخَمِيسِ إِذَا كَانَ مَعَهُ عِشْرُونَ دِينَارًا؟",
        "أَيْنَ ذَهَبَتْ فَاطِمَةُ مَعَ صَدِيقَاتِهَا بَعْدَ المَدْرَسَةِ؟",
    ),
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_copies_and_parts_are_found_in_every_script_and_other_sentences_are_not(script: str) -> None:
    item, other = SCRIPTS[script]
    assert kind(item, f"1) {item}\n—") == "copy"
    assert kind(item, words(item, 0, 0.62)) == "partial"
    assert kind(item, words(item, 0.36, 1)) == "partial"
    assert kind(item, words(item, 0, 0.4)) == "no match"
    assert kind(item, other) == "no match"


# Variants of writing

VARIANTS: dict[str, Callable[[str], str]] = {
    "case": str.upper,
    "spaces": lambda text: text.replace(" ", " \n\t "),
    "no punctuation": lambda text: text.replace(",", "").replace(".", "").replace("?", ""),
    "other punctuation": lambda text: text.replace(",", " —").replace(" ", "…"),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "soft hyphens": lambda text: text.replace("e", "e\u00ad"),
    "zero-width spaces": lambda text: text.replace("e", "\u200be"),
    "ligatures": lambda text: text.replace("fi", "ﬁ").replace("fl", "ﬂ"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "bold mathematical letters": lambda text: "".join(
        chr(0x1D41A + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in text
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_case_spaces_punctuation_and_unicode_variants_are_copies(variant: str) -> None:
    text = VARIANTS[variant](GARDEN)
    assert text != GARDEN or variant == "decomposed"
    assert kind(GARDEN, f"Hello. {text} Thanks.") == "copy"
    assert kind(text, GARDEN) == "copy"


# Parts


@pytest.mark.parametrize(("first", "last"), [(0, 0.6), (0.2, 0.8), (0.4, 1)])
def test_sixty_percent_of_an_item_is_found(first: float, last: float) -> None:
    assert kind(GARDEN, f"Hm. {words(GARDEN, first, last)} — I forgot the rest.") == "partial"


@pytest.mark.parametrize(("first", "last"), [(0, 0.4), (0.3, 0.7), (0.6, 1)])
def test_forty_percent_of_an_item_is_not(first: float, last: float) -> None:
    assert kind(GARDEN, f"Hm. {words(GARDEN, first, last)} — I forgot the rest.") == "no match"


# Suites and rows


def write(place: Path, name: str, questions: list[str]) -> None:
    (place / f"{name}.jsonl").write_text("".join(json.dumps({"question": q}) + "\n" for q in questions))


def suite(place: Path, *names: str, fields: str = "[question]", rule: str | None = None) -> SuiteItems:
    entries = [f"  - {{name: {name}, from: {name}.jsonl, fields: {fields}}}\n" for name in names]
    (place / "s.yaml").write_text("suite: s\nevals:\n" + "".join(entries))
    return read_items(load_suite("s.yaml", Workspace(place), rule=rule))


def findings(items: SuiteItems, turns: list[dict[str, str]], roles: list[str] | None) -> list[dict[str, Any]]:
    batch = pa.table({"messages": pa.array([turns], MESSAGES)})
    return findings_of(batch, "sft", roles, items).to_pylist()[0] or []


def found(items: SuiteItems, *said: str) -> list[dict[str, Any]]:
    """What is found in a user's messages, each of which is answered."""
    turns = [
        t
        for text in said
        for t in ({"role": "user", "content": text}, {"role": "assistant", "content": "Yes."})
    ]
    return findings(items, turns, ["user"])


def span(message: int, start: int, end: int) -> dict[str, Any]:
    return {"column": "messages", "message": message, "start": start, "end": end}
