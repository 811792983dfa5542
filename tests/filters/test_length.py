"""Characters are code points, limits are inclusive, and both sides of a preference count."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.rows import conversation, one_of, table_of
from tulu_data.filters.length import Length
from tulu_data.op import Context
from tulu_data.record import Kind


def verdicts_of(rows: list[dict[str, Any]], kind: Kind = "sft", **settings: Any) -> list[str | None]:
    op = Length(**settings)
    result: list[str | None] = op.apply(table_of(kind, rows), op.setup(Context(kind=kind)))[
        "verdict"
    ].to_pylist()
    return result


def test_the_worked_example() -> None:
    rows = [
        one_of("sft", "user: Hé?", "assistant: Ja."),
        one_of("sft", "user: Hé?", "assistant: Jawohl."),
        one_of("sft", "user: ?", "assistant: !"),
        one_of("sft", "user: a", "assistant: b", "user: c"),
    ]
    expected = [None, "length:too_long", "length:too_short", "length:too_many_turns"]
    assert verdicts_of(rows, min_chars=3, max_chars=9, max_turns=2) == expected


def test_limits_are_inclusive_and_count_code_points() -> None:
    row = one_of("sft", "user: 🙂é日")
    assert verdicts_of([row], min_chars=3, max_chars=3, max_turns=1) == [None]
    assert verdicts_of([row], max_chars=2) == ["length:too_long"]
    assert verdicts_of([row], min_chars=4) == ["length:too_short"]


def test_nothing_has_no_length() -> None:
    rows: list[dict[str, Any]] = [
        {"messages": None},
        {"messages": []},
        {"messages": [{"role": "user", "content": None}]},
    ]
    assert verdicts_of(rows, min_chars=1) == ["length:too_short"] * 3
    assert verdicts_of(rows, max_chars=1) == [None] * 3
    assert verdicts_of([], min_chars=1) == []


def test_each_side_of_a_preference_is_measured() -> None:
    row = {
        "chosen": conversation("user: a", "assistant: b"),
        "rejected": conversation("user: a", "assistant: bcd"),
    }
    assert verdicts_of([row], "preference", max_chars=4) == [None]
    assert verdicts_of([row], "preference", max_chars=3) == ["length:too_long"]
    assert verdicts_of([row], "preference", min_chars=3) == ["length:too_short"]


@pytest.mark.parametrize("settings", [{}, {"min_chars": 2, "max_chars": 1}, {"max_turns": 0}])
def test_limits_that_no_row_could_meet_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Length(**settings)
