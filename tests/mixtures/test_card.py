"""The card: what `datasets` and people read of a version. A process loads each kind, offline, as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.mixtures.places import Place, preference_rows, rlvr_rows, sft_rows
from tulu_data.mixtures.build import BuildResult

LOAD = """
import json, sys, warnings
from datasets import load_dataset
told = {}
for path, config in json.loads(sys.argv[1]):
    rows = load_dataset(path, *([config] if config else []), split="train")
    told[f"{path} {config}"] = [rows.column_names, rows.num_rows, rows[0] if rows.num_rows else None]
print(json.dumps(told))
"""


def load(tmp_path: Path, *wanted: tuple[BuildResult, str]) -> list[Any]:
    places = [[str(built.path), config] for built, config in wanted]
    environment = {
        **os.environ,
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(places)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return [told[f"{path} {config}"] for path, config in places]


def test_datasets_loads_every_kind(place: Place, tmp_path: Path) -> None:
    rows = {
        "sft": sft_rows(20),
        "preference": preference_rows(20, rated=True),
        "rlvr": rlvr_rows(20),
        "prompts": sft_rows(20),
    }
    made: dict[str, BuildResult] = {}
    for kind, native in rows.items():
        place.recipe(kind, kind=kind, sources=[{"name": "a", "from": place.jsonl(kind, native)}])
        made[kind] = place.build(kind)
    *kinds, trl = load(tmp_path, *((built, "") for built in made.values()), (made["preference"], "trl"))
    for built, (columns, count, first) in zip(made.values(), kinds, strict=True):
        assert columns == built.manifest["columns"]
        assert count == built.rows == 20
        assert first["source"] == "a"
    assert trl[0] == ["chosen", "rejected", "source"]
    assert trl[1] == 20
    assert trl[2]["chosen"][0]["role"] == "user"


def front_matter(built: BuildResult) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((built.path / "README.md").read_text().split("---")[1])
    return found


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
