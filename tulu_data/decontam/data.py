"""The training data that `decontaminate` scans: arguments, the suite's `train:` list, or recipes' sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tulu_data.decontam.suite import Suite
from tulu_data.document import read_document
from tulu_data.errors import RecipeError, UsageError
from tulu_data.sources import SourceSpec
from tulu_data.sources.adapters import get
from tulu_data.sources.data import Data, named_data, short_name
from tulu_data.workspace import Workspace

__all__ = ["Data", "data_to_scan", "recipe_sources"]


def data_to_scan(
    given: Sequence[str],
    suite: Suite,
    workspace: Workspace,
    *,
    adapter: str | None = None,
    all_recipes: bool = False,
) -> list[Data]:
    """What a command names, else the suite's `train:` list.

    Args:
        given: paths, globs or `hf:ORG/NAME`, from the current folder.
        suite: whose `train:` list is taken where nothing is given.
        workspace: whose recipes are asked for their sources.
        adapter: of all that is scanned, where a recipe does not name another.
        all_recipes: take the sources of every recipe in the workspace.

    Raises:
        UsageError: there is nothing to scan (lists what could be), no adapter has that name, or only a recipe
            can use it.
    """
    found = _found(given, suite, workspace, all_recipes=all_recipes)
    for data in found:
        if named := data.adapter or adapter:
            get(named, where=data.spec.from_ if data.adapter else None, in_recipe=False)
    return [replace(data, adapter=data.adapter or adapter) for data in found]


def _found(given: Sequence[str], suite: Suite, workspace: Workspace, *, all_recipes: bool) -> list[Data]:
    if given and all_recipes:
        raise UsageError(
            "--all-recipes scans the sources of the recipes, and the command names data too",
            expected="one of them",
        )
    if given:
        return named_data((text, Path.cwd()) for text in given)
    if all_recipes:
        found = list(recipe_sources(workspace))
        if not found:
            raise UsageError(
                "no recipe in the workspace has a source", where=str(workspace.root / "mixtures")
            )
        return _unlike(found)
    if suite.train:
        return named_data((text, suite.base) for text in suite.train)
    could = "".join(f"\n  {data.name}: {data.spec.from_}" for data in recipe_sources(workspace))
    listing = (
        f"\nThe recipes of this workspace have these sources (--all-recipes scans them):{could}"
        if could
        else ""
    )
    raise UsageError(
        f"the command names no data to scan, and suite {suite.name} has no `train:` list",
        remedy=f"Name files, globs or hf:ORG/NAME behind the options{listing}",
    )


def recipe_sources(workspace: Workspace) -> Iterator[Data]:
    """The sources of every recipe in the workspace's own `mixtures/`, each place once."""
    folder = workspace.root / "mixtures"
    seen: set[tuple[str, ...]] = set()
    for path in sorted(folder.rglob("*.yaml")):
        try:
            entries = read_document(path).data.get("sources")
        except RecipeError:
            continue  # `check` tells what is wrong with a recipe; here it has no sources
        for entry in entries if isinstance(entries, list) else []:
            data = _of_entry(entry, path.parent) if isinstance(entry, dict) else None
            if data is None:
                continue
            key = (data.spec.model_dump_json(), str(path.parent), data.adapter or "")
            if key not in seen:
                seen.add(key)
                mixture = path.relative_to(folder).with_suffix("").as_posix()
                yield replace(data, name=re.sub(r"[^\w.-]", "_", f"{mixture}_{data.name}").lstrip("."))


def _unlike(found: Sequence[Data]) -> list[Data]:
    """The same with a number behind a name that repeats: each becomes a file."""
    seen = Counter[str]()
    taken = {data.name for data in found}
    out = []
    for data in found:
        name = data.name
        while seen[data.name] and name in taken:
            seen[data.name] += 1
            name = f"{data.name}_{seen[data.name]}"
        seen[data.name] = seen[data.name] or 1
        taken.add(name)
        out.append(replace(data, name=name))
    return out


def _of_entry(entry: dict[str, Any], base: Path) -> Data | None:
    place = entry.get("from")
    if not isinstance(place, str) or place.startswith("store:"):
        return None
    keys = {name for name in SourceSpec.model_fields if name != "from_"} | {"from"}
    try:
        spec = SourceSpec.model_validate({key: value for key, value in entry.items() if key in keys})
    except ValidationError:
        return None  # as above
    return Data(str(entry.get("name", short_name(place))), spec, base, entry.get("adapter"))
