"""`exact_dedup`: of rows with equal content, the first stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tulu_data.op import VERDICT_FIELD, Context, Fold, Op, Step, verdicts
from tulu_data.record import IDENTITY, MESSAGES, Kind, conversation_columns, row_hashes
from tulu_data.turns import SPACE, Turns, one_chunk, turns_of

DUPLICATE_OF = "duplicate_of"


class ExactDedup(Step):
    """Rejects every row whose content an earlier row has, in the order of the sources and of reading.

    `by: conversation` compares all that a row's id covers: the messages with their roles, tools, both sides
    of a preference, the ground truth. `by: prompt` compares the user and system messages up to the last user
    message (of a preference row: of its chosen side), so that of several answers to one question only the
    first stays; rows without a user message are left alone. `normalize` compares texts in lower case, with
    every run of white space as one space. Equal means: equal 128-bit BLAKE2b hashes. The column
    `duplicate_of` names the row that stayed.

        - {op: exact_dedup, by: prompt, normalize: true}

        a  user "What is 2 + 2?", assistant "4"       ->  kept
        b  user "what is  2 + 2?", assistant "Four"   ->  exact_dedup:duplicate, duplicate_of: a
    """

    name: ClassVar[str] = "exact_dedup"

    by: Literal["conversation", "prompt"] = Field(default="conversation", description="What must be equal.")
    normalize: bool = Field(
        default=False, description="Whether case and the amount of white space are ignored."
    )

    @classmethod
    def example(cls) -> Self:
        """The settings of the worked example."""
        return cls(by="prompt", normalize=True)

    def plan(self) -> Sequence[Op | Fold]:
        """Find the duplicates among all rows, then reject them."""
        return (FindDuplicates(by=self.by, normalize=self.normalize), RejectDuplicates())


class FindDuplicates(Fold):
    """Finds the rows whose content an earlier row has: a table of `id` and `duplicate_of`, in row order."""

    name: ClassVar[str] = "exact_duplicates"

    by: Literal["conversation", "prompt"]
    normalize: bool

    @classmethod
    def example(cls) -> Self:
        """Duplicates by their prompts."""
        return cls(by="prompt", normalize=True)

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The id, and what must be equal."""
        return ("id", *_compared(self.by, kind))

    def setup(self, context: Context) -> Kind:
        """The kind tells what must be equal."""
        return context.kind

    def partial(self, batch: pa.Table, state: Kind) -> pa.Table:
        """Of every row that has something to compare: its id and its hash."""
        columns = _compared(self.by, state)
        rows = batch.select(["id", *columns])
        if self.by == "prompt":
            rows = _only_prompts(rows, columns[0])
        if self.normalize:
            for column in {*columns} & {*conversation_columns(state), "prompt"}:
                rows = rows.set_column(rows.column_names.index(column), column, _normalized(rows[column]))
        hashes = row_hashes(rows, columns)
        return pa.table([rows["id"], hashes], schema=self.nothing().schema)

    def nothing(self) -> pa.Table:
        """No ids and no hashes."""
        return pa.schema([("id", pa.string()), ("hash", pa.binary(16))]).empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """Sorts by hash, keeping the order of rows within one hash: the first of each run is what stays."""
        hashes = one_chunk(partials["hash"])
        words = np.frombuffer(hashes.buffers()[1], np.uint64).reshape(-1, 2)[hashes.offset :][: len(hashes)]
        order = np.lexsort((words[:, 1], words[:, 0]))
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
        survivors = np.empty_like(order)
        survivors[order] = order[fresh][np.cumsum(fresh) - 1]
        duplicates = np.flatnonzero(survivors != np.arange(len(order)))
        ids = partials["id"]
        return pa.table(
            {"id": ids.take(pa.array(duplicates)), DUPLICATE_OF: ids.take(pa.array(survivors[duplicates]))}
        )


class RejectDuplicates(Op):
    """Rejects the rows that the fold found."""

    name: ClassVar[str] = ExactDedup.name

    @classmethod
    def example(cls) -> Self:
        """It has no settings."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The id, of rows of any kind."""
        return ("id",)

    def writes(self) -> pa.Schema:
        """The verdict, and the id of the row that stayed."""
        return pa.schema([VERDICT_FIELD, (DUPLICATE_OF, pa.string())])

    def setup(self, context: Context) -> dict[str, str]:
        """Every duplicate's id, with that of the row that stayed.

        A dict, because Arrow's `index_in` would hash all of them again for every batch.
        """
        found = context.artifact(FindDuplicates.name)
        return dict(zip(found["id"].to_pylist(), found[DUPLICATE_OF].to_pylist(), strict=True))

    def apply(self, batch: pa.Table, state: dict[str, str]) -> pa.Table:
        """The batch with a verdict on every duplicate, and what it is a duplicate of."""
        survivors = pa.array([state.get(i) for i in batch["id"].to_pylist()], pa.string())
        if DUPLICATE_OF in batch.column_names:
            batch = batch.drop_columns(DUPLICATE_OF)
        batch = batch.append_column(DUPLICATE_OF, survivors)
        return verdicts(batch, pc.is_valid(survivors), f"{self.name}:duplicate")


def _compared(by: str, kind: Kind) -> tuple[str, ...]:
    return IDENTITY[kind] if by == "conversation" else conversation_columns(kind)[:1]


def _only_prompts(rows: pa.Table, column: str) -> pa.Table:
    """The rows that ask something, each with its user and system messages up to the last user message."""
    turns = turns_of(rows[column])
    asks = turns.role("user")
    position = np.arange(len(turns.rows))
    last = np.full(turns.count, -1)
    last[turns.rows[asks]] = position[asks]  # ascending, so the last one stands
    prompts = turns.where((asks | turns.role("system")) & (position <= last[turns.rows]))
    found = rows.set_column(rows.column_names.index(column), pa.field(column, MESSAGES), prompts.column())
    return found.filter(pa.array(last >= 0))


def _normalized(column: pa.ChunkedArray) -> pa.Array:
    if column.type != MESSAGES:
        return _plain(column)
    turns = turns_of(column)
    return Turns(turns.rows, turns.roles, _plain(turns.texts), turns.count).column()


def _plain(texts: Any) -> Any:
    return pc.utf8_lower(pc.utf8_trim(pc.replace_substring_regex(texts, f"[{SPACE}]+", " "), " "))
