"""`verify`: every way in which a version can stop being what was built is found, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mixtures.places import Place, preference_rows, sft_rows
from tulu_data.errors import StoreError, UsageError
from tulu_data.mixtures.sums import SUMS, file_hash, write_sums
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
    """Files altered together with all their hashes: only the rows themselves tell."""
    data = next((version / "data").glob("*.parquet"))
    other = version.parent.parent / "other"
    shutil.copy(next(next(other.iterdir()).glob("data/*.parquet")), data)
    told = json.loads((version / "manifest.json").read_text())
    told["files"][f"data/{data.name}"]["sha256"] = file_hash(data)
    (version / "manifest.json").write_text(json.dumps(told))
    write_sums(version)


def resum(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A change that is followed by `sha256sum > SHA256SUMS`."""

    def edit(version: Path) -> None:
        change(version)
        write_sums(version)

    return edit


def rewrite(name: str) -> Callable[[Path], object]:
    return lambda version: (version / name).write_text((version / name).read_text() + " ")


MANIFEST = ("altered", "manifest.json")


DAMAGES: dict[str, tuple[Callable[[Path], object], set[tuple[str, str]]]] = {
    "a byte more": (append, {("altered", "data/train-00000-of-00001.parquet")}),
    "no lineage": (lambda v: (v / "lineage.parquet").unlink(), {("missing", "lineage.parquet")}),
    "a file more": (
        lambda v: shutil.copy(v / "lineage.parquet", v / "data" / "train-more.parquet"),
        {("extra", "data/train-more.parquet")},
    ),
    "a note": (lambda v: (v / "notes.txt").write_text("mine"), {("extra", "notes.txt")}),
    "a folder": (
        lambda v: shutil.copytree(v / "data", v / "more" / "data"),
        {("extra", "more/")},
    ),
    "an empty folder": (lambda v: (v / "test").mkdir(), {("extra", "test/")}),
    "what a file manager leaves": (lambda v: (v / ".DS_Store").write_text(""), set()),
    "another card": (rewrite("README.md"), {("altered", "README.md")}),
    "another Croissant file": (rewrite("croissant.json"), {("altered", "croissant.json")}),
    "another licence": (
        manifest(lambda m: m["sources"][0].update(license="mit")),  # type: ignore[index]
        {MANIFEST},
    ),
    "another seed": (manifest(lambda m: m.update(seed=1)), {MANIFEST}),
    "no card": (lambda v: (v / "README.md").unlink(), {("missing", "README.md")}),
    "hashes that are none": (lambda v: (v / SUMS).write_text("all is well"), {("altered", SUMS)}),
    "a hash of a file that never was": (
        lambda v: (v / SUMS).write_text((v / SUMS).read_text() + f"{'0' * 64}  more.txt\n"),
        {("missing", "more.txt")},
    ),
    "a byte more and its hash": (resum(append), {("altered", "data/train-00000-of-00001.parquet")}),
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
    "another count": (resum(manifest(lambda m: m.update(rows=1))), {("rows", "data")}),
    "another seal": (
        manifest(lambda m: m.update(logical_hash="0" * 64)),
        {MANIFEST, ("logical hash", "data"), ("name", ".")},
    ),
    "no lock": (lambda v: (v / "lock.json").unlink(), {("missing", "lock.json")}),
    "no lock and no hash of one": (resum(lambda v: (v / "lock.json").unlink()), {("lock", "lock.json")}),
    "another lock": (rewrite("lock.json"), {("altered", "lock.json")}),
    "another lock and its hash": (
        resum(lambda v: (v / "lock.json").write_text('{"format": 1, "sources": {}}')),
        {("lock", "lock.json")},
    ),
    "another hash in the name": (lambda v: v.rename(v.with_name("v1-00000000")), {("name", ".")}),
    "another number": (lambda v: v.rename(v.with_name(f"v7{v.name[2:]}")), {("name", ".")}),
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
    assert {fault.version for fault in result.faults} <= {"mini@v1", "mini@v7"}
    assert result.versions in (["mini@v1", "other@v1"], ["mini@v7", "other@v1"])
    assert result.notes == []
    assert verify("other", store=place.store).faults == []


def test_a_version_among_those_of_another_mixture_is_misnamed(mini: Place) -> None:
    path = mini.build().path
    path.parent.rename(path.parent.with_name("maxi"))
    (fault,) = verify(store=mini.store).faults
    assert str(fault) == "maxi@v1: .: lies among those of maxi, and was built as one of mini"
    path.parent.with_name("maxi").rename(path.parent)
    shutil.copytree(path, mini.root / "a copy")
    assert verify(mini.root / "a copy", store=mini.store).faults == []


def test_sha256sum_reads_the_hashes_of_every_other_file(mini: Place) -> None:
    path = mini.build().path
    files = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    named = [line.partition("  ")[2] for line in (path / SUMS).read_text().splitlines()]
    assert sorted(files - {SUMS}) == named
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("there is no `sha256sum` here")
    subprocess.run([program, "--check", "--strict", SUMS], cwd=path, check=True, capture_output=True)


def test_a_version_of_an_earlier_release_is_looked_at_as_far_as_it_tells(mini: Place) -> None:
    path = mini.build().path
    (path / SUMS).unlink()
    (path / "notes.txt").write_text("mine")
    result = verify(store=mini.store)
    assert result.faults == []
    assert result.notes == ["mini@v1 has no SHA256SUMS: only its Parquet files and its lock were looked at"]
    append(path)
    assert [fault.what for fault in verify(store=mini.store).faults] == ["altered"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("another card", "a file of this version was altered"),
        ("another licence", "a file of this version was altered"),
        ("no card", "a file of this version is missing"),
        ("a folder", "this was not written by the version's build"),
        ("another number", "this version is named v7-.*, and was built as v1-"),
    ],
)
def test_a_build_does_not_reuse_a_version_that_is_not_what_was_built(
    damage: str, said: str, mini: Place
) -> None:
    mini.build()
    DAMAGES[damage][0](only_version(mini))
    with pytest.raises(StoreError, match=said):
        mini.build()


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
