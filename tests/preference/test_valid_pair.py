"""Each fault of a pair by its name, and what is no fault."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.preference.pairs import alike
from tests.rows import conversation, rows_of, table_of
from tulu_data.op import Context, Registry, applied
from tulu_data.preference.valid_pair import ValidPair

U, A, B, S = "user: Hi", "assistant: Hello", "assistant: Go away", "system: Be kind"


def pair(chosen: list[str], rejected: list[str], **columns: Any) -> dict[str, Any]:
    return {"prompt": "Hi", "chosen": conversation(*chosen), "rejected": conversation(*rejected), **columns}


def faults(*rows: dict[str, Any], source: str = "made", **settings: Any) -> list[str | None]:
    op = ValidPair(**settings)
    found = applied(op, table_of("preference", list(rows), source), op.setup(Context(kind="preference")))
    return [v and v.removeprefix("valid_pair:") for v in found["verdict"].to_pylist()]


FAULTS = [
    ("no_pair", pair([U, A], [])),
    ("no_pair", {"prompt": "Hi", "chosen": conversation(U, A)}),
    ("consecutive_roles", pair([U, A, A], [U, B, B])),
    ("consecutive_roles", pair([U, A], [U, U, B])),
    ("not_ending_in_assistant", pair([U, A], [U, B, U])),
    ("not_ending_in_assistant", pair([U], [U])),
    ("empty_answer", pair([U, A], [U, "assistant:  \n\u3000"])),
    ("no_prompt", pair([A], [B])),
    ("no_prompt", pair([S, A], [S, B])),
    ("different_prompts", pair([U, A], ["user: Ho", B])),
    ("different_prompts", pair([U, A], [U, A, U, B])),
    ("different_prompts", pair([S, U, A], ["user: Be kind", "tool: x", B])),
    ("different_prompts", pair([U, A, U, A], [U, B, U, A])),
    ("same_answer", pair([U, A], [U, A])),
    ("same_answer", pair([U, A], [U, "assistant: \nHello  "])),
    ("prompt_mismatch", pair([U, A], [U, B], prompt="What is 2+2?")),
    ("prompt_mismatch", pair([U, A], [U, B], prompt="Hello")),
    ("prompt_mismatch", pair([U, A, "user: Why?", A], [U, A, "user: Why?", B], prompt="Human: Hi")),
]


@pytest.mark.parametrize(("reason", "row"), FAULTS)
def test_a_fault_is_named_and_may_be_allowed(reason: str, row: dict[str, Any]) -> None:
    assert faults(pair([U, A], [U, B]), row, pair([U, A], [U, B])) == [None, reason, None]
    assert faults(row, allow=[reason])[0] != reason


@pytest.mark.parametrize(
    "row",
    [
        pair([S, U, A], [S, U, B]),
        pair([U, A, U, A], [U, A, U, B]),
        pair([U, A, "tool: 4", A], [U, A, "tool: 4", B]),
        pair(["user: Hi ", A], ["user: \nHi", B]),
        pair([U, A], [U, B], prompt=None),
        pair([U, A], [U, B], prompt=" Hi\n"),
        pair([S, "user: Solve: 2+2", A], [S, "user: Solve: 2+2", B], prompt="Be kind"),
        pair(["user: Solve:\n2 + 2", A], ["user: Solve:\n2 + 2", B], prompt="2+2"),
        pair(
            [U, A, "user: Why?", A], [U, A, "user: Why?", B], prompt="Human: Hi Assistant: Hello Human: Why?"
        ),
        pair([U, A], [U, B], chosen_rating=3, rejected_rating=3),
    ],
)
def test_what_is_no_fault(row: dict[str, Any]) -> None:
    assert faults(row) == [None]


def test_equal_ratings_are_a_fault_where_the_recipe_says_so() -> None:
    rows = [
        pair([U, A], [U, B], chosen_rating=3, rejected_rating=3),
        pair([U, A], [U, B], chosen_rating=0.1 + 0.2, rejected_rating=0.3),
        pair([U, A], [U, B], chosen_rating=3, rejected_rating=2),
        pair([U, A], [U, B], chosen_rating=3),
        pair([U, A], [U, B]),
    ]
    assert faults(*rows) == [None] * 5
    assert faults(*rows, equal_ratings="drop") == ["equal_ratings", "equal_ratings", None, None, None]


def test_rows_of_other_sources_are_left_alone() -> None:
    assert faults(pair([U, A], [U, A]), source="arena", sources=["hh"]) == [None]
    assert faults(pair([U, A], [U, A]), source="hh", sources=["hh"]) == ["same_answer"]


def test_an_unknown_fault_cannot_be_allowed() -> None:
    with pytest.raises(Exception, match="same_answer"):
        Registry({"valid_pair": ValidPair}).make({"op": "valid_pair", "allow": ["equal"]})


def plain(row: dict[str, Any]) -> str | None:
    """The checks, as one would write them for a single pair."""
    sides = [
        [(m["role"], (m["content"] or "").strip()) for m in row[s] or []] for s in ("chosen", "rejected")
    ]
    if not all(sides):
        return "no_pair"
    (*one, first), (*other, second) = sides
    users = [text for role, text in one if role == "user"]
    prompt, before = squeezed(row["prompt"] or ""), squeezed("".join(text for _, text in one))
    fits = prompt in before or (users and all(squeezed(text) in prompt for text in users))
    checks = {
        "consecutive_roles": any(
            a == b and a in {"user", "assistant"} for side in sides for (a, _), (b, _) in pairwise(side)
        ),
        "not_ending_in_assistant": any(side[-1][0] != "assistant" for side in sides),
        "empty_answer": not all(side[-1][1] for side in sides),
        "no_prompt": not any(role == "user" for role, _ in one),
        "different_prompts": one != other,
        "same_answer": first == second,
        "prompt_mismatch": not fits,
        "equal_ratings": row["chosen_rating"] is not None and row["chosen_rating"] == row["rejected_rating"],
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def squeezed(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=80, deadline=None)
@given(alike() | rows_of("preference", nulls=False))
def test_whole_batches_are_judged_as_single_rows_are(table: pa.Table) -> None:
    table = table.drop_columns("verdict")
    found = applied(ValidPair(equal_ratings="drop"), table, None)["verdict"].to_pylist()
    expected = [plain(row) for row in table.to_pylist()]
    assert [verdict and verdict.removeprefix("valid_pair:") for verdict in found] == expected


def test_real_pairs_are_no_faults(shared_data: Path) -> None:
    file = shared_data / "train/tulu3_samples/preference_sample.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    kept = [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]
    assert faults(*kept) == [None] * 100
