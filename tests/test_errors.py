"""What a message says, and that errors travel between processes."""

from __future__ import annotations

import pickle

import pytest

from tulu_data.errors import (
    PolicyError,
    Problem,
    RecipeError,
    RowError,
    SourceError,
    StoreError,
    TuluDataError,
    UsageError,
    Where,
    nearest,
    unknown,
)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Where(), ""),
        (Where("a.jsonl"), "a.jsonl"),
        (Where("a.jsonl", 7, 0, "messages"), "a.jsonl, line 7, row 0, field messages"),
        (Where(row=0), "row 0"),
        (Where("a.yaml", field="sources.0.count"), "a.yaml, field sources.0.count"),
    ],
)
def test_a_place(where: Where, text: str) -> None:
    assert str(where) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SourceError("is empty"), "is empty"),
        (SourceError("is empty", where=Where()), "is empty"),
        (SourceError("is empty", where=Where("a", 2)), "a, line 2: is empty"),
        (SourceError("a list", where="a", expected="text"), "a: a list; expected text"),
        (UsageError("no 'x'", nearest="y"), "no 'x'. Did you mean 'y'?"),
        (StoreError("exists already", remedy="--force replaces it"), "exists already. --force replaces it"),
        (
            UsageError("no 'x'", where="a", expected="one of: y, z", nearest="y", remedy="See --help"),
            "a: no 'x'; expected one of: y, z. Did you mean 'y'? See --help",
        ),
    ],
)
def test_a_message_says_what_where_expected_nearest_and_remedy(error: TuluDataError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("kind", "status"),
    [(UsageError, 2), (SourceError, 1), (RowError, 1), (StoreError, 1), (PolicyError, 1)],
)
def test_errors_survive_pickling(kind: type[TuluDataError], status: int) -> None:
    error = kind("what", where=Where("f", 1, 0, "x"), expected="e", nearest="n", remedy="r")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), vars(back), back.args) == (str(error), vars(error), error.args)
    assert back.exit_status == status


ONE = Problem("unknown key 'cuont'", "m.yaml, line 3", "Did you mean 'count'?")
OTHER = Problem("no sources", level="warning")


def test_a_recipe_error_with_one_problem_is_one_line() -> None:
    said = "the recipe m cannot be used: m.yaml, line 3: unknown key 'cuont'. Did you mean 'count'?"
    assert str(RecipeError("the recipe m cannot be used", [ONE])) == said


def test_a_recipe_error_lists_every_problem_and_survives_pickling() -> None:
    error = RecipeError("the recipe m cannot be used", iter([ONE, OTHER]))
    lines = str(error).splitlines()
    assert lines == ["the recipe m cannot be used: 2 problems", f"  - {ONE}", "  - no sources"]
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), back.problems, back.exit_status) == (
        RecipeError,
        str(error),
        (ONE, OTHER),
        2,
    )


def test_an_unknown_name_lists_the_known_ones_in_order() -> None:
    said = str(unknown("suite", "tulu4", ["tulu3", "mine"], where="m.yaml, line 2"))
    assert (
        said
        == "m.yaml, line 2: no suite is named 'tulu4'; expected one of: mine, tulu3. Did you mean 'tulu3'?"
    )


def test_a_long_list_is_cut_and_an_empty_one_left_out() -> None:
    assert str(unknown("row", "x", [f"name{i:02}" for i in range(30)])).endswith("name19, … (30 in all)")
    assert str(unknown("row", "x", [])) == "no row is named 'x'"


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [("lenght", ["length", "licenses"], "length"), ("zzz", ["length"], None), ("x", [], None)],
)
def test_the_nearest_is_near(name: str, known: list[str], found: str | None) -> None:
    assert nearest(name, known) == found
