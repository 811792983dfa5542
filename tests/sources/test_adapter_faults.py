"""Adapters: faults are named where they lie; roles are mapped and texts stay as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.sources.files import write
from tests.sources.shapes import ASK, HI, batch, skip, talk, turns
from tulu_data.errors import RowError
from tulu_data.sources import BadRow, Batch, SetAside, SourceSpec, open_source
from tulu_data.sources.adapters import adapt, adapt_row, detect, get
from tulu_data.sources.adapters._turns import ROLE_OF
from tulu_data.sources.batch import AS_JSON

BAD_TURNS: list[tuple[str, Any, str, str, str]] = [
    ("messages", turns(("usr", "x")), "messages[0].role", "unknown role 'usr'", "nearest to user"),
    (
        "messages",
        turns(("robot", "x")),
        "messages[0].role",
        "unknown role 'robot'",
        "one of: " + ", ".join(ROLE_OF) + " (nearest to bot)",
    ),
    ("messages", [*HI, *turns((None, "x"))], "messages[2].role", "unknown role None", "one of: system, user"),
    ("messages", turns(("user", None)), "messages[0].content", "the content is null, not text", "text"),
    ("messages", turns(("user", 5)), "messages[0].content", "the content is a number, not text", "text"),
    ("messages", turns(("user", True)), "messages[0].content", "the content is a boolean, not text", "text"),
    (
        "messages",
        turns(("user", [{"type": "text", "text": "Look:"}, {"type": "image_url", "text": None}])),
        "messages[0].content",
        "the content is a part of type 'image_url', not text",
        "text parts",
    ),
    ("messages", None, "messages", "messages is null", "a list of turns"),
    ("messages", json.dumps(HI), "messages", "messages is text, not a list of turns", "JSON parsed before"),
    (
        "sharegpt",
        turns(("humn", "x"), keys=("from", "value")),
        "conversations[0].from",
        "unknown role 'humn'",
        "nearest to human",
    ),
]


@pytest.mark.parametrize(("name", "said", "field", "reason", "expected"), BAD_TURNS)
def test_a_bad_turn_is_named_by_its_place(
    name: str, said: Any, field: str, reason: str, expected: str
) -> None:
    adapted, bad = skip(name, [{field.partition("[")[0].partition(".")[0]: said}])
    assert adapted.rows.num_rows == 0
    assert [(b.where.field, b.reason) for b in bad] == [(field, reason)]
    assert expected in str(bad[0].expected)


def test_bad_rows_come_in_order_with_line_row_and_text_and_the_others_stay() -> None:
    rows = [HI, turns(("usr", "x")), None, HI, turns(("user", None))]
    adapted, bad = skip("messages", [{"messages": row} for row in rows])
    assert adapted.rows["row"].to_pylist() == [0, 3]
    assert adapted.rows["messages"].to_pylist() == [HI, HI]
    assert [(str(b.where)) for b in bad] == [
        "data.jsonl, line 2, row 1, field messages[0].role",
        "data.jsonl, line 3, row 2, field messages",
        "data.jsonl, line 5, row 4, field messages[0].content",
    ]
    assert bad[0].text == '{"messages": [{"role": "usr", "content": "x"}]}'


def test_a_batch_of_empty_conversations_has_no_type_but_is_no_fault() -> None:
    adapted, bad = skip("messages", [{"messages": []}, {"messages": None}])
    assert adapted.rows["messages"].to_pylist() == [[]]
    assert [b.reason for b in bad] == ["messages is null"]
    adapted, bad = skip("sharegpt", [{"conversations": []}, {"conversations": None}])
    assert adapted.rows["messages"].to_pylist() == [[], []]
    assert bad == []


def test_the_first_bad_row_stops_unless_they_are_skipped() -> None:
    table = [{"messages": HI}, {"messages": None}, {"messages": turns(("usr", "x"))}]
    with pytest.raises(
        RowError, match=r"data\.jsonl, line 2, row 1, field messages: messages is null.*--bad-rows skip"
    ):
        adapt(batch(table), get("messages"), "sft")


def test_a_row_of_two_faults_is_reported_once() -> None:
    _, bad = skip("alpaca", [{"instruction": None, "output": None}, {"instruction": "a", "output": "b"}])
    assert [(b.where.row, b.reason) for b in bad] == [(0, "instruction is null")]


def test_answers_that_differ_are_a_fault_that_names_both_columns() -> None:
    adapted, bad = skip(
        "alpaca",
        [
            {"instruction": "I", "output": "a", "response": "b"},
            {"instruction": "I", "output": "", "response": "b"},
            {"instruction": "I", "output": "a", "response": None},
        ],
    )
    assert [b.reason for b in bad] == ["the columns output and response hold different answers"]
    assert "`adapter` cannot choose" in str(bad[0].expected)
    assert [row[1]["content"] for row in adapted.rows["messages"].to_pylist()] == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        (
            "alpaca",
            {"instruction": "C", "output": "D", "history": [["A"]]},
            "history is not a question and an answer",
        ),
        (
            "multiple_choice",
            {"question": "Q?", "options": ["x"], "answer": "E"},
            "the answer 'E' is none of the choices",
        ),
        ("task", {"input": "I", "output": []}, "output is null"),
        ("bigbench", {"input": "I", "target_scores": "no JSON"}, "target_scores is null"),
        ("dialogue", {"conversations": ["Hi", None]}, "the content is null"),
        ("rlvr", {"messages": HI[:1], "ground_truth": None}, "ground_truth is null"),
        ("hh", {"chosen": "Hello!", "rejected": f"{ASK} No."}, "chosen does not begin with a speaker"),
        ("hh", {"chosen": f"{ASK} a", "rejected": f"\n\nHuman: Yo{ASK}"}, "share no user turn"),
        (
            "preference",
            {"chosen": HI, "rejected": talk("Yo", "No.")},
            "chosen and rejected share no user turn",
        ),
        ("preference_text", {"prompt": "Hi", "chosen": None, "rejected": "b"}, "chosen is null"),
    ],
)
def test_other_faults_are_told_in_words(name: str, row: dict[str, Any], reason: str) -> None:
    adapted, bad = skip(name, [row, row])
    assert adapted.rows.num_rows == 0
    assert len(bad) == 2
    assert reason in bad[0].reason


def test_contents_of_mixed_types_are_judged_one_by_one(tmp_path: Path) -> None:
    """No Arrow type holds text beside numbers, so the reader gives such a column as JSON text."""
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    parts = [{"type": "text", "text": "Hi"}, {"type": "text", "text": " there"}]
    contents = ["Hi", parts, 5, image, None, [{"type": "text", "text": 7}], "Bye"]
    lines = [json.dumps({"messages": turns(("user", content), ("assistant", "ok"))}) for content in contents]
    (tmp_path / "mixed.jsonl").write_text("\n".join(lines))
    (native,) = open_source(SourceSpec.model_validate({"from": "mixed.jsonl"}), base=tmp_path).batches()
    bad = SetAside()
    adapted = adapt(native, detect(native.table), "sft", on_bad=bad)
    assert [row[0]["content"] for row in adapted.rows["messages"].to_pylist()] == ["Hi", "Hi there", "Bye"]
    assert [(b.where.line, b.where.field) for b in bad.rows] == [
        (n, "messages[0].content") for n in (3, 4, 5, 6)
    ]
    assert ["number" in bad.rows[0].reason, "image_url" in bad.rows[1].reason] == [True, True]


def set_aside(path: Path) -> list[BadRow]:
    """The rows of a file that the adapter refuses."""
    aside = SetAside()
    for native in open_source(SourceSpec(from_=path.name), base=path.parent).batches(batch_bytes=200):
        adapt(native, get("messages"), "sft", on_bad=aside)
    return aside.rows


@pytest.mark.parametrize("other", ["Hi", 5], ids=["one type", "mixed types"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_a_bad_row_is_shown_as_its_file_has_it(tmp_path: Path, name: str, other: Any) -> None:
    good = json.dumps({"id": 1, "messages": HI})
    bad = [
        json.dumps({"messages": turns(("user", other), ("usr", "é"))}, ensure_ascii=False),
        "{}",
        '{"messages":  null}',
    ]
    lines = [good, bad[0], good, *bad[1:], *[good] * 20, bad[0]]
    text = "[" + ",\n".join(lines) + "]" if name == "a.json" else "\n".join(lines)
    assert [row.text for row in set_aside(write(tmp_path / name, text))] == [*bad, bad[0]]


def test_json_text_is_shown_as_what_it_stands_for() -> None:
    field = pa.field("messages", pa.string(), metadata=AS_JSON)
    said = [json.dumps(turns(("usr", "x"))), None]
    table = pa.table([pa.array(said)], schema=pa.schema([field]))
    aside = SetAside()
    adapt(Batch(table, pa.array([0, 1]), "x.parquet"), get("messages"), "sft", on_bad=aside)
    shown = [json.loads(bad.text) for bad in aside.rows]
    assert shown == [{"messages": turns(("usr", "x"))}, {"messages": None}]


# -- roles and texts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "ours"),
    [
        *((role, role) for role in ("system", "user", "assistant", "tool")),
        *(("human", "user"), ("prompter", "user"), ("USER", "user"), (" User ", "user")),
        *(("gpt", "assistant"), ("model", "assistant"), ("bot", "assistant"), ("function_call", "assistant")),
        *(("observation", "tool"), ("function", "tool"), ("function_response", "tool")),
    ],
)
def test_the_roles_of_published_sets_are_mapped(native: str, ours: str) -> None:
    assert adapt_row("messages", {"messages": turns((native, "x"))})["messages"] == turns((ours, "x"))


def test_the_system_of_a_dialogue_is_who_answers() -> None:
    said = turns(("SYSTEM", "x"), keys=("speaker", "utterance"))
    assert adapt_row("dialogue", {"turns": said})["messages"] == turns(("assistant", "x"))


@pytest.mark.parametrize("text", ["", " ", "a\0b", "[/INST]", "é" * 3, "\N{GRINNING FACE}"])
def test_texts_pass_as_they_are_even_empty_ones(text: str) -> None:
    said = turns(("user", text), ("assistant", text))
    assert adapt_row("messages", {"messages": said})["messages"] == said
    assert adapt_row("alpaca", {"instruction": text, "output": text})["messages"] == said


def test_parts_of_text_are_joined() -> None:
    parts = [{"type": "text", "text": None, "value": "Hi "}, {"type": "text", "text": "there", "value": None}]
    said = [{"role": "user", "content": parts}, {"role": "assistant", "content": []}]
    assert adapt_row("messages", {"messages": said})["messages"] == talk("Hi there", "")


def test_a_transcript_is_cut_only_at_the_head_of_a_paragraph() -> None:
    ask = "\n\nHuman: Say Human: and\nAssistant: please\n\nAssistant:"
    found = adapt_row("hh", {"chosen": f"{ask} Human: Assistant:", "rejected": f"{ask} \n\nno"})
    assert found["prompt"] == "Say Human: and\nAssistant: please"
    assert [found["chosen"][1]["content"], found["rejected"][1]["content"]] == ["Human: Assistant:", "\n\nno"]


def test_a_pair_that_parts_early_keeps_the_rest_in_its_answers() -> None:
    chosen, rejected = talk("Hi", "Hello!", "And?", "Well."), talk("Hi", "Hello!", "Or?", "No.")
    found = adapt_row("preference", {"chosen": chosen, "rejected": rejected})
    assert (found["prompt"], found["chosen"], found["rejected"]) == ("Hi", chosen, rejected)


def test_an_identical_pair_is_left_to_operators() -> None:
    long = talk("Hi", "Hello!", "And?", "Well.")
    assert adapt_row("preference", {"chosen": long, "rejected": long})["prompt"] == "And?"


def test_tools_become_json_text_and_empty_ones_null() -> None:
    spec = [{"name": "f", "parameters": {}}]
    said = turns(("human", "Hi"), keys=("from", "value"))
    rows = [json.dumps(spec), "[]", "", None]
    found, _ = skip("sharegpt", [{"conversations": said, "tools": row} for row in rows])
    assert found.rows["tools"].to_pylist() == [json.dumps(spec), None, None, None]
    assert json.loads(adapt_row("messages", {"messages": HI, "tools": [{"name": "f"}]})["tools"]) == [
        {"name": "f"}
    ]
