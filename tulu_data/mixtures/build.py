"""`build`: a recipe becomes a version in the store.

    read      every source through its adapter; the rows wait on disk, their content hashes in memory
    select    the rows with the smallest keys, as many as the recipe asks for
    run       the steps over all sources, one behind the other; rejected rows go to dropped/
    write     what is left, in key order, by the one writer rule
    commit    manifest, lock and card; then the version appears, or the one that has these rows is found

Text is never held as a whole: it streams, or waits on disk in the store's own folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.engine import BATCH_BYTES, LocalEngine, rebatch
from tulu_data.errors import PolicyError, RecipeError
from tulu_data.mixtures.card import card
from tulu_data.mixtures.check import Checked, Surroundings, checked, too_few
from tulu_data.mixtures.manifest import (
    Built,
    differences,
    lock,
    manifest,
    rows_of_sources,
    source_locks,
    write_json,
)
from tulu_data.mixtures.outcome import Dropped, Kept, Totals
from tulu_data.mixtures.reading import Loaded, ReadingRules, chosen_rows, read_source
from tulu_data.mixtures.recipe import Recipe
from tulu_data.mixtures.select import Chosen, choose
from tulu_data.mixtures.store import MANIFEST, building, commit, commit_preview, read_manifest
from tulu_data.mixtures.writer import GroupWriter
from tulu_data.op import Context, Fold, Registry
from tulu_data.progress import Progress
from tulu_data.sources.batch import bad_rows_table
from tulu_data.workspace import Workspace

BadRows = Literal["stop", "skip"]

MATCHES = "matches"
"""The folds whose artifacts are kept, one behind the other, as `matches.parquet`."""


@dataclass(frozen=True)
class BuildResult:
    """What a build made, or found."""

    path: Path
    """The version's folder."""
    name: str
    """The version's name, `v3-5f26e7a1`; `preview` where a limit was given."""
    rows: int
    reused: bool
    """Whether a version with these rows was there before; then it stands as it was."""
    manifest: dict[str, Any]
    summary: dict[str, Any]
    """What happened to the rows of each source:
    `{mixture, version, path, reused, differs, rows, sources: [{…}]}`."""
    differs: tuple[str, ...] = ()
    """The parts of a reused version's manifest that this build's would tell otherwise, such as `steps`: the
    rows are the same, but its manifest, card and dropped rows are those of an earlier recipe."""


@dataclass(frozen=True)
class _Run:
    """One build under way."""

    found: Checked
    recipe: Recipe
    around: Surroundings
    folder: Path
    limit: int | None
    threads: int
    batch_bytes: int
    skip_bad: bool
    progress: Progress

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def version(self) -> Path:
        return self.folder / "version"


