"""Native columns decide, by value and type, and only for the sources that are named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tests.mixtures.places import Place, turns
from tests.rows import table_of
from tulu_data.filters.where import Where
from tulu_data.op import Context

NATIVE: list[dict[str, Any] | None] = [
    {"model": "gpt-4-0314", "toxic": False, "turn": 1},
    {"model": "gpt-3.5-turbo", "toxic": True, "turn": 1.0},
    {"model": None, "turn": "1"},
    {"turn": True, "chosen model": "x"},
    None,
]


def verdicts_of(**settings: Any) -> list[str | None]:
    op = Where(**settings)
    rows = [{"native": native and json.dumps(native)} for native in NATIVE]
    found: list[str | None] = op.apply(table_of("sft", rows), op.setup(Context()))["verdict"].to_pylist()
    return found


def test_one_value_is_asked_for() -> None:
    found = verdicts_of(column="toxic", equals=False)
    assert found == [None, "where:toxic", "where:no_toxic", "where:no_toxic", "where:no_toxic"]


def test_values_are_compared_by_their_types() -> None:
    none = "where:no_turn"
    assert verdicts_of(column="turn", equals=1) == [None, None, "where:turn", "where:turn", none]
    assert verdicts_of(column="turn", equals="1") == ["where:turn", "where:turn", None, "where:turn", none]
    assert verdicts_of(column="turn", one_of=[True, "1"]) == ["where:turn", "where:turn", None, None, none]


def test_a_regular_expression_matches_anywhere_in_text() -> None:
    assert verdicts_of(column="model", matches="^gpt-4") == [
        None,
        "where:model",
        "where:no_model",
        "where:no_model",
        "where:no_model",
    ]
    assert verdicts_of(column="turn", matches="1")[:3] == ["where:turn", "where:turn", None]


def test_values_that_are_not_wanted_are_rejected_and_rows_without_any_are_kept() -> None:
    assert verdicts_of(column="model", none_of=["gpt-4-0314"]) == ["where:model", None, None, None, None]


def test_a_column_may_have_any_name() -> None:
    assert verdicts_of(column="chosen model", equals="x")[3] is None


def test_only_the_rows_of_named_sources_are_looked_at() -> None:
    op = Where(column="toxic", equals=False, sources=("wildchat",))
    tables = [table_of("sft", [{"native": None}], source) for source in ("wildchat", "flan")]
    found = [op.apply(table, op.setup(Context()))["verdict"].to_pylist() for table in tables]
    assert found == [["where:no_toxic"], [None]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "no condition is given; keep one of equals, one_of, none_of, matches"),
        ({"equals": 1, "matches": "1"}, "`equals` and `matches` are both given"),
        ({"matches": "("}, "not a regular expression"),
        ({"equals": [1]}, "equals"),
        ({"column": "", "equals": 1}, "column"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Where(**{"column": "toxic", **settings})
    assert said in str(caught.value)


def test_a_mixture_keeps_the_rows_that_fit(place: Place) -> None:
    rows = [
        {"messages": turns(f"{n}?", f"{n}!"), "dataset": ("science.a", "tulu")[n % 2], "id": str(n)}
        for n in range(20)
    ]
    sources = [
        {"name": "sciriff", "from": place.parquet("sciriff", rows)},
        {"name": "other", "from": place.parquet("other", rows[:3])},
    ]
    step = {"op": "where", "sources": ["sciriff"], "column": "dataset", "matches": "^science"}
    place.recipe(sources=sources, steps=[step])
    kept = {source["source"]: source["kept"] for source in place.build().summary["sources"]}
    assert kept == {"sciriff": 10, "other": 3}
