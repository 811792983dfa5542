"""`croissant.json`: mlcroissant finds no fault in it, and reads through it the rows that were built."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import pytest

from tests.mixtures.places import Place, preference_rows, rlvr_rows, sft_rows
from tulu_data.mixtures.build import BuildResult
from tulu_data.mixtures.croissant import croissant
from tulu_data.mixtures.facts import facts_of
from tulu_data.record import KINDS, Kind

# What rdflib and pandas say to mlcroissant.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS: dict[Kind, list[dict[str, Any]]] = {
    "sft": sft_rows(12),
    "preference": preference_rows(12, rated=True),
    "rlvr": rlvr_rows(12),
    "prompts": sft_rows(12),
}


def made(place: Place, kind: Kind = "sft", **settings: Any) -> BuildResult:
    source = {"name": "a", "from": place.jsonl("a", ROWS[kind]), "license": "mit"}
    place.recipe(kind=kind, **{"sources": [source], **settings})
    return place.build()


def told(built: BuildResult) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((built.path / "croissant.json").read_text())
    return found


def plain(value: Any) -> Any:
    """What mlcroissant reads, as Parquet has it: text, not bytes, under the column's own name."""
    match value:
        case bytes():
            return value.decode()
        case list():
            return [plain(item) for item in value]
        case dict():
            return {name.rsplit("/", 1)[1]: plain(item) for name, item in value.items()}
        case _:
            return value


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_valid_and_reads_every_kind(place: Place, kind: Kind) -> None:
    built = made(place, kind)
    dataset = mlcroissant.Dataset(built.path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    [warning] = dataset.metadata.ctx.issues.warnings  # there is nothing to cite
    assert "citeAs" in warning
    rows = [plain(record) for record in dataset.records("train")]
    assert rows == pq.read_table(built.path / "data").to_pylist()


def test_what_is_held_out_is_a_record_set_of_its_own(place: Place) -> None:
    built = made(place, holdout={"fraction": 0.4})
    held_out = built.manifest["test_rows"]
    dataset = mlcroissant.Dataset(built.path / "croissant.json")
    counts = {name: len(list(dataset.records(name))) for name in ("train", "test", "lineage")}
    assert 0 < held_out < 12
    assert counts == {"train": 12 - held_out, "test": held_out, "lineage": 12}


def test_lineage_tells_of_every_row_where_it_came_from(place: Place) -> None:
    built = made(place)
    dataset = mlcroissant.Dataset(built.path / "croissant.json")
    rows = [plain(record) for record in dataset.records("lineage")]
    assert {(row["source"], row["license"]) for row in rows} == {("a", "mit")}
    assert sorted(row["row"] for row in rows) == list(range(12))
    assert {row["id"] for row in rows} == {plain(record)["id"] for record in dataset.records("train")}


def test_every_file_is_told_with_its_size_and_hash(place: Place) -> None:
    built = made(place, holdout={"fraction": 0.4}, layout="by_source")
    files = {file["@id"]: file for file in told(built)["distribution"] if file["@type"] == "cr:FileObject"}
    assert sorted(files) == [
        "data/a-00000-of-00001.parquet", "lineage.parquet", "test/test-00000-of-00001.parquet"
    ]  # fmt: skip
    for name, file in files.items():
        data = (built.path / name).read_bytes()
        assert file["sha256"] == sha256(data).hexdigest()
        assert file["contentSize"] == f"{len(data)} B"
        assert file["contentUrl"] == name


def test_every_source_is_told_with_what_pins_it(place: Place) -> None:
    built = made(place)
    [source] = told(built)["prov:wasDerivedFrom"]
    [file] = built.manifest["sources"][0]["lock"]["files"]
    assert source["prov:atLocation"] == "data/a.jsonl.gz"
    assert source["sha256"] == [file["sha256"]]
    assert source["license"] == "mit"
    assert told(built)["license"] == ["mit"]
    manifest = json.loads(json.dumps(built.manifest))
    manifest["sources"][0] |= {"from": "hf:org/rows", "lock": {"revision": "abc123"}}
    text = croissant(facts_of(built.path, manifest), built.path)
    [source] = json.loads(text)["prov:wasDerivedFrom"]
    assert source["prov:atLocation"] == "https://huggingface.co/datasets/org/rows/tree/abc123"
    assert source["version"] == "abc123"


def test_the_version_is_semantic(place: Place) -> None:
    built = made(place)
    number, _, digits = built.name.partition("-")
    assert (number, told(built)["version"]) == ("v1", f"1.0.0+{digits}")
    preview = place.build(limit=5)
    assert told(preview)["version"] == "0.0.0-preview"
    assert not mlcroissant.Dataset(preview.path / "croissant.json").metadata.ctx.issues.errors


def test_names_of_any_shape_are_allowed(place: Place) -> None:
    place.recipe("team/mix.1", sources=[{"name": "a-b.c", "from": f"../{place.jsonl('a', sft_rows(5))}"}])
    built = place.build("team/mix.1")
    assert told(built)["name"] == "team-mix.1"
    assert not mlcroissant.Dataset(built.path / "croissant.json").metadata.ctx.issues.errors
