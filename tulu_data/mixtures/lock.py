"""`lock.json`: what pins each source of a build, so that the same bytes are read again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tulu_data.errors import Problem, RecipeError, StoreError
from tulu_data.mixtures.opening import OpenSource
from tulu_data.mixtures.recipe import Recipe, SourceAt
from tulu_data.sources import SourceLock

FORMAT = 1
LOCK = "lock.json"

Locks = Mapping[str, Mapping[str, Any]]
"""What pins each source, by its name."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_IN_STORE = re.compile(r"store/(.+)/(v\d+-[0-9a-f]{8})/data/")


def lock_data(locks: Locks) -> dict[str, Any]:
    """The content of `lock.json`."""
    return {"format": FORMAT, "sources": dict(locks)}


def source_locks(sources: Iterable[OpenSource], recipe: Recipe, store: Path) -> dict[str, dict[str, Any]]:
    """What pins each source, by its name. Files are read once more for their hashes.

    The origin is as the recipe writes it, though a lock may have pinned what is read.
    """
    origins = {at.entry.name: at.entry.from_ for at in recipe.sources}
    found = {source.at.entry.name: source.source.lock() for source in sources}
    return {
        name: _source_lock(lock, store.resolve()) | {"origin": origins[name]} for name, lock in found.items()
    }


def _source_lock(told: SourceLock, store: Path) -> dict[str, Any]:
    """A source's lock; files of the store are named from the store's own folder."""
    data: dict[str, Any] = told.model_dump(mode="json", exclude_none=True)
    for file in data.get("files", ()):
        path = Path(file["path"])
        if path.is_absolute() and path.resolve().is_relative_to(store):
            file["path"] = f"store/{path.resolve().relative_to(store).as_posix()}"
    return data


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """What a lock file pins.

    Raises:
        StoreError: it cannot be read, or is no lock of ours.
    """
    try:
        data = json.loads(path.read_bytes())
        sources = {
            name: SourceLock.model_validate_json(json.dumps(lock)).model_dump(mode="json", exclude_none=True)
            for name, lock in data["sources"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        expected = "the lock.json of a version"
        raise StoreError("the lock cannot be read", where=str(path), expected=expected) from error
    if data.get("format") != FORMAT:
        raise StoreError(
            f"the lock has format {data.get('format')!r}", where=str(path), expected=f"format {FORMAT}"
        )
    return sources


def pinned(recipe: Recipe, locks: Locks) -> Recipe:
    """The recipe with each source at the commit, or the version of the store, that the lock names.

    Raises:
        RecipeError: the lock is not of this recipe's sources.
    """
    named = {source.entry.name: source for source in recipe.sources}
    problems = [
        Problem(f"the lock has a source {name!r} that the recipe does not have", str(recipe.file))
        for name in locks
        if name not in named
    ]
    for name, source in named.items():
        if name not in locks:
            problems.append(Problem(f"source {name}: the lock does not have it", str(source.where)))
        elif locks[name].get("origin") != source.entry.from_:
            origin = locks[name].get("origin")
            what = f"source {name}: the lock is of {origin}, the recipe reads {source.entry.from_}"
            problems.append(Problem(what, str(source.where)))
    if problems:
        raise RecipeError(f"the lock disagrees with the recipe {recipe.name}", problems)
    return replace(
        recipe, sources=tuple(_pinned(source, locks[source.entry.name]) for source in recipe.sources)
    )


def _pinned(source: SourceAt, lock: Mapping[str, Any]) -> SourceAt:
    entry = source.entry
    revision = str(lock.get("revision", ""))
    if entry.from_.startswith("hf:") and _COMMIT.fullmatch(revision):
        entry = entry.model_copy(update={"revision": revision})
    if entry.from_.startswith("store:"):
        found = next((m for f in lock.get("files", ()) if (m := _IN_STORE.match(f["path"]))), None)
        if found:
            entry = entry.model_copy(update={"from_": f"store:{found[1]}@{found[2]}"})
    return replace(source, entry=entry)


def moved(locked: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What is another than the lock says, or None where all is as it was."""
    before, after = _files(locked), _files(now)
    if bool(before) != bool(after):
        places = ("the Hub", "files")
        return f"was read from {places[bool(before)]}, and now from {places[bool(after)]}"
    if not before:
        was, is_ = locked.get("revision"), now.get("revision")
        return None if was == is_ else f"was at {was}, and is at {is_}"
    if before == after:
        return None
    changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    parts = {
        "other content": changed,
        "missing": sorted(before.keys() - after.keys()),
        "new": sorted(after.keys() - before.keys()),
    }
    return "; ".join(f"{word}: {_listed(names)}" for word, names in parts.items() if names)


def _files(lock: Mapping[str, Any]) -> dict[str, str]:
    return {file["path"]: file["sha256"] for file in lock.get("files", ())}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
