"""What notebooks show of rows: turns, pairs, answers and matches; as HTML and as plain text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.mixtures.places import turns
from tulu_data import notebook
from tulu_data.errors import UsageError
from tulu_data.notebook import Shown
from tulu_data.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<script>alert('x')</script> & \x1b[31m \u202eleft"


class Texts(HTMLParser):
    """The texts of some HTML, and the tags that it has."""

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.marked: list[str] = []
        self.feed(shown._repr_html_())
        self.close()
        assert self.tags.count("div") == shown._repr_html_().count("</div>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.tags[-1] == "mark":
            self.marked.append(data)
            self.tags.append("")


def preference(chosen: str, rejected: str, *before: str) -> dict[str, Any]:
    return {
        "id": "a/1",
        "prompt": before[-1],
        "chosen": turns(*before, chosen),
        "rejected": turns(*before, rejected),
        "chosen_rating": 4.5,
        "rejected_rating": 2.0,
        "chosen_model": "big",
        "rejected_model": "small",
    }


# -- conversations -------------------------------------------------------------------------------------------


def test_a_conversation_shows_every_turn_and_the_short_columns() -> None:
    row = {
        "id": "chat/1",
        "messages": turns("Hello\n\tyou", "Hi"),
        "verdict": None,
        "native": "x" * 100,
        "n": 3,
    }
    shown = notebook.conversation(row)
    assert Texts(shown).texts == ["id chat/1 · n 3", "user", "Hello\n\tyou", "assistant", "Hi"]
    assert repr(shown) == "id chat/1 · n 3\n  user: Hello⏎␉you\n  assistant: Hi"


def test_what_a_row_says_is_shown_and_never_run() -> None:
    row = {"id": EVIL, "messages": [{"role": EVIL, "content": EVIL}]}
    shown = notebook.conversation(row)
    found = Texts(shown)
    assert set(found.tags) == {"div", "b"}
    visible = "<script>alert('x')</script> & ␛[31m \\u202eleft"
    assert found.texts == [f"id {visible}", visible, visible]
    assert {"\x1b", "\u202e"}.isdisjoint(repr(shown) + shown._repr_html_())


def test_turns_without_text_are_shown() -> None:
    row = {"messages": [{"role": "assistant", "content": None}, {"role": "tool", "content": ""}]}
    assert repr(notebook.conversation(row)).split("\n") == ["", "  assistant: ", "  tool: "]


def test_rows_stand_beside_each_other_under_their_titles() -> None:
    rows = {"before": {"id": "1", "messages": turns("a")}, "after": {"id": "2", "messages": turns("b")}}
    assert Texts(notebook.beside(rows)).texts == ["before · id 1", "user", "a", "after · id 2", "user", "b"]


def test_pairs_stand_beside_each_other_with_both_answers() -> None:
    row = {key: value for key, value in preference("Good", "Bad", "Q?").items() if key != "id"}
    assert Texts(notebook.beside({"before": row})).texts == [
        *("before", "user", "Q?", "chosen", "Good", "rejected", "Bad"),
    ]


# -- pairs and answers ---------------------------------------------------------------------------------------


def test_a_pair_shows_the_shared_turns_once() -> None:
    found = Texts(notebook.pair(preference("Good", "Bad", "One?", "1", "Two?")))
    assert found.texts == [
        *("id a/1", "user", "One?", "assistant", "1", "user", "Two?"),
        *("chosen · big · rated 4.5 · 4 characters", "assistant", "Good"),
        *("rejected · small · rated 2 · 3 characters", "assistant", "Bad"),
    ]


def test_equal_answers_are_both_shown() -> None:
    assert Texts(notebook.pair(preference("Same", "Same", "Q?"))).texts.count("Same") == 2


@pytest.mark.parametrize("missing", ["chosen", "rejected"])
def test_a_side_may_be_missing(missing: str) -> None:
    row = preference("Good", "Bad", "Q?") | {missing: None}
    other = {"chosen": "Bad", "rejected": "Good"}[missing]
    texts = Texts(notebook.pair(row)).texts
    assert other in texts
    assert any(text.startswith(missing) and text.endswith("0 characters") for text in texts)


def completion(
    text: str, model: str | None, *ratings: tuple[str, float | None, str | None]
) -> dict[str, Any]:
    rated = [{"aspect": aspect, "rating": rating, "note": note} for aspect, rating, note in ratings]
    return {"messages": turns("Q?", text), "model": model, "ratings": rated}


def test_every_completion_is_shown_with_its_ratings() -> None:
    row = {
        "id": "a/1",
        "completions": [
            completion("One", "big", ("honesty", 4.5, None), ("helpfulness", None, "N/A")),
            completion("Two", None),
            completion("Three", "small", ("honesty", 2.0, None)),
        ],
        "chosen": turns("Q?", "One"),
        "rejected": turns("Q?", "Three"),
    }
    assert repr(notebook.candidates(row)).splitlines() == [
        *("id a/1", "  user: Q?"),
        *("chosen · big · honesty 4.5 · helpfulness N/A · 3 characters", "  assistant: One"),
        *("2 of 3 · 3 characters", "  assistant: Two"),
        *("rejected · small · honesty 2 · 5 characters", "  assistant: Three"),
    ]


@pytest.mark.parametrize("completions", [None, []])
def test_a_row_may_have_no_completions(completions: list[Any] | None) -> None:
    assert repr(notebook.candidates({"id": "a/1", "completions": completions})) == "id a/1"


# -- findings ------------------------------------------------------------------------------------------------


def match(**more: Any) -> dict[str, Any]:
    told = {"dataset": "chat", "train_id": "c-1", "row_id": "chat/1", "eval": "facts", "item_id": "7"}
    return told | {"kind": "partial", "score": 0.625, "action": "drop", "item_spans": []} | more


def span(column: str, message: int, start: int, end: int) -> dict[str, Any]:
    return {"column": column, "message": message, "start": start, "end": end}


def test_a_finding_marks_the_shared_words_on_both_sides() -> None:
    spans = [span("messages", 2, 10, 15), span("messages", 2, 0, 3)]
    row = match(
        messages=turns("Hi", "Yes?", "one and a three"),
        train_spans=spans,
        item_spans=[{"field": "question", "start": 4, "end": 9}],
    )
    found = Texts(notebook.finding(row, {"question": "two three four", "choice": "", "answer": "x"}))
    assert found.marked == ["one", "three", "three"]
    assert found.texts[0] == "facts item 7 · partial · 62% shared · drop"
    assert "".join(found.texts[1:]) == "chat row c-1userone and a threethe itemquestiontwo three fouranswerx"


def test_a_finding_in_a_preference_row_names_the_column_or_the_role() -> None:
    row = match(
        train_id=None,
        **preference("Good", "Bad", "What is it?"),
        train_spans=[span("prompt", 0, 0, 4), span("chosen", 0, 5, 7), span("chosen", 1, 0, 4)],
    )
    assert repr(notebook.finding(row)).splitlines()[1:] == [
        "chat row chat/1",
        "  user: What **is** it?",
        "  assistant: **Good**",
        "  prompt: **What** is it?",
    ]


def test_the_items_of_a_suite_are_found_by_eval_and_id() -> None:
    items = notebook.items("sample", workspace=Workspace(ROOT))
    assert len(items) == 60
    assert items["sample_facts", "fact-01"] == {"question": "Which planet has the Great Red Spot?"}
    with pytest.raises(UsageError, match="no suite is named 'sampel'"):
        notebook.items("sampel", workspace=Workspace(ROOT))
