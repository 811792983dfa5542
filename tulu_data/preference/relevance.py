"""`relevance`: finds rows whose answers belong to another prompt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tulu_data.errors import PolicyError
from tulu_data.op import VERDICT_FIELD, Context, Fold, Op, verdicts
from tulu_data.preference import _kernels
from tulu_data.preference.sides import SIDES, OfSources, both_sides
from tulu_data.record import Kind
from tulu_data.text.hashing import Texts
from tulu_data.text.minhash import Shingles, shingles, tell_first_compilation
from tulu_data.turns import Turns, one_chunk

TIMES = 2
"""So many times more than the own prompt must another one explain."""
SURPRISE = 1.5
"""The words of a prompt that both answers hold must weigh this many times ln(rows): 1 is what the best of as
many prompts reaches by chance, if words were independent; words of a topic come together."""
COMMON = 0.1
"""Words that so many of a source's rows hold are of its language."""
PROMPT_WORDS = 96
"""Of a longer prompt, so many words are looked at."""
SHARED_BY = 100
"""A prompt is looked for by words that no more prompts have."""
CANDIDATES = 64
"""So many prompts, that share the most of such words with an answer, are compared in full."""
OUT_OF_STEP, FEW = 0.02, 4
"""A source with a larger share of such rows, and more than a few, is warned of."""

RELEVANCE = pa.schema([
    ("source", pa.string()),
    ("id", pa.string()),
    ("own", pa.float64()),  # the share of the prompt's weight that an answer holds; null for no words
    ("other", pa.float64()),  # of the prompt that explains all answers better; null where none does
    ("other_id", pa.string()),  # that prompt's row
    ("offset", pa.int64()),  # how many rows of the source behind this one that row is
])  # fmt: skip
"""What the fold finds, for every row that has a prompt and answers."""


class _Relevance(OfSources):
    """The settings, which the step and its parts share."""

    own_at_most: float = Field(
        default=0.3, ge=0, le=1, description="A row whose own prompt explains more of the answers is right."
    )
    other_at_least: float = Field(
        default=0.15, gt=0, le=1, description="How much of another prompt the answers must hold."
    )
    action: Literal["drop", "drop_source", "stop", "review"] = Field(
        default="drop",
        description="Reject what is found; also sources out of step; stop at such a source; or only tell.",
    )


class Relevance(_Relevance):
    """Rejects pairs whose answers belong to another prompt of their source, as where rows slipped by one.

    The test is lexical. A word weighs ln(rows of the source / rows that hold it), so rare ones tell most;
    numbers below 100 and single letters count as no words. A prompt (the last user message) explains an
    answer by the share of its weight that the answer holds. A pair is rejected if its own prompt explains at
    most `own_at_most` of what either answer could hold, and another prompt of the source explains more: by
    words that both answers hold and that are nowhere before them, at least `other_at_least`, twice as much as
    the own, and by a weight of 1.5 ln(rows) or more.

    So a pair passes where its answers are merely poor, where only one is misplaced, where prompts have too
    few words of their own, as in small talk, or where no other prompt among the rows fits. It passes too
    where the answers hold less than a sixth of the prompt's common words (those of a tenth of the rows): in
    another language, as of a translation, they would seem to fit any prompt of that language. What passes is
    not proven right. Prompts are compared within the rows of a source that reach the step.

    Columns: `relevance_own`, what the own prompt explains; of a pair that is found also `relevance_other`,
    what the other one does, and `relevance_other_id`, whose prompt that is. The manifest tells for each
    source how many were found and how many rows away the other prompts lie. Where they are more than 2 %, the
    source is out of step, and what is left of it is suspect too:

        drop         rejects the pairs found, and warns of such a source
        drop_source  rejects all rows of such a source too, as out_of_step
        stop         ends the build at such a source
        review       rejects nothing, and warns

    Measured on AlpacaEval, 12 random pairs of 16 models on 805 prompts: where the answers slipped by one row
    or by three, 62 % and 64 % of the pairs were found, 95 % of them with the right prompt; where they did
    not, 0.06 % (6 of 9,639). Of rows swapped here and there, 70 %. Of hh-rlhf's dialogues it finds only
    6 %, and 0.2 % in vain.

        - {op: relevance, sources: [reused_on_policy]}

        a  user "How do bees make honey?"     |  both answers on the rules of Sudoku
        b  user "What are Sudoku's rules?"    |  both answers on the history of Paris

            ->  a: relevance:answers_another_prompt, relevance_other_id: the id of b
    """

    name: ClassVar[str] = "relevance"

    @classmethod
    def example(cls) -> Self:
        """The settings of the worked example."""
        return cls(action="drop")

    def plan(self) -> Sequence[Op | Fold]:
        """Compare every row with all prompts of its source; reject those that fit another."""
        return (ComparePrompts(**dict(self)), RejectMisplaced(**dict(self)))

    def told(self, context: Context) -> dict[str, Any]:
        """For each source: rows that were compared, rows found, and how far away their prompts lie."""
        found = [_Compared.of(rows) for rows in _by_source(context.artifact(ComparePrompts.name))]
        then = (
            "all of it is rejected" if self.action == "drop_source" else "what is left of it is suspect too"
        )
        warnings = [f"{source}; {then}" for source in found if source.out_of_step]
        for warning in warnings:
            context.say(f"warning: {warning}")
        return {
            "sources": [source.told() for source in found],
            **({"warnings": warnings} if warnings else {}),
        }


