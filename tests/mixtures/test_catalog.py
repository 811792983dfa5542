"""What there is, and what is told of one of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mixtures.places import Place
from tulu_data.errors import RecipeError, StoreError, UsageError
from tulu_data.mixtures.catalog import catalog, details


def listed(place: Place) -> dict[str, dict[str, Any]]:
    return {entry["mixture"]: entry for entry in catalog(workspace=place.workspace)}


def told(place: Place, name: str, **settings: Any) -> dict[str, Any]:
    return details(name, workspace=place.workspace, **settings)


def test_recipes_and_versions_are_listed_together(mini: Place) -> None:
    before = listed(mini)
    assert before["mini"]["versions"] == []
    assert (before["mini"]["recipe"], before["mini"]["kind"]) == ("mini", "sft")
    assert "sft_mini" in before
    result = mini.build()
    (version,) = listed(mini)["mini"]["versions"]
    keys = ("name", "version", "number", "kind", "rows", "latest", "problem")
    assert tuple(version[key] for key in keys) == ("mini@v1", result.name, 1, "sft", result.rows, True, None)
    assert version["bytes"] == sum(p.stat().st_size for p in result.path.rglob("*") if p.is_file())


def test_recipes_that_are_only_included_are_left_out(mini: Place) -> None:
    mini.recipe("parts/base", sources=[{"name": "a", "from": "../data/maths.parquet"}])
    assert "parts/base" not in listed(mini)


def test_a_preview_is_listed_beside_the_versions(mini: Place) -> None:
    assert listed(mini)["mini"]["preview"] is None
    preview = mini.build(limit=3)
    found = listed(mini)["mini"]["preview"]
    assert (found["name"], found["number"], found["rows"]) == ("mini@preview", None, preview.rows)
    (preview.path / "manifest.json").write_text("{}")
    assert "is damaged" in listed(mini)["mini"]["preview"]["problem"]


def test_a_version_stays_listed_when_its_recipe_is_gone(mini: Place) -> None:
    mini.build()
    (mini.root / "mixtures" / "mini.yaml").unlink()
    assert listed(mini)["mini"]["recipe"] is None
    assert len(listed(mini)["mini"]["versions"]) == 1


def test_what_cannot_be_read_has_its_problem_and_the_rest_is_listed(mini: Place) -> None:
    result = mini.build()
    (result.path / "manifest.json").write_text("{")
    mini.recipe("wrong", text="mixture: wrong\nkind: sft\nsorces: []\n")
    found = listed(mini)
    assert "the manifest cannot be read" in found["mini"]["versions"][0]["problem"]
    assert "unknown key 'sorces'" in found["wrong"]["problem"]
    assert found["sft_mini"]["problem"] is None


def test_a_version_is_told_with_rows_from_all_over_it(mini: Place) -> None:
    result = mini.build()
    found = told(mini, "mini", examples=3)
    assert (found["name"], found["path"]) == ("mini@v1", str(result.path))
    assert found["manifest"] == result.manifest
    assert len({row["id"] for row in found["examples"]}) == 3
    assert all(row["messages"] for row in found["examples"])
    assert told(mini, "mini", examples=0)["examples"] == []


def test_every_name_of_a_version_finds_it(mini: Place) -> None:
    result = mini.build()
    mini.build(limit=3)
    for name in ("mini", "mini@v1", "mini@latest", f"mini@{result.name}", str(result.path)):
        assert told(mini, name)["name"] == "mini@v1"
    assert told(mini, "mini@preview")["name"] == "mini@preview"


def test_a_recipe_that_was_never_built_is_told_as_it_is_resolved(mini: Place) -> None:
    mini.recipe("more", text="mixture: more\ninclude: [mini.yaml]\n")
    found = told(mini, "more")
    assert [source["name"] for source in found["recipe"]["sources"]] == ["maths", "chat"]
    assert found["file"].endswith("more.yaml")
    assert "manifest" not in found


def test_a_recipe_under_another_name_leads_to_its_versions(mini: Place) -> None:
    mini.recipe("file", text="mixture: mini\ninclude: [mini.yaml]\n")
    mini.build()
    assert told(mini, "file")["name"] == "mini@v1"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("minni", UsageError, "no version or recipe is named 'minni'.*Did you mean 'mini'"),
        ("mini@v3", UsageError, "no version of mini is named 'v3'"),
        ("wrong", RecipeError, "unknown key 'sorces'"),
    ],
)
def test_what_does_not_exist_is_one_message(
    name: str, error: type[Exception], said: str, mini: Place
) -> None:
    mini.build()
    mini.recipe("wrong", text="mixture: wrong\nkind: sft\nsorces: []\n")
    with pytest.raises(error, match=said):
        told(mini, name)


def test_a_damaged_manifest_is_one_message(mini: Place) -> None:
    result = mini.build()
    (result.path / "manifest.json").write_text('{"mixture": "mini"}')
    with pytest.raises(StoreError, match="the manifest is damaged: version"):
        told(mini, "mini")
