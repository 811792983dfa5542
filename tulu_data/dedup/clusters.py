"""Clusters: a row that stays, and the rows that repeat it.

Every member was measured against the survivor itself. There are no chains: where a row is like a dropped one
but not enough like the survivor, it stays. So nothing goes that has no like among what stays, and of the rows
that stay none were found to be duplicates of each other.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.op import VERDICT_FIELD, Context, Op, verdicts
from tulu_data.record import Kind

DUPLICATE_OF = "duplicate_of"
SIMILARITY = "similarity"

CLUSTERS = pa.schema([
    ("cluster", pa.int64()),  # numbered from 0, in the order of the survivors
    ("id", pa.string()),
    ("survivor", pa.string()),  # the id of the row that stays; of that row itself too
    ("rule", pa.string()),  # why that one: first, longest, best_source or license
    ("jaccard", pa.float64()),  # measured between the row and the survivor; 1 for equal rows
])  # fmt: skip
"""What a fold finds: every member of every cluster of two rows or more, the survivor first."""

Longs = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def numbered(words: Words) -> tuple[Longs, Longs]:
    """(the group of each row, the size of each group), rows of equal words being a group."""
    order = np.lexsort((words[:, 1], words[:, 0]))
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    groups = np.empty(len(order), np.int64)
    groups[order] = np.cumsum(fresh) - 1
    return groups, np.bincount(groups)


def precedence(ids: pa.ChunkedArray, ranks: pa.ChunkedArray, keep: str) -> Longs:
    """The place of every row in the order in which rows would rather stay; equal ranks go by their ids."""
    if keep == "first":
        return np.arange(len(ids))
    order = pc.sort_indices(
        pa.table({"rank": ranks, "id": ids}), sort_keys=[("rank", "ascending"), ("id", "ascending")]
    ).to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def best_of(groups: Longs, places: Longs, count: int) -> Longs:
    """The row of every group that would rather stay than all others of it; -1 where a group has none."""
    best = np.full(count, len(places))
    np.minimum.at(best, groups, places)
    rows = np.full(len(places) + 1, -1)
    rows[places] = np.arange(len(places))
    found: Longs = rows[best]
    return found


def clusters(
    ids: pa.ChunkedArray, survivors: Longs, jaccards: npt.NDArray[np.float64], places: Longs, rule: str
) -> pa.Table:
    """The members of every cluster of two rows or more, as `CLUSTERS`.

    Args:
        ids: of all rows.
        survivors: of every row the number of the one that stays for it; of a survivor, itself.
        jaccards: of every row with that one.
        places: their precedence.
        rule: that says which row stays.
    """
    sizes = np.bincount(survivors, minlength=len(survivors))
    members = np.flatnonzero(sizes[survivors] > 1)
    members = members[np.lexsort((places[members], places[survivors[members]]))]
    heads = survivors[members]
    number = np.cumsum(np.diff(heads, prepend=-1) != 0) - 1
    columns = [
        pa.array(number, pa.int64()),
        ids.take(pa.array(members)),
        ids.take(pa.array(heads)),
        pa.repeat(pa.scalar(rule), len(members)),
        pa.array(jaccards[members]),
    ]
    return pa.table(columns, schema=CLUSTERS)


class Gone(NamedTuple):
    """The rows that go: of each its place in the other columns, the row that stays for it, and their Jaccard.

    A dict, because Arrow's `index_in` would hash all of them again for every batch.
    """

    places: dict[str, int]
    survivors: pa.Array
    jaccards: pa.Array

    @classmethod
    def of(cls, found: pa.Table) -> Gone:
        """Those of `CLUSTERS` that are not their survivors."""
        gone = found.filter(pc.not_equal(found["id"], found["survivor"]))
        places = {row: place for place, row in enumerate(gone["id"].to_pylist())}
        return cls(places, gone["survivor"], gone["jaccard"])

    def find(self, ids: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The place of every row; null for one that stays."""
        return pa.array(map(self.places.get, ids.to_pylist()), pa.int64(), size=len(ids))


class RejectDuplicates(Op):
    """Rejects the members of clusters that are not their survivors."""

    fold: ClassVar[str]
    """Whose artifact names the clusters."""
    reason: ClassVar[str]

    @classmethod
    def example(cls) -> Self:
        """It has no settings."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The id, of rows of any kind."""
        return ("id",)

    def writes(self) -> pa.Schema:
        """The verdict, the id of the row that stayed, and how like they are."""
        return pa.schema([VERDICT_FIELD, (DUPLICATE_OF, pa.string()), (SIMILARITY, pa.float64())])

    def setup(self, context: Context) -> Gone:
        """Every duplicate's id, with the row that stayed."""
        return Gone.of(context.artifact(self.fold))

    def apply(self, batch: pa.Table, state: Gone) -> pa.Table:
        """The batch with a verdict on every duplicate, what it is a duplicate of, and their Jaccard."""
        places = state.find(batch["id"])
        batch = told(batch, state, places)
        return verdicts(batch, pc.is_valid(places), f"{self.name}:{self.reason}")


def told(rows: pa.Table, gone: Gone, places: pa.Array) -> pa.Table:
    """The rows with what each is a duplicate of and how like they are; columns of such names make way."""
    for name, column in ((DUPLICATE_OF, gone.survivors), (SIMILARITY, gone.jaccards)):
        if name in rows.column_names:
            rows = rows.drop_columns(name)
        rows = rows.append_column(name, column.take(places))
    return rows
