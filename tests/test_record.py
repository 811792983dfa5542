"""Identity of rows: the hash and its legible twin, ids, and the keys that order and select."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rows import conversation, conversations, one_of, rows_of, table_of, texts
from tulu_data.record import (
    IDENTITY,
    KINDS,
    MESSAGES,
    Kind,
    adapted_schema,
    canonical_text,
    content_hashes,
    conversation_columns,
    row_hashes,
    row_ids,
    sort_keys,
    working_schema,
)


def plain_hashes(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> list[bytes]:
    """Of the canonical text; where a row has completions, of their messages too, a null one behind each."""
    texts = []
    for row in rows:
        held = row.get("completions")
        turns = [turn for one in held or () for turn in [*((one or {}).get("messages") or ()), None]]
        more = () if held is None else ("completions",)
        texts.append(canonical_text({**row, "completions": turns}, (*columns, *more)))
    return [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_hash_is_that_of_the_canonical_text(kind: Kind, data: st.DataObject) -> None:
    table = data.draw(rows_of(kind))
    assert content_hashes(table, kind).to_pylist() == plain_hashes(table.to_pylist(), IDENTITY[kind])


@given(rows_of("sft", 8), st.integers(0, 8), st.integers(0, 8))
def test_slices_and_chunks_hash_like_the_rows_they_hold(table: pa.Table, start: int, cut: int) -> None:
    part = table.slice(min(start, table.num_rows))
    cut = min(cut, part.num_rows)
    parts = pa.concat_tables([part.slice(0, cut), part.slice(cut)])
    expected = plain_hashes(part.to_pylist(), IDENTITY["sft"])
    assert content_hashes(part, "sft").to_pylist() == expected
    assert content_hashes(parts, "sft").to_pylist() == expected


def test_what_lies_in_the_buffers_under_a_null_is_not_hashed() -> None:
    texts_ = pa.array(["ab", "cd"])
    hidden = pa.Array.from_buffers(
        pa.string(), 2, [pa.array([True, False]).buffers()[1], *texts_.buffers()[1:]]
    )
    assert hidden.to_pylist() == ["ab", None]
    plain = pa.array(["ab", None])
    for column in (hidden, plain):
        hashes = row_hashes(pa.table({"x": column}), ["x"])
        assert hashes.to_pylist() == plain_hashes([{"x": "ab"}, {"x": None}], ("x",))
    roles = pa.array(["user", "user"])
    offsets = pa.array([0, 2], pa.int32())
    lists = [pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([roles, c], ["role", "content"]))
             for c in (hidden, plain)]  # fmt: skip
    one, other = (row_hashes(pa.table({"m": column}), ["m"]).to_pylist() for column in lists)
    assert one == other


NULLS: list[Any] = [
    None,
    [],
    [None, None],
    [None],
    conversation("user: "),
    conversation("user: -"),
    [{"role": "user", "content": None}],
    [{"role": "user", "content": None}, {"role": "user", "content": None}],
    [{"role": None, "content": ""}],
    [{"role": None, "content": "-"}],
]


def test_null_and_empty_are_told_apart_at_every_level() -> None:
    table = pa.table({"messages": pa.array(NULLS, MESSAGES), "tools": pa.nulls(len(NULLS), pa.string())})
    assert len(set(content_hashes(table, "sft").to_pylist())) == len(NULLS)


def test_a_null_message_is_one_without_role_and_content() -> None:
    rows = pa.array([[None], [{"role": None, "content": None}]], MESSAGES)
    one, other = row_hashes(pa.table({"m": rows}), ["m"]).to_pylist()
    assert one == other


def _told(row: dict[str, Any]) -> Any:
    """A row's content as a value that is equal only for equal content."""
    none = {"role": None, "content": None}
    messages = row["messages"]
    flat = None if messages is None else tuple((m or none)["role"] for m in messages)
    said = None if messages is None else tuple((m or none)["content"] for m in messages)
    return flat, said, row["tools"]


@given(st.lists(st.fixed_dictionaries({"messages": conversations, "tools": st.none() | texts}), max_size=8))
def test_only_equal_rows_have_equal_text(rows: list[dict[str, Any]]) -> None:
    assert len({canonical_text(r, IDENTITY["sft"]) for r in rows}) == len({_told(r) for r in rows})


