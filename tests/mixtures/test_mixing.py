"""Builds with quotas, copies, a holdout, strata and token counts; licences and locks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.mixtures.places import Place, Row, preference_rows, sft_rows, turns
from tulu_data import rebuild, verify
from tulu_data.errors import PolicyError, RecipeError, StoreError, UsageError
from tulu_data.init import start
from tulu_data.mixtures.build import BuildResult, build
from tulu_data.mixtures.store import versions
from tulu_data.workspace import Workspace


def distinct(count: int, word: str = "row", **more: Any) -> list[Row]:
    return [{"messages": turns(f"{word} {n}?", f"{word} answers {n}"), **more} for n in range(count)]


def data(built: BuildResult, folder: str = "data") -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted((built.path / folder).glob("*.parquet"))])


def counts(built: BuildResult) -> dict[str, int]:
    return {source["source"]: source["kept"] for source in built.summary["sources"]}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "mixtures").mkdir()
    return Place(tmp_path)


# -- quotas --------------------------------------------------------------------------------------------------


def test_fill_counts_what_passes_the_steps(place: Place) -> None:
    rows = place.jsonl("a", sft_rows(100))
    steps = [{"op": "exact_dedup"}]
    place.recipe(sources=[{"name": "a", "from": rows, "count": 40}], steps=steps)
    assert place.build().rows < 40
    place.recipe(sources=[{"name": "a", "from": rows, "count": 40, "fill": True}], steps=steps)
    assert place.build().rows == 40


def test_a_quota_that_a_step_made_impossible_says_which_and_how_many(place: Place) -> None:
    rows = place.jsonl("a", sft_rows(100))
    source = {"name": "a", "from": rows, "count": 95, "fill": True}
    place.recipe(sources=[source], steps=[{"op": "exact_dedup"}])
    with pytest.raises(PolicyError) as error:
        place.build()
    assert str(error.value) == (
        "the mixture mini cannot be filled: source a: `fill` asks for 95 rows, and 91 pass the steps. "
        "The steps dropped: exact_dedup:duplicate 9"
    )
    assert place.left_behind() == []


def test_a_raised_fill_only_adds_rows(place: Place) -> None:
    rows = place.jsonl("a", sft_rows(100))
    found = []
    for count in (20, 50):
        place.recipe(
            sources=[{"name": "a", "from": rows, "count": count, "fill": True}], steps=[{"op": "exact_dedup"}]
        )
        found.append(set(data(place.build())["id"].to_pylist()))
    assert found[0] < found[1]


def test_repeats_stand_under_own_ids_and_are_spread(place: Place) -> None:
    place.recipe(
        sources=[
            {"name": "hard", "from": place.jsonl("h", distinct(24, "hard")), "repeat": 10},
            {"name": "a", "from": place.jsonl("a", distinct(60))},
        ]
    )
    built = place.build()
    assert counts(built) == {"hard": 240, "a": 60}
    ids = data(built)["id"].to_pylist()
    assert len(set(ids)) == 300
    originals = [one for one in ids if one.startswith("hard/") and "+" not in one]
    assert all(f"{one}+{copy}" in ids for one in originals for copy in range(1, 10))
    lineage = pq.read_table(built.path / "lineage.parquet")
    assert lineage["id"].to_pylist() == ids
    places = [i for i, one in enumerate(ids) if one.partition("+")[0] == originals[0]]
    assert max(places) - min(places) > 50


def test_weights_make_the_proportions_and_the_manifest_tells_them(place: Place) -> None:
    place.recipe(
        size={"rows": 100},
        sources=[
            {"name": "a", "from": place.jsonl("a", distinct(90)), "weight": 3.0},
            {"name": "b", "from": place.jsonl("b", distinct(90, "other")), "weight": 1.0},
        ],
    )
    built = place.build()
    assert counts(built) == {"a": 75, "b": 25}
    a, b = built.manifest["sources"]
    assert (a["share_of_rows"], b["share_of_rows"]) == (0.75, 0.25)
    assert a["quota"]["rows"] == 75
    assert a["quota"]["words"] == {"weight": 3.0, "size": {"rows": 100}}
    ids = {row["id"] for row in data(built).to_pylist()}
    assert len(a["quota"]["cut"]) == 16
    assert len(ids) == 100


@pytest.mark.parametrize("layout", ["shuffled", "by_source"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_bytes_depend_on_neither_threads_nor_batches(place: Place, layout: str, threads: int) -> None:
    place.recipe(
        layout=layout,
        size=70,
        holdout={"fraction": 0.2},
        sources=[
            {"name": "a", "from": place.jsonl("a", distinct(60)), "repeat": 1.5},
            {"name": "b", "from": place.jsonl("b", distinct(30, "other"))},
        ],
    )
    first = place.build()
    again = place.build(threads=threads, batch_bytes=1 << 10, store=place.root / "again")
    assert first.manifest["files"] == again.manifest["files"]
    assert first.manifest["logical_hash"] == again.manifest["logical_hash"]


# -- strata --------------------------------------------------------------------------------------------------


def test_strata_keep_their_shares_or_are_equal(place: Place) -> None:
    rows = [{**row, "lang": "de" if i % 5 == 0 else "en"} for i, row in enumerate(distinct(100))]
    found = {}
    for shares in ("proportional", "equal"):
        stratify = {"by": "lang", "shares": shares}
        place.recipe(
            sources=[{"name": "a", "from": place.jsonl("a", rows), "count": 30, "stratify": stratify}]
        )
        native = pq.read_table(place.build().path / "lineage.parquet")["native"].to_pylist()
        found[shares] = sum(json.loads(text)["lang"] == "de" for text in native)
    assert found == {"proportional": 6, "equal": 15}


def test_a_stratum_that_is_no_column_is_told_by_check(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", [{**r, "lang": "de"} for r in distinct(9)]), "count": 3}
    place.recipe(sources=[source | {"stratify": "lnag"}])
    (problem,) = [p for p in place.problems() if p.startswith("error")]
    assert "`stratify` names no column of the rows: 'lnag'" in problem
    assert "'lang'" in problem


# -- holdout -------------------------------------------------------------------------------------------------


def test_a_holdout_is_a_split_by_prompt(place: Place) -> None:
    twins = [*distinct(200), *[{"messages": turns(f"row {n}?", "another answer")} for n in range(200)]]
    source = {"name": "a", "from": place.jsonl("a", twins), "repeat": 2}
    place.recipe(holdout={"fraction": 0.25}, sources=[source])
    built = place.build()
    train, test = data(built), data(built, "test")
    asked = [{row["messages"][0]["content"] for row in part.to_pylist()} for part in (train, test)]
    assert asked[0].isdisjoint(asked[1])
    assert 25 < len(asked[1]) < 75
    assert train.num_rows == 4 * len(asked[0])
    assert test.num_rows == 2 * len(asked[1])  # what is held out stands there once
    assert built.manifest["test_rows"] == test.num_rows
    assert built.rows == train.num_rows + test.num_rows
    loaded = datasets.load_dataset(str(built.path))
    assert {name: split.num_rows for name, split in loaded.items()} == {
        "train": train.num_rows,
        "test": test.num_rows,
    }


def test_what_is_held_out_stays_so_when_rows_are_added(place: Place) -> None:
    found = []
    for rows in (100, 150):
        place.recipe(
            holdout={"fraction": 0.2}, sources=[{"name": "a", "from": place.jsonl("a", distinct(rows))}]
        )
        found.append(set(data(place.build(), "test")["id"].to_pylist()))
    assert found[0] < found[1]


def test_pairs_are_held_out_by_their_prompt(place: Place) -> None:
    rows = place.jsonl("p", preference_rows(80, rated=False))
    place.recipe(kind="preference", holdout={"fraction": 0.3}, sources=[{"name": "p", "from": rows}])
    built = place.build()
    assert data(built).num_rows + data(built, "test").num_rows == 80
    assert data(built, "test").num_rows > 5


def test_a_version_that_holds_out_is_read_by_others_without_it(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", distinct(100))}
    place.recipe("base", holdout={"fraction": 0.3}, sources=[source])
    train = data(place.build("base")).num_rows
    place.recipe(sources=[{"name": "base", "from": "store:mixtures/base@v1"}])
    assert place.build().rows == train


def test_a_holdout_may_be_a_number_and_prompts_are_equal_but_for_white_space(place: Place) -> None:
    rows = [*distinct(150), *[{"messages": turns(f" row {n}?\n", "another answer")} for n in range(150)]]
    place.recipe(holdout=0.3, sources=[{"name": "a", "from": place.jsonl("a", rows)}])
    built = place.build()
    asked = [
        {row["messages"][0]["content"].strip() for row in data(built, folder).to_pylist()}
        for folder in ("data", "test")
    ]
    assert asked[0].isdisjoint(asked[1])
    assert built.manifest["recipe"]["holdout"] == {"fraction": 0.3}


def test_a_holdout_that_takes_every_row_is_an_error(place: Place) -> None:
    rows = place.jsonl("a", distinct(3))
    place.recipe(holdout={"fraction": 0.999999999}, sources=[{"name": "a", "from": rows}])
    with pytest.raises(PolicyError, match="the holdout of the mixture mini takes all of its 3 rows"):
        place.build()


def test_a_size_is_met_with_repeats_and_a_holdout(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", distinct(100)), "repeat": 3}
    place.recipe(size=180, holdout=0.4, sources=[source])
    built = place.build()
    ids = [*data(built)["id"].to_pylist(), *data(built, "test")["id"].to_pylist()]
    assert len(ids) == len(set(ids)) == 180
    assert not any("+" in one for one in data(built, "test")["id"].to_pylist())


# -- tokens --------------------------------------------------------------------------------------------------


def tokenizer(path: Path) -> Path:
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "row", "answers", "?"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(path))
    return path


def test_tokens_are_counted_with_a_tokenizer_file(place: Place) -> None:
    file = tokenizer(place.root / "mixtures" / "tokenizer.json")
    place.recipe(tokenizer="tokenizer.json", sources=[{"name": "a", "from": place.jsonl("a", distinct(10))}])
    built = place.build()
    assert (
        pq.read_table(built.path / "lineage.parquet")["tokens"].to_pylist() == [6] * 10
    )  # row 1 ? row answers 1
    assert built.manifest["tokens"]["rows"] == 60
    assert built.manifest["tokens"]["counted"] == "exact"
    assert len(built.manifest["tokens"]["sha256"]) == 64
    file.write_text("{}")
    (problem,) = [p for p in place.problems() if p.startswith("error")]
    assert "mixtures/tokenizer.json: this is no tokenizer" in problem


def test_without_one_they_are_estimated_and_said_to_be(place: Place) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", distinct(10))}])
    built = place.build()
    assert built.manifest["tokens"] == {"rows": 50, "counted": "estimated", "bytes_per_token": 4}


def test_a_size_in_tokens_is_kept_to(place: Place) -> None:
    tokenizer(place.root / "mixtures" / "tokenizer.json")
    source = {"name": "a", "from": place.jsonl("a", distinct(50))}
    place.recipe(tokenizer="tokenizer.json", size={"tokens": 100}, sources=[source])
    assert place.build().manifest["tokens"]["rows"] == 96


# -- licences ------------------------------------------------------------------------------------------------


def test_only_rows_that_allow_commercial_use_are_taken(place: Place) -> None:
    licenses = {"a": "apache-2.0", "b": "cc-by-nc-4.0", "c": None, "d": "ODC-BY"}
    place.recipe(
        sources=[
            {"name": name, "from": place.jsonl(name, distinct(5, name)), **({"license": id_} if id_ else {})}
            for name, id_ in licenses.items()
        ]
    )
    built = place.build(licenses="commercial")
    assert counts(built) == {"a": 5, "b": 0, "c": 0, "d": 5}
    dropped = {v: n for s in built.summary["sources"] for v, n in s["dropped"].items()}
    assert dropped == {"licenses:cc-by-nc-4.0": 5, "licenses:missing": 5}
    assert built.manifest["recipe"]["steps"] == [{"op": "licenses", "use": "commercial"}]


# -- locks ---------------------------------------------------------------------------------------------------


def test_a_rebuild_gives_the_same_rows_and_bytes(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(50)), "count": 30, "repeat": 2}
    place.recipe(holdout={"fraction": 0.2}, sources=[source], steps=[{"op": "exact_dedup"}])
    built = place.build()
    again = rebuild("mini", workspace=place.workspace)
    assert again.same_rows
    assert again.same_bytes
    assert [s["moved"] for s in again.sources] == [None]
    assert place.left_behind() == []
    assert again.version == "mini@v1"
    assert built.name == "v1-" + built.manifest["logical_hash"][:8]


def test_a_rebuild_says_which_source_moved_and_how_many_rows(place: Place) -> None:
    sources = [{"name": n, "from": place.jsonl(n, distinct(20, n))} for n in ("a", "b")]
    place.recipe(sources=sources)
    place.build()
    place.jsonl("b", [*distinct(18, "b"), *distinct(3, "new")])
    again = rebuild("mini@v1", workspace=place.workspace)
    assert not again.same_rows
    a, b = again.sources
    assert (a["moved"], a["rows_added"], a["rows_removed"]) == (None, 0, 0)
    assert b == {"source": "b", "moved": "other content: data/b.jsonl.gz", "rows_added": 3, "rows_removed": 2}


def test_a_rebuild_reads_the_version_that_was_read_not_the_latest(place: Place) -> None:
    place.recipe("base", sources=[{"name": "a", "from": place.jsonl("a", distinct(20))}])
    place.build("base")
    place.recipe(sources=[{"name": "base", "from": "store:mixtures/base"}])
    place.build()
    place.recipe("base", sources=[{"name": "a", "from": place.jsonl("a", distinct(30))}])
    place.build("base")
    assert rebuild("mini", workspace=place.workspace).same_bytes


def test_a_shipped_recipe_is_rebuilt_from_where_it_lies(tmp_path: Path) -> None:
    start(tmp_path)
    (tmp_path / "mixtures" / "sample").mkdir()  # of the user's own, and not what was read
    workspace = Workspace(tmp_path)
    build("sft_mini", workspace=workspace)
    assert rebuild("sft_mini", workspace=workspace).same_bytes


def test_a_recipe_outside_the_workspace_is_named(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("elsewhere")
    (home / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in distinct(5)))
    (home / "far.yaml").write_text("mixture: far\nkind: sft\nsources: [{name: a, from: a.jsonl}]\n")
    place.build(str(home / "far.yaml"))
    with pytest.raises(UsageError, match=r"the recipe of far does not lie in the workspace.*--recipe"):
        rebuild("far", workspace=place.workspace)
    assert rebuild("far", workspace=place.workspace, recipe=home / "far.yaml").same_bytes


def test_a_rebuild_names_the_tokenizer_that_changed(place: Place) -> None:
    file = tokenizer(place.root / "mixtures" / "tokenizer.json")
    source = {"name": "a", "from": place.jsonl("a", distinct(10))}
    place.recipe(tokenizer="tokenizer.json", sources=[source])
    place.build()
    assert rebuild("mini", workspace=place.workspace).tokenizer is None
    file.write_text(file.read_text() + " ")
    assert rebuild("mini", workspace=place.workspace).tokenizer == "tokenizer.json"


def test_a_build_from_its_own_lock_is_the_same_build(place: Place) -> None:
    place.recipe("base", sources=[{"name": "a", "from": place.jsonl("a", distinct(20))}])
    place.build("base")
    place.recipe(sources=[{"name": "base", "from": "store:mixtures/base"}])
    again = place.build(lock=place.build().path / "lock.json")
    assert again.reused
    assert again.differs == ()


def test_a_lock_that_disagrees_with_the_recipe(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", distinct(20))}
    place.recipe(sources=[source])
    built = place.build()
    lock = built.path / "lock.json"
    place.recipe(sources=[source | {"name": "other"}])
    with pytest.raises(RecipeError) as error:
        place.build(lock=lock)
    assert "the lock disagrees with the recipe mini" in str(error.value)
    assert "the lock has a source 'a' that the recipe does not have" in str(error.value)
    assert "source other: the lock does not have it" in str(error.value)


def test_a_build_with_a_lock_refuses_files_that_moved(place: Place) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", distinct(20))}])
    lock = shutil.copy(place.build().path / "lock.json", place.root / "lock.json")
    assert place.build(lock=Path(lock)).reused
    place.jsonl("a", distinct(21))
    with pytest.raises(RecipeError, match=r"source a: other content: data/a.jsonl.gz"):
        place.build(lock=Path(lock))


def test_a_lock_that_is_none(place: Place) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", distinct(2))}])
    for text in ("[]", '{"format": 1, "sources": {"a": {"origin": "x", "files": [{"path": 5}]}}}'):
        (place.root / "lock.json").write_text(text)
        with pytest.raises(StoreError, match=r"lock.json: the lock cannot be read"):
            place.build(lock=place.root / "lock.json")


# -- sources that changed ------------------------------------------------------------------------------------


def renamed(rows: list[Row], before: str, after: str) -> list[Row]:
    return [{after if key == before else key: value for key, value in row.items()} for row in rows]


def test_a_schema_that_changed_upstream_names_the_column(place: Place) -> None:
    rows = preference_rows(9, rated=False)
    place.recipe(kind="preference", sources=[{"name": "p", "from": place.jsonl("p", rows)}])
    place.build()
    place.jsonl("p", renamed(rows, "rejected", "refused"))
    (problem,) = [p for p in place.problems() if p.startswith("error")]
    assert "since the last version its columns changed: without 'rejected', with 'refused'" in problem


def test_a_column_that_is_gone_and_not_needed_is_a_warning(place: Place) -> None:
    rows = distinct(9, topic="maths")
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows), "license": "mit"}])
    place.build()
    assert place.problems() == []
    place.jsonl("a", renamed(rows, "topic", "theme"))
    (problem,) = place.problems()
    assert problem.startswith("warning")
    assert "source a: since the last version its columns changed: without 'topic', with 'theme'" in problem


# -- several at once -----------------------------------------------------------------------------------------


def test_two_processes_build_into_one_store(place: Place) -> None:
    for name in ("one", "two"):
        place.recipe(name, sources=[{"name": "a", "from": place.jsonl(name, distinct(300, name))}])
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tulu_data", "build-mixture"]
    started = [
        subprocess.Popen([*command, name], cwd=place.root, env=here, stdout=subprocess.DEVNULL)
        for name in ("one", "two", "one", "two")
    ]
    assert [process.wait(120) for process in started] == [0] * 4
    assert [v.name[:3] for name in ("one", "two") for v in versions(place.store, name)] == ["v1-", "v1-"]
    assert place.left_behind() == []
    assert verify(store=place.store).faults == []


# -- bad words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fill": True}, "`fill` says where `count` or `fraction` is taken from; give one of them"),
        ({"repeat": 0.5}, "greater than or equal to 1"),
        ({"weight": 0}, "greater than or equal to"),
        ({"weight": float("inf")}, "finite number"),
        ({"repeat": float("nan")}, "finite number"),
        (
            {"stratify": {"by": "x", "shares": "odd"}},
            "sources.0.stratify.shares: Input should be 'pro",
        ),
        ({"repeats": 2}, "Did you mean 'repeat'?"),
    ],
)
def test_a_wrong_word_of_a_source(place: Place, settings: Row, said: str) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", distinct(2)), **settings}])
    assert said in "\n".join(place.problems())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": {"rows": 5, "tokens": 5}}, "a size is given in `rows` or in `tokens`"),
        ({"size": 0}, "field size.rows: a size is a whole number from 1 on, or `max` (given: 0)"),
        ({"size": {"tokens": "all"}}, "field size.tokens: a size is a whole number from 1 on, or `max`"),
        ({"size": True}, "valid dictionary"),
        ({"holdout": {"fraction": 1.5}}, "less than 1"),
        ({"holdout": 2}, "less than 1"),
        ({"max_per_source": 0}, "greater than or equal to 1"),
        ({"tokenizer": "nowhere.json"}, "the tokenizer file does not exist"),
    ],
)
def test_a_wrong_word_of_a_recipe(place: Place, settings: Row, said: str) -> None:
    place.recipe(**settings, sources=[{"name": "a", "from": place.jsonl("a", distinct(2))}])
    assert said in "\n".join(place.problems())


def test_lineage_is_in_the_order_of_the_rows(place: Place) -> None:
    place.recipe(holdout={"fraction": 0.3}, sources=[{"name": "a", "from": place.jsonl("a", distinct(40))}])
    built = place.build()
    ids = [*data(built)["id"].to_pylist(), *data(built, "test")["id"].to_pylist()]
    lineage = pq.read_table(built.path / "lineage.parquet")
    assert lineage["id"].to_pylist() == ids
    assert pc.min(lineage["tokens"]).as_py() > 0
