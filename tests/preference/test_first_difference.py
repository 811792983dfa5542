"""Transcripts cut behind the first turn in which they differ."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.preference.pairs import alike
from tests.rows import conversation, rows_of, table_of
from tulu_data.op import Context, applied
from tulu_data.preference.first_difference import FirstDifference
from tulu_data.preference.valid_pair import ValidPair
from tulu_data.sources.adapters import adapt, get
from tulu_data.sources.batch import Batch

U, V, A, B = "user: Hi", "user: Why?", "assistant: Hello", "assistant: Go away"


def cut(*rows: tuple[list[str], list[str]], source: str = "made", **settings: Any) -> list[dict[str, Any]]:
    made = [{"chosen": conversation(*one), "rejected": conversation(*other)} for one, other in rows]
    op = FirstDifference(**settings)
    context = Context(kind="preference")
    found: list[dict[str, Any]] = applied(
        op, table_of("preference", made, source), op.setup(context)
    ).to_pylist()
    return found


@pytest.mark.parametrize(
    ("one", "other", "prompt", "chosen", "rejected"),
    [
        ([U, A], [U, B], "Hi", [U, A], [U, B]),
        ([U, A, V, A], [U, B, V, A], "Hi", [U, A], [U, B]),
        ([U, A, V, A], [U, A, V, B], "Why?", [U, A, V, A], [U, A, V, B]),
        ([U, A, V], [U, B], "Hi", [U, A], [U, B]),
        (["user: Hi ", A], ["user: Hi", B], "Hi ", ["user: Hi ", A], ["user: Hi", B]),
        (["system: x", U, A, U], ["system: x", U, B, U], "Hi", ["system: x", U, A], ["system: x", U, B]),
    ],
)
def test_the_shared_turns_are_the_prompt(
    one: list[str], other: list[str], prompt: str, chosen: list[str], rejected: list[str]
) -> None:
    row = cut((one, other))[0]
    assert (row["prompt"], row["verdict"]) == (prompt, None)
    assert (row["chosen"], row["rejected"]) == (conversation(*chosen), conversation(*rejected))


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ([U, A], [], "no_pair"),
        ([U, A], [U, A], "same"),
        ([U, A], [U, "assistant: Hello\n"], "same"),
        ([U, A], [U, A, V, A], "one_side_ends"),
        ([U, A, U, A], [U, A, V, A], "not_an_answer"),
        ([U, A], [U, V, A], "not_an_answer"),
        ([A], [B], "no_prompt"),
    ],
)
def test_what_gives_no_pair_says_why_and_stays_as_it_was(
    one: list[str], other: list[str], reason: str
) -> None:
    row = cut((one, other), ([U, A, V], [U, B]))[0]
    assert row["verdict"] == f"first_difference:{reason}"
    assert (row["chosen"], row["rejected"]) == (conversation(*one), conversation(*other))
    assert row["prompt"] is None


def test_rows_of_other_sources_are_left_alone() -> None:
    row = cut(([U, A, V, A], [U, B]), source="arena", sources=["hh"])[0]
    assert (len(row["chosen"]), row["prompt"], row["verdict"]) == (4, None, None)
    assert len(cut(([U, A, V, A], [U, B]), source="hh", sources=["hh"])[0]["chosen"]) == 2


def plain(row: dict[str, Any]) -> tuple[str, Any, Any] | str:
    """The pair of one row as (prompt, chosen, rejected), or why there is none."""
    one, other = row["chosen"] or [], row["rejected"] or []
    if not one or not other:
        return "no_pair"
    told = [[(m["role"], m["content"].strip()) for m in side] for side in (one, other)]
    if told[0] == told[1]:
        return "same"
    pairs = list(zip(*told, strict=False))
    first = next((n for n, (a, b) in enumerate(pairs) if a != b), None)
    if first is None:
        return "one_side_ends"
    if any(role != "assistant" for role, _ in pairs[first]):
        return "not_an_answer"
    users = [message["content"] for message in one[:first] if message["role"] == "user"]
    return (users[-1], one[: first + 1], other[: first + 1]) if users else "no_prompt"


@settings(max_examples=80, deadline=None)
@given(alike() | rows_of("preference", nulls=False))
def test_whole_batches_are_cut_as_single_rows_are(table: pa.Table) -> None:
    table = table.drop_columns("verdict")
    for row, after in zip(
        table.to_pylist(), applied(FirstDifference(), table, None).to_pylist(), strict=True
    ):
        expected = plain(row)
        if isinstance(expected, str):
            assert after["verdict"] == f"first_difference:{expected}"
            assert {k: after[k] for k in row} == row
        else:
            assert after["verdict"] is None
            assert (after["prompt"], after["chosen"], after["rejected"]) == expected


def test_hh_rlhf_gives_a_valid_pair_of_nearly_every_row(shared_data: Path) -> None:
    """Of harmless-base's 2,312 test rows, 4 have an empty answer and 4 a role twice before they differ."""
    file = shared_data / "train/hh_rlhf/harmless-base_test.jsonl.gz"
    native = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    batch = Batch(pa.Table.from_pylist(native), pa.array(range(len(native)), pa.int64()), file.name)
    adapted = adapt(batch, get("hh"), "preference").rows
    rows = adapted.select(["prompt", "chosen", "rejected"]).to_pylist()
    table = applied(FirstDifference(), table_of("preference", rows), None)
    found = applied(ValidPair(), table, None)
    counts = {c["values"]: c["counts"] for c in found["verdict"].value_counts().to_pylist()}
    assert counts == {None: 2304, "valid_pair:empty_answer": 4, "valid_pair:consecutive_roles": 4}
    for row, before in zip(found.to_pylist(), rows, strict=True):
        if row["verdict"] is None:
            assert row["chosen"] == before["chosen"][: len(row["chosen"])]
            assert row["chosen"][:-1] == row["rejected"][:-1]
            assert row["chosen"][-1] != row["rejected"][-1]
            assert row["prompt"] == row["chosen"][-2]["content"]