class _Compared(NamedTuple):
    """What was found of one source."""

    source: str
    compared: int
    found: int
    offsets: tuple[tuple[int, int], ...]
    """The commonest distances to the other prompts, in rows, and how often they occur."""

    @classmethod
    def of(cls, rows: pa.Table) -> _Compared:
        """The rows of `RELEVANCE` of one source."""
        offsets = Counter(rows["offset"].drop_null().to_pylist())
        return cls(rows["source"][0].as_py(), len(rows), offsets.total(), tuple(offsets.most_common(3)))

    @property
    def out_of_step(self) -> bool:
        """Whether there are so many that the rows must have slipped."""
        return self.found > max(OUT_OF_STEP * self.compared, FEW)

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        offsets = [{"offset": offset, "rows": rows} for offset, rows in self.offsets]
        share = self.found / self.compared
        return {**self._asdict(), "share": share, "out_of_step": self.out_of_step, "offsets": offsets}

    def __str__(self) -> str:
        offset, rows = self.offsets[0]
        away = f"{abs(offset):,} row{'s' if abs(offset) > 1 else ''} {'further' if offset > 0 else 'back'}"
        return (
            f"source {self.source} is out of step: {self.found:,} of {self.compared:,} rows "
            f"({self.found / self.compared:.0%}) hold the answers of another prompt, "
            f"{rows:,} of them of the one {away}"
        )


def _by_source(rows: pa.Table) -> Iterator[pa.Table]:
    """The rows of each source, in the order of their first ones."""
    for source in pc.unique(rows["source"]):
        yield rows.filter(pc.equal(rows["source"], source))


class ComparePrompts(_Relevance, Fold):
    """Compares the answers of every row with its own prompt and all others of its source: `RELEVANCE`."""

    name: ClassVar[str] = "compare_prompts"

    @classmethod
    def example(cls) -> Self:
        """The usual thresholds."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """Both sides, and where the row comes from."""
        return ("id", "source", "row", *SIDES)

    def setup(self, context: Context) -> None:
        """Nothing, but a word on what happens where this is the first run."""
        tell_first_compilation(context.say)

    def partial(self, batch: pa.Table, state: None) -> pa.Table:  # noqa: ARG002
        """Of every row with a prompt and answers: the words that matter, by the leading 32 bits of hashes."""
        sides = both_sides(batch)
        answers = [_words(side.where(side.ends() & side.role("assistant"))) for side in sides]
        before = sides[0].where(~sides[0].ends())
        users = before.where(before.role("user"))
        prompts = _words(users.where(users.ends()))
        *words, ends = _kernels.parted(
            *(_pair(part) for part in (prompts, _words(before), *answers)), _ignored(), PROMPT_WORDS
        )
        lists = [
            pa.LargeListArray.from_arrays(pa.array(end), pa.array(word))
            for word, end in zip(words, ends, strict=True)
        ]
        columns = [one_chunk(batch[name]) for name in ("source", "id", "row")]
        compared = self.looked_at(batch) & np.all([part.sizes > 0 for part in (prompts, *answers)], axis=0)
        return pa.table([*columns, *lists], schema=_WORDS).filter(pa.array(compared))

    def nothing(self) -> pa.Table:
        """No rows."""
        return _WORDS.empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """Source by source: whose prompt explains the answers."""
        parts = [self._source(rows) for rows in _by_source(partials)]
        return pa.concat_tables([RELEVANCE.empty_table(), *parts])

    def _source(self, rows: pa.Table) -> pa.Table:
        lists = [one_chunk(rows[name]) for name in ("echoed", "missing", "foreign")]
        ends = np.stack([found.offsets.to_numpy() - found.offsets[0].as_py() for found in lists])
        words = [found.flatten().to_numpy() for found in lists]
        known, counts = np.unique(np.concatenate(words), return_counts=True)
        weights = np.maximum(np.log(len(rows) / counts), 0)
        numbers = [_kernels.places(word, known) for word in words]
        least = SURPRISE * math.log(len(rows))
        own, other, best = _kernels.explain(
            *numbers, ends, weights, -math.log(COMMON), self.own_at_most, least, SHARED_BY, CANDIDATES
        )
        found = (best >= 0) & (other >= self.other_at_least) & (other >= TIMES * np.nan_to_num(own))
        places = pa.array(best, mask=~found)
        columns = [
            rows["source"],
            rows["id"],
            pa.array(own, mask=np.isnan(own)),
            pa.array(other, mask=~found),
            rows["id"].take(places),
            pc.subtract(rows["row"].take(places), rows["row"]),
        ]
        return pa.table(columns, schema=RELEVANCE)


_WORDS = pa.schema([
    *(RELEVANCE.field(name) for name in ("source", "id")),
    ("row", pa.int64()),
    ("echoed", pa.large_list(pa.uint32())),  # words of the prompt that an answer holds
    ("missing", pa.large_list(pa.uint32())),  # and those that none does
    ("foreign", pa.large_list(pa.uint32())),  # words of all answers that are nowhere before them
])  # fmt: skip


def _words(turns: Turns) -> Shingles:
    """The distinct words of every row's messages."""
    firsts = np.concatenate([[0], np.cumsum(turns.sizes())])
    return shingles(Texts.of(turns.texts), 1, firsts)


