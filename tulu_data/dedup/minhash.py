"""`minhash`: of rows that are nearly equal, one stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from tulu_data.dedup import _kernels
from tulu_data.dedup.clusters import (
    CLUSTERS,
    Longs,
    RejectDuplicates,
    Words,
    best_of,
    clusters,
    numbered,
    precedence,
)
from tulu_data.dedup.compared import By, Deduplication, answered, asked
from tulu_data.errors import UsageError
from tulu_data.op import Context, Fold, Op
from tulu_data.record import MESSAGES, Kind, conversation_columns
from tulu_data.text import _kernels as token_kernels
from tulu_data.text import _memory, _minhash_kernels
from tulu_data.text.hashing import Texts
from tulu_data.text.kernel_cache import keep_true
from tulu_data.text.minhash import (
    Shingles,
    band_keys,
    bands_for,
    digests,
    shingles,
    signatures,
    tell_first_compilation,
    together,
)
from tulu_data.turns import one_chunk, turns_of

MISS_WEIGHT = 0.99
"""How much worse a missed pair is than one looked at in vain, when the bands are chosen. A pair in vain costs
a moment, since all are measured; at a threshold of 0.8 this finds 98.6 % of the pairs of exactly that Jaccard
and 99.9 % of those of 0.85, where datasketch's balanced weights find 40 % and 69 %."""

keep_true(
    {_kernels.leaders.stats.cache_path},
    [Path(m.__file__ or "") for m in (token_kernels, _memory, _minhash_kernels, _kernels)],
    "dedup.sha256",
)


class _Likeness(Deduplication):
    """What the step and its folds have in common: when two rows are nearly equal."""

    threshold: float = Field(
        default=0.8, ge=0.3, le=1, description="Rows whose Jaccard is at least this are duplicates."
    )
    ngram: int = Field(default=5, ge=1, le=64, description="Tokens in a shingle.")
    permutations: int = Field(
        default=128, ge=16, le=4096, description="Length of the signatures: more find more of the duplicates."
    )

    def bands(self) -> tuple[int, int]:
        """(bands, rows of each)."""
        return bands_for(self.threshold, self.permutations, MISS_WEIGHT)


class MinHash(_Likeness):
    """Rejects all but one of the rows that are nearly equal.

    Rows are compared as sets of shingles: their distinct runs of `ngram` tokens, in lower case and without
    punctuation; a text shorter than that is one shingle. The likeness of two rows is the Jaccard of their
    sets: the shingles that they share, of all that they have. MinHash signatures tell which rows are worth
    comparing; then the likeness is measured, and no row goes on an estimate. Each row that goes names the row
    that stays for it (`duplicate_of`) and their measured Jaccard (`similarity`), which is at least the
    threshold; there are no chains, in which the last is no longer like the first.

    Five tokens and 0.8 are what Lee et al. 2022 (arXiv 2107.06499) and, at 0.75, FineWeb (arXiv 2406.17557)
    took: single words would make rows of one topic alike, while one changed word costs five shingles.

    `by: conversation` compares all messages, whoever speaks; of a preference row the chosen side and the
    rejected answer; of an RLVR row also the ground truth. `by: prompt` compares the user and system messages
    up to the last user message (of a preference row: of its chosen side). `by: [chosen]` compares columns of
    your choice. Rows without a token in what is compared are left alone. `keep` is as in `exact_dedup`: the
    better row stays, whichever is read first.

        - {op: minhash, by: prompt, threshold: 0.8}

        a  user "Write a poem about the sea, the wind and an old boat."   ->  kept
        b  user "write a poem about the sea - the wind - and an old boat!" ->  minhash:near_duplicate
    """

    name: ClassVar[str] = "minhash"

    @classmethod
    def example(cls) -> Self:
        """The settings of the worked example."""
        return cls(by="prompt", threshold=0.8)

    def plan(self) -> Sequence[Op | Fold]:
        """Find the rows that may have a duplicate; compare these; reject what is one."""
        return (FindCandidates(**dict(self)), FindNearDuplicates(**dict(self)), RejectNear())


