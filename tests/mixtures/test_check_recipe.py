"""`check`: every problem at once, each with its place and its remedy, and nothing built."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import pyarrow as pa
import pytest

from tests.mixtures.places import Place, preference_rows, rlvr_rows, sft_rows
from tulu_data.errors import RecipeError, Where
from tulu_data.mixtures.check import moving
from tulu_data.mixtures.opening import OpenSource, changed_columns
from tulu_data.mixtures.recipe import SourceAt, SourceEntry
from tulu_data.op import Op, Registry
from tulu_data.record import Kind
from tulu_data.sources import SourceSpec
from tulu_data.sources.adapters import get
from tulu_data.sources.hub import Hub, HubSource


class Reads(Op):
    """Reads a column that nobody has."""

    name: ClassVar[str] = "reads"

    @classmethod
    def example(cls) -> Self:
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("score",)

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return batch


class Writes(Reads):
    """Writes it."""

    name: ClassVar[str] = "writes"

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("id",)

    def writes(self) -> pa.Schema:
        return pa.schema([("score", pa.float64())])


def errors(place: Place) -> list[str]:
    return [told for told in place.problems() if told.startswith("error: ")]


HUB = Hub("org/set", "main", None)
OWN = Registry({"reads": Reads, "writes": Writes})


def test_a_sound_recipe_has_no_problems(mini: Place) -> None:
    assert mini.problems() == []
    assert not mini.store.exists()


def test_a_step_for_a_source_that_there_is_not_is_told(place: Place) -> None:
    source = {"name": "chat", "from": place.jsonl("rows", sft_rows(5)), "license": "mit"}
    step = {"op": "keyword_filter", "words": ["x"], "sources": ["chatt"]}
    place.recipe(sources=[source], steps=[step, {"op": "also_in", "source": "other"}])
    assert [problem.partition(": no ")[2] for problem in place.problems()] == [
        "source of this recipe is named 'chatt'; expected one of: chat. Did you mean 'chat'?",
        "source of this recipe is named 'other'; expected one of: chat",
    ]


def test_keys_that_choose_nothing_of_files_are_a_warning(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(5)), "license": "mit"}
    place.recipe(sources=[{**source, "revision": "v2", "split": "test"}])
    (told,) = place.problems()
    assert told.startswith(
        "warning: mixtures/mini.yaml, line 4: source a: `revision` and `split` choose nothing of files. "
    )


@pytest.mark.parametrize("other", ["data/*.parquet", "data/../data/rows.parquet", "data/link.parquet"])
def test_two_sources_that_read_the_same_file_are_a_warning(place: Place, other: str) -> None:
    first = {"name": "a", "from": place.parquet("rows", sft_rows(5)), "license": "mit"}
    (place.root / "mixtures" / "data" / "link.parquet").symlink_to("rows.parquet")
    sources = [first, {**first, "name": "b", "from": other}]
    place.recipe(sources=sources)
    (told,) = place.problems()
    assert told.startswith("warning: mixtures/mini.yaml, line 7: the sources a and b read the same: data/")
    part = {"op": "where", "column": "id", "sources": ["b"], "equals": "up1"}
    place.recipe(sources=sources, steps=[part])
    assert not any("read the same" in told for told in place.problems())
    place.recipe(sources=[first, {**first, "name": "b", "from": place.parquet("others", sft_rows(4))}])
    assert place.problems() == []


def test_a_file_that_is_cut_short_behind_the_first_is_told(place: Place) -> None:
    place.parquet("a", sft_rows(300))
    data = (place.root / "mixtures" / "data" / "a.parquet").read_bytes()
    (place.root / "mixtures" / "data" / "b.parquet").write_bytes(data[: len(data) // 2])
    place.recipe(sources=[{"name": "a", "from": "data/*.parquet", "license": "mit"}])
    (told,) = place.problems()
    assert told.startswith("error: mixtures/mini.yaml, line 4: source a: data/b.parquet: the file is cut sho")


def test_configs_of_one_dataset_on_the_hub_are_two_sources() -> None:
    def reads(config: str) -> set[str]:
        spec = SourceSpec.model_validate({"from": "hf:org/set", "config": config})
        builder = SimpleNamespace(config=SimpleNamespace(name=config))
        return {*HubSource(spec, "hf:org/set", "c" * 40, "train", (builder,), HUB).reads()}

    assert reads("main") == reads("main")
    assert not reads("main") & reads("other")


def test_a_column_that_holds_something_else_than_in_the_last_version_is_told(place: Place) -> None:
    def rows(**values: Any) -> list[Any]:
        return [{**row, **values} for row in sft_rows(4)]

    source = {"name": "a", "from": place.parquet("a", rows(label=1, why=None)), "license": "mit"}
    place.recipe(sources=[source])
    place.build()
    place.parquet("a", rows(label=1, why="known", further="x"))
    assert place.problems() == []  # further columns, and values where there were none, change nothing
    place.parquet("a", rows(label="one", why="x"))
    (told,) = place.problems()
    assert "since the last version its columns changed: 'label' holds string in place of int64" in told
    place.parquet("a", [{key: row[key] for key in ("messages",)} | {"label": "1"} for row in sft_rows(4)])
    (told,) = place.problems()
    assert "without 'id', 'why'; 'label' holds string in place of int64" in told


def test_a_manifest_that_names_columns_without_their_types_is_understood(place: Place) -> None:
    schema = pa.schema([("messages", pa.string()), ("label", pa.int64())])
    assert changed_columns(schema, {"columns": ["messages", "label"]}) == ""
    assert changed_columns(schema, {"columns": ["messages", "id"]}).endswith("without 'id', with 'label'")
    assert changed_columns(schema, None) == ""


def test_every_problem_of_sources_and_steps_is_told_at_once(place: Place) -> None:
    rows = place.jsonl("rows", sft_rows(5))
    pairs = place.jsonl("pairs", preference_rows(5, rated=False))
    text = f"""\
