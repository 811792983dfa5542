"""`relevance`: finds rows whose answers belong to another prompt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

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
    action: Literal["drop", "review"] = Field(
        default="drop", description="Reject such rows, or only tell of them in the columns."
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
    few words of their own, as in small talk, or where no other prompt among the rows fits. What passes is not
    proven right. Prompts are compared within the rows of a source that reach the step.

    Columns: `relevance_own`, what the own prompt explains; of a pair that is found also `relevance_other`,
    what the other one does, and `relevance_other_id`, whose prompt that is. The manifest tells for each
    source how many were found and how many rows away the other prompts lie. Where they are more than 2 %, the
    build warns that the source is out of step: what is left of it is suspect too.

    Measured on AlpacaEval, 12 random pairs of 16 models on 805 prompts: where the answers slipped by one row
    or by three, 64 % and 67 % of the pairs were found, 95 % of them with the right prompt; where they did
    not, 0.07 % (7 of 9,639). Of 2,312 dialogues of hh-rlhf, 7 % and 0.3 %.

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
        found = context.artifact(ComparePrompts.name)
        told = []
        for source in pc.unique(found["source"]).to_pylist():
            rows = found.filter(pc.equal(found["source"], source))
            offsets = Counter(rows["offset"].drop_null().to_pylist()).most_common(3)
            flagged = len(rows) - rows["other_id"].null_count
            entry = {"source": source, "compared": len(rows), "found": flagged, "share": flagged / len(rows)}
            told.append({**entry, "offsets": [{"offset": o, "rows": n} for o, n in offsets]})
            if flagged > max(OUT_OF_STEP * len(rows), FEW):
                context.say(_warning(source, flagged, len(rows), *offsets[0]))
        return {"sources": told}


def _warning(source: str, found: int, rows: int, offset: int, at: int) -> str:
    """One line on a source whose rows are out of step."""
    where = f"{abs(offset):,} row{'s' if abs(offset) > 1 else ''} {'further' if offset > 0 else 'back'}"
    return (
        f"warning: source {source}: {found:,} of {rows:,} rows ({found / rows:.0%}) hold the answers of "
        f"another prompt, {at:,} of them of the one {where}. What is left of it is suspect too: look at "
        "these, and leave the source out if its rows slipped"
    )


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
        sources = pc.unique(partials["source"])
        parts = [self._source(partials.filter(pc.equal(partials["source"], source))) for source in sources]
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
            *numbers, ends, weights, self.own_at_most, least, SHARED_BY, CANDIDATES
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
    """What the fold found, and where each row's entry is."""

    places: dict[str, int]
    rows: pa.Table


class RejectMisplaced(_Relevance, Op):
    """Adds what the fold found to every row, and rejects the rows whose answers fit another prompt."""

    name: ClassVar[str] = Relevance.name

    @classmethod
    def example(cls) -> Self:
        """As the step."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The id."""
        return ("id",)

    def writes(self) -> pa.Schema:
        """The verdict and the evidence."""
        evidence = [
            RELEVANCE.field(name).with_name(f"relevance_{name}") for name in ("own", "other", "other_id")
        ]
        return pa.schema([VERDICT_FIELD, *evidence])

    def setup(self, context: Context) -> _Found:
        """What the fold found."""
        rows = context.artifact(ComparePrompts.name).combine_chunks()
        return _Found({row: place for place, row in enumerate(rows["id"].to_pylist())}, rows)

    def apply(self, batch: pa.Table, state: _Found) -> pa.Table:
        """The batch with what was found, and a verdict where that is to reject."""
        places = pa.array(map(state.places.get, batch["id"].to_pylist()), pa.int64(), size=batch.num_rows)
        for field in self.writes().names[1:]:
            if field in batch.column_names:
                batch = batch.drop_columns(field)
            batch = batch.append_column(field, state.rows[field.removeprefix("relevance_")].take(places))
        found = pc.is_valid(batch["relevance_other_id"])
        reason = f"{self.name}:answers_another_prompt"
        return verdicts(batch, pc.and_(found, self.action == "drop"), reason)
