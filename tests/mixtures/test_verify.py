"""`verify`: every way in which a version can stop being what was built is found, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mixtures.places import Place, preference_rows, sft_rows
from tulu_data.errors import StoreError, UsageError
from tulu_data.mixtures.store import file_hash
from tulu_data.mixtures.verify import Fault, verify


def only_version(place: Place) -> Path:
    (path,) = (place.store / "mixtures" / "mini").iterdir()
    return path


def manifest(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    """An edit of the manifest."""

    def edit(version: Path) -> None:
        told = json.loads((version / "manifest.json").read_text())
        change(told)
        (version / "manifest.json").write_text(json.dumps(told))

    return edit


def test_what_was_built_verifies(mini: Place) -> None:
    built = [mini.build(), mini.build(limit=5)]
    result = verify(store=mini.store)
    assert result.versions == ["mini@v1", "mini@preview"]
    assert result.faults == []
    assert result.rows == sum(one.rows for one in built)


def test_the_logical_hash_is_computed_as_a_build_does(place: Place) -> None:
    """Parts in the order of the recipe, not of the alphabet; copies; held-out rows behind the others."""
    sources = [
        {"name": name, "from": place.parquet(name, sft_rows(30, name)), "repeat": 1.5}
        for name in ("b", "train", "a")
    ]
    place.recipe(sources=sources, layout="by_source", holdout={"fraction": 0.3})
    place.recipe("shuffled", sources=sources, holdout={"fraction": 0.3})
    pairs = [{"name": "p", "from": place.parquet("p", preference_rows(9, rated=True))}]
    place.recipe("pairs", kind="preference", sources=pairs)
    for name in ("mini", "shuffled", "pairs"):
        place.build(name)
    assert list((only_version(place) / "test").iterdir())
    assert verify(store=place.store).faults == []


def append(version: Path) -> None:
    with next((version / "data").glob("*.parquet")).open("ab") as file:
        file.write(b" ")


def swap(version: Path) -> None:
    """Files altered together with the hashes of the manifest: only the rows themselves tell."""
    data = next((version / "data").glob("*.parquet"))
    other = version.parent.parent / "other"
    shutil.copy(next(next(other.iterdir()).glob("data/*.parquet")), data)
    told = json.loads((version / "manifest.json").read_text())
    told["files"][f"data/{data.name}"]["sha256"] = file_hash(data)
    (version / "manifest.json").write_text(json.dumps(told))


DAMAGES: dict[str, tuple[Callable[[Path], object], set[tuple[str, str]]]] = {
    "a byte more": (append, {("altered", "data/train-00000-of-00001.parquet")}),
    "no lineage": (lambda v: (v / "lineage.parquet").unlink(), {("missing", "lineage.parquet")}),
    "a file more": (
        lambda v: shutil.copy(v / "lineage.parquet", v / "data" / "train-more.parquet"),
        {("extra", "data/train-more.parquet")},
    ),
    "a note": (lambda v: (v / "notes.txt").write_text("mine"), set()),
    "other rows": (swap, {("logical hash", "data")}),
    "no manifest": (lambda v: (v / "manifest.json").unlink(), {("manifest", "manifest.json")}),
    "half a manifest": (
        lambda v: (v / "manifest.json").write_text('{"rows": '),
        {("manifest", "manifest.json")},
    ),
    "a manifest without rows": (manifest(lambda m: m.pop("rows")), {("manifest", "manifest.json")}),
    "a manifest of another shape": (manifest(lambda m: m.update(files=[])), {("manifest", "manifest.json")}),
    "a file without a hash": (
        manifest(lambda m: m.update(files={"lineage.parquet": {}})),
        {("manifest", "manifest.json")},
    ),
    "another count": (manifest(lambda m: m.update(rows=1)), {("rows", "data")}),
    "another seal": (
        manifest(lambda m: m.update(logical_hash="0" * 64)),
        {("logical hash", "data"), ("name", ".")},
    ),
    "no lock": (lambda v: (v / "lock.json").unlink(), {("lock", "lock.json")}),
    "another lock": (
        lambda v: (v / "lock.json").write_text('{"format": 1, "sources": {}}'),
        {("lock", "lock.json")},
    ),
    "another name": (lambda v: v.rename(v.with_name("v1-00000000")), {("name", ".")}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_a_fault_of_its_own(damage: str, place: Place) -> None:
    for name, word in (("mini", "sum"), ("other", "mus")):
        place.recipe(name, sources=[{"name": "a", "from": place.parquet(name, sft_rows(12, word))}])
        place.build(name)
    change, expected = DAMAGES[damage]
    change(only_version(place))
    result = verify(store=place.store)
    assert {(fault.what, fault.where) for fault in result.faults} == expected
    assert {fault.version for fault in result.faults} <= {"mini@v1"}
    assert result.versions == ["mini@v1", "other@v1"]
    assert verify("other", store=place.store).faults == []


def test_a_fault_is_one_line() -> None:
    fault = Fault("mini@v1", "missing", "data/x.parquet", "is missing")
    assert str(fault) == "mini@v1: data/x.parquet: is missing"


def test_names_and_stores_that_do_not_exist_are_errors(mini: Place, tmp_path: Path) -> None:
    mini.build()
    with pytest.raises(UsageError, match="Did you mean 'mini'"):
        verify("minni", store=mini.store)
    with pytest.raises(StoreError, match="there is no store"):
        verify(store=tmp_path / "nowhere")
    assert verify(only_version(mini), store=tmp_path / "nowhere").faults == []