mixture: mini
kind: sft
sources:
  - {{name: gone, from: data/rowz.jsonl.gz, license: mit}}
  - {{name: strange, from: {place.jsonl("odd", [{"colour": "red"}] * 3)}, license: mit}}
  - {{name: pairs, from: {pairs}, license: mit}}
  - {{name: typo, from: {rows}, adapter: mesages, license: mit}}
  - {{name: bare, from: {rows}}}
steps:
  - {{op: exact_dedupe}}
  - {{op: exact_dedup, normalise: true}}
  - {{list: provider_names}}
  - {{op: reads}}
"""
    place.recipe(text=text)
    told = place.problems(registry=OWN)
    for line, part in [
        (4, "error: mixtures/mini.yaml, line 4: source gone: data/rowz.jsonl.gz: "),
        (
            5,
            "error: mixtures/mini.yaml, line 5: source strange: data/odd.jsonl.gz: no adapter knows",
        ),
        (
            6,
            "error: mixtures/mini.yaml, line 6: source pairs: data/pairs.jsonl.gz: the rows give no sft rows",
        ),
        (7, "error: mixtures/mini.yaml, line 7: source typo: no adapter is named 'mesages'"),
        (8, "warning: mixtures/mini.yaml, line 8: source bare has no licence. Add `license: …`"),
        (10, "no operator is named 'exact_dedupe'"),
        (11, "unknown key 'normalise'. Did you mean 'normalize'?"),
        (12, "a step names no operator"),
        (
            13,
            "operator 'reads' reads 'score': not in sft rows, nor written by an earlier step. Put the",
        ),
    ]:
        assert any(f"line {line}" in t and part in t for t in told), (part, told)
    assert len(told) == 9
    with pytest.raises(RecipeError) as caught:
        place.build(registry=OWN)
    assert len(caught.value.problems) == 8
    assert not place.store.exists()


def test_a_column_that_an_earlier_step_writes_is_there(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(5)), "license": "mit"}
    place.recipe(sources=[source], steps=[{"op": "writes"}, {"op": "reads"}])
    assert place.problems(registry=OWN) == []
    place.recipe(sources=[source], steps=[{"op": "reads"}, {"op": "writes"}])
    assert len(place.problems(registry=OWN)) == 1


def test_a_count_above_what_parquet_tells_is_known_before_it_is_read(place: Place) -> None:
    source = {"name": "a", "from": place.parquet("a", sft_rows(5)), "license": "mit", "count": 6}
    place.recipe(sources=[source])
    (told,) = place.problems()
    assert told.startswith(
        "error: mixtures/mini.yaml, line 4: source a: count 6 is above the 5 rows that exist"
    )


def test_a_count_above_a_small_file_is_known_before_it_is_built(place: Place) -> None:
    sources = [
        {"name": "few", "from": place.jsonl("few", sft_rows(5)), "license": "mit", "count": 6},
        {"name": "many", "from": place.jsonl("many", sft_rows(201)), "license": "mit", "count": 202},
        {"name": "both", "from": "data/*.jsonl.gz", "license": "mit", "count": 207},
    ]
    place.recipe(sources=sources)
    (told,) = errors(place)
    assert "line 4: source few: count 6 is above the 5 rows that exist. Ask for at most 5" in told
    place.jsonl("many", sft_rows(3))
    place.recipe(sources=[{**sources[2], "count": 9}])
    (told,) = place.problems()
    assert "source both: count 9 is above the 8 rows that exist" in told
    place.recipe(sources=[{**sources[2], "count": 8}])
    assert place.problems() == []


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_fraction_that_takes_no_row_is_a_warning(place: Place, form: str) -> None:
    source = {"name": "a", "from": getattr(place, form)("a", sft_rows(50)), "license": "mit"}
    place.recipe(sources=[{**source, "fraction": 0.001}])
    (told,) = place.problems()
    assert told.startswith(
        "warning: mixtures/mini.yaml, line 4: source a: fraction 0.001 of the 50 rows that"
    )
    place.recipe(sources=[{**source, "fraction": 0.01}])  # half a row rounds up
    assert place.problems() == []


def test_an_unknown_shape_is_told_in_the_same_words_by_check_and_build(place: Place) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", [{"colour": "red"}]), "license": "mit"}])
    (told,) = place.problems()
    _, *adapters = told.splitlines()
    assert len(adapters) > 3
    assert all(line.startswith(" " * 6) and ": " in line for line in adapters)
    with pytest.raises(RecipeError) as caught:
        place.build()
    assert told.removeprefix("error: ") in str(caught.value).replace(f"{place.root}/", "")


def test_sources_of_another_store_are_found_there(mini: Place) -> None:
    mini.build(store=mini.root / "elsewhere")
    mini.recipe("second", sources=[{"name": "m", "from": "store:mixtures/mini@v1", "license": "mit"}])
    (told,) = mini.problems("second")
    assert "no version of the store is named 'mixtures/mini'" in told
    assert mini.problems("second", store=mini.root / "elsewhere") == []


def test_a_preview_asks_for_no_more_than_there_is(place: Place) -> None:
    source = {"name": "a", "from": place.parquet("a", sft_rows(5)), "license": "mit", "count": 6}
    place.recipe(sources=[source])
    assert place.build(limit=3).rows == 3


def test_a_bad_row_at_the_beginning_is_a_warning(place: Place) -> None:
    rows: list[Any] = sft_rows(5)
    rows[1]["messages"] = 7
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows), "license": "mit"}])
    (told,) = place.problems()
    assert told.startswith("warning: ")
    assert "row 1" in told
    assert "--bad-rows skip" in told


def test_moving_revisions_of_the_hub_are_one_warning() -> None:
    def opened(name: str, revision: str | None) -> OpenSource:
        entry = SourceEntry.model_validate({"name": name, "from": "hf:org/set", "revision": revision})
        source = HubSource(entry.spec(), "hf:org/set", "c" * 40, "train", (), Hub("org/set", "main", None))
        return OpenSource(SourceAt(entry, Where("mine.yaml", 4), Path()), source, get("messages"), None)

    pinned = opened("pinned", "c" * 40)
    (told,) = moving([opened("a", "main"), pinned, opened("b", None)])
    assert (told.what, told.level) == ("the revision moves of: a, b", "warning")
    assert "A build resolves it to a commit" in told.remedy
    assert list(moving([pinned])) == []


def test_an_adapter_that_makes_another_kind_is_an_error(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", rlvr_rows(3)), "adapter": "rlvr", "license": "mit"}
    place.recipe(kind="preference", sources=[source])
    (told,) = place.problems()
    assert "adapter 'rlvr' makes no preference rows" in told


def test_an_empty_source_is_an_error(place: Place) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", []), "license": "mit"}])
    (told,) = place.problems()
    assert told.startswith("error: mixtures/mini.yaml, line 4: source a: ")


def test_problems_of_the_file_itself_come_alone(place: Place) -> None:
    place.recipe(text="mixture: a\nkind: sft\nsourcez: []\n")
    assert place.problems()[0] == (
        "error: mixtures/mini.yaml, line 3, field sourcez: unknown key 'sourcez'. Did you mean 'sources'?"
    )


def test_a_licence_that_the_rows_name_is_enough(place: Place) -> None:
    rows = [{**row, "license": "mit"} for row in sft_rows(5)]
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows)}])
    assert place.problems() == []


def test_an_operator_for_rows_of_another_kind_is_an_error(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(5)), "license": "mit"}
    place.recipe(sources=[source], steps=[{"op": "pair"}])
    told = place.problems()
    assert len(told) == 1
    assert "operator 'pair' is for preference rows, not for sft" in told[0]
