"""`gc`: what a store no longer needs, listed; deleted only where that is asked for.

    build        the folder of a build that died
    preview      the last build with a limit of a recipe
    version      one that is not among the latest of its mixture, and that nothing reads

A version stays where a recipe of the workspace, or the lock of another version or preview that stays, reads
it through a `store:` source.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from tulu_data.engine.spill import disk_errors
from tulu_data.errors import StoreError, UsageError
from tulu_data.mixtures.find import all_versions, existing, label, size_of
from tulu_data.mixtures.lock import LOCK, read_lock
from tulu_data.mixtures.store import (
    TEMPORARY,
    Version,
    builds,
    guard,
    mixtures,
    resolver,
    versions,
)
from tulu_data.workspace import FOLDERS, Workspace

STORE_SOURCE = re.compile(r"store:([A-Za-z0-9._/@-]+)")
"""A version that a recipe names. It is looked for in the text: what a recipe with faults names stays, too."""


YAML = "*.y*ml"


@dataclass(frozen=True)
class Garbage:
    """A folder that would go, or went."""

    what: str
    """`build`, `preview` or `version`."""
    name: str
    """`sft_mini@v2`, or the folder of a build."""
    path: Path
    bytes: int


@dataclass(frozen=True)
class Kept:
    """A version that is not among the latest and stays nevertheless."""

    name: str
    read_by: str
    """What reads it: a version, a preview, or a recipe."""


@dataclass(frozen=True)
class Collected:
    """What would go, or went, and what stays because something reads it."""

    garbage: list[Garbage]
    kept: list[Kept]
    deleted: bool

    @property
    def bytes(self) -> int:
        """How much there is of it on the disk."""
        return sum(one.bytes for one in self.garbage)


def gc(
    *,
    keep: int | None = None,
    previews: bool = False,
    delete: bool = False,
    store: Path | None = None,
    workspace: Workspace | None = None,
) -> Collected:
    """List what a store no longer needs, and delete it where asked.

    Where nothing is deleted, nothing is written or locked either: the store may be read-only.

    Args:
        keep: how many of the latest versions of each mixture stay; all, unless given.
        previews: whether previews go.
        delete: whether anything is deleted.
        store: the store; `store/` in the workspace unless given.
        workspace: whose recipes may read versions; the current folder unless given.

    Raises:
        UsageError: `keep` is below 1.
        StoreError: there is no store; a lock cannot be read, so that nobody knows what its version reads; or
            versions or previews shall be deleted while a build is under way, which may be reading them.
    """
    if keep is not None and keep < 1:
        raise UsageError(f"keep {keep} versions", expected="at least 1: the latest always stays")
    workspace = workspace or Workspace.here()
    store = existing(store or workspace.root / "store")
    with disk_errors(store), guard(store) if delete else nullcontext():
        found, kept = _found(store, workspace, keep, previews=previews)
        if delete:
            if any(alive for _, alive in builds(store)) and any(one.what != "build" for one in found):
                what = "a build is under way, which may be reading what would go"
                raise StoreError(what, where=str(store), remedy="Run the command again when it has ended")
            _delete(found, store)
    return Collected(found, kept, delete)


def _found(
    store: Path, workspace: Workspace, keep: int | None, *, previews: bool
) -> tuple[list[Garbage], list[Kept]]:
    found = [_garbage("build", path, path.name) for path, alive in builds(store) if not alive]
    if previews:
        found += [_garbage("preview", v.path, label(v)) for v in all_versions(store) if not v.number]
    if keep is None:
        return found, []
    old = {v.path.resolve(): v for mixture in mixtures(store) for v in versions(store, mixture)[:-keep]}
    staying = [v for v in all_versions(store) if v.path.resolve() not in old and (v.number or not previews)]
    readers = _readers(staying, old, store, workspace) if old else {}
    kept = [Kept(label(old[path]), readers[path]) for path in old if path in readers]
    found += [_garbage("version", v.path, label(v)) for path, v in old.items() if path not in readers]
    return found, kept


def _garbage(what: str, path: Path, name: str) -> Garbage:
    return Garbage(what, name, path, size_of(path))


def _readers(
    staying: Iterable[Version], old: Mapping[Path, Version], store: Path, workspace: Workspace
) -> dict[Path, str]:
    """The old versions that something reads which stays, and what reads them.

    A version that stays only because it is read keeps what it reads in turn.
    """
    readers = _named_by_recipes(store, workspace)
    waiting = [*staying, *(old[path] for path in readers if path in old)]
    while waiting:
        version = waiting.pop(0)
        for path in _locked(version, store):
            if path in old and path not in readers:
                readers[path] = label(version)
                waiting.append(old[path])
    return readers


def _named_by_recipes(store: Path, workspace: Workspace) -> dict[Path, str]:
    """Every version that a recipe names, or a part that recipes include; and its name."""
    readers: dict[Path, str] = {}
    find = resolver(store)
    recipes = ((root, path) for root in workspace.roots() for f in FOLDERS for path in (root / f).rglob(YAML))
    for root, path in recipes:
        name = path.relative_to(root).with_suffix("").as_posix()
        for named in STORE_SOURCE.findall(path.read_text(encoding="utf-8", errors="replace")):
            with suppress(UsageError):  # it names nothing that is there
                readers |= {file.parent.parent.resolve(): name for file in find(named)}
    return readers


def _locked(version: Version, store: Path) -> Iterator[Path]:
    """The versions of this store that a version's lock pins files of."""
    pinned = read_lock(version.path / LOCK).values()
    files = [Path(file["path"]) for source in pinned for file in source.get("files", ())]
    for file in files:
        if file.parts[:1] == ("store",):  # so a lock names the store, wherever it lies
            yield (store / Path(*file.parts[1:])).parent.parent.resolve()


def _delete(garbage: Iterable[Garbage], store: Path) -> None:
    """Each folder leaves its place whole before its files go: nobody ever sees half a version."""
    trash = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=store))
    try:
        for number, one in enumerate(garbage):
            one.path.rename(trash / str(number))
            _remove_empty(one.path.parent, store)
    finally:
        shutil.rmtree(trash, ignore_errors=True)


def _remove_empty(folder: Path, store: Path) -> None:
    """The folders of names that have no version any more."""
    while store not in {folder, folder.parent}:
        with suppress(OSError):
            folder.rmdir()
        if folder.exists():
            return
        folder = folder.parent
