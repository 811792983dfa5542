"""Conversations laid flat, and back again."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from tests.rows import conversation, conversations
from tulu_data.record import MESSAGES
from tulu_data.turns import SPACE, bools, turns_of

U, A = "user: Hi", "assistant: Hello"


def test_per_message_and_per_row() -> None:
    turns = turns_of(pa.array([conversation(U, A), None, [], conversation("system: x", U, A, U)], MESSAGES))
    assert turns.rows.tolist() == [0, 0, 3, 3, 3, 3]
    assert turns.sizes().tolist() == [2, 0, 0, 4]
    assert turns.starts().tolist() == [True, False, True, False, False, False]
    assert turns.ends().tolist() == [False, True, False, False, False, True]
    assert turns.any(turns.role("system")).tolist() == [False, False, False, True]
    users = turns.where(turns.role("user"))
    assert users.count == 4
    assert users.column().to_pylist() == [conversation(U), [], [], conversation(U, U)]


@given(st.lists(conversations, max_size=6), st.integers(0, 6))
def test_the_way_back_gives_the_same_messages(rows: list[list[dict[str, str]] | None], start: int) -> None:
    column = pa.array(rows, MESSAGES).slice(min(start, len(rows)))
    none = {"role": None, "content": None}
    expected = [[message or none for message in row or []] for row in column.to_pylist()]
    assert turns_of(column).column().to_pylist() == expected
    assert turns_of(pa.chunked_array([column.slice(0, 1), column.slice(1)])).column().to_pylist() == expected
    assert turns_of(column).column().type == MESSAGES


def test_no_rows() -> None:
    turns = turns_of(pa.chunked_array([], MESSAGES))
    assert turns.count == 0
    assert turns.column().to_pylist() == []
    assert turns.starts().tolist() == turns.ends().tolist() == []


def test_null_is_false() -> None:
    assert bools(pa.array([True, None, False])).tolist() == [True, False, False]
    assert bools(pa.array([], pa.bool_())).dtype == np.bool_


def test_white_space_is_what_python_strips() -> None:
    known = [
        chr(i) for i in range(sys.maxunicode) if unicodedata.ucd_3_2_0.category(chr(i)) not in {"Cs", "Cn"}
    ]
    ours = pc.match_substring_regex(pa.array(known), f"[{SPACE}]").to_pylist()
    assert [c for c, is_ours in zip(known, ours, strict=True) if is_ours == bool(c.strip())] == []
