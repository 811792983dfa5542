"""`check`: everything that is wrong with a recipe, before anything runs.

Each source is opened and its first rows are read, so a problem that shows there is told here; what only the
whole source can show (a bad row far behind, too few rows in a file that tells no length) a build finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.decontam.check import suite_problems
from tulu_data.document import read_document
from tulu_data.errors import Problem, RecipeError, SourceError, TuluDataError, Where, nearest
from tulu_data.mixtures.recipe import Recipe, SourceAt, StepAt, load_recipe
from tulu_data.mixtures.select import target
from tulu_data.mixtures.store import resolver
from tulu_data.mixtures.tokens import TokenCounter
from tulu_data.op import Context, Fold, Op, Registry, Step
from tulu_data.progress import Progress
from tulu_data.record import Kind, working_schema
from tulu_data.sources import BadRow, Batch, SetAside, Source, open_source
from tulu_data.sources.adapters import Adapter, adapt, detect, get
from tulu_data.sources.files import FileSource
from tulu_data.sources.gather import gathered
from tulu_data.workspace import Workspace

KEY = "_key"
"""The sort key of a row, a column while a mixture is built; columns that begin with `_` are never stored."""

SAMPLE_ROWS = 200
"""Rows of a source that `check` looks at."""

_SAMPLE_BYTES = 1 << 20
_INDENT = "\n" + " " * 4
"""Sets the further lines of a problem in under its first, in a list of problems too."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class OpenSource:
    """A source that can be read, and the adapter that fits it."""

    at: SourceAt
    source: Source
    adapter: Adapter
    rows: int | None
    """How many rows there are, where that is known before all are read."""


@dataclass(frozen=True)
class ReadyStep:
    """A step of the recipe, made and bound, and the operators and folds it stands for."""

    at: StepAt
    step: Step
    plan: tuple[Op | Fold, ...]


@dataclass
class Checked:
    """What a build needs, and every problem on the way to it."""

    recipe: Recipe | None = None
    sources: list[OpenSource] = field(default_factory=list)
    steps: list[ReadyStep] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    bad_rows: list[Problem] = field(default_factory=list)
    """Rows that cannot be used, as warnings: a build meets them itself, and stops or sets them aside."""

    def errors(self) -> list[Problem]:
        """The problems that stop a build."""
        return [p for p in self.problems if p.level == "error"]


@dataclass(frozen=True)
class Surroundings:
    """Where a recipe's names lead to."""

    workspace: Workspace
    store: Path
    mirror: Path | None = None
    registry: Registry = field(default_factory=Registry)
    progress: Progress = field(default_factory=Progress)
    cache: bool = True
    """Whether steps may use what they kept of earlier runs."""


