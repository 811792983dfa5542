"""Recipes: what a file may say, what it is told where it may not, and how files include each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.mixtures.places import Place
from tulu_data.document import read_document
from tulu_data.errors import RecipeError, UsageError
from tulu_data.mixtures.recipe import Recipe, load_recipe

ONE = {"name": "a", "from": "a.jsonl"}


def load(place: Place, name: str = "mini") -> Recipe:
    return load_recipe(name, place.workspace)


def faults(place: Place, **settings: Any) -> list[str]:
    name = place.recipe(**settings)
    with pytest.raises(RecipeError) as caught:
        load(place, name)
    return [str(problem).replace(f"{place.root}/mixtures/", "") for problem in caught.value.problems]


def test_a_recipe_has_defaults(place: Place) -> None:
    place.recipe(sources=[ONE])
    recipe = load(place)
    assert (recipe.name, recipe.kind, recipe.seed, recipe.layout) == ("mini", "sft", 42, "shuffled")
    assert recipe.resolved()["sources"] == [ONE]
    assert recipe.steps == ()


def test_an_unknown_key_names_its_line_and_the_nearest(place: Place) -> None:
    assert faults(place, text="mixture: a\nkind: sft\nsedd: 1\nsources: [{name: a, from: b}]\n") == [
        "mini.yaml, line 3, field sedd: unknown key 'sedd'. Did you mean 'seed'?"
    ]
    text = "mixture: a\nkind: sft\nsources:\n  - name: a\n    from: b\n    licence: mit\n"
    assert faults(place, text=text) == [
        "mini.yaml, line 6, field sources.0.licence: unknown key 'licence'. Did you mean 'license'?"
    ]


def test_every_fault_is_told_at_once(place: Place) -> None:
    text = """\
mixture: ../up
kind: sfft
seed: many
layout: sideways
sources:
  - {name: a, from: b, count: 0}
  - {name: a/b, from: b, count: 1, fraction: 0.5}
  - {from: c}
  - {name: d, from: e, fraction: 1.5}
  - {name: e, from: f, count: true}
