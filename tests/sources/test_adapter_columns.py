"""Adapters: lineage, one schema whatever the layout, and the array functions against their plain twins."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.shapes import COMPLETED, GATHERED, HI, PAIRS, SHAPES, batch, skip, talk
from tulu_data.record import MESSAGES, adapted_schema
from tulu_data.sources.adapters import adapt, adapt_row, get
from tulu_data.sources.adapters._arrow import conversation, join, last_user, shared_turns
from tulu_data.sources.adapters._completions import judged, ratings

EVERY = [*((name, row) for name, row, _ in SHAPES), *PAIRS, *COMPLETED, *GATHERED]


def test_unused_scalars_go_to_native_and_the_rest_is_named() -> None:
    row = {
        "messages": [{**HI[0], "weight": 0.5}, {**HI[1], "weight": 1.0}],
        "text": 'a "b"\n\\',
        "whole": 3,
        "part": 0.25,
        "flag": True,
        "none": None,
        'odd "key"': "x",
        "long": "x" * 1_001,
        "fits": "x" * 1_000,
        "nested": {"a": 1},
        "list": [1],
    }
    adapted, _ = skip("messages", [row])
    kept = {k: row[k] for k in ("text", "whole", "part", "flag", 'odd "key"', "fits")}
    assert json.loads(adapted.rows["native"][0].as_py()) == kept
    assert adapted.left_out == ("messages.weight", "nested", "list", "long")


@given(
    st.lists(
        st.tuples(
            *[
                st.one_of(st.none(), s)
                for s in (st.text(), st.text(max_size=3), st.integers(0, 9), st.booleans())
            ]
        )
    )
)
def test_native_is_json_of_what_is_not_null(rows: list[tuple[Any, ...]]) -> None:
    columns = {f"c{place}": [row[place] for row in rows] for place in range(4)}
    types = (pa.string(), pa.string(), pa.int64(), pa.bool_())
    arrays = {name: pa.array(v, t) for (name, v), t in zip(columns.items(), types, strict=True)}
    table = pa.table(
        {
            "question": pa.array(["q"] * len(rows), pa.string()),
            "answer": pa.array(["a"] * len(rows), pa.string()),
            **arrays,
        }
    )
    found, _ = skip("question_answer", table)
    expected = [{f"c{p}": v for p, v in enumerate(row) if v is not None} or None for row in rows]
    assert [n and json.loads(n) for n in found.rows["native"].to_pylist()] == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, 1e300, -0.0])
def test_native_is_json_even_of_numbers_that_json_has_no_word_for(value: float) -> None:
    native = adapt_row("question_answer", {"question": "q", "answer": "a", "x": value})["native"]
    json.loads(native, parse_constant=pytest.fail)
    assert str(float(json.loads(native)["x"])) == str(value)


@pytest.mark.parametrize(
    "column", ["id", "prompt_id", "task_id", "question_id", "dialogue_id", "conversation_id", "message_id"]
)
@pytest.mark.parametrize(("value", "text"), [("a7", "a7"), (7, "7"), (7.0, "7")])
def test_the_upstream_id_is_text_whatever_it_is_called(column: str, value: Any, text: str) -> None:
    assert adapt_row("messages", {"messages": HI, column: value})["upstream_id"] == text


def test_a_licence_column_fills_what_the_recipe_leaves_open() -> None:
    rows = [{"messages": HI, "license": "mit"}, {"messages": HI, "license": None}]
    open_, _ = skip("messages", rows)
    assert open_.rows["license"].to_pylist() == ["mit", None]
    said = adapt(batch(rows), get("messages"), "sft", license="cc0-1.0").rows
    assert said["license"].to_pylist() == ["cc0-1.0"] * 2
    assert json.loads(said["native"][0].as_py()) == {"license": "mit"}


# -- Arrow -----------------------------------------------------------------------------------------

LAYOUTS = {
    "content before role": pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())])),
    "large": pa.large_list(pa.struct([("role", pa.large_string()), ("content", pa.large_string())])),
    "views": pa.list_(pa.struct([("role", pa.string_view()), ("content", pa.string_view())])),
    "coded roles": pa.list_(
        pa.struct([("role", pa.dictionary(pa.int8(), pa.string())), ("content", pa.string())])
    ),
    "null extras": pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string()), ("name", pa.null())])
    ),
    "element": pa.list_(
        pa.field("element", pa.struct([("role", pa.string()), ("content", pa.string())]), nullable=False)
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_arrow_comes_out_in_one_schema(layout: str) -> None:
    rows = [HI, [], talk("A", "B", "C"), HI]
    table = pa.table({"messages": pa.array(rows, LAYOUTS[layout])})
    found, _ = skip("messages", table.slice(1, 2))
    assert found.rows.schema.equals(adapted_schema("sft"), check_metadata=True)
    assert found.rows["messages"].type == MESSAGES
    assert found.rows["messages"].to_pylist() == rows[1:3]
    found.rows.validate(full=True)


def test_chunks_are_one_batch() -> None:
    table = pa.concat_tables([pa.Table.from_pylist([{"id": "1", "messages": HI}])] * 3)
    assert skip("messages", table)[0].rows["messages"].to_pylist() == [HI] * 3


@pytest.mark.parametrize(("name", "row"), EVERY)
def test_no_rows_give_no_rows_of_the_same_schema(name: str, row: dict[str, Any]) -> None:
    for kind in get(name).kinds:
        found, bad = skip(name, pa.Table.from_pylist([row]).slice(0, 0), kind)
        assert found.rows.equals(adapted_schema(kind).empty_table())
        assert bad == []


@pytest.mark.parametrize(("name", "row"), EVERY)
def test_a_row_comes_out_the_same_wherever_its_batch_is_cut(name: str, row: dict[str, Any]) -> None:
    table = pa.concat_tables([pa.Table.from_pylist([row])] * 5).combine_chunks()
    whole, _ = skip(name, table)
    parts = [
        adapt(batch(table.slice(a, b - a), a), get(name), get(name).kinds[0]).rows
        for a, b in pairwise((0, 1, 3, 5))
    ]
    assert pa.concat_tables(parts).equals(whole.rows)


def test_plain_messages_are_not_copied() -> None:
    table = pa.Table.from_pylist([{"messages": talk("x" * 10_000, "y" * 10_000)}] * 10).combine_chunks()
    texts = table["messages"].chunk(0).flatten().field("content")
    found = skip("messages", table)[0].rows["messages"].chunk(0).flatten().field("content")
    assert found.buffers()[2].address == texts.buffers()[2].address


# -- the array functions and their plain twins -----------------------------------------------------

TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": st.sampled_from("ab")}
)
TALKS = st.lists(st.tuples(st.lists(TURN, max_size=4), st.lists(TURN, max_size=4)), max_size=6)


def arrays(talks: list[tuple[list[dict[str, str]], ...]]) -> tuple[pa.Array, pa.Array]:
    left, right = ([row[side] for row in talks] for side in (0, 1))
    return pa.array(left, MESSAGES), pa.array(right, MESSAGES)


@given(TALKS)
def test_join_puts_lists_one_behind_the_other(talks: list[tuple[list[dict[str, str]], ...]]) -> None:
    left, right = arrays(talks)
    assert join(left, right, left).to_pylist() == [a + b + a for a, b in talks]


@given(TALKS)
def test_shared_turns_counts_the_common_beginning(talks: list[tuple[list[dict[str, str]], ...]]) -> None:
    def plain(a: list[Any], b: list[Any]) -> int:
        return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

    assert shared_turns(*arrays(talks)).tolist() == [plain(a, b) for a, b in talks]


@given(TALKS, st.integers(0, 4))
def test_last_user_is_the_last_within_its_limit(
    talks: list[tuple[list[dict[str, str]], ...]], limit: int
) -> None:
    left, _ = arrays(talks)
    users = [[n for n, turn in enumerate(a[:limit]) if turn["role"] == "user"] for a, _ in talks]
    assert last_user(left, np.full(len(talks), limit)).tolist() == [
        places[-1] if places else -1 for places in users
    ]


def test_conversations_are_built_from_flat_turns() -> None:
    built = conversation(np.array([0, 0, 2]), pa.array(["user", "assistant"]), pa.array(["Hi", "Hello!"]))
    assert built.to_pylist() == [[], HI]


SAID = st.sampled_from(["4", "0", "2.5", "N/A", "nan", "inf", "five", None])


@given(st.lists(st.tuples(SAID, SAID), max_size=8))
def test_ratings_are_numbers_or_what_was_said(rows: list[tuple[str | None, str | None]]) -> None:
    def plain(aspect: str, text: str | None) -> list[dict[str, Any]]:
        number = float(text) if text in ("4", "0", "2.5") else None
        note = text if number is None else None
        return [] if text is None else [{"aspect": aspect, "rating": number, "note": note}]

    aspects = {name: judged(pa.array([row[n] for row in rows], pa.string())) for n, name in enumerate("xy")}
    assert ratings(aspects).to_pylist() == [plain("x", x) + plain("y", y) for x, y in rows]


def test_ratings_of_any_type_are_read() -> None:
    kept = [column.to_pylist() for column in judged(pa.array([1.5, float("nan"), None]))]
    assert kept == [[1.5, None, None], [None, "nan", None]]
    for values in (pa.array([1, 2], pa.int8()), pa.array(["1", "2"]).dictionary_encode()):
        assert judged(values)[0].to_pylist() == [1.0, 2.0]
    assert judged(pa.array([True, False]))[0].null_count == judged(pa.nulls(2))[0].null_count == 2
