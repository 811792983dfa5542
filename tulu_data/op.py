"""The contract: an operator takes a batch of rows and returns the same rows with more columns.

    Op      one pass over batches; knows nothing of other batches, so it runs on any thread or machine
    Fold    a narrow projection of every row in, one artifact out; separates two passes
    Step    a word of a recipe; `plan()` names the Ops and Folds it is made of (an Op is a Step of itself)

An Op rejects a row by setting its `verdict` to `name:reason`; it never drops one. The laws that hold for
every operator (split, modesty, sufficiency, survival) are tested in `tests/test_laws.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tulu_data.document import Document
from tulu_data.errors import Problem, RecipeError, TuluDataError, UsageError, Where, nearest, unknown
from tulu_data.record import KINDS, VERDICT, Kind
from tulu_data.turns import Mask, bools
from tulu_data.workspace import Workspace

if TYPE_CHECKING:
    from tulu_data.sources.natives import Natives

VERDICT_FIELD = pa.field(VERDICT, pa.string())


def _say_nothing(_text: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True)
class Context:
    """What an operator may know of the run around it."""

    kind: Kind = "sft"
    seed: int = 42
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    threads: int = 1
    say: Callable[[str], None] = _say_nothing
    """Tells the user what happens now, in one line: for what takes seconds before the first batch."""
    mirror: Path | None = None
    """The folder that stands in for the Hugging Face Hub, where an operator reads data of its own."""
    title: str = ""
    """What is being made, for people."""
    folder: Path | None = None
    """Where a step may put files of its own beside the rows, when it tells of its data; it may be missing."""
    cache: bool = True
    """Whether an operator may use what it kept of earlier runs, and keep something of this one."""

    def artifact(self, name: str) -> pa.Table:
        """The table that the fold `name` made earlier in this plan."""
        if name not in self.artifacts:
            raise KeyError(f"no fold named {name!r} ran before; there are: {sorted(self.artifacts)}")
        return pq.read_table(self.artifacts[name])


class Step(BaseModel):
    """A word of a recipe: its fields are the recipe's keys, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """The word that recipes use; permanent."""
    version: ClassVar[int] = 1
    """Raised when the same input gives another output."""
    kinds: ClassVar[tuple[Kind, ...]] = KINDS
    """The kinds of rows that it is for."""

    @abstractmethod
    def plan(self) -> Sequence[Op | Fold]:
        """The operators and folds that the word stands for, in order."""

    @classmethod
    @abstractmethod
    def example(cls) -> Self:
        """A small instance: for the laws and the catalogue."""

    def bind(self, workspace: Workspace, base: Path) -> Self:  # noqa: ARG002
        """The same step, its settings' names and relative paths resolved from `base`, the recipe's folder."""
        return self

    def problems(self, context: Context) -> list[Problem]:  # noqa: ARG002
        """What `check` should say of the data that the step brings along: warnings, as a rule."""
        return []

    def asks(self, natives: Natives) -> list[Problem]:  # noqa: ARG002
        """What `check` should say of the native columns that the step asks a source for."""
        return []

    def told(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """What the manifest should tell of the data that the step brought along, once it has run.

        Lines under the key `warnings` stand in the version's card, too. Files that belong to it may be
        written into `context.folder`.
        """
        return {}

    def content(self) -> str:
        """A hash of every file that the settings name, or an empty string."""
        return ""

    def fingerprint(self) -> str:
        """What the step does, as a hash: name, version, settings, and the content of every file they name."""
        text = f"{self.name}@{self.version}:{self.model_dump_json()}:{self.content()}"
        return sha256(text.encode()).hexdigest()[:16]


class OfSources(Step):
    """A step that looks at the rows of some sources, or of all; `check` asks whether they exist."""

    sources: tuple[str, ...] = Field(
        default=(), description="The sources whose rows are looked at; all of them, unless given."
    )

    def named(self) -> tuple[str, ...]:
        """Every source that the settings name."""
        return self.sources

    def looked_at(self, batch: pa.Table) -> Mask:
        """Per row: is it of one of the sources?"""
        if not self.sources:
            return np.ones(batch.num_rows, np.bool_)
        return bools(pc.is_in(batch["source"], pa.array(self.sources, pa.string())))

    def source_column(self) -> tuple[str, ...]:
        """The column that `looked_at` reads, if any."""
        return ("source",) if self.sources else ()


class Op(Step):
    """Rows in, the same rows out, with more columns."""

    def plan(self) -> Sequence[Op | Fold]:
        """An operator is a step of itself."""
        return (self,)

    @abstractmethod
    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The columns that `apply` looks at in rows of `kind`."""

    def writes(self) -> pa.Schema:
        """The columns that `apply` adds or sets; a filter sets the verdict."""
        return pa.schema([VERDICT_FIELD])

    def setup(self, context: Context) -> Any:  # noqa: ARG002
        """What `apply` needs and is costly to make; made once per process."""
        return None

    @abstractmethod
    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        """The same rows with the columns of `writes()`, in any order and any of Arrow's types for them."""


class Fold(Step):
    """Every row's narrow projection in, one artifact out."""

    needs: ClassVar[tuple[str, ...]] = ()
    """The folds just before it in the plan whose artifacts its `setup` reads: a pass of theirs ends first."""

    def plan(self) -> Sequence[Op | Fold]:
        """A fold is a step of itself."""
        return (self,)

    @abstractmethod
    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The columns that `partial` looks at in rows of `kind`."""

    def setup(self, context: Context) -> Any:  # noqa: ARG002
        """What `partial` needs to know of the run, or is costly to make; made once per process."""
        return None

    @abstractmethod
    def partial(self, batch: pa.Table, state: Any) -> pa.Table:
        """The projection of one batch; runs in parallel."""

    @abstractmethod
    def nothing(self) -> pa.Table:
        """The projection of no rows: tells `finish` its columns where no batch came."""

    @abstractmethod
    def finish(self, partials: pa.Table) -> pa.Table:
        """All projections, in row order, to the artifact; runs once."""


def applied(op: Op, batch: pa.Table, state: Any) -> pa.Table:
    """What the operator makes of a batch, conformed.

    Raises:
        UsageError: an operator that is not one of ours fails, or breaks the contract; names it.
    """
    try:
        return conform(batch, op.apply(batch, state), op)
    except TuluDataError:
        raise
    except Exception as error:
        if type(op).__module__.startswith("tulu_data."):
            raise
        what = f"operator {op.name!r} fails: {type(error).__name__}: {error}"
        module = sys.modules.get(type(op).__module__)
        file = getattr(module, "__file__", None)
        where = Where(str(file), _line(error, Path(file))) if file else type(op).__module__
        raise UsageError(what, where=where, remedy="It is not one of ours; `--debug` shows where") from error


def conform(before: pa.Table, after: pa.Table, op: Op) -> pa.Table:
    """`after` cast to the schema of `before` plus `op.writes()`, in that column order.

    Needed because a Polars round trip turns nested `string` into `large_string`, and an all-null verdict
    comes out typed `null`. Columns that were not declared stay as they were, whatever the operator did.

    Raises:
        TypeError: the rows are others or in another order, or a declared column is missing.
    """
    if after.num_rows != before.num_rows:
        what = f"operator {op.name!r} returned {after.num_rows} rows for {before.num_rows}"
        raise TypeError(f"{what}; it must set verdicts instead")
    if not _same_rows(before, after):
        raise TypeError(f"operator {op.name!r} returned other rows, or these in another order")
    written = {f.name: f for f in op.writes()}
    fields = [written.get(f.name, f) for f in before.schema]
    fields += [f for name, f in written.items() if name not in before.column_names]
    missing = [f.name for f in fields if f.name not in after.column_names]
    if missing:
        raise TypeError(f"operator {op.name!r} did not return the columns {missing}")
    columns = [after[f.name].cast(f.type) if f.name in written else before[f.name] for f in fields]
    return pa.table(columns, schema=pa.schema(fields))


def _same_rows(before: pa.Table, after: pa.Table) -> bool:
    """By their ids, where there are any: what is written must not land on other rows."""
    if "id" not in before.column_names or "id" not in after.column_names:
        return "id" not in before.column_names
    return bool(after["id"].cast(before["id"].type).equals(before["id"]))


def verdicts(batch: pa.Table, rejected: pa.Array | pa.ChunkedArray, reason: str | pa.Array) -> pa.Table:
    """`batch` with `reason` as the verdict where `rejected` is true and no earlier verdict stands."""
    new = pc.if_else(pc.fill_null(rejected, fill_value=False), reason, pa.scalar(None, pa.string()))
    if VERDICT not in batch.column_names:
        return batch.append_column(VERDICT_FIELD, new)
    old = batch[VERDICT].cast(pa.string())
    return batch.set_column(batch.column_names.index(VERDICT), VERDICT_FIELD, pc.coalesce(old, new))


# -- the registry -------------------------------------------------------------------------------------------

BUILTIN: dict[str, str] = {
    "also_in": "tulu_data.filters.also_in:AlsoIn",
    "decontaminate": "tulu_data.decontam.step:Decontaminate",
    "exact_dedup": "tulu_data.dedup.exact:ExactDedup",
    "first_difference": "tulu_data.preference.first_difference:FirstDifference",
    "keyword_filter": "tulu_data.filters.keyword_filter:KeywordFilter",
    "length": "tulu_data.filters.length:Length",
    "licenses": "tulu_data.filters.licenses:Licenses",
    "minhash": "tulu_data.dedup.minhash:MinHash",
    "pair": "tulu_data.preference.pair:Pair",
    "relevance": "tulu_data.preference.relevance:Relevance",
    "valid_conversation": "tulu_data.filters.valid_conversation:ValidConversation",
    "valid_pair": "tulu_data.preference.valid_pair:ValidPair",
    "where": "tulu_data.filters.where:Where",
}
"""Every operator of ours, by the word that recipes use: `module:class`, imported when it is used."""

ENTRY_POINTS = "tulu_data.operators"


@cache
def _installed() -> dict[str, str]:
    return {e.name: e.value for e in entry_points(group=ENTRY_POINTS)}


@dataclass(frozen=True)
class Registry:
    """The steps that a recipe can name: ours, installed ones, and those of one workspace's `operators.py`."""

    local: Mapping[str, type[Step]] = field(default_factory=dict)
    local_hash: str = ""
    """SHA-256 of the workspace's operators file; enters the fingerprint of its operators."""

    def names(self) -> list[str]:
        """Every word that a recipe can use."""
        return sorted({*BUILTIN, *_installed(), *self.local})

    def find(self, name: str, *, where: Where | str | None = None) -> type[Step]:
        """The class that `name` stands for."""
        if name in self.local:
            return self.local[name]
        target = BUILTIN.get(name) or _installed().get(name)
        if target is None:
            raise unknown("operator", name, self.names(), where=where)
        module, _, attribute = target.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"operator {name!r} ({target}) cannot be loaded: {error}", where=where
            ) from error
        if not (isinstance(found, type) and issubclass(found, Step)):
            raise UsageError(f"operator {name!r} ({target}) is not a Step", where=where)
        return found

    def make(self, settings: Mapping[str, Any], *, where: Where | str | None = None) -> Step:
        """The step of one entry of a recipe's `steps`: `{op: NAME, …its settings}`."""
        name = settings.get("op")
        if not isinstance(name, str):
            raise UsageError("a step names no operator", where=where, expected="{op: NAME, …}")
        cls = self.find(name, where=where)
        try:
            return cls(**{k: v for k, v in settings.items() if k != "op"})
        except ValidationError as error:
            raise RecipeError(f"operator {name!r}", settings_problems(error, cls, str(where or ""))) from None

    def fingerprint(self, step: Step) -> str:
        """The step's own fingerprint, and where it is from the workspace's operators file, with its hash."""
        own = step.fingerprint()
        if step.name not in self.local:
            return own
        return sha256(f"{own}:{self.local_hash}".encode()).hexdigest()[:16]


