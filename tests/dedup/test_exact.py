"""Of equal rows the first stays, whatever the batches and threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dedup import finding
from tests.dedup.finding import find
from tests.rows import conversation, one_of, rows_of, table_of
from tulu_data.dedup.clusters import CLUSTERS
from tulu_data.dedup.exact import ExactDedup, FindDuplicates
from tulu_data.engine import LocalEngine
from tulu_data.op import Context
from tulu_data.record import IDENTITY, KINDS, Kind, canonical_text

U, A = "user: What is 2 + 2?", "assistant: 4"


def run(
    scratch: Path, table: pa.Table, kind: Kind = "sft", *, threads: int = 1, batch_bytes: int = 1 << 20,
    **settings_: Any,
) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """The ids that stay, and what the others are duplicates of."""
    found = find(ExactDedup(**settings_), scratch, table, kind, threads=threads, batch_bytes=batch_bytes)
    return found.kept, found.gone


def duplicates(
    scratch: Path, rows: list[dict[str, Any]], kind: Kind = "sft", **settings_: Any
) -> list[int | None]:
    """Per row: the place of the row that it is a duplicate of."""
    return finding.duplicates(ExactDedup(**settings_), scratch, rows, kind)


def test_the_first_of_equal_rows_stays_and_the_others_say_so(tmp_path: Path) -> None:
    rows = [one_of("sft", U, A), one_of("sft", U, "assistant: 5"), one_of("sft", U, A), one_of("sft", U, A)]
    assert duplicates(tmp_path, rows) == [None, None, 0, 0]


def test_the_artifact_is_a_small_table_to_open(tmp_path: Path) -> None:
    duplicates(tmp_path, [one_of("sft", U, A), one_of("sft", U), one_of("sft", U, A)])
    found = pq.read_table(tmp_path / f"00-{FindDuplicates.name}.parquet")
    assert found.schema == CLUSTERS
    first, second = found.to_pylist()
    assert first["id"].endswith("/0")
    assert second["id"] == first["id"].removesuffix("/0") + "/1"
    for row in (first, second):
        assert row == {
            "cluster": 0, "id": row["id"], "survivor": first["id"], "rule": "first", "jaccard": 1.0,
        }  # fmt: skip


def test_by_prompt_the_answers_do_not_count(tmp_path: Path) -> None:
    rows = [
        one_of("sft", "system: s", U, A),
        one_of("sft", "system: s", U, "assistant: Four"),
        one_of("sft", U, A),
        one_of("sft", "system: s", U, "assistant: Four", "user: Sure?", "assistant: Yes"),
        one_of("sft", "system: s", U, "assistant: 4", "tool: x", "user: Sure?"),
    ]
    assert duplicates(tmp_path, rows, by="prompt") == [None, 0, None, None, 3]


def test_rows_without_a_prompt_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"messages": None},
        {"messages": []},
        one_of("sft", A),
        one_of("sft", "system: x"),
    ]
    assert duplicates(tmp_path, rows, by="prompt") == [None] * 4


def test_normalized_texts_are_equal_in_any_case_and_spacing(tmp_path: Path) -> None:
    rows = [
        one_of("sft", U, A),
        one_of("sft", "user: what\u00a0is\n 2 + 2? ", A),
        one_of("sft", "user: What is 2+2?", A),
    ]
    assert duplicates(tmp_path, rows) == [None] * 3
    assert duplicates(tmp_path, rows, normalize=True) == [None, 0, None]
    assert duplicates(tmp_path, rows, normalize=True, by="prompt") == [None, 0, None]


def test_the_border_between_messages_and_their_roles_count(tmp_path: Path) -> None:
    rows = [one_of("sft", "user: ab"), one_of("sft", "user: a", "user: b"), one_of("sft", "tool: ab")]
    assert duplicates(tmp_path, rows, normalize=True) == [None] * 3


def test_tools_and_ground_truth_are_content(tmp_path: Path) -> None:
    assert duplicates(tmp_path, [one_of("sft", U, A, tools="[]"), one_of("sft", U, A)]) == [None, None]
    rows = [one_of("rlvr", U, ground_truth=truth) for truth in ("4", "5", "4")]
    assert duplicates(tmp_path, rows, "rlvr") == [None, None, 0]
    assert duplicates(tmp_path, rows, "rlvr", by="prompt") == [None, 0, 0]


def test_preferences_are_equal_if_both_sides_are(tmp_path: Path) -> None:
    def row(chosen: str, rejected: str) -> dict[str, Any]:
        sides = {
            "chosen": conversation(U, f"assistant: {chosen}"),
            "rejected": conversation(U, f"assistant: {rejected}"),
        }
        return {"prompt": "What is 2 + 2?", **sides}

    rows = [row("4", "5"), row("5", "4"), row("4", "5")]
    assert duplicates(tmp_path, rows, "preference") == [None, None, 0]
    assert duplicates(tmp_path, rows, "preference", by="prompt") == [None, 0, 0]
    upper = [*rows, rows[0] | {"prompt": "WHAT IS 2 + 2?"}]
    assert duplicates(tmp_path, upper, "preference", normalize=True) == [None, None, 0, 0]


def test_by_columns_of_your_choice(tmp_path: Path) -> None:
    rows = [
        one_of("rlvr", "user: a", ground_truth="4", dataset="gsm8k"),
        one_of("rlvr", "user: b", ground_truth="4", dataset="gsm8k"),
        one_of("rlvr", "user: c", ground_truth="4", dataset="math"),
        one_of("rlvr", "user: d", ground_truth=" 4", dataset="gsm8k"),
        one_of("rlvr", "user: e"),
        one_of("rlvr", "user: f"),
    ]
    assert duplicates(tmp_path, rows, "rlvr", by=("ground_truth",)) == [None, 0, 0, None, None, None]
    assert duplicates(tmp_path, rows, "rlvr", by=("ground_truth", "dataset")) == [None, 0, *[None] * 4]
    assert duplicates(tmp_path, rows, "rlvr", by=("ground_truth",), normalize=True) == [
        None,
        0,
        0,
        0,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("keep", "survivor"),
    [
        ({}, 0),
        ({"keep": "longest"}, 1),
        ({"keep": "best_source", "sources": ("good", "better")}, 2),
        ({"keep": "license", "licenses": ("apache-2.0",)}, 1),
    ],
)
def test_the_rule_says_which_row_stays(keep: dict[str, Any], survivor: int, tmp_path: Path) -> None:
    rows = [
        one_of("sft", U, A, source="better"),
        one_of("sft", U, "assistant: Four, I think.", license="Apache-2.0", source="other"),
        one_of("sft", U, A, source="good"),
    ]
    expected = [None if number == survivor else survivor for number in range(3)]
    assert duplicates(tmp_path, rows, by="prompt", **keep) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_equal_is_equal_canonical_text_at_any_batch_size_and_thread_count(
    kind: Kind, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(max_examples=15, deadline=None)
    @given(
        rows_of(kind, max_size=12, nulls=False), st.sampled_from([1, 300, 1 << 20]), st.sampled_from([1, 2])
    )
    def holds(table: pa.Table, batch_bytes: int, threads: int) -> None:
        table = pa.concat_tables([table, table]).drop_columns("verdict")  # so that there is something to find
        ids = pa.array([f"row-{number}" for number in range(table.num_rows)])
        table = table.set_column(0, "id", ids)
        firsts: dict[str, str] = {}
        for row in table.to_pylist():
            firsts.setdefault(canonical_text(row, IDENTITY[kind]), row["id"])
        scratch = tmp_path_factory.mktemp("run")
        kept, gone = run(scratch, table, kind, threads=threads, batch_bytes=batch_bytes)
        assert kept == list(firsts.values())
        expected = {row["id"]: firsts[canonical_text(row, IDENTITY[kind])] for row in table.to_pylist()}
        assert gone == {i: first for i, first in expected.items() if i != first}

    holds()


def test_it_may_be_named_twice_in_a_recipe(tmp_path: Path) -> None:
    table = table_of(
        "sft", [one_of("sft", U, A), one_of("sft", U, "assistant: 5"), one_of("sft", U, A), one_of("sft", A)]
    )
    plan = [*ExactDedup().plan(), *ExactDedup(by="prompt").plan()]
    engine = LocalEngine(tmp_path)
    kept = [row["row"] for batch in engine.run([table], plan, Context()) for row in batch.to_pylist()]
    assert kept == [0, 3]
    assert [sum(count.reasons.values()) for count in engine.counts] == [0, 1, 0, 1]


def test_no_rows_at_all(tmp_path: Path) -> None:
    assert run(tmp_path, table_of("sft", [])) == ([], {})