def build(
    name: str,
    *,
    workspace: Workspace | None = None,
    store: Path | None = None,
    mirror: Path | None = None,
    limit: int | None = None,
    threads: int | None = None,
    batch_bytes: int | None = None,
    bad_rows: BadRows = "stop",
    registry: Registry | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> BuildResult:
    """Build the mixture `name` into a version in the store.

    The same recipe over the same sources gives byte-equal data files and the same version, at any number of
    threads and any size of batches.

    Args:
        name: a recipe of `mixtures/`, in the workspace or shipped, or a path to a YAML file.
        workspace: where names are looked up; the current folder unless given.
        store: where versions are kept; `store/` in the workspace unless given.
        mirror: a folder that stands in for the Hugging Face Hub.
        limit: read only the first rows of each source, and make a preview instead of a version. Counts above
            what is read then mean all of it.
        threads: how many to use; as many as there are cores unless given.
        batch_bytes: about how much Arrow memory a batch takes.
        bad_rows: whether a row that cannot be used stops the build, or is set aside in `bad_rows.parquet`.
        registry: the operators that recipes can name.
        cache: whether steps may use what they kept of earlier builds, and keep something of this one.
        progress: who is told how far the work is.

    Raises:
        UsageError: no recipe has that name.
        RecipeError: with every problem that `check` finds, and counts above what exists.
        SourceError: a source cannot be read to its end.
        RowError: a row cannot be used, and `bad_rows` is `stop`.
        PolicyError: the data breaks a rule of the recipe, or no row is kept.
        StoreError: the disk is full, or the store refuses.
    """
    workspace = workspace or Workspace.here()
    store = store or workspace.root / "store"
    progress = progress or Progress()
    around = Surroundings(workspace, store, mirror, registry or Registry(), progress, cache)
    found = checked(name, around, whole=limit is None)
    if found.recipe is None or found.errors():
        raise RecipeError(f"the recipe {name} cannot be built", found.errors())
    for warning in found.problems:
        progress.say(f"warning: {warning}")
    with building(store) as folder:
        run = _Run(
            found=found,
            recipe=found.recipe,
            around=around,
            folder=folder,
            limit=limit,
            threads=threads or os.cpu_count() or 1,
            batch_bytes=batch_bytes or BATCH_BYTES,
            skip_bad=bad_rows == "skip",
            progress=progress,
        )
        run.scratch.mkdir()
        run.version.mkdir()
        return _commit(run, _make(run))


def _make(run: _Run) -> Built:
    """Everything but the manifest and the card."""
    loaded = _read(run)
    chosen = _choose(run, loaded)
    engine = LocalEngine(run.scratch, run.threads, run.batch_bytes)
    kept = Kept(run.recipe.kind, run.recipe.layout, run.scratch, {source.name: Totals() for source in loaded})
    plan = [op for step in run.found.steps for op in step.plan]
    context = Context(
        kind=run.recipe.kind,
        seed=run.recipe.seed,
        threads=run.threads,
        say=run.progress.say,
        mirror=run.around.mirror,
        cache=run.around.cache,
        title=f"mixture {run.recipe.name}",
    )
    with Dropped(run.version / "dropped", run.found.steps) as dropped:
        kept.take(engine.run(_stream(run, loaded, chosen), plan, context, dropped))
    if not kept.rows and run.limit is None:
        raise _nothing(run.recipe.name, dropped, loaded, chosen)
    with run.progress.task("write", kept.rows, "rows") as task:
        logical = kept.write(run.version, task.advance)
    found = [path for name, path in engine.artifacts if name == MATCHES]
    if found:
        _join(found, run.version / f"{MATCHES}.parquet")
    locks = source_locks(run.found.sources, run.around.store)
    if run.skip_bad:
        table = bad_rows_table((source.name, bad) for source in loaded for bad in source.bad)
        with GroupWriter(run.version / "bad_rows.parquet", table.schema) as writer:
            writer.write(table)
    return Built(
        found=run.found,
        recipe=run.recipe,
        around=run.around,
        limit=run.limit,
        loaded=loaded,
        chosen=chosen,
        counts=engine.counts,
        kept=kept,
        dropped=dropped.counts,
        logical_hash=logical,
        locks=locks,
        step_data=_step_data(run, context, engine.artifacts),
    )


def _join(artifacts: Sequence[Path], path: Path) -> None:
    """The rows of all of them, in their order, in one file; a column that one lacks is null there."""
    schema = pa.unify_schemas([pq.read_schema(artifact) for artifact in artifacts])
    with GroupWriter(path, schema) as writer:
        for artifact in artifacts:
            with pq.ParquetFile(artifact) as file:
                for batch in file.iter_batches():
                    rows = pa.Table.from_batches([batch])
                    writer.write(pa.concat_tables([schema.empty_table(), rows], promote_options="default"))


def _step_data(run: _Run, context: Context, artifacts: Iterable[tuple[str, Path]]) -> list[dict[str, Any]]:
    """What each step tells of its data, with the artifacts of its own folds before it."""
    left = iter(artifacts)
    told = []
    seen: Counter[str] = Counter()
    for ready in run.found.steps:
        own = dict(next(left) for op in ready.plan if isinstance(op, Fold))
        seen[ready.step.name] += 1
        again = seen[ready.step.name]
        folder = run.version if again == 1 else run.version / f"{ready.step.name}-{again}"
        told.append(ready.step.told(replace(context, artifacts=own, folder=folder)))
    return told


def _nothing(name: str, dropped: Dropped, loaded: Sequence[Loaded], chosen: Sequence[Chosen]) -> PolicyError:
    """A version without rows could not even be loaded."""
    bad = sum(len(source.bad) for source in loaded)
    verdicts: Counter[str] = Counter({"could not be used": bad} if bad else {})
    for (_, verdict), count in dropped.counts.items():
        verdicts[verdict] += count
    reasons = [f"{verdict} {count:,}" for verdict, count in verdicts.most_common(5)]
    reasons += [
        f"the selection took 0 of {len(of.taken):,} rows of source {of.source}"
        for of in chosen
        if len(of.taken) and not of.taken.any()
    ]
    look = "A preview (`--limit 100`) keeps the dropped rows to look at"
    return PolicyError(
        f"the mixture {name} keeps no row: {', '.join(reasons)}",
        remedy=look if verdicts else "Ask for a larger `fraction`",
    )


def _read(run: _Run) -> list[Loaded]:
    rules = ReadingRules(
        kind=run.recipe.kind,
        scratch=run.scratch,
        threads=run.threads,
        batch_bytes=run.batch_bytes,
        skip_bad=run.skip_bad,
        limit=run.limit,
        progress=run.progress,
    )
    return [read_source(source, number, rules) for number, source in enumerate(run.found.sources)]


def _choose(run: _Run, loaded: list[Loaded]) -> list[Chosen]:
    """Which rows of each source are taken; every count above what exists is told at once."""
    entries = [source.at.entry for source in run.found.sources]
    if run.limit is None:
        problems = [
            too_few(source.at, rows.rows.rows)
            for source, rows in zip(run.found.sources, loaded, strict=True)
            if (source.at.entry.count or 0) > rows.rows.rows
        ]
        if problems:
            raise RecipeError(f"the recipe {run.recipe.name} cannot be built", problems)
    return [
        choose(rows.name, rows.hashes, run.recipe.seed, count=entry.count, fraction=entry.fraction)
        for entry, rows in zip(entries, loaded, strict=True)
    ]


def _stream(run: _Run, loaded: list[Loaded], chosen: list[Chosen]) -> Iterator[pa.Table]:
    """The rows taken of all sources, one source behind the other; its file goes when it was read.

    Batches are cut source by source, so that all but the first of a source are the same whichever sources lie
    before it: what an operator keeps of a batch between runs can be used again.
    """
    total = sum(int(taken.taken.sum()) for taken in chosen)
    with run.progress.task("run the steps", total, "rows") as task:
        for source, taken in zip(loaded, chosen, strict=True):
            for table in rebatch(chosen_rows(source, taken, run.recipe.kind), run.batch_bytes):
                yield table
                task.advance(table.num_rows)
            source.rows.delete()


def _commit(run: _Run, built: Built) -> BuildResult:
    told = manifest(built, run.version)

    def finish(folder: Path, version: str) -> None:
        told["version"] = version
        write_json(folder / "lock.json", lock(built))
        write_json(folder / MANIFEST, told)
        (folder / "README.md").write_text(card(told), encoding="utf-8")

    store, name = run.around.store, run.recipe.name
    if run.limit is not None:
        return _result(commit_preview(store, run.version, name, finish), built)
    version, reused = commit(store, run.version, name, built.logical_hash, finish)
    differs = differences(version.manifest(), told) if reused else ()
    return _result(version.path, built, reused=reused, differs=differs)


def _result(path: Path, built: Built, *, reused: bool = False, differs: tuple[str, ...] = ()) -> BuildResult:
    told = read_manifest(path)
    head = {
        "mixture": told["mixture"],
        "version": told["version"],
        "path": str(path),
        "reused": reused,
        "differs": list(differs),
        "rows": told["rows"],
    }
    summary = head | {"sources": rows_of_sources(built)}
    return BuildResult(path, told["version"], told["rows"], reused, told, summary, differs)