def test_text_does_not_run_into_the_next_column() -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("", "abc"), (None, "abc"), ("abc", None), ("3:abc", "")]
    table = pa.table({"x": [x for x, _ in pairs], "y": [y for _, y in pairs]})
    assert len(set(row_hashes(table, ["x", "y"]).to_pylist())) == len(pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_have_no_hashes(kind: Kind) -> None:
    hashes = content_hashes(working_schema(kind).empty_table(), kind)
    assert (len(hashes), hashes.type) == (0, pa.binary(16))
    assert len(content_hashes(pa.table({n: pa.chunked_array([], working_schema(kind).field(n).type)
                                        for n in IDENTITY[kind]}), kind)) == 0  # fmt: skip


def test_ratings_and_models_do_not_make_another_row() -> None:
    said = one_of("preference", "user: Hi", "assistant: Hello", prompt="Hi")
    table = table_of("preference", [said, {**said, "chosen_rating": 5.0, "rejected_model": "m"}])
    one, other = content_hashes(table, "preference").to_pylist()
    assert one == other


# -- ids -----------------------------------------------------------------------------------------------------

ids_rows = st.lists(texts, min_size=1, max_size=6)


def _ids(said: list[str]) -> list[str]:
    ids: list[str] = table_of("sft", [one_of("sft", f"user: {text}") for text in said])["id"].to_pylist()
    return ids


@given(ids_rows, st.randoms(use_true_random=False))
def test_ids_survive_reordering(said: list[str], random: Any) -> None:
    before = _ids(said)
    assert len(set(before)) == len(said)
    random.shuffle(said)
    assert sorted(_ids(said)) == sorted(before)


@given(ids_rows, texts, st.integers(0, 6))
def test_ids_survive_insertion(said: list[str], new: str, place: int) -> None:
    before = _ids(said)
    after = _ids([*said[:place], new, *said[place:]])
    assert set(before) < set(after)


def test_an_id_is_source_hash_and_occurrence() -> None:
    table = table_of("sft", [one_of("sft", "user: Hi")] * 2)
    digest = content_hashes(table, "sft")[0].as_py().hex()
    assert table["id"].to_pylist() == [f"made/{digest}/0", f"made/{digest}/1"]
    empty = row_ids("s", pa.array([], pa.binary(16)), pa.array([], pa.int64()))
    assert (len(empty), empty.type) == (0, pa.string())


# -- keys ----------------------------------------------------------------------------------------------------


def _smallest(ids: list[str], k: int, seed: int) -> set[str]:
    keys = sort_keys(pa.array(ids, pa.string()), seed).to_pylist()
    return {row for _, row in sorted(zip(keys, ids, strict=True))[:k]}


@given(st.lists(texts, unique=True, max_size=12), st.integers(0, 12), st.integers(0, 2**32))
def test_raising_k_only_adds(ids: list[str], k: int, seed: int) -> None:
    assert _smallest(ids, k, seed) <= _smallest(ids, k + 1, seed)


def test_keys_are_pinned_and_follow_the_seed() -> None:
    ids = pa.array(["a", "ü"])
    expected = [
        int.from_bytes(hashlib.blake2b(f"42/{i}".encode(), digest_size=8).digest(), "big") for i in ("a", "ü")
    ]
    assert sort_keys(ids, 42).to_pylist() == expected
    assert sort_keys(ids, 43).to_pylist() != expected
    assert sort_keys(ids, 42).type == pa.uint64()


def test_keys_spread_evenly() -> None:
    keys = sort_keys(pa.array([f"s/{i}/0" for i in range(8000)]), 1).to_pylist()
    counts = Counter(key >> 61 for key in keys)
    assert len(counts) == 8
    assert all(850 < count < 1150 for count in counts.values())  # 1000 each, five standard deviations


# -- schemas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_identity_and_conversations_are_columns_of_the_kind(kind: Kind) -> None:
    names = adapted_schema(kind).names
    assert set(IDENTITY[kind]) <= set(names)
    assert set(conversation_columns(kind)) <= set(IDENTITY[kind])
    assert len(set(working_schema(kind).names)) == len(working_schema(kind))
