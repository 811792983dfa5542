"""A sample mirror for recipes: made-up rows for their sources and for the evaluations of their suites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tulu_data.mixtures.recipe import DECONTAMINATE, Recipe, load_recipe
from tulu_data.sources.samples import SampleMirror, Wanted, write_mirror
from tulu_data.workspace import Workspace


def sample_mirror(
    recipe: str | Sequence[str],
    rows: int,
    out: Path,
    *,
    seed: int = 42,
    force: bool = False,
    skip_unknown: bool = False,
    workspace: Workspace | None = None,
) -> SampleMirror:
    """Writes a mirror folder in which every dataset of a recipe has made-up rows of its native shape.

    Then the recipe is checked and built without a network: `tulu_data.build(recipe, mirror=out)`. The suite
    that it is decontaminated against is written too. `out/truth.jsonl` tells what must become of every case.

    Args:
        recipe: the name of a recipe, or of several that are to share the mirror.
        rows: how many rows each source, and each evaluation, gets.
        out: the folder to write.
        seed: other seeds make up other rows.
        force: whether an earlier sample at `out` is replaced.
        skip_unknown: whether a dataset whose shape is not known is left out, instead of an error.
        workspace: where recipes and suites are looked up; the current folder otherwise.

    Raises:
        UsageError: no recipe or suite has that name.
        RecipeError: a recipe or suite is wrong, or names a dataset whose shape is not known.
        StoreError: `out` exists and is no earlier sample, or cannot be written.
    """
    place = workspace or Workspace.here()
    recipes = [load_recipe(name, place) for name in ([recipe] if isinstance(recipe, str) else recipe)]
    wanted = [want for one in recipes for want in _wanted(one, place)]
    return write_mirror(wanted, out, rows=rows, seed=seed, force=force, skip_unknown=skip_unknown)


def _wanted(recipe: Recipe, workspace: Workspace) -> Iterator[Wanted]:
    """The sources of a recipe, and the evaluations of its suites."""
    from tulu_data.decontam.suite import load_suite

    for source in recipe.sources:
        yield Wanted(source.entry.spec(), str(source.where))
    for step in recipe.steps:
        suite = step.settings.get("suite")
        if step.settings.get("op") == DECONTAMINATE and isinstance(suite, str):
            for entry in load_suite(suite, workspace, base=step.base).evals:
                yield Wanted(entry.spec(), f"{step.where}, eval {entry.name}")
