"""`pair`: of several rated answers to a prompt, one becomes the chosen and one the rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from tulu_data.op import VERDICT_FIELD, Context, Op, verdicts
from tulu_data.preference.sides import EQUAL, SIDES, Longs, OfSources, filled
from tulu_data.record import CONTENT, Kind, sort_keys
from tulu_data.turns import Mask, bools, one_chunk

Floats = npt.NDArray[np.float64]


class Pair(OfSources, Op):
    """Fills `chosen` and `rejected` from the rated answers of a row, with their scores and models.

    An answer's score is the mean of its ratings for the aspects `by`; what is no number, such as `N/A`, is
    left out of it. The best answer is chosen. The rejected one is of those worse by at least `margin`:

        random_worse    any of them
        worst           the worst, of several equally bad ones any
        next            the one next to the best
        random_other    any other answer, also one as good as the chosen where `ties: seeded` lets a tie pass

    Where there is something to choose, the row's id and the recipe's seed decide; so the same row gives the
    same pair in whichever batch or order it comes. Rejected are rows from which no pair can be made:

        no_completions  neither completions nor a pair
        too_few         fewer than two answers
        unrated         fewer than two answers with a score
        tie             several share the best score (`ties: drop`), or none is worse
        margin          none is worse by the margin

    A row that comes as a pair, without completions, passes as it is. `prompt` stays, and all answers stay in
    `completions`.

        - {op: pair, by: [helpfulness, correctness], rejected: random_worse}

        a 4 and 3, b 2 and N/A, c 1 and 1    ->  chosen a, 3.5; rejected b, 2, or c, 1
        a 4 and 3, b 3 and 4                 ->  pair:tie
        a rank 1, b rank 2 (by: rank, best: lowest)  ->  chosen a, 1; rejected b, 2
    """

    name: ClassVar[str] = "pair"

    by: str | tuple[str, ...] | None = Field(
        default=None, description="An aspect, or a list of aspects whose mean decides; all, unless given."
    )
    best: Literal["highest", "lowest"] = Field(
        default="highest", description="Which score is the best: of ranks it is the lowest."
    )
    rejected: Literal["random_worse", "worst", "next", "random_other"] = Field(
        default="random_worse", description="Which answer is rejected."
    )
    ties: Literal["drop", "seeded"] = Field(
        default="drop",
        description="Where several share the best score: drop the row, or choose one by its id.",
    )
    margin: float = Field(
        default=0, ge=0, allow_inf_nan=False, description="By how much the rejected answer must be worse."
    )
    at_least: int = Field(
        default=1, ge=1, description="How many ratings an answer needs to have a score; of those in `by`."
    )

    @field_validator("by")
    @classmethod
    def _some(cls, by: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if by is not None and (not by or not all(aspect.strip() for aspect in by)):
            raise ValueError("no aspect to decide by; leave `by` out to take all")
        return by

    @classmethod
    def example(cls) -> Self:
        """The settings of the worked example."""
        return cls(by=("helpfulness", "correctness"), rejected="random_worse")

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The completions, the id that seeds the choice, and what a row without completions keeps."""
        return ("id", *self.source_column(), "completions", *self.writes().names[1:])

    def writes(self) -> pa.Schema:
        """The verdict, both sides, and their scores and models."""
        filled = [f for f in CONTENT["preference"] if f.name.startswith(SIDES)]
        return pa.schema([VERDICT_FIELD, *filled])

    def setup(self, context: Context) -> int:
        """The seed."""
        return context.seed

    def apply(self, batch: pa.Table, state: int) -> pa.Table:
        """The batch with its pairs, and a verdict on every row that gives none."""
        looked_at = self.looked_at(batch)
        given = bools(pc.is_valid(batch["completions"])) & looked_at
        there = bools(pc.and_(*(pc.is_valid(batch[side]) for side in SIDES)))
        batch = verdicts(batch, pa.array(looked_at & ~given & ~there), f"{self.name}:no_completions")
        if not given.any():
            return batch
        keys = sort_keys(batch["id"], state).to_numpy()
        answers = self._answers(one_chunk(batch["completions"]), given)
        picks = self._pick(answers, keys)
        paired = given & (picks["rejected"] >= 0)
        for reason, holds in self._faults(answers, picks["chosen"]):
            batch = verdicts(batch, pa.array(given & ~paired & holds), f"{self.name}:{reason}")
        for side, places in picks.items():
            taken = pa.array(np.where(paired, places, 0), mask=~paired)
            values = (answers.messages, pa.array(answers.scores), answers.models)
            for column, found in zip((side, f"{side}_rating", f"{side}_model"), values, strict=True):
                batch = filled(batch, column, found.take(taken), paired)
        return batch

    def _answers(self, completions: pa.Array, given: Mask) -> _Answers:
        """The answers of the rows that are looked at."""
        sizes = np.where(given, _sizes(completions), 0)
        held = completions.filter(pa.array(given)).flatten()
        messages, models, ratings = (pc.struct_field(held, f) for f in ("messages", "model", "ratings"))
        rows = np.repeat(np.arange(len(completions)), sizes)
        scores = np.where(_sizes(messages) > 0, self._scores(ratings), np.nan)
        return _Answers(rows, len(completions), messages, models, scores)

    def _scores(self, ratings: pa.Array) -> Floats:
        """The mean rating of every answer; NaN where too few aspects are rated."""
        owners = np.repeat(np.arange(len(ratings)), _sizes(ratings))
        held = ratings.flatten()
        values = pc.struct_field(held, "rating").to_numpy(zero_copy_only=False).astype(float)
        counts = np.isfinite(values)
        if self.by is not None:
            aspects = pa.array([self.by] if isinstance(self.by, str) else self.by, pa.string())
            counts &= bools(pc.is_in(pc.struct_field(held, "aspect"), aspects))
        sums = np.bincount(owners[counts], values[counts], len(ratings))
        rated = np.bincount(owners[counts], minlength=len(ratings))
        return np.where(rated >= self.at_least, sums / np.maximum(rated, 1), np.nan)

    def _pick(self, answers: _Answers, keys: npt.NDArray[np.uint64]) -> dict[str, Longs]:
        """Which answer is the chosen and which the rejected of every row; -1 where there is none."""
        behind = answers.behind(self.best)
        top = behind <= EQUAL
        if self.ties == "drop":
            top &= (answers.per_row(top) == 1)[answers.rows]
        chosen, rest = _draw(answers, top, keys)
        others = np.isfinite(behind) & (chosen >= 0)[answers.rows]
        others[chosen[chosen >= 0]] = False
        if not (self.rejected == "random_other" and self.ties == "seeded"):
            others &= behind > EQUAL
        others &= behind >= self.margin - EQUAL
        if self.rejected in {"worst", "next"}:
            distance = behind if self.rejected == "next" else -behind
            nearest = np.full(answers.count, np.inf)
            np.minimum.at(nearest, answers.rows[others], distance[others])
            others &= distance - nearest[answers.rows] <= EQUAL
        rejected, _ = _draw(answers, others, rest)
        return {"chosen": chosen, "rejected": rejected}

    def _faults(self, answers: _Answers, chosen: Longs) -> list[tuple[str, Mask]]:
        """Why a row has no pair: the first that holds."""
        behind = answers.behind(self.best)
        return [
            ("too_few", answers.per_row(_sizes(answers.messages) > 0) < 2),
            ("unrated", answers.per_row(np.isfinite(behind)) < 2),
            ("tie", (chosen < 0) | (answers.per_row(behind > EQUAL) == 0)),
            ("margin", np.ones(answers.count, np.bool_)),
        ]


