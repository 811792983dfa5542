"""Each fault by its name, its relaxation, and what is no fault."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.rows import conversation, one_of, rows_of, table_of
from tulu_data.filters.valid_conversation import ValidConversation
from tulu_data.op import Context, Registry
from tulu_data.record import KINDS, ROLES, Kind, conversation_columns

U, A, T, S = "user: Hi", "assistant: Hello", "tool: 4", "system: Be kind"


def verdicts_of(rows: list[dict[str, Any]], kind: Kind = "sft", **settings: Any) -> list[str | None]:
    op = ValidConversation(**settings)
    found = op.apply(table_of(kind, rows), op.setup(Context(kind=kind)))["verdict"].to_pylist()
    return [v and v.removeprefix("valid_conversation:") for v in found]


FAULTS = [
    ("no_messages", []),
    ("unknown_role", [U, "gpt: Hello"]),
    ("empty_content", [U, "assistant: "]),
    ("empty_content", [U, "assistant:  \n\u00a0\u3000\t\x1f\x85"]),
    ("empty_content", ["user: ", A]),
    ("system_not_first", [U, S, A]),
    ("no_user", [S, A]),
    ("consecutive_roles", [U, U, A]),
    ("consecutive_roles", [U, A, A]),
    ("not_ending_in_assistant", [U, A, U]),
    ("not_ending_in_assistant", [U, A, T]),
]


@pytest.mark.parametrize(("reason", "turns"), FAULTS)
def test_a_fault_is_named_and_may_be_allowed(reason: str, turns: list[str]) -> None:
    rows = [one_of("sft", U, A), one_of("sft", *turns), one_of("sft", U, A)]
    assert verdicts_of(rows) == [None, reason, None]
    assert verdicts_of(rows, allow=[reason])[1] != reason


@pytest.mark.parametrize(
    "turns",
    [[U, A], [S, U, A], [U, A, U, A], [U, A, T, A], [U, A, T, T, A], [A, U, A], [U, "assistant: \u200b."]],
)
def test_what_is_no_fault(turns: list[str]) -> None:
    assert verdicts_of([one_of("sft", *turns)]) == [None]


def test_null_conversations_messages_and_contents_are_faults() -> None:
    rows: list[dict[str, Any]] = [
        {"messages": None},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": None, "content": "x"}]},
        {"messages": [None]},
    ]
    assert verdicts_of(rows) == ["no_messages", "empty_content", "unknown_role", "unknown_role"]


@pytest.mark.parametrize("kind", ["prompts", "rlvr"])
def test_prompts_end_with_the_user(kind: Kind) -> None:
    rows = [one_of(kind, U), one_of(kind, S, U, A, U), one_of(kind, U, A)]
    assert verdicts_of(rows, kind) == [None, None, "not_ending_in_user"]


def test_both_sides_of_a_preference_must_be_valid_and_differ() -> None:
    good, other, bad = conversation(U, A), conversation(U, "assistant: Go away"), conversation(U)
    rows = [
        {"chosen": good, "rejected": other},
        {"chosen": bad, "rejected": other},
        {"chosen": good, "rejected": bad},
        {"chosen": good, "rejected": good},
        {
            "chosen": conversation(U, A, "user: b", A),
            "rejected": conversation(U, "assistant: x", "user: b", A),
        },
    ]
    expected = [None, "not_ending_in_assistant", "not_ending_in_assistant", "same_answer", None]
    assert verdicts_of(rows, "preference") == expected
    assert verdicts_of(rows[3:4], "preference", allow=["same_answer"]) == [None]


def test_a_turn_is_not_compared_with_that_of_the_row_before() -> None:
    assert verdicts_of([one_of("sft", A, U, A), one_of("sft", A, U, A)]) == [None, None]


def test_an_unknown_fault_cannot_be_allowed() -> None:
    with pytest.raises(Exception, match="consecutive_roles"):
        Registry().make({"op": "valid_conversation", "allow": ["consecutive"]})


def plain(messages: list[dict[str, str | None] | None] | None, kind: Kind) -> str | None:
    """The checks, as one would write them for a single conversation."""
    turns = [(m["role"], m["content"]) if m else (None, None) for m in messages or []]
    roles = [role for role, _ in turns]
    ending = "assistant" if kind in {"sft", "preference"} else "user"
    checks = {
        "no_messages": not turns,
        "unknown_role": any(role not in ROLES for role in roles),
        "empty_content": any(not (content or "").strip() for _, content in turns),
        "system_not_first": "system" in roles[1:],
        "no_user": "user" not in roles,
        "consecutive_roles": any(a == b and a in {"user", "assistant"} for a, b in pairwise(roles)),
        f"not_ending_in_{ending}": roles[-1:] != [ending],
    }
    return next((reason for reason, holds in checks.items() if holds), None)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_batches_are_judged_as_single_rows_are(kind: Kind) -> None:
    @settings(max_examples=40, deadline=None)
    @given(rows_of(kind))
    def holds(table: pa.Table) -> None:
        rows = table.drop_columns("verdict").to_pylist()
        expected = [
            next((reason for c in conversation_columns(kind) if (reason := plain(row[c], kind))), None)
            for row in rows
        ]
        assert verdicts_of(rows, kind, allow=["same_answer"]) == expected

    holds()