"""
    told = "\n".join(faults(place, text=text))
    for part in [
        "line 1, field mixture: a name has letters",
        "line 2, field kind: Input should be 'sft', 'preference', 'rlvr' or 'prompts' (given: 'sfft')",
        "line 3, field seed",
        "line 4, field layout",
        "line 6, field sources.0.count: Input should be greater than or equal to 1 (given: 0)",
        "line 7, field sources.1.name",
        "line 8, field sources.2: the key 'name' is missing",
        "line 9, field sources.3.fraction",
        "line 10, field sources.4.count",
    ]:
        assert part in told
    assert "is missing. Add" not in told


def test_count_and_fraction_exclude_each_other(place: Place) -> None:
    (told,) = faults(place, sources=[{**ONE, "count": 1, "fraction": 0.5}])
    assert "`count` and `fraction` are both given; keep one" in told


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "a/..",
        "../a",
        "/a",
        "a//b",
        "a/",
        "",
        "-a",
        ".a",
        "a b",
        "a\\b",
        "v1-0123abcd",
        "a_dropped",
        "versions",
    ],
)
def test_names_that_could_leave_the_store_or_mislead_are_refused(place: Place, name: str) -> None:
    assert any("field mixture" in told for told in faults(place, mixture=name, sources=[ONE]))


@pytest.mark.parametrize("name", ["a", "tulu2/sft", "A.b-c_1", "v1"])
def test_other_names_are_taken(place: Place, name: str) -> None:
    place.recipe("file", mixture=name, sources=[ONE])
    assert load(place, "file").name == name


def test_source_names_are_unique_whatever_their_case(place: Place) -> None:
    (told,) = faults(
        place, text="mixture: a\nkind: sft\nsources:\n- {name: x, from: a}\n- {name: X, from: b}\n"
    )
    assert told.startswith("mini.yaml, line 5: the source name 'X' is taken by mini.yaml, line 4. Give each")


def test_missing_keys_are_told_with_an_example(place: Place) -> None:
    told = faults(place, text="seed: 1\n")
    assert [t.partition(": ")[2] for t in told] == [
        "the key 'mixture' is missing. Add `mixture: mini`",
        "the key 'kind' is missing. Add `kind: sft | preference | rlvr | prompts`",
    ]
    assert "the recipe has no sources" in faults(place, text="mixture: a\nkind: sft\n")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("# only this\n", "the file is empty"),
        ("- a\n", "the file is a list, not a mapping"),
        ("hello\n", "the file is a text, not a mapping"),
        ("a: [1\nb: 2\n", "mini.yaml, line 2: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "mini.yaml, line 3: the key 'a' is given twice, first on line 1"),
        ("a: {b: 1, b: 2}\n", "the key 'b' is given twice"),
        ("a: 1\n---\nb: 2\n", "not valid YAML: expected a single document"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML: could not determine a constructor"),
        ("a: 2024-13-45\n", "not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
        ("{[1]: 2}\n", "not valid YAML"),
        (
            "1: 2\nmixture: a\nkind: sft\nsources: [{name: a, from: b}]\n",
            "line 1, field 1: Keys should be strings",
        ),
        ("a: &x {b: *x}\n", "an alias refers to what contains it"),
        ("a: " + "[" * 2000 + "]" * 2000, "nested too deeply"),
    ],
)
def test_what_is_not_a_recipe_is_one_message(place: Place, text: str, said: str) -> None:
    (told,) = faults(place, text=text or " ")
    assert said in told


def test_an_alias_bomb_is_refused_before_it_expands(place: Place) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    (told,) = faults(place, text="\n".join(lines))
    assert "expands to more than 100,000 values" in told


def test_a_few_aliases_are_fine(place: Place) -> None:
    text = "mixture: a\nkind: sft\nsources:\n- &one {name: a, from: b, license: mit}\n- {<<: *one, name: c}\n"
    place.recipe(text=text)
    assert [s.entry.license for s in load(place).sources] == ["mit", "mit"]


def test_a_file_that_is_not_utf8_is_one_message(place: Place) -> None:
    (place.root / "mixtures" / "mini.yaml").write_bytes(b"mixture: \xff\n")
    with pytest.raises(RecipeError, match="byte 9 is not UTF-8"):
        load(place)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (5 << 20))
    with pytest.raises(RecipeError, match="more than 4 MiB"):
        read_document(path)


def test_an_unknown_name_tells_the_nearest(place: Place) -> None:
    place.recipe("sft_small", sources=[ONE])
    with pytest.raises(UsageError, match="Did you mean 'sft_small'"):
        load(place, "sft_smal")


def test_included_sources_and_steps_come_first_and_scalars_of_the_including_file_win(place: Place) -> None:
    place.recipe("parts/base", seed=1, layout="by_source", sources=[ONE], steps=[{"op": "first"}])
    place.recipe(
        include=["parts/base.yaml"],
        seed=2,
        sources=[{"name": "b", "from": "b.jsonl"}],
        steps=[{"op": "second"}],
    )
    recipe = load(place)
    assert (recipe.name, recipe.seed, recipe.layout) == ("mini", 2, "by_source")
    assert [s.entry.name for s in recipe.sources] == ["a", "b"]
    assert [s.base.name for s in recipe.sources] == ["parts", "mixtures"]
    assert [step.settings["op"] for step in recipe.steps] == ["first", "second"]


def test_an_included_file_needs_no_name_and_may_be_found_as_a_mixture(place: Place) -> None:
    place.recipe("base", text="sources: [{name: a, from: b}]\n")
    place.recipe(include=["base"])
    assert [s.entry.name for s in load(place).sources] == ["a"]


def test_a_circle_of_includes_is_told_as_a_chain(place: Place) -> None:
    place.recipe("a", include=["b.yaml"])
    place.recipe("b", include=["c.yaml"])
    place.recipe("c", include=["b.yaml"])
    with pytest.raises(RecipeError, match=r"the includes form a circle: b\.yaml -> c\.yaml -> b\.yaml"):
        load(place, "a")


def test_faults_of_included_files_name_them(place: Place) -> None:
    place.recipe("base", text="seeds: 3\n")
    told = faults(
        place, text="mixture: a\nkind: sft\ninclude: [base.yaml, none.yaml]\nsources: [{name: a, from: b}]\n"
    )
    assert told[0] == "base.yaml, line 1, field seeds: unknown key 'seeds'. Did you mean 'seed'?"
    assert "mini.yaml, line 3, field include.1: the file" in told[1]


def test_decontamination_comes_first_unless_the_steps_place_it(place: Place) -> None:
    steps = [{"op": "x"}, {"op": "decontaminate"}, {"op": "y"}]
    place.recipe(sources=[ONE], decontaminate="tulu3", steps=[{"op": "x"}])
    assert [dict(s.settings) for s in load(place).steps] == [
        {"op": "decontaminate", "suite": "tulu3"},
        {"op": "x"},
    ]
    place.recipe(sources=[ONE], decontaminate={"suite": "tulu3", "roles": "all"}, steps=steps)
    placed = {"op": "decontaminate", "suite": "tulu3", "roles": "all"}
    assert [dict(s.settings) for s in load(place).steps] == [{"op": "x"}, placed, {"op": "y"}]


def test_two_settings_of_decontamination_are_refused(place: Place) -> None:
    told = faults(
        place, sources=[ONE], decontaminate="tulu3", steps=[{"op": "decontaminate", "suite": "mine"}]
    )
    assert "Give the settings once" in told[0]


def test_paths_of_an_included_decontamination_begin_at_its_file(place: Place) -> None:
    place.recipe("parts/base", decontaminate="evals.yaml")
    place.recipe(include=["parts/base.yaml"], sources=[ONE], steps=[{"op": "decontaminate"}])
    assert [step.base.name for step in load(place).steps] == ["parts"]