def check(
    name: str,
    *,
    workspace: Workspace | None = None,
    store: Path | None = None,
    mirror: Path | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> list[Problem]:
    """Every problem of the recipe or suite `name`, with its remedy: errors that stop a build, and warnings.

    Args:
        name: a recipe of `mixtures/` or a suite of `decontam/`, or a path to a YAML file.
        workspace: where names are looked up; the current folder unless given.
        store: where `store:` sources are found; `store/` in the workspace unless given.
        mirror: a folder that stands in for the Hugging Face Hub.
        registry: the operators that recipes can name.
        progress: who is told how far the work is.

    Raises:
        UsageError: no recipe and no suite has that name.
    """
    workspace = workspace or Workspace.here()
    if _names_suite(name, workspace):
        return suite_problems(name, workspace, mirror)
    store = store or workspace.root / "store"
    around = Surroundings(workspace, store, mirror, registry or Registry(), progress or Progress())
    found = checked(name, around)
    return [*found.problems, *found.bad_rows]


def _names_suite(name: str, workspace: Workspace) -> bool:
    """Whether `name` is a file with a suite in it, or the name of a suite and of no mixture."""
    if not name.endswith((".yaml", ".yml")):
        return name not in workspace.names("mixtures") and name in workspace.names("decontam")
    try:
        return "suite" in read_document(workspace.find("mixtures", name)).data
    except RecipeError:
        return False  # it is told as a recipe's fault


def checked(name: str, around: Surroundings) -> Checked:
    """The recipe with its sources opened and its steps made, and every problem that was met."""
    try:
        return checked_recipe(load_recipe(name, around.workspace), around)
    except RecipeError as error:
        return Checked(problems=list(error.problems))


def checked_recipe(recipe: Recipe, around: Surroundings, *, whole: bool = True) -> Checked:
    """A recipe that was read, its sources opened and its steps made, and every problem that was met.

    Where not the `whole` sources shall be used, counts above what exists are no problem.
    """
    found = Checked(recipe)
    found.problems += _no_tokenizer(recipe)
    found.steps = _ready_steps(recipe.steps, around, found.problems)
    found.problems += _unread_columns(recipe.kind, found.steps)
    context = Context(
        recipe.kind,
        recipe.seed,
        mirror=around.mirror,
        say=around.progress.say,
        cache=around.cache,
    )
    found.problems += [problem for ready in found.steps for problem in _unready(ready, context)]
    for at in recipe.sources:
        try:
            source = _open(at, recipe.kind, around, found)
        except TuluDataError as error:
            found.problems += _told(error, at.where, f"source {at.entry.name}: ")
            continue
        found.sources.append(source)
        if whole and source.rows is not None:
            found.problems += _wrong_share(source, source.rows)
    return found


def _no_tokenizer(recipe: Recipe) -> Iterator[Problem]:
    try:
        TokenCounter.open(recipe.kind, recipe.tokenizer)
    except TuluDataError as error:
        yield Problem(str(error), str(recipe.file))


# -- steps -------------------------------------------------------------------------------------------------


def _ready_steps(steps: Sequence[StepAt], around: Surroundings, problems: list[Problem]) -> list[ReadyStep]:
    ready = []
    for at in steps:
        try:
            step = around.registry.make(at.settings, where=at.where).bind(around.workspace, at.base)
            ready.append(ReadyStep(at, step, tuple(step.plan())))
        except TuluDataError as error:
            problems += _told(error, at.where)
    return ready


def _unready(ready: ReadyStep, context: Context) -> Iterator[Problem]:
    """Why a step cannot begin: its suite cannot be read. What follows a fold needs its artifact, so waits."""
    for op in takewhile(lambda op: isinstance(op, Op), ready.plan):
        try:
            op.setup(context)
        except TuluDataError as error:
            yield from _told(error, ready.at.where)
            return
    yield from ready.step.problems(context)


def _unread_columns(kind: Kind, steps: Sequence[ReadyStep]) -> Iterator[Problem]:
    """Columns that an operator reads and that neither rows of this kind nor an earlier step have."""
    columns = set(working_schema(kind).names)
    for ready in steps:
        for op in ready.plan:
            missing = sorted(set(op.reads(kind)) - columns)
            if missing:
                names = ", ".join(repr(name) for name in missing)
                remedy = "Put the step that writes it before this one" if len(missing) == 1 else ""
                what = (
                    f"operator {op.name!r} reads {names}: not in {kind} rows, nor written by an earlier step"
                )
                yield Problem(what, str(ready.at.where), remedy)
            if isinstance(op, Op):
                columns |= set(op.writes().names)


# -- sources -----------------------------------------------------------------------------------------------


def _open(at: SourceAt, kind: Kind, around: Surroundings, found: Checked) -> OpenSource:
    entry, where, problems = at.entry, str(at.where), found.problems
    if entry.from_.startswith("hf:") and not _COMMIT.fullmatch(entry.revision or ""):
        what = f"source {entry.name}: revision {entry.revision or 'main'!r} moves"
        remedy = "A build resolves it to a commit and writes that to the lock; give the commit to pin it"
        problems.append(Problem(what, where, remedy, "warning"))
    if entry.from_.startswith("store:") and "@" not in entry.from_:
        what = f"source {entry.name}: {entry.from_} moves: it is the latest version"
        problems.append(Problem(what, where, "Name the version, as in @v2, to pin it", "warning"))
    source = open_source(entry.spec(), base=at.base, mirror=around.mirror, store=resolver(around.store))
    sample, bad, read = _sample(source)
    adapter = _adapter(at, sample, kind)
    if entry.strata:
        check_stratum(sample, entry.strata.by)
    aside = SetAside(bad)
    if (
        adapter.gathers
    ):  # the rest of the last groups lies behind the sample, so how many there are is unknown
        whole = gathered(
            [sample], adapter.gathers, adapter.columns, on_bad=aside, batch_bytes=sample.table.nbytes + 1
        )
        sample, read = next(whole, head(sample, 0)), None
    adapted = adapt(sample, adapter, kind, license=entry.license, on_bad=aside)
    if aside.rows:
        first = aside.rows[0]
        what = f"source {entry.name}: {first.where}: {first.reason}"
        remedy = "A build stops there, unless --bad-rows skip sets such rows aside"
        found.bad_rows.append(Problem(what, where, remedy, "warning"))
    if adapted.rows["license"].null_count:
        what = f"source {entry.name} has no licence"
        problems.append(Problem(what, where, "Add `license: …` with its SPDX identifier", "warning"))
    rows = None if adapter.gathers else read if read is not None else _rows(source)
    return OpenSource(at, source, adapter, rows)


def check_stratum(batch: Batch, column: str) -> None:
    """Refuses a column to take rows by that is not there, or holds more than one value per row."""
    if column not in batch.table.column_names:
        near = nearest(column, batch.table.column_names)
        raise SourceError(
            f"`stratify` names no column of the rows: {column!r}", where=batch.file, nearest=near
        )
    kind = batch.table.schema.field(column).type
    if pa.types.is_nested(kind):
        what = f"`stratify` names the column {column!r}, which holds {kind}"
        raise SourceError(what, where=batch.file, expected="a column with one value per row")


def _sample(source: Source) -> tuple[Batch, list[BadRow], int | None]:
    """The first rows, what is wrong with those among them that cannot be read, and how many rows there are.

    The last is known where the whole source is no larger than a sample.
    """
    aside = SetAside()
    batches = source.batches(on_bad=aside, batch_bytes=_SAMPLE_BYTES)
    try:
        batch = next((b for b in batches if b.table.num_rows), None)
        rows = None if batch is None else _few(batch, batches, source)
    finally:
        close = getattr(batches, "close", None)  # a generator holds its file open until then
        if close:
            close()
    if batch is None:
        if aside.rows:
            raise SourceError(
                f"no row can be read; the first fault: {aside.rows[0].reason}", where=aside.rows[0].where
            )
        raise SourceError("there are no rows", where=source.origin)
    return head(batch, SAMPLE_ROWS), aside.rows, rows


def _few(first: Batch, rest: Iterator[Batch], source: Source) -> int | None:
    """How many rows there are, where they are few; nothing is fetched from the Hub to know that."""
    rows: int = first.table.num_rows
    size = first.table.nbytes
    while isinstance(source, FileSource) and rows <= SAMPLE_ROWS and size <= _SAMPLE_BYTES:
        batch = next(rest, None)
        if batch is None:
            return rows
        rows, size = rows + batch.table.num_rows, size + batch.table.nbytes
    return None


def head(batch: Batch, rows: int) -> Batch:
    """The first rows of a batch."""
    lines = None if batch.lines is None else batch.lines.slice(0, rows)
    return replace(batch, table=batch.table.slice(0, rows), rows=batch.rows.slice(0, rows), lines=lines)


def _adapter(at: SourceAt, sample: Batch, kind: Kind) -> Adapter:
    if at.entry.adapter is None:
        return detect(sample.table, kind=kind, where=sample.file)
    adapter = get(at.entry.adapter)
    if kind not in adapter.kinds:
        kinds = ", ".join(adapter.kinds)
        raise SourceError(
            f"adapter {adapter.name!r} makes no {kind} rows",
            expected=f"an adapter for {kind}; it makes {kinds}",
        )
    return adapter


def too_few(source: OpenSource, rows: int) -> Problem:
    """The problem of a count above what exists; of a synthetic sample it is none."""
    entry, where = source.at.entry, str(source.at.where)
    what = f"source {entry.name}: count {entry.count:,} is above the {rows:,} rows that exist"
    if source.source.synthetic:
        return Problem(f"{what}, of a synthetic sample", where, "All are taken", "warning")
    return Problem(what, where, f"Ask for at most {rows}, or leave `count` out to take them all")


def _wrong_share(source: OpenSource, rows: int) -> Iterator[Problem]:
    """What is wrong with the share that a recipe asks for of so many rows."""
    at, entry = source.at, source.at.entry
    if rows < (entry.count or 0):
        yield too_few(source, rows)
    elif rows and not target(rows, count=entry.count, fraction=entry.fraction):
        what = f"source {entry.name}: fraction {entry.fraction} of the {rows:,} rows that exist takes none"
        yield Problem(what, str(at.where), "Ask for more, or leave the source out", "warning")


def _rows(source: Source) -> int | None:
    """How many rows there are, where files tell it without being read."""
    if not isinstance(source, FileSource) or any(f.path.suffix != ".parquet" for f in source.files):
        return None
    return sum(int(pq.read_metadata(file.path).num_rows) for file in source.files)


def _told(error: TuluDataError, where: Where, about: str = "") -> Iterator[Problem]:
    """An error as problems of the recipe, at the place in the recipe that led to it."""
    if isinstance(error, RecipeError):
        for problem in error.problems:
            yield (
                problem if problem.where else Problem(problem.what, str(where), problem.remedy, problem.level)
            )
        return
    text = str(error).removeprefix(f"{where}: ").replace("\n", _INDENT)
    yield Problem(f"{about}{text}", str(where))
