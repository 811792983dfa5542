"""`gc`: what a store no longer needs, listed; deleted only where that is asked for.

    build        the folder of a build that died
    preview      the last build with a limit of a recipe
    version      one that is not among the latest of its mixture, and that nothing reads

A version stays where the lock of another version or preview, or a recipe of the workspace, reads it through a
`store:` source.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
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
    with disk_errors(store), guard(store):
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
    old = [version for mixture in mixtures(store) for version in versions(store, mixture)[:-keep]]
    readers = _readers(store, workspace) if old else {}
    kept = [Kept(label(v), readers[v.path.resolve()]) for v in old if v.path.resolve() in readers]
    found += [_garbage("version", v.path, label(v)) for v in old if v.path.resolve() not in readers]
    return found, kept


def _garbage(what: str, path: Path, name: str) -> Garbage:
    return Garbage(what, name, path, size_of(path))


def _readers(store: Path, workspace: Workspace) -> dict[Path, str]:
    """Every version that something reads, and what reads it."""
    readers: dict[Path, str] = {}
    for version in all_versions(store):
        readers |= {
            path: label(version) for path in _locked(version, store) if path != version.path.resolve()
        }
    find = resolver(store)
    for folder in FOLDERS:
        for name in workspace.names(folder):
            text = workspace.find(folder, name).read_text(encoding="utf-8", errors="replace")
            for named in STORE_SOURCE.findall(text):
                with suppress(UsageError):  # it names nothing that is there
                    readers |= {file.parent.parent.resolve(): f"{folder}/{name}" for file in find(named)}
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