def settings_problems(error: ValidationError, model: type[BaseModel], where: str) -> list[Problem]:
    """Pydantic's findings as problems of ours: place, value, what was expected, nearest key."""
    problems = []
    for found in error.errors(include_url=False):
        key = ".".join(str(part) for part in found["loc"])
        place = f"{where}: {key}" if where and key else where or key
        if found["type"] == "extra_forbidden":
            last = str(found["loc"][-1])
            remedy = known_keys(last, model) if len(found["loc"]) == 1 else ""
            problems.append(Problem(f"unknown key {last!r}", where, remedy))
        else:
            given = "" if found["type"] == "missing" else f" (given: {found['input']!r:.80})"
            problems.append(Problem(f"{found['msg'].removeprefix('Value error, ')}{given}", place))
    return problems


def document_problem(
    found: Mapping[str, Any], model: type[BaseModel], document: Document, place: tuple[str | int, ...] = ()
) -> Problem:
    """One of Pydantic's findings in a YAML document, with its file and line.

    Args:
        found: an entry of `ValidationError.errors()`.
        model: whose keys there are, where the finding lies.
        document: what was validated, or a part of it.
        place: where that part lies.
    """
    inside = (*place, *found["loc"])
    if found["type"] == "extra_forbidden":
        remedy = known_keys(str(inside[-1]), model)
        return Problem(f"unknown key {inside[-1]!r}", str(document.where(*inside)), remedy)
    if found["type"] == "missing":
        return Problem(f"the key {inside[-1]!r} is missing", str(document.where(*inside[:-1])))
    said = found["msg"].removeprefix("Value error, ")
    if found["type"] == "string_pattern_mismatch":
        said = "not a name: letters, digits, `.`, `_` and `-`, a letter or digit first"
    shown = "" if isinstance(found["input"], dict) else f" (given: {found['input']!r:.80})"
    return Problem(f"{said}{shown}", str(document.where(*inside)))


