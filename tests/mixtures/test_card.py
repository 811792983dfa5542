"""The card: what people and the Hub read of a version. What `datasets` makes of it is in test_loading.py."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.mixtures.places import Place, preference_rows, rlvr_rows, sft_rows
from tulu_data.mixtures.build import BuildResult
from tulu_data.mixtures.card import card, size
from tulu_data.mixtures.facts import facts_of
from tulu_data.op import Context, Op, Registry, verdicts
from tulu_data.record import Kind


def front_matter(built: BuildResult) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text_of(built).split("---")[1])
    return found


FOLDERS = {"train": "data", "test": "test"}


def text_of(built: BuildResult) -> str:
    return (built.path / "README.md").read_text()


def table(text: str, heading: str) -> list[dict[str, str]]:
    """The first table under a heading."""
    blocks = text.split(f"{heading}\n", 1)[1].split("\n\n")
    lines = next(block.strip() for block in blocks if block.strip().startswith("|")).splitlines()
    heads, _, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [dict(zip(heads, row, strict=True)) for row in rows]


class Finds(Op):
    """Lets every row pass, and finds something amiss with one source."""

    name: ClassVar[str] = "finds"

    @classmethod
    def example(cls) -> Self:
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("id",)

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return verdicts(batch, pa.nulls(batch.num_rows, pa.bool_()), "")

    def told(self, context: Context) -> dict[str, Any]:
        return {"warnings": ["source maths is out of step"]}


def test_the_card_tells_what_steps_found_amiss(mini: Place) -> None:
    assert "## Warnings" not in text_of(mini.build())
    text = (mini.root / "mixtures" / "mini.yaml").read_text()
    mini.recipe("warned", text=text.replace("mixture: mini", "mixture: warned") + "- {op: finds}\n")
    built = mini.build("warned", registry=Registry({"finds": Finds}))
    assert "## Warnings\n\n- Step 2, `finds`: source maths is out of step.\n\n" in text_of(built)
    assert built.manifest["steps"][1]["data"]["warnings"] == ["source maths is out of step"]


def test_the_card_lists_sources_licences_and_counts(mini: Place) -> None:
    built = mini.build()
    text = (built.path / "README.md").read_text()
    maths = built.manifest["sources"][0]["rows"]["kept"]
    assert f"| maths | data/maths.parquet |  | mit | 60 | 40 | {maths} |" in text
    assert "| 1 | exact_dedup | {} | 55 |" in text
    assert str(mini.root) not in text
    assert front_matter(built)["license"] == "other"


@pytest.mark.parametrize(
    ("licences", "told"), [(["MIT", "mit"], "mit"), (["mit", None], "other"), (["mine"], "other")]
)
def test_the_licence_is_named_only_where_all_sources_share_one_that_the_hub_knows(
    place: Place, licences: list[str | None], told: str
) -> None:
    rows = place.jsonl("a", sft_rows(5))
    place.recipe(
        sources=[
            {"name": f"s{n}", "from": rows, **({"license": name} if name else {})}
            for n, name in enumerate(licences)
        ]
    )
    assert front_matter(place.build())["license"] == told


def test_text_of_a_recipe_cannot_break_the_card(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(5)), "license": "| <b>\n# x ---"}
    place.recipe(sources=[source])
    built = place.build()
    text = (built.path / "README.md").read_text()
    assert "\\| &lt;b> # x ---" in text
    assert front_matter(built)["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]


def test_a_preview_says_that_it_is_one(mini: Place) -> None:
    text = (mini.build(limit=7).path / "README.md").read_text()
    assert "**A preview**: only the first 7 rows of each source were read." in text


# -- numbers -------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_files_in_the_text_as_in_the_metadata(mini: Place) -> None:
    recipe = yaml.safe_load((mini.root / "mixtures" / "mini.yaml").read_text())
    mini.recipe(**recipe | {"name": "mini", "holdout": {"fraction": 0.3}})
    built = mini.build()
    rows = {split: pq.read_table(built.path / folder).num_rows for split, folder in FOLDERS.items()}
    [info] = front_matter(built)["dataset_info"]
    assert {split["name"]: split["num_examples"] for split in info["splits"]} == rows
    assert {row["split"]: int(row["rows"]) for row in table(text_of(built), f"# mini {built.name}")} == rows
    assert f"{sum(rows.values())} sft rows from 2 sources" in text_of(built)
    sources = table(text_of(built), "## Sources")
    assert sum(int(row["kept"]) for row in sources) == sum(rows.values()) == built.rows
    tokens = pq.read_table(built.path / "lineage.parquet")["tokens"].to_pylist()
    assert sum(int(row["tokens (estimated)"]) for row in sources) == sum(tokens)


def test_each_split_is_named_only_where_it_is(mini: Place) -> None:
    [config] = front_matter(mini.build())["configs"]
    assert [file["split"] for file in config["data_files"]] == ["train"]
    assert 'split="test"' not in text_of(mini.build())


@pytest.mark.parametrize(
    ("rows", "told"), [(999, "n<1K"), (1000, "1K<n<10K"), (939_344, "100K<n<1M"), (10**9, "1B<n<10B")]
)
def test_the_class_of_size_is_the_hubs(rows: int, told: str) -> None:
    assert size(rows) == told


def test_licences_are_counted_row_by_row(place: Place) -> None:
    rows = [{**row, "license": ("mit", "odc-by", "")[n % 3]} for n, row in enumerate(sft_rows(9))]
    sources = [
        {"name": "own", "from": place.parquet("own", rows)},
        {"name": "stated", "from": place.jsonl("stated", sft_rows(6)), "license": "mit"},
    ]
    place.recipe(sources=sources)
    text = text_of(place.build())
    counts = {row["licence"]: (int(row["rows"]), row["of rows"]) for row in table(text, "## Licences")}
    assert counts == {"mit": (9, "60.0%"), "not stated": (3, "20.0%"), "odc-by": (3, "20.0%")}
    assert "3 of 15 rows have no licence stated." in text
    told = {row["source"]: row["licence"] for row in table(text, "## Sources")}
    assert told["stated"] == "mit"
    assert re.fullmatch(r"(mit|odc-by|not stated) \(3\)(, (mit|odc-by|not stated) \(3\)){2}", told["own"])


# -- what else is told ---------------------------------------------------------------------------------------


def test_the_whole_recipe_is_told(mini: Place) -> None:
    built = mini.build()
    block = text_of(built).split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(block) == built.manifest["recipe"]


def test_a_recipe_cannot_end_its_own_block(place: Place) -> None:
    place.recipe(
        sources=[{"name": "a", "from": place.jsonl("a", sft_rows(5)), "license": "mit\n```\n# not mine"}]
    )
    built = place.build()
    assert "\n````yaml\n" in text_of(built)
    assert yaml.safe_load(text_of(built).split("````")[1].removeprefix("yaml")) == built.manifest["recipe"]


def test_a_synthetic_sample_says_that_it_is_one(place: Place) -> None:
    mirror = place.root / "mirror"
    folder = mirror / "org" / "rows"
    folder.mkdir(parents=True)
    (folder / "sample.json").write_text(json.dumps({"synthetic": True, "rows": 5}))
    pq.write_table(pa.Table.from_pylist(sft_rows(5)), folder / "train.parquet")
    place.recipe(sources=[{"name": "a", "from": "hf:org/rows", "revision": "main"}])
    built = place.build(mirror=mirror)
    assert "**A synthetic sample**" in text_of(built)
    assert "synthetic-sample" in front_matter(built)["tags"]
    assert "synthetic sample" in (built.path / "croissant.json").read_text()


@pytest.mark.parametrize(
    ("kind", "rows", "lines"),
    [
        ("sft", sft_rows(5), ['SFTTrainer("MODEL", ', "read `messages`: `--dataset_mixer_list"]),
        (
            "preference",
            preference_rows(5, rated=False),
            ['pairs = load_dataset("HERE", "trl", split="train")'],
        ),
        ("rlvr", rlvr_rows(5), ['rename_column("messages", "prompt")', "`ground_truth` and `dataset`"]),
        ("prompts", sft_rows(5), ['rename_column("messages", "prompt")']),
    ],
)
def test_it_says_how_to_train_on_each_kind(
    place: Place, kind: str, rows: list[dict[str, Any]], lines: list[str]
) -> None:
    place.recipe(kind=kind, sources=[{"name": "a", "from": place.jsonl("a", rows)}])
    built = place.build()
    text = card(facts_of(built.path, built.manifest), "HERE")
    assert [line for line in lines if line not in text] == []
    assert 'load_dataset("PATH_OF_THIS_FOLDER", split="train")' in text_of(built)
