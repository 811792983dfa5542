"""`trace`: a row's way through a build, found by any of its names."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.mixtures.places import Place, sft_rows, turns
from tulu_data.errors import StoreError, UsageError
from tulu_data.mixtures.trace import trace

STEPS = [{"op": "length", "max_chars": 40}, {"op": "exact_dedup"}]


@pytest.fixture
def built(place: Place) -> Place:
    """Thirty rows of which a selection takes twenty, one step drops none and the next those that repeat."""
    sources = [
        {"name": "maths", "from": place.parquet("maths", sft_rows(30, "sum")), "license": "mit", "count": 20},
        {"name": "chat", "from": place.jsonl("chat", sft_rows(9, "talk")), "repeat": 2},
    ]
    place.recipe(sources=sources, steps=STEPS)
    place.build()
    return place


def table(place: Place, name: str) -> list[dict[str, Any]]:
    """The rows of a Parquet file of the first version."""
    (path,) = (place.store / "mixtures" / "mini").glob(f"v1-*/{name}")
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def stages(found: Any) -> list[tuple[str, str]]:
    return [(stage.get("op", stage["stage"]), stage["outcome"]) for stage in found.stages]


def test_a_kept_row_is_followed_to_where_it_lies(built: Place) -> None:
    row = table(built, "data/train-00000-of-00001.parquet")[3]
    told = next(r for r in table(built, "lineage.parquet") if r["id"] == row["id"])
    found = trace("mini", row["id"], store=built.store)
    assert found.outcome == "kept"
    way = [("read", "read"), ("selection", "taken"), ("length", "kept"), ("exact_dedup", "kept")]
    assert stages(found)[:5] == [*way, ("quota", "taken")]
    assert found.stages[0]["row"] == told["row"]
    assert found.stages[0]["upstream_id"] == told["upstream_id"]
    places = [(s["file"], s["row"]) for s in found.stages if s["stage"] == "written"]
    assert ("data/train-00000-of-00001.parquet", 3) in places
    assert found.row is not None
    assert found.row["messages"] == row["messages"]


def test_each_copy_of_a_row_has_its_place(built: Place) -> None:
    ids = [row["id"] for row in table(built, "data/train-00000-of-00001.parquet")]
    copy = next(i for i in ids if i.endswith("+1"))
    found = trace("mini", copy, store=built.store)
    assert found.summary["id"] == copy.removesuffix("+1")
    places = [s["row"] for s in found.stages if s["stage"] == "written"]
    assert {ids[place] for place in places} == {copy, copy.removesuffix("+1")}


def test_a_dropped_row_names_the_step_and_the_evidence(built: Place) -> None:
    dropped = table(built, "dropped/02-exact_dedup.parquet")[0]
    found = trace("mini@v1", dropped["id"], store=built.store)
    assert found.outcome == "dropped"
    assert stages(found)[-3:] == [("length", "kept"), ("exact_dedup", "dropped"), ("written", "dropped")]
    step = found.stages[-2]
    assert step["verdict"] == "exact_dedup:duplicate"
    assert step["evidence"] == {"duplicate_of": dropped["duplicate_of"], "similarity": 1.0}
    assert found.stages[-1]["file"] == "dropped/02-exact_dedup.parquet"


def test_evidence_is_of_the_step_that_wrote_it(place: Place) -> None:
    near = [
        {"id": f"n{n}", "messages": turns("one two three four five six " * 9 + "extra" * n, "y")}
        for n in (0, 1)
    ]
    steps = [{"op": "exact_dedup"}, {"op": "minhash", "threshold": 0.5}]
    place.recipe(sources=[{"name": "a", "from": place.parquet("a", near)}], steps=steps)
    place.build()
    one, two = trace("mini", "n1", store=place.store).stages[2:4]
    assert (one["outcome"], one["evidence"]) == ("kept", {})
    assert two["outcome"] == "dropped"
    assert two["evidence"]["similarity"] < 1


def test_steps_behind_the_one_that_drops_a_row_were_not_reached(place: Place) -> None:
    long = [{"id": "long", "messages": turns("x" * 50, "y")}]
    place.recipe(sources=[{"name": "a", "from": place.parquet("a", sft_rows(5) + long)}], steps=STEPS)
    place.build()
    assert stages(trace("mini", "long", store=place.store))[-3:-1] == [
        ("length", "dropped"),
        ("exact_dedup", "not reached"),
    ]


def test_a_row_is_found_by_each_of_its_names(built: Place) -> None:
    rows = [r for r in table(built, "lineage.parquet") if r["source"] == "maths"]
    source, digest, number = rows[0]["id"].split("/")
    ids = {
        trace("mini", name, store=built.store).summary["id"]
        for name in (
            f"{source}/{digest}/{number}",
            f"{source}/{digest}",
            f"{source}/{digest[:8]}",
            digest[:8],
        )
    }
    assert ids == {rows[0]["id"]}


def test_an_upstream_id_that_several_rows_have_lists_them(built: Place) -> None:
    both = {r["upstream_id"] for r in table(built, "lineage.parquet") if r["source"] == "maths"}
    shared = next(
        r["upstream_id"]
        for r in table(built, "lineage.parquet")
        if r["source"] == "chat" and r["upstream_id"] in both
    )
    with pytest.raises(
        UsageError, match=f"'{shared}' stands for 2 rows of mini@v1; expected one of: chat/.*, maths/"
    ):
        trace("mini", shared, store=built.store)


def test_a_row_that_the_selection_left_out_is_told_by_its_key(built: Place) -> None:
    built.recipe("all", sources=[{"name": "maths", "from": "data/maths.parquet"}])
    built.build("all")
    known = {row["id"] for row in table(built, "lineage.parquet")}
    known |= {row["id"] for row in table(built, "dropped/02-exact_dedup.parquet")}
    (path,) = (built.store / "mixtures" / "all").glob("v1-*/lineage.parquet")
    left_out = [i for i in pq.read_table(path)["id"].to_pylist() if i not in known]
    assert len(left_out) == 10
    for row in left_out:
        found = trace("mini", row, store=built.store)
        assert (found.outcome, stages(found)[0]) == ("unselected", ("selection", "not taken"))
        assert found.stages[0]["key"] > found.stages[0]["cut"]
        assert found.row is None


def test_an_id_that_the_source_never_had_is_absent(place: Place) -> None:
    place.recipe(sources=[{"name": "maths", "from": place.parquet("maths", sft_rows(5))}])
    place.build()
    assert trace("mini", f"maths/{'0' * 32}/0", store=place.store).outcome == "absent"
    assert trace("mini", "0" * 32, store=place.store).outcome == "absent"


def test_of_a_row_that_strata_left_out_nothing_is_known(place: Place) -> None:
    graded = [row | {"level": "ab"[n % 2]} for n, row in enumerate(sft_rows(9))]
    of = {"name": "maths", "from": place.parquet("maths", graded), "stratify": "level", "count": 4}
    place.recipe(sources=[of])
    place.build()
    found = trace("mini", f"maths/{'0' * 32}/0", store=place.store)
    assert (found.outcome, stages(found)[0]) == ("unselected", ("selection", "not known"))


@pytest.mark.parametrize("repeat", [1, 2])
def test_copies_do_not_hide_that_a_quota_left_rows_out(repeat: int, place: Place) -> None:
    graded = [row | {"level": "ab"[n % 2]} for n, row in enumerate(sft_rows(9))]
    of = {"name": "maths", "from": place.parquet("maths", graded), "stratify": "level", "repeat": repeat}
    place.recipe(sources=[of], max_per_source=6)
    place.build()
    found = trace("mini", f"maths/{'0' * 32}/0", store=place.store)
    assert (found.outcome, stages(found)[1]) == ("unselected", ("quota", "not known"))


def test_what_decontamination_found_in_a_row_is_told(place: Place) -> None:
    (place.root / "decontam").mkdir()
    item = "What is the sum of the first nine prime numbers that are larger than two?"
    place.jsonl("items", [{"question": item}])
    path = "../mixtures/data/items.jsonl.gz"
    suite = f"suite: mine\nevals:\n  - {{name: sums, from: {path}, fields: [question], rows: 1}}\n"
    (place.root / "decontam" / "mine.yaml").write_text(suite)
    rows = [*sft_rows(5), {"id": "leak", "messages": turns(item, "127")}]
    place.recipe(
        sources=[{"name": "a", "from": place.parquet("a", rows)}],
        decontaminate={"suite": "mine", "on_unseen": "rows"},
    )
    place.build()
    found = trace("mini", "leak", store=place.store)
    assert found.outcome == "dropped"
    (match,) = found.stages[2]["evidence"]["matches"]
    assert (match["eval"], match["action"]) == ("sums", "drop")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("nothing", "no row of mini@v1 has the id 'nothing', kept or dropped"),
        ("abc", "no row of mini@v1 has the id 'abc'"),
        ("up29", "Upstream ids .* are known only of rows that are on disk"),
        (f"math/{'0' * 32}/0", "no source of mini@v1 is named 'math'.*Did you mean 'maths'"),
    ],
)
def test_a_name_that_no_row_has_is_one_message(row: str, said: str, built: Place) -> None:
    with pytest.raises(UsageError, match=said):
        trace("mini", row, store=built.store)


def test_a_missing_file_is_one_message(built: Place) -> None:
    row = table(built, "lineage.parquet")[0]["id"]
    (version,) = (built.store / "mixtures" / "mini").iterdir()
    (version / "data" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(StoreError, match="is in the lineage, and in no file"):
        trace("mini", row, store=built.store)
    (version / "lineage.parquet").unlink()
    with pytest.raises(StoreError, match="a file of this version is missing"):
        trace("mini", row, store=built.store)