def _pair(words: Shingles) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    return words.hashes, words.ends


@cache
def _ignored() -> npt.NDArray[np.uint64]:
    """The hashes of numbers of one or two digits, which count lists, and of single letters."""
    letters = [chr(code) for code in range(128) if chr(code).isalnum() or chr(code) == "_"]
    numbers = [f"{number:02}" for number in range(100)]
    found = shingles(Texts.of(pa.array([*letters, *numbers])), 1).hashes
    return np.unique(found)


class _Found(NamedTuple):
    """What the fold found, where each row's entry is, and which sources are rejected."""

    places: dict[str, int]
    rows: pa.Table
    sources: tuple[str, ...]


class RejectMisplaced(_Relevance, Op):
    """Adds what the fold found to every row, and rejects the rows whose answers fit another prompt."""

    name: ClassVar[str] = Relevance.name

    @classmethod
    def example(cls) -> Self:
        """As the step."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The id, and the source where it may be rejected."""
        return ("id", "source") if self.action == "drop_source" else ("id",)

    def writes(self) -> pa.Schema:
        """The verdict and the evidence."""
        evidence = [
            RELEVANCE.field(name).with_name(f"relevance_{name}") for name in ("own", "other", "other_id")
        ]
        return pa.schema([VERDICT_FIELD, *evidence])

    def setup(self, context: Context) -> _Found:
        """What the fold found.

        Raises:
            PolicyError: a source is out of step, and the recipe says to stop there.
        """
        rows = context.artifact(ComparePrompts.name).combine_chunks()
        slipped = [source for source in map(_Compared.of, _by_source(rows)) if source.out_of_step]
        if slipped and self.action == "stop":
            remedy = "Leave it out, or set `action: drop_source`; `action: review` shows which rows they are"
            raise PolicyError("; ".join(map(str, slipped)), where=f"operator {self.name}", remedy=remedy)
        rejected = tuple(source.source for source in slipped) if self.action == "drop_source" else ()
        return _Found({row: place for place, row in enumerate(rows["id"].to_pylist())}, rows, rejected)

    def apply(self, batch: pa.Table, state: _Found) -> pa.Table:
        """The batch with what was found, and a verdict where that is to reject."""
        places = pa.array(map(state.places.get, batch["id"].to_pylist()), pa.int64(), size=batch.num_rows)
        for name in self.writes().names[1:]:
            if name in batch.column_names:
                batch = batch.drop_columns(name)
            batch = batch.append_column(name, state.rows[name.removeprefix("relevance_")].take(places))
        if self.action == "review":
            return verdicts(batch, pa.repeat(pa.scalar(False), batch.num_rows), "")
        found = pc.is_valid(batch["relevance_other_id"])
        batch = verdicts(batch, found, f"{self.name}:answers_another_prompt")
        if state.sources:
            slipped = pc.is_in(batch["source"], pa.array(state.sources, pa.string()))
            batch = verdicts(batch, slipped, f"{self.name}:out_of_step")
        return batch
