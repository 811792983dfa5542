"""Native columns decide, by value and type, and only for the sources that are named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tests.mixtures.places import Place, turns
from tests.rows import table_of
from tulu_data.errors import RecipeError
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


def checked(place: Place, rows: list[Any], *, form: str = "parquet", **settings: Any) -> list[str]:
    """What `check` says of a step that looks at a source `w` with these rows."""
    source = {"name": "w", "from": getattr(place, form)("w", rows), "license": "mit"}
    place.recipe(sources=[source], steps=[{"op": "where", "sources": ["w"], **settings}])
    return place.problems()


def labelled(**native: Any) -> list[dict[str, Any]]:
    return [{"id": str(n), "messages": turns(f"{n}?", f"{n}!"), **native} for n in range(5)]


def test_a_column_that_a_source_does_not_have_stops_the_build(place: Place) -> None:
    (told,) = checked(place, labelled(kind="x", level=1), column="kinds", equals="x")
    assert told == (
        "error: mixtures/mini.yaml, line 8: source w: it has no column 'kinds', so all of its rows would be "
        "rejected. Did you mean 'kind'?"
    )
    with pytest.raises(RecipeError, match="no column 'kinds'"):
        place.build()
    (told,) = checked(place, labelled(kind="x", level=1), column="zzz", none_of=["x"])
    assert told.startswith("error: ")
    assert told.endswith("so nothing is rejected. Columns that can be asked for: kind, level")


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ("id", "it is the rows' content, upstream id or licence already"),
        ("messages", "it holds list<element: struct<"),
        ("long", "its texts are too long"),
        ("tags", "it holds list<element: string>"),
    ],
)
def test_a_column_that_does_not_travel_beside_the_rows_says_why(place: Place, column: str, why: str) -> None:
    rows = labelled(kind="x", tags=["a"], long="x" * 2000)
    (told,) = checked(place, rows, column=column, equals="x")
    assert told.startswith("error: ")
    assert f"the column {column!r} is not kept beside the rows: {why}" in told
    assert told.endswith("Those that are: kind")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"column": "level", "equals": "5"}, 'holds numbers, which "5" never equals. Numbers are written'),
        ({"column": "toxic", "equals": 1}, "holds booleans, which 1 never equals. Booleans are written true"),
        ({"column": "kind", "one_of": ["x", 5]}, "holds text, which 5 never equals. Text is written in quo"),
        ({"column": "kind", "none_of": [True]}, "holds text, which true never equals"),
        ({"column": "level", "matches": "5"}, "holds numbers; `matches` looks at text"),
    ],
)
def test_a_value_that_no_row_can_equal_is_an_error(
    place: Place, condition: dict[str, Any], said: str
) -> None:
    (told,) = checked(place, labelled(kind="x", level=5, toxic=True), **condition)
    assert told.startswith("error: ")
    assert said in told


@pytest.mark.parametrize(
    "condition",
    [
        {"column": "level", "equals": 5.0},
        {"column": "toxic", "one_of": [False]},
        {"column": "kind", "matches": "y"},
        {"column": "empty", "equals": 3},
    ],
)
def test_a_condition_that_rows_may_fit_is_no_problem(place: Place, condition: dict[str, Any]) -> None:
    assert checked(place, labelled(kind="x", level=5, toxic=True, empty=None), **condition) == []


def test_texts_of_which_some_are_too_long_to_be_kept_are_a_warning(place: Place) -> None:
    rows = labelled(text="short")
    rows[3]["text"] = "x" * 1_001
    (told,) = checked(place, rows, column="text", matches="x")
    assert told.startswith(
        "warning: mixtures/mini.yaml, line 8: source w: 'text' is not kept beside the rows"
    )


def test_a_column_that_a_later_part_may_have_is_a_warning(place: Place) -> None:
    place.jsonl("w2", labelled(late="x"))
    place.jsonl("w1", labelled())
    source = {"name": "w", "from": "data/*.jsonl.gz", "license": "mit"}
    step = {"op": "where", "sources": ["w"], "column": "late", "equals": "x"}
    place.recipe(sources=[source], steps=[step])
    (told,) = place.problems()
    assert told.startswith("warning: ")
    place.parquet("p1", labelled())
    place.parquet("p2", labelled(late="x"))
    place.recipe(sources=[{**source, "from": "data/*.parquet"}], steps=[step])
    assert place.problems() == []  # what columns these have is known without reading their rows


def test_without_sources_each_must_have_the_column_unless_only_some_values_go(place: Place) -> None:
    sources = [
        {"name": "w", "from": place.parquet("w", labelled(kind="x")), "license": "mit"},
        {"name": "bare", "from": place.parquet("bare", labelled()), "license": "mit"},
    ]
    for condition, level in (({"equals": "x"}, "error"), ({"none_of": ["x"]}, "warning")):
        place.recipe(sources=sources, steps=[{"op": "where", "column": "kind", **condition}])
        (told,) = place.problems()
        assert told.startswith(f"{level}: mixtures/mini.yaml, line 11: source bare: it has no column 'kind'")


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