class FindCandidates(_Likeness, Fold):
    """Finds the rows whose set of shingles another row has too, or that share a band with another.

    The artifact has a row for each: its id, and whether it has such a partner of another set.
    """

    name: ClassVar[str] = "minhash_candidates"

    @classmethod
    def example(cls) -> Self:
        """Candidates by their prompts."""
        return cls(by="prompt")

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The id, and what is compared."""
        return tuple(dict.fromkeys(("id", *_compared(self.by, kind))))

    def setup(self, context: Context) -> Kind:
        """The kind tells what is compared."""
        tell_first_compilation(context.say)
        return context.kind

    def partial(self, batch: pa.Table, state: Kind) -> pa.Table:
        """Of every row with a shingle: its id, the digest of its set, and its band keys."""
        sets = documents(batch, self.by, state, self.ngram)
        bands, rows = self.bands()
        keys = band_keys(signatures(sets, self.permutations), bands, rows)
        some = sets.sizes > 0
        # Half of each key is enough: of 5 million rows, 2 % share one of these by chance, and are looked at.
        halves = (keys[some] >> np.uint64(32)).astype(np.uint32)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(halves.reshape(-1)), bands)
        ids = batch["id"].filter(pa.array(some))
        return pa.table([ids, *_columns(digests(sets)[some]), lists], schema=self.nothing().schema)

    def nothing(self) -> pa.Table:
        """No rows."""
        keys = ("keys", pa.list_(pa.uint32(), self.bands()[0]))
        return pa.schema([("id", pa.string()), *DIGEST, keys]).empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """Joins equal sets, so that a thousand copies of a row are one; then finds who shares a band."""
        groups, sizes = numbered(_words(partials))
        first = np.empty(len(sizes), np.int64)
        first[groups] = np.arange(len(groups))
        bands, _ = self.bands()
        chunks = [chunk.flatten().to_numpy() for chunk in partials["keys"].chunks]
        keys = np.concatenate([np.zeros(0, np.uint32), *chunks]).reshape(-1, bands)
        partner = _kernels.repeated(keys, first)
        wanted = (partner | (sizes > 1))[groups]
        columns = [partials["id"].filter(pa.array(wanted)), pa.array(partner[groups[wanted]])]
        return pa.table(columns, schema=CANDIDATES)


class FindNearDuplicates(_Likeness, Fold):
    """Compares the candidates: a table of `CLUSTERS`."""

    name: ClassVar[str] = "near_duplicates"
    needs: ClassVar[tuple[str, ...]] = (FindCandidates.name,)

    @classmethod
    def example(cls) -> Self:
        """Near-duplicates by their prompts."""
        return cls(by="prompt")

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The id, what is compared, and what decides which row stays."""
        return tuple(dict.fromkeys(("id", *_compared(self.by, kind), *self.ranked_by(kind))))

    def setup(self, context: Context) -> _Candidates:
        """The candidates that the fold before found."""
        found = context.artifact(FindCandidates.name)
        partner = dict(zip(found["id"].to_pylist(), found["partner"].to_pylist(), strict=True))
        return _Candidates(context.kind, partner)

    def partial(self, batch: pa.Table, state: _Candidates) -> pa.Table:
        """Of every candidate: its id, rank and digest, and its shingles where there is something to compare.

        One of equal sets is enough.
        """
        found = [state.partner.get(i) for i in batch["id"].to_pylist()]
        rows = [number for number, partner in enumerate(found) if partner is not None]
        batch = batch.take(pa.array(rows, pa.int64()))
        sets = documents(batch, self.by, state.kind, self.ngram)
        words = digests(sets)
        groups, sizes = numbered(words)
        told = np.zeros(len(rows), np.bool_)
        told[best_of(groups, np.arange(len(rows)), len(sizes))] = True
        told &= np.array([found[row] for row in rows], np.bool_)
        ends = np.concatenate([[0], np.cumsum(np.where(told, sets.sizes, 0))])
        hashes = sets.take(np.flatnonzero(told)).hashes
        lists = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(hashes), mask=pa.array(~told))
        columns = [batch["id"], self.ranks(batch, state.kind), *_columns(words), lists]
        return pa.table(columns, schema=self.nothing().schema)

    def nothing(self) -> pa.Table:
        """No candidates."""
        columns = [
            ("id", pa.string()),
            ("rank", pa.int64()),
            *DIGEST,
            ("shingles", pa.large_list(pa.uint64())),
        ]
        return pa.schema(columns).empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """Goes through the distinct sets, best row first: each stays, or is led by one that stays already."""
        if not partials.num_rows:
            return CLUSTERS.empty_table()
        groups, sizes = numbered(_words(partials))
        places = precedence(partials["id"], partials["rank"], self.keep)
        best = best_of(groups, places, len(sizes))
        lists = one_chunk(partials["shingles"])
        held, rows = _told(lists, groups, places[best])
        offsets = lists.offsets.to_numpy()
        led_by, likeness = _kernels.leaders(
            lists.values.to_numpy(), offsets[rows], offsets[rows + 1], self.threshold
        )
        leader, jaccard = np.arange(len(sizes)), np.ones(len(sizes))
        leader[held], jaccard[held] = held[led_by], likeness
        survivors = best[leader[groups]]
        return clusters(partials["id"], survivors, jaccard[groups], places, self.keep)


