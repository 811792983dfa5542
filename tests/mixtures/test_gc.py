"""`gc`: what goes is listed first, and what something reads stays."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mixtures.places import Place, sft_rows
from tulu_data.errors import StoreError, UsageError
from tulu_data.mixtures.gc import Collected, gc
from tulu_data.mixtures.store import building, guard, versions


def collect(place: Place, **settings: object) -> Collected:
    return gc(store=place.store, workspace=place.workspace, **settings)  # type: ignore[arg-type]


def named(found: Collected) -> set[tuple[str, str]]:
    return {(one.what, one.name) for one in found.garbage}


@pytest.fixture
def three(place: Place) -> Place:
    """Three versions of one mixture."""
    for count in (5, 6, 7):
        place.recipe(sources=[{"name": "a", "from": place.parquet("a", sft_rows(9)), "count": count}])
        place.build()
    return place


def test_nothing_goes_unless_asked(three: Place) -> None:
    assert collect(three) == Collected([], [], deleted=False)
    assert collect(three, keep=3, previews=True).garbage == []


def test_all_but_the_latest_versions_are_listed_and_then_deleted(three: Place) -> None:
    listed = collect(three, keep=1)
    assert named(listed) == {("version", "mini@v1"), ("version", "mini@v2")}
    assert listed.bytes == sum(one.bytes for one in listed.garbage) > 0
    assert len(versions(three.store, "mini")) == 3
    assert named(collect(three, keep=1, delete=True)) == named(listed)
    assert [v.number for v in versions(three.store, "mini")] == [3]
    assert three.left_behind() == []
    three.recipe(sources=[{"name": "a", "from": "data/a.parquet"}])
    assert three.build().name.startswith("v4-")


def test_a_version_that_another_one_was_built_from_stays(three: Place) -> None:
    three.recipe("more", sources=[{"name": "b", "from": "store:mixtures/mini@v1"}])
    three.build("more")
    (three.root / "mixtures" / "more.yaml").unlink()
    found = collect(three, keep=1, delete=True)
    assert named(found) == {("version", "mini@v2")}
    assert [(one.name, one.read_by) for one in found.kept] == [("mini@v1", "more@v1")]
    assert [v.number for v in versions(three.store, "mini")] == [1, 3]


def test_a_version_that_a_recipe_reads_stays_even_where_the_recipe_is_wrong(three: Place) -> None:
    three.recipe("more", text="mixture: more\nsources:\n  - {nam: b, from: store:mixtures/mini@v2}\n")
    found = collect(three, keep=1)
    assert named(found) == {("version", "mini@v1")}
    assert [(one.name, one.read_by) for one in found.kept] == [("mini@v2", "mixtures/more")]


def test_a_part_that_recipes_include_keeps_what_it_reads(three: Place) -> None:
    three.recipe("parts/more", text="sources:\n  - {name: b, from: store:mixtures/mini@v2}\n")
    found = collect(three, keep=1)
    assert [(one.name, one.read_by) for one in found.kept] == [("mini@v2", "mixtures/parts/more")]


def test_what_goes_keeps_nothing(three: Place) -> None:
    """mini@v1 is read by middle@v1, which goes where nothing reads it, and stays where something does."""
    for name, read in (("middle", "mini@v1"), ("top", "middle@v1")):
        three.recipe(name, sources=[{"name": "b", "from": f"store:mixtures/{read}"}])
        three.build(name)
    three.recipe("middle", sources=[{"name": "c", "from": three.parquet("c", sft_rows(4, "other"))}])
    three.build("middle")
    (three.root / "mixtures" / "top.yaml").unlink()
    found = collect(three, keep=1)
    assert named(found) == {("version", "mini@v2")}
    assert [(one.name, one.read_by) for one in found.kept] == [
        ("middle@v1", "top@v1"),
        ("mini@v1", "middle@v1"),
    ]
    shutil.rmtree(three.store / "mixtures" / "top")
    assert collect(three, keep=1).kept == []
    deleted = collect(three, keep=1, delete=True)
    assert named(deleted) == {("version", f"{name}@v1") for name in ("mini", "middle")} | {
        ("version", "mini@v2")
    }


def test_a_preview_that_goes_keeps_nothing(three: Place) -> None:
    three.recipe("more", sources=[{"name": "b", "from": "store:mixtures/mini@v1"}])
    three.build("more", limit=2)
    (three.root / "mixtures" / "more.yaml").unlink()
    assert [one.read_by for one in collect(three, keep=1).kept] == ["more@preview"]
    assert collect(three, keep=1, previews=True).kept == []


def test_a_list_neither_writes_nor_waits(three: Place) -> None:
    """A store may be read-only, and a build that numbers its version may take a while."""
    before = {path: path.stat().st_mtime_ns for path in three.store.rglob("*")}
    with guard(three.store), building_elsewhere(three.store) as living:
        found = collect(three, keep=1, previews=True)
        assert len(found.garbage) == 2
        assert living not in {one.path for one in found.garbage}
    (three.store / ".lock").unlink()
    assert len(collect(three, keep=1).garbage) == 2
    assert {path for path in before if path.exists()} == {*three.store.rglob("*")}


@contextmanager
def building_elsewhere(store: Path) -> Iterator[Path]:
    """The folder of a build that holds its lock."""
    folder = store / ".tmp-living"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    shutil.rmtree(folder)


def test_previews_go_with_their_folders(three: Place) -> None:
    three.build(limit=3)
    assert named(collect(three, previews=True, delete=True)) == {("preview", "mini@preview")}
    assert list((three.store / "previews").iterdir()) == []


def test_what_a_dead_build_left_goes_and_what_a_living_one_needs_stays(three: Place) -> None:
    dead = three.store / ".tmp-dead"
    dead.mkdir()
    (dead / "rows").write_bytes(b"1234")
    with building(three.store) as living:  # a build that begins clears up by itself
        assert not dead.exists()
        dead.mkdir()
        (dead / "rows").write_bytes(b"1234")
        found = collect(three, delete=True)
        assert [(one.what, one.path, one.bytes) for one in found.garbage] == [("build", dead, 4)]
        assert living.is_dir()
        with pytest.raises(StoreError, match="a build is under way"):
            collect(three, keep=1, delete=True)
        assert len(collect(three, keep=1).garbage) == 2
    assert three.left_behind() == []
    assert len(versions(three.store, "mini")) == 3


def test_the_latest_version_always_stays(three: Place) -> None:
    with pytest.raises(UsageError, match="the latest always stays"):
        collect(three, keep=0)


def test_a_lock_that_cannot_be_read_stops_it(three: Place) -> None:
    lock = versions(three.store, "mini")[2].path / "lock.json"
    lock.write_text(json.dumps({"sources": 3}))
    with pytest.raises(StoreError, match="the lock cannot be read"):
        collect(three, keep=1, delete=True)
    assert len(versions(three.store, "mini")) == 3


def test_without_a_store_there_is_nothing_to_collect(place: Place) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        collect(place)
    assert not Path(place.store).exists()
