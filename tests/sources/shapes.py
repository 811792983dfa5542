"""Native rows of every shape, and what the tests of adapters do with them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tulu_data.sources import Batch, SetAside
from tulu_data.sources.adapters import Adapted, adapt, get
from tulu_data.sources.batch import BadRow


def batch(table: pa.Table | list[dict[str, Any]], first: int = 0) -> Batch:
    table = table if isinstance(table, pa.Table) else pa.Table.from_pylist(table)
    numbers = range(first, first + table.num_rows)
    return Batch(table, pa.array(numbers, pa.int64()), "data.jsonl", pa.array([n + 1 for n in numbers]))


def skip(name: str, table: pa.Table | list[dict[str, Any]], kind: Any = None) -> tuple[Adapted, list[BadRow]]:
    bad = SetAside()
    return adapt(batch(table), get(name), kind or get(name).kinds[0], on_bad=bad), bad.rows


def turns(*said: tuple[Any, Any], keys: tuple[str, str] = ("role", "content")) -> list[dict[str, Any]]:
    return [dict(zip(keys, pair, strict=True)) for pair in said]


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


HI = talk("Hi", "Hello!")
ASK = "\n\nHuman: Hi\n\nAssistant:"


SHAPES: list[tuple[str, dict[str, Any], Any]] = [
    ("messages", {"id": "a", "messages": HI, "source": "x"}, HI),
    ("messages", {"messages": [{"content": "Hi", "role": "user", "name": None}, *HI[1:]]}, HI),
    ("messages", {"conversation": HI, "turn": 1, "toxic": False}, HI),
    ("messages", {"conversations": HI}, HI),
    ("messages", {"prompt": "Hi", "prompt_id": "7", "messages": HI, "category": "Chat"}, HI),
    ("messages", {"messages": HI, "label": True}, HI),
    ("messages", {"messages": HI, "ground_truth": "x"}, HI),
    ("messages", {"messages": HI, "system": "Be brief."}, [*turns(("system", "Be brief.")), *HI]),
    ("messages", {"messages": [*turns(("system", "A")), *HI], "system": "B"}, [*turns(("system", "A")), *HI]),
    ("sharegpt", {"conversations": turns(("human", "Hi"), ("gpt", "Hello!"), keys=("from", "value"))}, HI),
    ("dialogue", {"turns": turns(("USER", "Hi"), ("SYSTEM", "Hello!"), keys=("speaker", "utterance"))}, HI),
    (
        "dialogue",
        {"utterances": turns(("user", "Hi"), ("assistant", "Hello!"), keys=("speaker", "text"))},
        HI,
    ),
    ("dialogue", {"conversations": ["A", "B", "C", "D"]}, talk("A", "B", "C", "D")),
    ("alpaca", {"instruction": "Hi", "input": "", "output": "Hello!"}, HI),
    ("alpaca", {"instruction": "Hi", "response": "Hello!"}, HI),
    (
        "alpaca",
        {"instruction": "Add.", "input": "1, 2", "output": "3", "text": "…"},
        talk("Add.\n\n1, 2", "3"),
    ),
    ("alpaca", {"instruction": "C", "output": "D", "history": [["A", "B"]]}, talk("A", "B", "C", "D")),
    ("alpaca", {"instruction": "Hi", "output": "Hello!", "response": "Hello!"}, HI),
    ("instruction", {"instruction": "Hi", "instruction_type": "Chat"}, HI[:1]),
    ("instruction", {"prompt": "Hi", "id": 3}, HI[:1]),
    ("question_answer", {"question": "Hi", "answer": "Hello!"}, HI),
    (
        "question_answer",
        {"system_prompt": "S", "question": "Hi", "response": "Hello!"},
        [*turns(("system", "S")), *HI],
    ),
    ("question_answer", {"system_prompt": "", "question": "Hi", "response": "Hello!"}, HI),
    (
        "multiple_choice",
        {
            "question": {"stem": "Q?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
            "answerKey": "B",
        },
        talk("Q?\n\nA. x\nB. y", "B. y"),
    ),
    (
        "multiple_choice",
        {"question": "Q?", "choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "1"},
        talk("Q?\n\n1. x\n2. y", "1. x"),
    ),
    (
        "multiple_choice",
        {"question": "Q?", "options": ["x", "y"], "answer": "B", "answer_index": 1},
        talk("Q?\n\nA. x\nB. y", "B. y"),
    ),
    ("persona", {"question": "Hi", "answer_matching_behavior": " Yes"}, talk("Hi", " Yes")),
    ("problem_solution", {"problem": "P", "solution": "S", "level": "5"}, talk("P", "S")),
    ("problem_solution", {"problem": "P", "generated_solution": "S", "expected_answer": "4"}, talk("P", "S")),
    ("prompt_completion", {"template": "t", "prompt": "P", "completion": "C"}, talk("P", "C")),
    ("prompt_completion", {"id": "c1", "category": "x", "prompt": "P", "response": "R"}, talk("P", "R")),
    ("wildjailbreak", {"vanilla": "V", "adversarial": "A", "completion": "C"}, talk("A", "C")),
    ("wildguard", {"prompt": "P", "response": "R", "prompt_harm_label": "harmful"}, talk("P", "R")),
    ("hard_coded", {"Prompt": "P", "Output": "O"}, talk("P", "O")),
    (
        "oasst_trees",
        {"prompt": {"role": "prompter", "text": "P", "replies": [{"role": "assistant", "text": "R"}]}},
        talk("P", "R"),
    ),
    ("inputs_targets", {"inputs": "I", "targets": "T", "language": "Spanish"}, talk("I", "T")),
    ("input_target", {"input": "I", "target": "T"}, talk("I", "T")),
    ("sentence_label", {"sentence": "S", "label": "Good"}, talk("S", "Good")),
    ("task", {"input": "I", "output": "O", "_instance_id": "x"}, talk("I", "O")),
    ("task", {"Definition": ["D"], "input": "I", "output": ["O"]}, talk("D\n\nI", "O")),
    (
        "self_instruct",
        {"instruction": "D", "instances": [{"input": "I", "output": "O"}]},
        talk("D\n\nI", "O"),
    ),
    ("bigbench", {"input": "I", "target_scores": {"a": 0, "b": 1, "c": 0}}, talk("I", "b")),
    ("bigbench", {"input": "I", "target_scores": '{"a": 0.5, "b": 0.1}'}, talk("I", "a")),
    ("rlvr", {"messages": HI[:1], "ground_truth": "x", "dataset": "d"}, HI[:1]),
    ("verl", {"prompt": HI[:1], "reward_model": {"ground_truth": "4", "style": "rule"}}, HI[:1]),
]


PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("preference", {"prompt": "Hi", "chosen": HI, "rejected": talk("Hi", "No.")}),
    ("preference", {"chosen": HI, "rejected": talk("Hi", "No."), "margin": 0.5}),
    ("preference", {"prompt": HI[:1], "chosen": HI[1:], "rejected": talk("Hi", "No.")[1:]}),
    (
        "preference",
        {
            "conversations": turns(("human", "Hi"), keys=("from", "value")),
            "chosen": {"from": "gpt", "value": "Hello!"},
            "rejected": {"from": "gpt", "value": "No."},
        },
    ),
    ("preference_text", {"prompt": "Hi", "chosen": "Hello!", "rejected": "No."}),
    ("preference_text", {"system": "", "question": "Hi", "chosen": "Hello!", "rejected": "No."}),
    ("preference_text", {"input": "Hi", "chosen": "Hello!", "rejected": "No.", "status": "tie"}),
    ("hh", {"chosen": f"{ASK} Hello!", "rejected": f"{ASK} No."}),
    ("hh", {"chosen": "Human: Hi\n\nAssistant:Hello!", "rejected": f"{ASK}No."}),
    ("stack_exchange", {"qid": 7, "question": "Hi", "response_j": "Hello!", "response_k": "No."}),
]


_VOTE = {"model_a": "m", "model_b": "n"}
_ONE_HOT = {"winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}
_RATED = {"model": "m", "annotations": {"honesty": {"Rating": "4"}}, "overall_score": 8.0}

COMPLETED: list[tuple[str, dict[str, Any]]] = [
    (
        "ultrafeedback",
        {"instruction": "Hi", "completions": [{"response": "Hello!"} | _RATED, {"response": "No."} | _RATED]},
    ),
    (
        "nectar",
        {"prompt": ASK, "answers": [{"answer": a, "rank": 1, "model": "m"} for a in ("Hello!", "No.")]},
    ),
    ("shp", {"history": "Hi", "human_ref_A": "Hello!", "human_ref_B": "No.", "labels": 1}),
    ("arena", {"conversation_a": HI, "conversation_b": talk("Hi", "No."), "winner": "model_a"} | _VOTE),
    (
        "arena_55k",
        {"prompt": '["Hi"]', "response_a": '["Hello!"]', "response_b": '["No."]'} | _VOTE | _ONE_HOT,
    ),
    ("alpaca_farm", {"instruction": "Hi", "output_1": "Hello!", "output_2": "No.", "preference": 1}),
]
"""Rows of several answers to one prompt."""

GATHERED: list[tuple[str, dict[str, Any]]] = [
    ("helpsteer", {"prompt": ["Hi"] * 2, "response": ["Hello!", "No."], "helpfulness": [4, 0]}),
    (
        "prm800k",
        {
            "question": [
                {"problem": "Hi", "ground_truth_solution": "Hello!", "pre_generated_steps": ["No."]},
            ],
            "label": [{"finish_reason": "found_error", "steps": [{"completions": [{"rating": -1}]}]}],
        },
    ),
    (
        "oasst",
        {
            "message_tree_id": ["a"] * 2,
            "message_id": ["a", "b"],
            "parent_id": [None, "a"],
            "text": ["Hi", "Hello!"],
            "role": ["prompter", "assistant"],
        },
    ),
]
"""Rows that stand for several native ones, each column a list."""
