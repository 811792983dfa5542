"""`exact_dedup`: of rows with equal content, one stays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tulu_data.dedup.clusters import CLUSTERS, RejectDuplicates, best_of, clusters, numbered, precedence
from tulu_data.dedup.compared import By, Deduplication, asked
from tulu_data.op import Context, Fold, Op
from tulu_data.record import IDENTITY, MESSAGES, Kind, conversation_columns, row_hashes
from tulu_data.turns import SPACE, Turns, one_chunk, turns_of


class ExactDedup(Deduplication):
    """Rejects all but one of the rows whose content is equal.

    `by: conversation` compares all that a row's id covers: the messages with their roles, tools, both sides
    of a preference, the ground truth. `by: prompt` compares the user and system messages up to the last user
    message (of a preference row: of its chosen side), so that of several answers to one question only one
    stays; rows without a user message are left alone. `by: [ground_truth]` compares columns of your choice;
    rows in which they are all null are left alone. `normalize` compares texts in lower case, with every run
    of white space as one space. Equal means: equal 128-bit BLAKE2b hashes.

    `keep` says which row stays: the `first` in the order of the sources and of reading; the `longest`, with
    all its messages; that of the `best_source`, or of the best `license`, by a list of them, where what is
    not listed comes last. Of equally good ones it is that whose id comes first in the alphabet. The columns
    `duplicate_of` and `similarity` name the row that stayed, and 1.

        - {op: exact_dedup, by: prompt, normalize: true}

        a  user "What is 2 + 2?", assistant "4"       ->  kept
        b  user "what is  2 + 2?", assistant "Four"   ->  exact_dedup:duplicate, duplicate_of: a
    """

    name: ClassVar[str] = "exact_dedup"
    version: ClassVar[int] = 2

    normalize: bool = Field(
        default=False, description="Whether case and the amount of white space are ignored."
    )

    @classmethod
    def example(cls) -> Self:
        """The settings of the worked example."""
        return cls(by="prompt", normalize=True)

    def plan(self) -> Sequence[Op | Fold]:
        """Find the duplicates among all rows, then reject them."""
        return (FindDuplicates(**dict(self)), RejectEqual())


class FindDuplicates(Deduplication, Fold):
    """Finds the rows whose content is equal: a table of `CLUSTERS`."""

    name: ClassVar[str] = "exact_duplicates"

    normalize: bool = False

    @classmethod
    def example(cls) -> Self:
        """Duplicates by their prompts."""
        return cls(by="prompt", normalize=True)

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The id, what must be equal, and what decides which row stays."""
        return tuple(dict.fromkeys(("id", *_compared(self.by, kind), *self.ranked_by(kind))))

    def setup(self, context: Context) -> Kind:
        """The kind tells what must be equal."""
        return context.kind

    def partial(self, batch: pa.Table, state: Kind) -> pa.Table:
        """Of every row that has something to compare: its id, its hash and its rank."""
        columns = _compared(self.by, state)
        rows = batch.select(["id", *dict.fromkeys(columns)]).append_column("rank", self.ranks(batch, state))
        if self.by == "prompt":
            rows = _only_prompts(rows, columns[0])
        elif self.by != "conversation":
            rows = _only_given(rows, columns)
        if self.normalize:
            texts = {*conversation_columns(state), "prompt"} if isinstance(self.by, str) else {*columns}
            for column in texts.intersection(columns):
                rows = rows.set_column(rows.column_names.index(column), column, _normalized(rows[column]))
        hashes = row_hashes(rows, columns)
        return pa.table([rows["id"], hashes, rows["rank"]], schema=self.nothing().schema)

    def nothing(self) -> pa.Table:
        """No ids, hashes and ranks."""
        return pa.schema([("id", pa.string()), ("hash", pa.binary(16)), ("rank", pa.int64())]).empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """Groups the rows by their hashes; of each group the best row stays."""
        hashes = one_chunk(partials["hash"])
        words = np.frombuffer(hashes.buffers()[1], np.uint64).reshape(-1, 2)[hashes.offset :][: len(hashes)]
        groups, sizes = numbered(words)
        if not (repeated := sizes[groups] > 1).any():
            return CLUSTERS.empty_table()
        rows, groups = partials.filter(pa.array(repeated)), groups[repeated]
        places = precedence(rows["id"], rows["rank"], self.keep)
        survivors = best_of(groups, places, len(sizes))[groups]
        return clusters(rows["id"], survivors, np.ones(len(groups)), places, self.keep)


class RejectEqual(RejectDuplicates):
    """Rejects the rows that the fold found."""

    name: ClassVar[str] = ExactDedup.name
    fold: ClassVar[str] = FindDuplicates.name
    reason: ClassVar[str] = "duplicate"


def _compared(by: By, kind: Kind) -> tuple[str, ...]:
    if by == "conversation":
        return IDENTITY[kind]
    return conversation_columns(kind)[:1] if by == "prompt" else by


def _only_prompts(rows: pa.Table, column: str) -> pa.Table:
    """The rows that ask something, each with its user and system messages up to the last user message."""
    turns = turns_of(rows[column])
    place = rows.column_names.index(column)
    found = rows.set_column(place, pa.field(column, MESSAGES), turns.where(asked(turns)).column())
    return found.filter(pa.array(turns.any(turns.role("user"))))


def _only_given(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The rows in which not all of the columns are null."""
    return rows.filter(reduce(pc.or_, [pc.is_valid(rows[column]) for column in columns]))


def _normalized(column: pa.ChunkedArray) -> pa.Array:
    if column.type != MESSAGES:
        return _plain(column)
    turns = turns_of(column)
    return Turns(turns.rows, turns.roles, _plain(turns.texts), turns.count).column()


def _plain(texts: Any) -> Any:
    return pc.utf8_lower(pc.utf8_trim(pc.replace_substring_regex(texts, f"[{SPACE}]+", " "), " "))
