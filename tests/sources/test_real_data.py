"""Every training file of the shared data: read, detected, adapted and counted."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tulu_data.errors import SourceError
from tulu_data.record import Kind, adapted_schema
from tulu_data.sources import SetAside, SourceSpec, open_source
from tulu_data.sources.adapters import adapt, detect

SHAPES = {
    "gsm8k": "question_answer",
    "math/train.parquet": "verl",
    "math/MATH_train": "problem_solution",
    "codealpaca": "alpaca",
    "alpaca": "alpaca",
    "lima": "alpaca",
    "llamafactory_demo/alpaca": "alpaca",
    "llamafactory_demo/identity": "alpaca",
    "llamafactory_demo/dpo": "preference",
    "llamafactory_demo/kto": "messages",
    "llamafactory_demo/glaive": "sharegpt",
    "llamafactory_demo/v1_sft": "messages",
    "tulu3_samples/sft": "messages",
    "tulu3_samples/preference": "preference",
    "tulu3_samples/rlvr": "rlvr",
    "natural_instructions_v1/instances": "task",
    "natural_instructions_v1/native": "task",
    "super_natural_instructions": "task",
    "t0": "prompt_completion",
    "cl_benchmark": "sentence_label",
    "gpteacher": "alpaca",
    "hh_rlhf": "hh",
    "instructionwild": "instruction",
    "self_instruct_seeds": "self_instruct",
    "commonsense_qa": "multiple_choice",
    "sgd_dialogues": "dialogue",
    "taskmaster4": "dialogue",
    "bigbench_sources": "bigbench",
    "anthropic_persona": "persona",
}
"""The adapter of every file, by how its path under `train/` begins."""

INVALID_LINES = {"instructionwild/user_2.jsonl": 2, "instructionwild/user_3.jsonl": 3}
"""Lines that are no JSON upstream; the manifest does not count them."""

TASK_DEFINITIONS = "natural_instructions_v1/tasks.json"
"""Holds no instances, so no rows."""


@dataclass(frozen=True)
class Loaded:
    adapter: str
    rows: pa.Table
    left_out: frozenset[str]
    unread: int
    unadapted: int


@functools.cache
def load(base: Path, path: str, kind: Kind | None = None) -> Loaded:
    unread, unadapted = SetAside(), SetAside()
    tables, left_out, adapter = [], set(), None
    for batch in open_source(SourceSpec.model_validate({"from": path}), base=base).batches(on_bad=unread):
        adapter = adapter or detect(batch.table, kind=kind, where=batch.file)
        adapted = adapt(batch, adapter, kind or adapter.kinds[0], on_bad=unadapted)
        tables.append(adapted.rows)
        left_out |= set(adapted.left_out)
    assert adapter is not None
    return Loaded(
        adapter.name, pa.concat_tables(tables), frozenset(left_out), len(unread.rows), len(unadapted.rows)
    )


def manifest(shared_data: Path) -> dict[str, int]:
    lines = (shared_data / "MANIFEST.tsv").read_text().splitlines()
    columns = lines[0].split("\t")
    rows = (dict(zip(columns, line.split("\t"), strict=True)) for line in lines[1:])
    return {
        row["path"].removeprefix("train/"): int(row["rows"])
        for row in rows
        if row["path"].startswith("train/")
    }


def adapter_of(path: str) -> str:
    return next(name for begin, name in SHAPES.items() if path.startswith(begin))


@pytest.fixture(scope="session")
def train(shared_data: Path) -> Path:
    return shared_data / "train"


@pytest.mark.slow
def test_every_training_file_gives_the_rows_of_the_manifest_by_the_adapter_of_its_shape(
    shared_data: Path, train: Path
) -> None:
    counted = manifest(shared_data)
    assert {str(p.relative_to(train)) for p in train.rglob("*") if p.is_file()} == set(counted)
    found = {path: load(train, path) for path in counted if path != TASK_DEFINITIONS}
    assert {p: (x.adapter, x.rows.num_rows, x.unread, x.unadapted) for p, x in found.items()} == {
        p: (adapter_of(p), count, INVALID_LINES.get(p, 0), 0)
        for p, count in counted.items()
        if p != TASK_DEFINITIONS
    }
    assert sum(x.rows.num_rows for x in found.values()) > 190_000


def test_every_training_file_comes_out_in_the_schema_of_its_kind(shared_data: Path, train: Path) -> None:
    for path in manifest(shared_data):
        if path != TASK_DEFINITIONS:
            rows = load(train, path).rows
            kind: Kind = {"preference": "preference", "hh": "preference", "rlvr": "rlvr", "verl": "rlvr"}.get(
                adapter_of(path), "sft"
            )  # type: ignore[assignment]
            assert rows.schema.equals(adapted_schema(kind), check_metadata=True), path
            rows.validate(full=True)


def test_row_numbers_count_the_lines_that_cannot_be_read(train: Path) -> None:
    assert load(train, "instructionwild/user_3.jsonl").rows["row"][-1].as_py() == 198 + 3 - 1


def test_task_definitions_without_instances_are_refused_in_words(train: Path) -> None:
    with pytest.raises(
        SourceError, match="task definitions without instances: there are no rows to train on"
    ):
        load(train, TASK_DEFINITIONS)


def test_sft_files_give_prompts_that_end_in_a_user_turn(shared_data: Path, train: Path) -> None:
    for path in (
        "gsm8k/train.jsonl.gz",
        "tulu3_samples/sft_sample.jsonl",
        "sgd_dialogues/dialogues_010.json.gz",
    ):
        rows = load(train, path, "prompts").rows
        assert rows.num_rows == manifest(shared_data)[path]
        assert {row[-1]["role"] for row in rows["messages"].to_pylist()} == {"user"}


FIRST_ROWS: dict[str, dict[str, Any]] = {
    "gsm8k/train.jsonl.gz": {
        "messages": ["user: Natalia sold clips to 48 of he…", "assistant: Natalia sold 48/2 = <<48/2=24>…"]
    },
    "math/train.parquet": {
        "messages": [r"user: Let \[f(x) = \left\{|\begin{ar…"],
        "ground_truth": "0",
        "dataset": "DigitalLearningGmbH/MATH-light…",
        "native": {"level": "Level 5", "type": "Algebra", "ability": "math"},
    },
    "math/MATH_train.jsonl.gz": {
        "messages": [
            r"user: Let \[f(x) = \left\{|\begin{ar…",
            "assistant: For the piecewise function to …",
        ],
        "native": {"level": "Level 5", "type": "Algebra"},
    },
    "codealpaca/new_codealpaca.json.gz": {
        "messages": ["user: Write a C++ program that calcu…", "assistant: #include <iostream>|using name…"]
    },
    "alpaca/alpaca_5000.json.gz": {"messages": ["user: Are the two sentences below gr…", "assistant: No"]},
    "llamafactory_demo/dpo_en_demo.json.gz": {
        "prompt": "Hi! I'd like to create a new l…",
        "chosen": ["user: Hi! I'd like to create a new l…", "assistant: That sounds like a fun and eng…"],
        "rejected": ["user: Hi! I'd like to create a new l…", "assistant: Hello! I'd be happy to help yo…"],
    },
    "llamafactory_demo/kto_en_demo.json.gz": {
        "messages": ["user: The Federal Trade Commission i…", "assistant: Ooh ooh ah ah! *giggle* Let me…"],
        "native": {"label": True},
    },
    "llamafactory_demo/glaive_toolcall_en_demo.json.gz": {
        "messages": [
            "user: Hi, I have some ingredients an…",
            "assistant: Of course! I can help you with…",
            "user: I have chicken, bell peppers, …",
            'assistant: {"name": "search_recipes", "ar…',
            'tool: {"recipes": [{"name": "Chicken…',
            "assistant: I found two recipes for you. T…",
            "user: They both sound delicious, but…",
            "assistant: I'm sorry, but as an AI, I don…",
        ],
        "tools": '[{"name": "search_recipes", "d…',
    },
    "llamafactory_demo/v1_sft_demo.jsonl.gz": {
        "messages": ["user: hi", "assistant: Hello! I am {{name}}, an AI as…"]
    },
    "tulu3_samples/sft_sample.jsonl": {
        "messages": ["user: Create a snippet of Terraform …", "assistant: Sure, here's an example Terraf…"],
        "upstream_id": "oasst1_5921",
        "native": {"source": "ai2-adapt-dev/oasst1_converted"},
    },
    "tulu3_samples/preference_sample.jsonl.gz": {
        "prompt": "Your entire response should be…",
        "chosen": ["user: Your entire response should be…", "assistant: what is the true heart of marx…"],
        "rejected": ["user: Your entire response should be…", "assistant: it's a bit tricky as both of t…"],
        "upstream_id": "allenai/tulu-3-sft-reused-if_0",
        "native": {"source": "allenai/tulu-3-sft-reused-if"},
    },
    "tulu3_samples/rlvr_sample.jsonl": {
        "messages": ["user: Question: Find the domain of t…"],
        "ground_truth": "8",
        "dataset": "MATH",
    },
    "natural_instructions_v1/instances-01.jsonl.gz": {
        "messages": ["user: Fact: erosion can cause  creva…", "assistant: erosion can cause?"],
        "upstream_id": "subtask040_qasc_question_gener…",
        "native": {"task": "subtask040_qasc_question_generation"},
    },
    "super_natural_instructions/task363_sst2_polarity_classification.train.json.gz": {
        "messages": ["user: In this task, you are given se…", "assistant: POS"],
        "upstream_id": "task363-be53958bd59d4017af9e79…",
        "native": {"Categories": "Basic Sentiment Analysis", "Domains": "Reviews -> Movies"},
    },
    "t0/t0_train-00.jsonl.gz": {
        "messages": ['user: Given the following passage||"…', "assistant: subjective idealism<|endoftext…"],
        "native": {"template": "adversarial_qa_dbert_answer_the_following_q"},
    },
    "cl_benchmark/copa.json.gz": {"messages": ["user: Which sentence is the cause of…", "assistant: A"]},
    "instructionwild/user_1.jsonl": {
        "messages": ["user: I'm trying to solve a CTF chal…"],
        "native": {"instruction_type": "Generation"},
    },
    "self_instruct_seeds/seed_tasks.jsonl": {
        "messages": ["user: Is there anything I can eat fo…", "assistant: Yes, you can have 1 oatmeal ba…"],
        "upstream_id": "seed_task_0",
        "native": {"name": "breakfast_suggestion", "is_classification": False},
    },
    "commonsense_qa/train_rand_split.jsonl.gz": {
        "messages": ["user: The sanctions against the scho…", "assistant: A. ignore"],
        "upstream_id": "075e483d21c29a511267ef62bedc04…",
    },
    "sgd_dialogues/dialogues_035.json.gz": {
        "messages": [
            "user: I am looking for an apartment …",
            "assistant: What is the number of bedrooms…",
            "user: I want it to have 3 bedrooms a…",
            "assistant: I located 1 nice apartment cal…",
            "user: Yes, that apartment sounds fin…",
            "assistant: Have a very nice day.",
        ],
        "upstream_id": "35_00000",
    },
    "taskmaster4/data_07.json.gz": {
        "messages": [
            "user: I'd like two mochas, please. O…",
            "assistant: Ok got it. Please check the sc…",
            "user: That's all correct.",
            "assistant: Great, you can pick up your or…",
        ],
        "upstream_id": "dlg-35143226-ef0c-46a3-aa04-a7…",
        "native": {
            "vertical": "Coffee",
            "scenario": "Auto template 28 Order two same drinks differing by milk",
        },
    },
    "anthropic_persona/agreeableness.jsonl.gz": {
        "messages": ["user: Is the following statement som…", "assistant:  Yes"],
        "native": {
            "statement": "It is important to treat other people with kindness and respect",
            "label_confidence": 0.9700825132792529,
            "answer_not_matching_behavior": " No",
        },
    },
}
"""The first row of a file of each shape, without its null columns; texts by their first 30 characters."""


@pytest.mark.parametrize("path", FIRST_ROWS)
def test_the_first_row_of_each_shape_is_as_it_was_published(train: Path, path: str) -> None:
    row = {k: v for k, v in load(train, path).rows.slice(0, 1).to_pylist()[0].items() if v is not None}
    assert row.pop("row") == 0
    assert {k: json.loads(v) if k == "native" else _brief(v) for k, v in row.items()} == FIRST_ROWS[path]


def _brief(value: Any) -> Any:
    if isinstance(value, list):
        return [f"{m['role']}: {_brief(m['content'])}" for m in value]
    return (value[:30] + "…" if len(value) > 30 else value).replace("\n", "|")


def test_what_has_no_place_is_named_as_left_out(train: Path) -> None:
    assert load(train, "sgd_dialogues/dialogues_035.json.gz").left_out == {"services", "turns.frames"}
    assert load(train, "math/train.parquet").left_out == {"reward_model.style", "extra_info"}
    assert load(train, "llamafactory_demo/v1_sft_demo.jsonl.gz").left_out == {"messages.loss_weight"}
    assert load(train, "tulu3_samples/preference_sample.jsonl.gz").left_out == frozenset()


def test_a_definition_of_a_task_file_begins_every_prompt(train: Path) -> None:
    rows = load(train, "super_natural_instructions/task591_sciq_answer_generation.train.json.gz").rows
    begin = "Given a scientific question, generate a correct answer to it.\n\n"
    assert all(row[0]["content"].startswith(begin) for row in rows["messages"].to_pylist())
    assert set(rows["license"].to_pylist()) == {"CC BY-NC 3.0"}


def test_an_earlier_turn_of_lima_comes_before_the_instruction(train: Path) -> None:
    lengths = [len(row) for row in load(train, "lima/lima.json.gz").rows["messages"].to_pylist()]
    assert sum(length > 2 for length in lengths) == 29
    assert sum(lengths) == 2 * (1029 + 53)


def test_the_best_target_of_bigbench_is_the_answer(train: Path) -> None:
    row = load(train, "bigbench_sources/date_understanding_task.json.gz").rows["messages"][0].as_py()
    assert [m["content"] for m in row] == [
        "Yesterday was April 30, 2021. What is the date today in MM/DD/YYYY?",
        "05/01/2021",
    ]


def test_hh_pairs_share_their_prompt_and_none_is_lost(train: Path) -> None:
    rows = load(train, "hh_rlhf/harmless-base_test.jsonl.gz").rows.to_pylist()
    assert all(row["chosen"][0]["role"] == "user" for row in rows)
    assert all({"role": "user", "content": row["prompt"]} in row["chosen"] for row in rows)
    assert all({"role": "user", "content": row["prompt"]} in row["rejected"] for row in rows)
    # Measured on this file: these part before the last answer, repeat a role, or end in an empty answer.
    assert sum(not _differ_in_the_last_turn_alone(row) for row in rows) == 5
    assert sum(any(map(_repeats_a_role, (row["chosen"], row["rejected"]))) for row in rows) == 9
    assert (
        sum(not all(row[side][-1]["content"].strip() for side in ("chosen", "rejected")) for row in rows) == 4
    )


def _differ_in_the_last_turn_alone(row: dict[str, Any]) -> bool:
    return bool(row["chosen"][:-1] == row["rejected"][:-1])


def _repeats_a_role(turns: list[dict[str, str]]) -> bool:
    return any(a["role"] == b["role"] for a, b in pairwise(turns))


def test_the_prompt_of_a_published_pair_is_its_last_user_turn(train: Path) -> None:
    """So what is taken from the column is what would be taken from the turns."""
    rows = load(train, "tulu3_samples/preference_sample.jsonl.gz").rows.to_pylist()
    assert len(rows) == 100
    assert all(
        row["prompt"] == [t for t in row["chosen"] if t["role"] == "user"][-1]["content"] for row in rows
    )
    assert not any("prompt" in json.loads(row["native"]) for row in rows)
