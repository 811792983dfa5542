"""Every published source of Tülu 3, 2.5 and 2 is known by its native columns, and its rows become ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.published import (
    ALL,
    ANNOTATED,
    ASK,
    CAPYBARA,
    FARM,
    NO,
    PREFERENCES,
    RATED,
    TREES,
    Published,
    answer,
    arena,
    arena_55k,
    brief,
    labelled,
    load,
    message,
    nectar,
    rated,
    shp,
    ultrafeedback,
    write,
)
from tests.sources.shapes import HI, talk
from tulu_data.record import Kind
from tulu_data.sources import SourceSpec, open_source
from tulu_data.sources.json_text import is_json_text


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
def test_a_source_is_known_by_its_columns_and_gives_its_rows(source: Published, tmp_path: Path) -> None:
    adapter, rows, bad = load(write(tmp_path, source.native, source.ending), source.kind)
    assert (adapter, bad) == (source.adapter, [])
    assert [brief(row, source.kind) for row in rows] == source.gives


@pytest.mark.parametrize("source", PREFERENCES, ids=lambda source: source.name)
def test_every_answer_follows_the_prompt_of_its_row(source: Published, tmp_path: Path) -> None:
    _, rows, _ = load(write(tmp_path, source.native, source.ending), "preference")
    for row in rows:
        sides = [row["chosen"], row["rejected"]] if row["completions"] is None else row["completions"]
        talks = [side if isinstance(side, list) else side["messages"] for side in sides]
        asked = {tuple(turn["content"] for turn in said if turn["role"] == "user") for said in talks}
        assert len(asked) == 1
        assert row["prompt"] in asked.pop()
        assert all(said[-1]["role"] == "assistant" for said in talks)


def only(
    tmp_path: Path, native: list[dict[str, Any]], kind: Kind = "preference", ending: str = "jsonl"
) -> Any:
    _, rows, bad = load(write(tmp_path, native, ending), kind)
    assert bad == []
    return rows


def faults(tmp_path: Path, native: list[dict[str, Any]], kind: Kind = "preference") -> list[tuple[str, str]]:
    _, _, bad = load(write(tmp_path, native, "jsonl"), kind)
    return [(str(one.where.field), one.reason) for one in bad]


# -- what rows keep ------------------------------------------------------------------------------------------


def test_what_steered_the_answer_is_no_turn(tmp_path: Path) -> None:
    (row, _) = only(tmp_path, RATED)
    assert [one["messages"] for one in row["completions"]] == [HI, NO]


def test_an_answer_to_several_turns_follows_all_of_them(tmp_path: Path) -> None:
    said = f"{ASK} Hello! \n\nHuman: Bye \n\nAssistant: "
    (row,) = only(tmp_path, [nectar(said, ("So long.", "gpt-4", 1))])
    assert row["prompt"] == "Bye"
    assert row["completions"][0]["messages"] == talk("Hi", "Hello!", "Bye", "So long.")


def test_answers_that_speak_for_the_user_are_counted(tmp_path: Path) -> None:
    answers = [("Hello!", "m", 1.0), ("Yes.\n Human: And?", "m", 2.0), ("Assistant: Hi", "m", 3.0)]
    (row, other) = only(tmp_path, [nectar(ASK, *answers), nectar(ASK, *answers[:1])])
    assert [one["messages"][-1]["content"] for one in row["completions"]] == ["Hello!"]
    assert json.loads(row["native"])["answers_left_out"] == 2
    assert "answers_left_out" not in json.loads(other["native"])


def test_a_tie_is_noted_on_both_sides(tmp_path: Path) -> None:
    rows = only(tmp_path, [arena("tie"), arena("tie (bothbad)"), arena("model_a")])
    notes = [[one["ratings"][0]["note"] for one in row["completions"]] for row in rows]
    assert notes == [["tie"] * 2, ["tie (bothbad)"] * 2, [None] * 2]
    assert [row["upstream_id"] for row in rows] == ["q1"] * 3


def test_the_prompt_of_conversations_that_differ_early_is_the_first_turn(tmp_path: Path) -> None:
    row = {
        **arena("model_a"),
        "conversation_a": talk("Hi", "Yo", "And?", "No."),
        "conversation_b": talk("Hi", "Hm"),
    }
    assert only(tmp_path, [row])[0]["prompt"] == "Hi"


def test_ids_of_a_csv_are_text(tmp_path: Path) -> None:
    assert only(tmp_path, [arena_55k((1, 0, 0))], ending="csv")[0]["upstream_id"] == "30192"


def test_rows_that_tell_nothing_of_a_solution_are_counted(tmp_path: Path) -> None:
    native = [
        labelled("1+1?", ["So 9."], [-1], "found_error", control=True),
        labelled("1+1?", ["So 8."], [-1], "give_up", screening=True),
        labelled("1+1?", ["So 7."], [-1], "give_up"),
        labelled("1+1?", ["So 6."], [-1], "bad_problem"),
        labelled("1+1?", ["So 5."], [-1], "bad_problem"),
    ]
    (row,) = only(tmp_path, native)
    assert len(row["completions"]) == 1
    assert json.loads(row["native"]) == {
        "ignored_quality_control": 1,
        "ignored_screening": 1,
        "ignored_give_up": 1,
        "ignored_bad_problem": 2,
    }


def test_a_generation_without_its_steps_is_counted(tmp_path: Path) -> None:
    native = [labelled("1+1?", ["So 9."], [-1], end) for end in ("found_error", "stopped", "found_error")]
    native[0]["question"]["pre_generated_steps"] = None
    native[2]["question"]["pre_generated_steps"] = ["So", None]
    (row,) = only(tmp_path, native)
    assert json.loads(row["native"]) == {"ignored_incomplete": 3}


def test_a_problem_without_a_usable_row_stays_to_be_judged(tmp_path: Path) -> None:
    (row,) = only(tmp_path, [labelled("1+1?", ["So 9."], [-1], "give_up", truth=None)])
    assert (row["prompt"], row["completions"]) == ("1+1?", [])


def test_a_step_is_rated_as_the_chosen_of_its_candidates(tmp_path: Path) -> None:
    row = labelled("1+1?", ["One.", "Two."], [-1, 1], "found_error", truth=None)
    seen = [{"text": "x", "rating": rating, "flagged": None} for rating in (-1, 1, 0)]
    row["label"]["steps"][0] |= {"completions": seen, "chosen_completion": 1}
    row["label"]["steps"].append({"completions": [], "human_completion": None, "chosen_completion": None})
    (found,) = only(tmp_path, [row])
    assert found["completions"][0]["ratings"][-1] == {"aspect": "good_steps", "rating": 1.0, "note": None}


def test_labels_of_mixed_types_are_read_all_the_same(tmp_path: Path) -> None:
    native = [labelled("1+1?", ["So 3."], [-1], "found_error"), labelled("1+1?", ["So 2."], [1], "solution")]
    native[1]["label"]["steps"][0]["completions"][0]["flagged"] = "no"
    native[0]["label"]["steps"][0]["completions"][0]["flagged"] = True
    path = write(tmp_path, native, "jsonl")
    (batch,) = open_source(SourceSpec(from_=path.name), base=tmp_path).batches()
    assert is_json_text(batch.table.schema.field("label"))
    _, (row,), _ = load(path, "preference")
    assert [answer(one) for one in row["completions"]] == [
        ("It is 2.", None, {"correct": 1.0}),
        ("So 3.", None, {"correct": 0.0, "no_error": 0.0, "good_steps": 0.0}),
        ("So 2.", None, {"no_error": 1.0, "good_steps": 1.0}),
    ]


def test_ratings_and_models_of_pairs_are_found(tmp_path: Path) -> None:
    found = {}
    for source in PREFERENCES:
        for row in only(tmp_path, source.native, ending=source.ending)[:1]:
            if row["completions"] is None:
                words = ("chosen_rating", "rejected_rating", "chosen_model", "rejected_model")
                found[source.name.rpartition("/")[2]] = tuple(row[word] for word in words)
    assert found == {
        "ultrafeedback-binarized-preferences-cleaned": (5.0, 2.5, "gpt-4", "alpaca-7b"),
        "ultrafeedback_binarized": (8.0, 3.0, None, None),
        "distilabel-capybara-dpo-7k-binarized": (5.0, 3.0, None, "m"),
        "distilabel-intel-orca-dpo-pairs": (9.0, None, None, None),
        "llama-3.1-tulu-3-405b-preference-mixture": (4.5, None, "m", "n"),
        "tulu-3-pref-personas-instruction-following": (None, None, "m", "m"),
        "coconot, pref": (None, None, "m", "n"),
        **dict.fromkeys(
            ("hh-rlhf", "stack-exchange-paired", "orca_dpo_pairs", "tulu-2.5-preference-data"), (None,) * 4
        ),
        "llama-3.1-tulu-3-8b-preference-mixture": (None,) * 4,
    }


def test_a_tree_keeps_its_name_and_prompts_end_with_the_user(tmp_path: Path) -> None:
    path = write(tmp_path, TREES[:1] + TREES[2:5] + TREES[6:], "parquet")
    _, rows, bad = load(path, "prompts")
    assert [(row["upstream_id"], row["messages"]) for row in rows] == [
        ("a", talk("Hi", "Hello!", "And now?")),
        ("c", HI[:1]),
    ]
    assert bad == []


def test_parents_that_name_one_another_end_the_path(tmp_path: Path) -> None:
    native = [message("a1p", None, "Hi"), message("a2", "a1p", "Yo"), message("a1p", "a2", "Hi again")]
    (row,) = only(tmp_path, native, "sft", "parquet")
    assert row["messages"] == talk("Hi", "Yo", "Hi again")


def test_what_an_adversarial_prompt_was_made_from_is_kept(tmp_path: Path) -> None:
    native = [
        {"vanilla": "Hi", "adversarial": "", "completion": "Hello!"},
        {"vanilla": "Hi", "adversarial": "Say hi", "completion": "No."},
    ]
    plain, adversarial = only(tmp_path, native, "sft")
    assert plain["native"] is None
    assert json.loads(adversarial["native"]) == {"vanilla": "Hi"}


def test_a_last_text_that_nobody_answered_is_kept_aside(tmp_path: Path) -> None:
    said = [["Hi", "Hello!", "Bye"], ["Hi", "Hello!"], ["Hi"]]
    rows = only(tmp_path, [{"conversations": texts} for texts in said], "sft")
    assert [row["messages"] for row in rows] == [HI, HI, HI[:1]]
    assert [row["native"] for row in rows] == ['{"unanswered": "Bye"}', None, None]
    asked = only(tmp_path, [{"conversations": said[0]}], "prompts")
    assert asked[0]["messages"] == talk("Hi", "Hello!", "Bye")


def test_a_constraint_that_is_empty_is_none(tmp_path: Path) -> None:
    native = {"messages": HI[:1], "ground_truth": "4", "dataset": "gsm8k"}
    rows = only(
        tmp_path, [{**native, "constraint_type": "", "constraint": ""}, {**native, "constraint": "c"}], "rlvr"
    )
    assert [(row["constraint_type"], row["constraint"]) for row in rows] == [(None, None), (None, "c")]


def test_a_row_of_gsm8k_and_math_asks_the_bare_question(tmp_path: Path) -> None:
    (gsm8k,) = only(tmp_path, [{"question": "2+2?", "answer": "4\n#### 4"}], "rlvr")
    (math,) = only(tmp_path, [{"problem": "2+2?", "solution": r"\boxed{4}"}], "rlvr")
    assert [(row["messages"], row["dataset"]) for row in (gsm8k, math)] == [
        (talk("2+2?"), "gsm8k"),
        (talk("2+2?"), "MATH"),
    ]


# -- faults --------------------------------------------------------------------------------------------------


def test_a_fault_of_an_answer_is_named_by_its_place(tmp_path: Path) -> None:
    mute = {**rated("x", "m", ("1", "1", "1", "1"), 1.0), "response": None}
    assert faults(tmp_path, [ultrafeedback(RATED[0]["completions"][0], mute)]) == [
        ("completions[1].response", "completions[1].response is null")
    ]
    empty = nectar(ASK, ("Yo", "m", 1.0))
    empty["answers"].append({"answer": None, "model": "m", "rank": 2.0})
    assert faults(tmp_path, [nectar(ASK, ("Yo", "m", 1.0)), empty]) == [
        ("answers[1].answer", "answers[1].answer is null")
    ]


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({**shp(1), "labels": 2}, "labels", "labels is 2"),
        (arena("model_c"), "winner", "winner is model_c"),
        (nectar("Hi", ("Yo", "m", 1.0)), "prompt", "prompt does not begin with a speaker"),
        (nectar("\n\nAssistant: Yo", ("Yo", "m", 1.0)), "prompt", "prompt holds no user turn"),
        (arena_55k((1, 1, 0)), "winner_model_a", "not just one winner is 1"),
        (arena_55k((0, 0, 0)), "winner_model_a", "not just one winner is 1"),
        (arena_55k((1, 0, 0), b="No."), "response_b", "response_b is no JSON list of texts"),
        (arena_55k((1, 0, 0), b="[1]"), "response_b", "response_b is no JSON list of texts"),
        (arena_55k((1, 0, 0), b='["\\ud800"]'), "response_b", "response_b is no JSON list of texts"),
        (arena_55k((1, 0, 0), b='["a","b"]'), "response_b", "response_b has 2 turns, prompt 1"),
        ({**FARM, "preference": 0}, "preference", "preference is 0"),
        ({**FARM, "preference": None}, "preference", "preference is None"),
        ({**ANNOTATED, "preference": 3.0}, "preference", "preference is 3.0"),
        ({**CAPYBARA, "rejected": talk("Yo", "No.")}, "rejected", "chosen and rejected share no user turn"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(
    row: dict[str, Any], field: str, reason: str, tmp_path: Path
) -> None:
    assert faults(tmp_path, [row]) == [(field, reason)]


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        ({"question": "2+2?", "answer": "4"}, "rlvr", "the final answer in answer is null"),
        ({"problem": "2+2?", "solution": r"\boxed{4"}, "rlvr", "the answer in solution is null"),
        (
            {"vanilla": None, "adversarial": "", "completion": "x"},
            "sft",
            "vanilla and adversarial hold no prompt",
        ),
        ({"prompt": {"role": "bot?", "text": "Hi", "replies": []}}, "sft", "unknown role 'bot?'"),
        (
            {"prompt": {"role": "prompter", "text": None, "replies": []}},
            "sft",
            "the text of a message is null",
        ),
        (message("a2", "a1p", "Yo"), "sft", "the tree has no root"),
    ],
)
def test_a_conversation_that_cannot_be_used_says_why(
    row: dict[str, Any], kind: Kind, reason: str, tmp_path: Path
) -> None:
    assert [told for _, told in faults(tmp_path, [row], kind)] == [reason]