def known_keys(key: str, model: type[BaseModel]) -> str:
    """What to write instead of an unknown key: the nearest that `model` has, else all of them."""
    keys = [str(f.validation_alias or f.alias or name) for name, f in model.model_fields.items()]
    close = nearest(key, keys)
    if close:
        return f"Did you mean {close!r}?"
    return f"Known keys: {', '.join(keys)}" if keys else "It has no settings"


def load_operators(path: Path) -> Registry:
    """The registry with the operators of a workspace's own file: every Step in it that has a name.

    Raises:
        UsageError: there is no such file, running it fails, or one of its names is taken.
    """
    if not path.is_file():
        raise UsageError("no such operators file", where=str(path))
    digest = sha256(path.read_bytes()).hexdigest()
    module = _module(path, f"tulu_data_operators_{digest[:16]}")
    classes = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Step)]
    local = {c.name: c for c in classes if c.__module__ == module.__name__ and "name" in vars(c)}
    taken = sorted(set(local) & {*BUILTIN, *_installed()})
    if taken:
        what = f"the operator name {taken[0]!r} is taken"
        raise UsageError(what, where=str(path), expected="a name of its own")
    return Registry(local, digest)


def _module(path: Path, name: str) -> ModuleType:
    """The file as a module that others can look up by its name, as pickle and pydantic do."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError("not a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        what = f"the operators file fails: {type(error).__name__}: {error}"
        raise UsageError(what, where=Where(str(path), _line(error, path))) from error
    return module


def _line(error: BaseException, path: Path) -> int | None:
    """The last line of `path` that led to an error."""
    if isinstance(error, SyntaxError):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