@dataclass(frozen=True)
class _Answers:
    """The answers of all rows, one behind the other."""

    rows: Longs
    """Which row each is of, ascending."""
    count: int
    """How many rows there are."""
    messages: pa.Array
    models: pa.Array
    scores: Floats
    """NaN where an answer has none."""

    def behind(self, best: str) -> Floats:
        """By how much each answer is worse than the best of its row; NaN where it has no score."""
        worth = self.scores if best == "highest" else -self.scores
        most = np.full(self.count, -np.inf)
        np.fmax.at(most, self.rows, worth)
        behind: Floats = most[self.rows] - worth
        return behind

    def per_row(self, mask: Mask) -> Longs:
        """How many answers of each row `mask` holds for."""
        return np.bincount(self.rows[mask], minlength=self.count)


def _draw(
    answers: _Answers, among: Mask, keys: npt.NDArray[np.uint64]
) -> tuple[Longs, npt.NDArray[np.uint64]]:
    """(the answer of every row that its key draws, -1 where there is none; the key for the next draw)."""
    places = np.flatnonzero(among)
    counts = answers.per_row(among)
    firsts = np.cumsum(counts) - counts
    divisor = np.maximum(counts, 1).astype(np.uint64)
    drawn = np.full(answers.count, -1)
    some = counts > 0
    drawn[some] = places[firsts[some] + (keys % divisor).astype(np.int64)[some]]
    return drawn, keys // divisor


def _sizes(lists: pa.Array) -> Longs:
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.asarray(sizes, np.int64)
