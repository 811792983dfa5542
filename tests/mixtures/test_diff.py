"""`diff`: every row that differs is found once, with what is responsible for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.mixtures.places import Place, Row, preference_rows, turns
from tulu_data.errors import StoreError, UsageError
from tulu_data.mixtures.diff import Difference, diff

Recipe = dict[str, Any]


def rows(count: int, word: str = "sum", start: int = 0) -> list[Row]:
    """Rows that are all different."""
    return [
        {"id": f"{word}{n}", "messages": turns(f"{word} {n}?", f"It is {n}.")}
        for n in range(start, start + count)
    ]


def source(place: Place, name: str = "maths", count: int = 40, **settings: Any) -> Row:
    return {"name": name, "from": place.parquet(name, rows(count, name)), "license": "mit", **settings}


def between(place: Place, before: Recipe, after: Recipe, **settings: Any) -> Difference:
    """What differs between the versions of two recipes of the same name."""
    for recipe in (before, after):
        place.recipe(**recipe)
        place.build()
    return compared(place, **settings)


def compared(place: Place, before: str = "mini@v1", **settings: Any) -> Difference:
    """What differs between two versions; each change is held against the ids that the files have."""
    found = diff(before, "mini", store=place.store, **settings)
    one, two = (ids(found.summary[side]["path"]) for side in ("before", "after"))
    changes = found.changes.to_pylist()
    edited = [c for c in changes if c["change"] == "changed" and c["earlier_id"] != c["id"]]
    gone = {c["id"]: c["copies_before"] for c in changes if c["change"] == "removed"}
    came = {c["id"]: c["copies_after"] for c in changes if c["change"] == "added"}
    assert gone | {c["earlier_id"]: c["copies_before"] for c in edited} == {
        i: one[i] for i in one.keys() - two.keys()
    }
    assert came | {c["id"]: c["copies_after"] for c in edited} == {i: two[i] for i in two.keys() - one.keys()}
    weights = {
        c["id"]: (c["copies_before"], c["copies_after"]) for c in changes if c["change"] == "reweighted"
    }
    assert weights == {i: (one[i], two[i]) for i in one.keys() & two.keys() if one[i] != two[i]}
    untouched = (one.keys() & two.keys()) - {c["id"] for c in changes}
    assert found.summary["rows"]["same"] == sum(one[i] for i in untouched)
    return found


def ids(version: str) -> Counter[str]:
    """How often each row stands in the files of a version."""
    files = [f for folder in ("data", "test") for f in Path(version, folder).glob("*.parquet")]
    return Counter(i.partition("+")[0] for f in files for i in pq.read_table(f)["id"].to_pylist())


def reasons(found: Difference) -> set[tuple[str, str, str, int]]:
    """Every group: the change, the source, what is responsible (a verdict where there is one), rows."""
    return {
        (g["change"], g["source"], g["verdict"] or g["because"], g["rows"])
        for g in found.summary["responsible"]
    }


def test_a_version_does_not_differ_from_itself(mini: Place) -> None:
    mini.build()
    found = diff("mini", "mini@v1", store=mini.store)
    assert found.changes.num_rows == 0
    assert found.summary["notes"] == ["both have the same rows in the same order"]
    assert found.summary["rows"]["same"] == found.summary["rows"]["before"]
    assert found.summary["recipe"] == found.summary["examples"] == []


def test_a_raised_count_only_adds_rows(place: Place) -> None:
    few, more = ({"sources": [source(place) | {"count": n}]} for n in (10, 25))
    found = between(place, few, more)
    assert reasons(found) == {("added", "maths", "selection", 15)}
    assert found.summary["rows"]["same"] == 10
    assert {"part": "source maths", "key": "count", "before": 10, "after": 25} in found.summary["recipe"]


def test_a_raised_quota_only_adds_rows(place: Place) -> None:
    few, more = ({"sources": [source(place) | {"count": n, "fill": True}]} for n in (10, 25))
    found = between(place, few, more)
    assert reasons(found) == {("added", "maths", "quota", 15)}


def test_a_step_that_drops_rows_is_named(place: Place) -> None:
    of = {"sources": [source(place), source(place, "chat", 20)]}
    step = {"op": "keyword_filter", "words": ["It is 7."], "roles": ["assistant"]}
    found = between(place, of, of | {"steps": [step]})
    assert {(change, name, count) for change, name, _, count in reasons(found)} == {
        ("removed", "maths", 1),
        ("removed", "chat", 1),
    }
    group = found.summary["responsible"][0]
    assert group["because"] == "dropped"
    assert group["step"] == 1
    assert group["verdict"].startswith("keyword_filter:")
    assert group["why"] == f"keyword_filter (step 1) dropped it in mini@v2: {group['verdict']}"
    example = found.summary["examples"][0]
    assert example["before"]["messages"][1]["content"] == "It is 7."
    assert example["after"] is None
    backwards = diff("mini", "mini@v1", store=place.store)
    assert {group["change"] for group in backwards.summary["responsible"]} == {"added"}
    assert backwards.summary["responsible"][0]["why"] == group["why"]


def test_an_edit_upstream_is_a_change_with_both_texts(place: Place) -> None:
    recipe: Recipe = {"sources": [source(place)]}
    place.recipe(**recipe)
    place.build()
    edited = rows(40, "maths")
    edited[3] = edited[3] | {"messages": turns("maths 3?", "It is three.")}
    place.parquet("maths", edited[:-1] + rows(2, "maths", 100))
    place.build()
    found = compared(place)
    assert reasons(found) == {
        ("changed", "maths", "content", 1),
        ("removed", "maths", "upstream", 1),
        ("added", "maths", "upstream", 2),
    }
    (example,) = (e for e in found.summary["examples"] if e["change"] == "changed")
    assert example["upstream_id"] == "maths3"
    texts = [example[side]["messages"][1]["content"] for side in ("before", "after")]
    assert texts == ["It is 3.", "It is three."]
    assert [c["key"] for c in found.summary["recipe"]] == ["file data/maths.parquet"]


def test_a_row_whose_new_text_a_step_drops_is_told_as_edited(place: Place) -> None:
    steps = [{"op": "length", "max_chars": 30}]
    place.recipe(sources=[source(place)], steps=steps)
    place.build()
    edited = rows(40, "maths")
    edited[3] |= {"messages": turns("maths 3?", "It is three, and that is all there is to it.")}
    place.parquet("maths", edited)
    place.build()
    found = compared(place)
    ((change, _, verdict, _),) = reasons(found)
    assert (change, verdict) == ("removed", "length:too_long")
    why = found.summary["responsible"][0]["why"]
    assert why == "edited upstream; length (step 1) dropped the new text in mini@v2: length:too_long"
    (back,) = diff("mini", "mini@v1", store=place.store).summary["responsible"]
    assert back["why"].startswith("edited upstream; length (step 1) dropped the earlier text in mini@v2")


def test_upstream_ids_that_repeat_pair_no_rows(place: Place) -> None:
    same_id = [row | {"id": "same"} for row in rows(5)]
    place.recipe(sources=[{"name": "maths", "from": place.parquet("maths", same_id)}])
    place.build()
    place.parquet("maths", [*same_id[:-1], rows(1, start=50)[0] | {"id": "same"}])
    place.build()
    found = compared(place)
    assert {(change, count) for change, _, _, count in reasons(found)} == {("removed", 1), ("added", 1)}


def test_a_source_that_goes_and_one_that_comes(place: Place) -> None:
    kept = source(place, "kept", 5)
    before = {"sources": [kept, source(place, "old", 8)]}
    found = between(place, before, {"sources": [kept, source(place, "new", 6)]})
    assert reasons(found) == {("removed", "old", "source", 8), ("added", "new", "source", 6)}
    shares = {s["source"]: (s["before"], s["after"]) for s in found.summary["sources"]}
    assert shares["old"][1] is None
    assert shares["new"][0] is None
    assert [shares["kept"][side]["share_of_rows"] for side in (0, 1)] == [round(5 / 13, 6), round(5 / 11, 6)]
    assert 0 < shares["kept"][0]["share_of_tokens"] < 1


def test_a_source_under_another_name_is_told(place: Place) -> None:
    old = source(place, count=4)
    found = between(place, {"sources": [old]}, {"sources": [old | {"name": "sums"}]})
    assert found.summary["notes"] == [
        "source sums reads what source maths read: the same rows under other ids"
    ]


def test_rows_that_strata_left_out_were_not_selected(place: Place) -> None:
    graded = [row | {"level": "ab"[n % 2]} for n, row in enumerate(rows(30))]
    of = {"name": "maths", "from": place.parquet("maths", graded), "stratify": "level"}
    found = between(place, {"sources": [of | {"count": 10}]}, {"sources": [of | {"count": 14}]})
    assert reasons(found) == {("added", "maths", "selection", 4)}


def test_rows_that_strata_left_out_of_a_quota_were_not_selected_though_others_are_repeated(
    place: Place,
) -> None:
    graded = [row | {"level": "ab"[n % 2]} for n, row in enumerate(rows(30))]
    of = {"name": "maths", "from": place.parquet("maths", graded)}
    fewer = {"sources": [of | {"stratify": "level", "repeat": 2}], "max_per_source": 18}
    found = between(place, {"sources": [of]}, fewer)
    assert reasons(found) == {("removed", "maths", "quota", 12), ("reweighted", "maths", "repeat", 18)}


def test_a_changed_repeat_reweights_and_adds_nothing(place: Place) -> None:
    once = source(place, count=10)
    found = between(place, {"sources": [once]}, {"sources": [once | {"repeat": 2.5}]})
    groups = found.summary["responsible"]
    assert {(g["change"], g["copies_before"], g["copies_after"]) for g in groups} == {("reweighted", 10, 25)}
    assert found.summary["rows"] | {"reweighted": 10, "same": 0, "after": 25} == found.summary["rows"]
    assert found.changes["id"].to_pylist() == sorted({*found.changes["id"].to_pylist()})


def test_other_ratings_under_the_same_id_are_a_change(place: Place) -> None:
    def pairs(rating: float) -> list[Row]:
        made = preference_rows(6, rated=True)
        made[2] |= {"chosen_rating": rating}
        return made

    of: Recipe = {
        "kind": "preference",
        "sources": [{"name": "judged", "from": place.parquet("judged", pairs(4.0))}],
    }
    place.recipe(**of)
    place.build()
    place.parquet("judged", pairs(1.0))
    place.build()
    found = compared(place)
    assert reasons(found) == {("changed", "judged", "values", 1)}
    (example,) = found.summary["examples"]
    assert example["columns"] == "chosen_rating"
    assert [example[side]["chosen_rating"] for side in ("before", "after")] == [4.0, 1.0]


def test_another_licence_is_a_change(place: Place) -> None:
    of = source(place, count=3)
    more = source(place, "more", 2)
    found = between(place, {"sources": [of]}, {"sources": [of | {"license": "cc0-1.0"}, more]})
    assert reasons(found) == {("changed", "maths", "license", 3), ("added", "more", "source", 2)}


def test_rows_that_are_held_out_now_have_moved(place: Place) -> None:
    of = {"sources": [source(place, count=60)]}
    found = between(place, of, of | {"holdout": {"fraction": 0.2}})
    ((change, _, where, moved),) = reasons(found)
    assert (change, where) == ("moved", "to test")
    assert 0 < moved < 60
    assert found.summary["rows"]["after"] == 60
    assert found.summary["responsible"][0]["why"] == "moved to test: `holdout` none -> 0.2"


def test_rows_that_another_seed_holds_out_have_moved(place: Place) -> None:
    of = {"sources": [source(place, count=60)], "holdout": {"fraction": 0.2}}
    found = between(place, of | {"seed": 1}, of | {"seed": 2})
    whys = {group["why"] for group in found.summary["responsible"]}
    assert whys == {f"moved to {split}: the seed 1 -> 2" for split in ("test", "train")}


def test_how_much_a_recipe_asks_for_is_told_of_its_head(place: Place) -> None:
    of = {"sources": [source(place, count=60)]}
    amounts = {"size": {"rows": 40}, "max_per_source": 50, "holdout": {"fraction": 0.1}}
    found = between(place, of, of | amounts)
    changed = {change["key"]: (change["before"], change["after"]) for change in found.summary["recipe"]}
    assert changed == {key: (None, value) for key, value in amounts.items()}
    assert {change["part"] for change in found.summary["recipe"]} == {"mixture"}


def test_another_kind_and_seed_are_told_first(place: Place) -> None:
    found = between(
        place,
        {"sources": [source(place) | {"count": 5}]},
        {"kind": "prompts", "seed": 7, "sources": [source(place) | {"count": 5}]},
    )
    assert [note.partition(" (")[0] for note in found.summary["notes"]] == [
        "the kinds differ",
        "the seeds differ",
    ]
    changed = {change["key"]: (change["before"], change["after"]) for change in found.summary["recipe"]}
    assert changed == {"kind": ("sft", "prompts"), "seed": (42, 7)}


def test_rows_behind_the_limit_of_a_preview_were_not_read(place: Place) -> None:
    place.recipe(sources=[source(place)])
    place.build(limit=10)
    place.build()
    found = compared(place, "mini@preview")
    assert reasons(found) == {("added", "maths", "unread", 30)}
    assert found.summary["notes"] == ["mini@preview is a preview: it read only the first rows of each source"]


def test_examples_come_from_as_many_reasons_as_there_are(place: Place) -> None:
    kept = source(place, "kept", 5)
    more = [source(place, name, 9) for name in ("a", "b", "c")]
    found = between(place, {"sources": [kept]}, {"sources": [kept, *more]}, examples=4)
    examples = found.summary["examples"]
    assert len(examples) == 4
    assert {example["source"] for example in examples} == {"a", "b", "c"}
    assert diff("mini@v1", "mini", store=place.store, examples=0).summary["examples"] == []


def test_a_step_whose_settings_differ_is_told(place: Place) -> None:
    of = {"sources": [source(place)]}
    long, short = ([{"op": "length", "max_chars": n}] for n in (100, 17))
    found = between(place, of | {"steps": long}, of | {"steps": short})
    assert {"part": "step length", "key": "max_chars", "before": 100, "after": 17} in found.summary["recipe"]
    assert {verdict for _, _, verdict, _ in reasons(found)} == {"length:too_long"}


@pytest.mark.parametrize("file", ["lineage.parquet", "data/train-00000-of-00001.parquet"])
def test_a_file_that_cannot_be_read_is_one_message(file: str, place: Place) -> None:
    before, after = ({"sources": [source(place) | {"count": n}]} for n in (5, 9))
    between(place, before, after)
    path = next((place.store / "mixtures" / "mini").glob("v2-*")) / file
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match="cannot be read"):
        diff("mini@v1", "mini", store=place.store)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mini@v7", "no version of mini is named 'v7'; expected one of: v1"),
        ("mino", "no version of the store is named 'mino'.*Did you mean 'mini'"),
        ("mini@preview", "no preview is named 'mini'"),
    ],
)
def test_a_version_that_does_not_exist_is_one_message(name: str, said: str, mini: Place) -> None:
    mini.build()
    with pytest.raises(UsageError, match=said):
        diff(name, "mini", store=mini.store)


def test_without_a_store_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        diff("a", "b", store=tmp_path / "store")
