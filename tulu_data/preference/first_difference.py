"""`first_difference`: cuts two transcripts behind the first turn in which they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from tulu_data.op import VERDICT_FIELD, Op, verdicts
from tulu_data.preference.sides import SIDES, Longs, OfSources, agreeing, both_sides, filled, last_user_text
from tulu_data.record import CONTENT, Kind
from tulu_data.turns import Mask, Turns


class FirstDifference(OfSources, Op):
    """Makes of two transcripts a pair of answers to the prompt that they share.

    The turns with which both begin are the prompt; the first turn in which they differ is the answer, and
    what follows it is cut off. `prompt` becomes the last user turn that both share. White space around a
    turn makes no difference. So Tülu 2.5 derives its pairs from hh-rlhf. Rejected are rows with

        no_pair        a side without messages
        same           no turn in which they differ
        one_side_ends  nothing on one side where the other goes on
        not_an_answer  a first differing turn that is not the assistant's on both sides
        no_prompt      no user turn before it

        - {op: first_difference, sources: [hh_rlhf]}

        user "Hi", assistant "Hello!", user "Thanks", assistant "Bye."
        user "Hi", assistant "Go away.", user "Why?", assistant "Go."

            ->  prompt "Hi", chosen "Hello!", rejected "Go away."
    """

    name: ClassVar[str] = "first_difference"

    @classmethod
    def example(cls) -> Self:
        """It has no settings but the sources."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """Both sides, and the prompt that a row without a difference keeps."""
        return ("prompt", *SIDES, *self.source_column())

    def writes(self) -> pa.Schema:
        """The verdict, the prompt and both sides."""
        return pa.schema([VERDICT_FIELD, *(CONTENT["preference"].field(n) for n in ("prompt", *SIDES))])

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:  # noqa: ARG002
        """The batch with both sides cut, and a verdict on every row without two answers to one prompt."""
        looked_at = self.looked_at(batch)
        sides = both_sides(batch)
        shared = agreeing(*sides)
        sound = looked_at
        for reason, faulty in _faults(sides, shared):
            batch = verdicts(batch, pa.array(faulty & looked_at), f"{self.name}:{reason}")
            sound = sound & ~faulty
        prompt = sides[0].where(sides[0].places() < shared[sides[0].rows])
        batch = filled(batch, "prompt", last_user_text(prompt), sound)
        for side, turns in zip(SIDES, sides, strict=True):
            kept = turns.where((turns.places() <= shared[turns.rows]) & sound[turns.rows])
            batch = filled(batch, side, kept.column(), sound)
        return batch


def _faults(sides: tuple[Turns, Turns], shared: Longs) -> Iterator[tuple[str, Mask]]:
    """Each reason with the rows that it holds for."""
    chosen, rejected = sides
    lengths = chosen.sizes(), rejected.sizes()
    yield "no_pair", np.minimum(*lengths) == 0
    yield "same", (shared == lengths[0]) & (shared == lengths[1])
    yield "one_side_ends", shared == np.minimum(*lengths)
    answers = [side.any((side.places() == shared[side.rows]) & side.role("assistant")) for side in sides]
    yield "not_an_answer", ~(answers[0] & answers[1])
    before = chosen.places() < shared[chosen.rows]
    yield "no_prompt", ~chosen.any(before & chosen.role("user"))
