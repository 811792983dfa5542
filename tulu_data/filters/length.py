"""`length`: rejects conversations that are too short or too long."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tulu_data.op import Context, Op, verdicts
from tulu_data.record import Kind, conversation_columns
from tulu_data.turns import turns_of


class Length(Op):
    """Rejects a conversation by its size. Limits are inclusive: what is exactly at one passes.

    Characters are Unicode code points, summed over the contents of all messages, of system and tool too;
    turns are messages of any role. Each side of a preference row is a conversation, and both must pass.

        - {op: length, min_chars: 3, max_chars: 9, max_turns: 2}

        user "Hé?", assistant "Ja."              ->  kept: 6 characters, 2 turns
        user "Hé?", assistant "Jawohl."          ->  length:too_long (10 characters)
        user "?", assistant "!"                  ->  length:too_short
        user "a", assistant "b", user "c"        ->  length:too_many_turns
    """

    name: ClassVar[str] = "length"

    min_chars: int | None = Field(default=None, ge=1, description="The fewest characters of a conversation.")
    max_chars: int | None = Field(default=None, ge=1, description="The most characters of a conversation.")
    max_turns: int | None = Field(default=None, ge=1, description="The most messages of a conversation.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_chars is None and self.max_chars is None and self.max_turns is None:
            raise ValueError("no limit given: set min_chars, max_chars or max_turns")
        if self.min_chars is not None and self.max_chars is not None and self.min_chars > self.max_chars:
            raise ValueError(
                f"min_chars ({self.min_chars}) is above max_chars ({self.max_chars}): no row could pass"
            )
        return self

    @classmethod
    def example(cls) -> Self:
        """The limits of the worked example."""
        return cls(min_chars=3, max_chars=9, max_turns=2)

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The conversations."""
        return conversation_columns(kind)

    def setup(self, context: Context) -> tuple[str, ...]:
        """The names of the columns to measure."""
        return conversation_columns(context.kind)

    def apply(self, batch: pa.Table, state: tuple[str, ...]) -> pa.Table:
        """The batch with a verdict on every row with a conversation beyond a limit."""
        for column in state:
            turns = turns_of(batch[column])
            lengths = pc.fill_null(pc.utf8_length(turns.texts), 0).to_numpy(zero_copy_only=False)
            chars = np.bincount(
                turns.rows, weights=lengths, minlength=turns.count
            )  # float64: exact below 2**53
            for limit, beyond, reason in (
                (self.max_turns, turns.sizes() > (self.max_turns or 0), "too_many_turns"),
                (self.min_chars, chars < (self.min_chars or 0), "too_short"),
                (self.max_chars, chars > (self.max_chars or 0), "too_long"),
            ):
                if limit is not None:
                    batch = verdicts(batch, pa.array(beyond), f"{self.name}:{reason}")
        return batch
