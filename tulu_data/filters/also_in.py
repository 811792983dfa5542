"""`also_in`: keeps rows whose prompt another source of the mixture has, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tulu_data.op import Context, Fold, OfSources, Op, verdicts
from tulu_data.record import Kind, conversation_columns, row_hashes
from tulu_data.turns import SPACE, bools, one_chunk, turns_of

HASHES = pa.schema([("prompt", pa.binary(16))])


class AlsoIn(OfSources):
    """Keeps rows whose prompt the source `source` has, too; that one lends its prompts, and none of its rows.

    A prompt is the row's `prompt`; of kinds that have none, its first user message. White space around it is
    ignored. A row without a prompt is not kept.

        - {op: also_in, source: argilla, sources: [h4]}

        argilla  prompt "What is a prime?"   ->  also_in:lends_prompts
        h4       prompt "What is a prime?"   ->  kept
        h4       prompt "What is art?"       ->  also_in:not_there
    """

    name: ClassVar[str] = "also_in"

    source: str = Field(min_length=1, description="The source whose prompts are asked for.")

    @model_validator(mode="after")
    def _another(self) -> Self:
        if self.source in self.sources:
            raise ValueError(f"{self.source!r} lends its prompts; it is not among those looked at")
        return self

    @classmethod
    def example(cls) -> Self:
        """The settings of the worked example."""
        return cls(source="argilla", sources=("h4",))

    def named(self) -> tuple[str, ...]:
        """The source that lends, too."""
        return (self.source, *self.sources)

    def plan(self) -> Sequence[Op | Fold]:
        """Gather the prompts of one source, then look for those of the others."""
        return (GatherPrompts(source=self.source), RejectOthers(source=self.source, sources=self.sources))


class GatherPrompts(Fold):
    """The prompts of one source, as hashes."""

    name: ClassVar[str] = "prompts_of_source"

    source: str

    @classmethod
    def example(cls) -> Self:
        """Those of one source."""
        return cls(source="argilla")

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The source and what holds the prompt."""
        return ("source", _column(kind))

    def setup(self, context: Context) -> Kind:
        """The kind tells where the prompt is."""
        return context.kind

    def partial(self, batch: pa.Table, state: Kind) -> pa.Table:
        """The hash of every prompt of the source."""
        rows = batch.filter(pc.equal(batch["source"], self.source))
        hashes = _hashes(_prompts(rows, state))
        return pa.table([hashes.drop_null()], schema=HASHES)

    def nothing(self) -> pa.Table:
        """No hashes."""
        return HASHES.empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """Every hash once, in order."""
        return pa.table([pc.unique(partials["prompt"])], schema=HASHES).sort_by("prompt")


class RejectOthers(OfSources, Op):
    """Rejects what the fold did not find, and the rows it looked at."""

    name: ClassVar[str] = AlsoIn.name

    source: str

    @classmethod
    def example(cls) -> Self:
        """As in the example of the step."""
        return cls(source="argilla", sources=("h4",))

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The source and what holds the prompt."""
        return ("source", _column(kind))

    def setup(self, context: Context) -> tuple[Kind, pa.Array]:
        """Where the prompt is, and the hashes that may be kept."""
        return context.kind, one_chunk(context.artifact(GatherPrompts.name)["prompt"])

    def apply(self, batch: pa.Table, state: tuple[Kind, pa.Array]) -> pa.Table:
        """The batch with a verdict on every row that is not kept."""
        kind, known = state
        lends = pc.equal(batch["source"], self.source)
        batch = verdicts(batch, lends, f"{self.name}:lends_prompts")
        there = bools(pc.is_in(_hashes(_prompts(batch, kind)), known, skip_nulls=True))
        gone = self.looked_at(batch) & ~bools(lends) & ~there
        return verdicts(batch, pa.array(gone), f"{self.name}:not_there")


def _column(kind: Kind) -> str:
    return "prompt" if kind == "preference" else conversation_columns(kind)[0]


def _prompts(batch: pa.Table, kind: Kind) -> pa.Array:
    """The prompt of every row; null where there is none."""
    column = batch[_column(kind)]
    if kind == "preference":
        return one_chunk(column)
    asked = turns_of(column)
    asked = asked.where(asked.role("user"))
    asked = asked.where(asked.starts())
    texts: Any = np.full(batch.num_rows, None, object)
    texts[asked.rows] = asked.texts.to_pylist()
    return pa.array(texts, pa.string())


def _hashes(prompts: pa.Array) -> pa.Array:
    """The hash of every prompt, without the white space around it; null for null."""
    bare = pc.replace_substring_regex(prompts, f"^[{SPACE}]+|[{SPACE}]+$", "")
    hashes = row_hashes(pa.table({"prompt": bare}), ["prompt"])
    return pc.if_else(pc.is_valid(prompts), hashes, None)