class _Candidates(NamedTuple):
    kind: Kind
    partner: dict[str, bool]
    """Every candidate's id, and whether it shares a band with another set."""


class RejectNear(RejectDuplicates):
    """Rejects the rows that the fold found."""

    name: ClassVar[str] = MinHash.name
    fold: ClassVar[str] = FindNearDuplicates.name
    reason: ClassVar[str] = "near_duplicate"


DIGEST = (("one", pa.uint64()), ("two", pa.uint64()))
"""The columns of a set's digest."""
CANDIDATES = pa.schema([("id", pa.string()), ("partner", pa.bool_())])


def _told(lists: pa.LargeListArray, groups: Longs, order: Longs) -> tuple[Longs, Longs]:
    """(the groups that have shingles, by the order of their best rows; a row of each with its shingles)."""
    given = np.flatnonzero(lists.is_valid().to_numpy(zero_copy_only=False))
    row = np.full(len(order), -1)
    row[groups[given]] = given
    held = np.flatnonzero(row >= 0)
    held = held[np.argsort(order[held])]
    return held, row[held]


def _columns(words: Words) -> list[pa.Array]:
    return [pa.array(np.ascontiguousarray(words[:, number])) for number in range(2)]


def _words(table: pa.Table) -> Words:
    return np.stack([table[name].to_numpy() for name, _ in DIGEST], axis=1)


# -- what of a row is compared -------------------------------------------------------------------------------


def _compared(by: By, kind: Kind) -> tuple[str, ...]:
    if by == "prompt":
        return conversation_columns(kind)[:1]
    if by == "conversation":
        return conversation_columns(kind) + (("ground_truth",) if kind == "rlvr" else ())
    return by


def documents(batch: pa.Table, by: By, kind: Kind, ngram: int) -> Shingles:
    """The shingles of what is compared of every row; each column is a field of its own."""
    columns = _compared(by, kind)
    return together(
        [
            _field(batch[column], ngram, number, _part(by, column))
            for number, column in enumerate(dict.fromkeys(columns))
        ]
    )


def _part(by: By, column: str) -> Any:
    """Which of a column's messages count."""
    if by == "prompt":
        return asked
    if by == "conversation" and column == "rejected":  # the prompt is in `chosen` already
        return answered
    return None


def _field(column: pa.ChunkedArray, ngram: int, number: int, part: Any) -> Shingles:
    if column.type == MESSAGES:
        turns = turns_of(column)
        if part is not None:
            turns = turns.where(part(turns))
        firsts = np.concatenate([[0], np.cumsum(turns.sizes())])
        return shingles(Texts.of(turns.texts), ngram, firsts, field=number)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UsageError(f"a column of type {column.type} is compared", expected="text or messages")
    return shingles(Texts.of(one_chunk(column)), ngram, field=number)
