"""`valid_conversation`: rejects what is no conversation that a model could learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tulu_data.op import Context, Op, verdicts
from tulu_data.record import ROLES, Kind, conversation_columns, row_hashes
from tulu_data.turns import Mask, Turns, blank, bools, turns_of

Reason = Literal[
    "no_messages",
    "unknown_role",
    "empty_content",
    "system_not_first",
    "no_user",
    "consecutive_roles",
    "not_ending_in_assistant",
    "not_ending_in_user",
    "same_answer",
]


class ValidConversation(Op):
    r"""Rejects malformed conversations, with the first of these reasons that holds:

        no_messages                there is no message at all
        unknown_role               a role other than system, user, assistant, tool
        empty_content              a message without content, or of white space only
        system_not_first           a system message anywhere but at the start
        no_user                    no user message
        consecutive_roles          two user or two assistant messages in a row (tool messages may lie between)
        not_ending_in_assistant    the last message is not the assistant's (sft, preference)
        not_ending_in_user         the last message is not the user's (prompts, rlvr: the answer is to come)
        same_answer                the chosen and the rejected conversation are equal (preference)

    `allow` names reasons that are let pass. Of a preference row, both sides must be valid.

        - {op: valid_conversation, allow: [consecutive_roles]}

        user "Hi", assistant "Hello"     ->  kept
        user "Hi", assistant " \n"       ->  valid_conversation:empty_content
        user "Hi"                        ->  valid_conversation:not_ending_in_assistant
    """  # noqa: D415

    name: ClassVar[str] = "valid_conversation"

    allow: tuple[Reason, ...] = Field(default=(), description="Faults that are let pass.")

    @classmethod
    def example(cls) -> Self:
        """Every check."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The conversations."""
        return conversation_columns(kind)

    def setup(self, context: Context) -> Kind:
        """The kind tells which columns are conversations, and who speaks last."""
        return context.kind

    def apply(self, batch: pa.Table, state: Kind) -> pa.Table:
        """The batch with a verdict on every malformed row."""
        ending = "assistant" if state in {"sft", "preference"} else "user"
        for column in conversation_columns(state):
            for reason, faulty in _faults(turns_of(batch[column]), ending):
                batch = self._reject(batch, reason, faulty)
        if state == "preference" and "same_answer" not in self.allow:
            batch = self._reject(batch, "same_answer", _equal(batch, "chosen", "rejected"))
        return batch

    def _reject(self, batch: pa.Table, reason: str, faulty: Mask) -> pa.Table:
        return batch if reason in self.allow else verdicts(batch, pa.array(faulty), f"{self.name}:{reason}")


def _faults(turns: Turns, ending: str) -> Iterator[tuple[str, Mask]]:
    """Each reason with the rows that it holds for."""
    sizes = turns.sizes()
    yield "no_messages", sizes == 0
    yield "unknown_role", turns.any(~turns.role(*ROLES))
    yield "empty_content", turns.any(blank(turns.texts))
    yield "system_not_first", turns.any(turns.role("system") & ~turns.starts())
    yield "no_user", ~turns.any(turns.role("user"))
    yield "consecutive_roles", turns.any(turns.repeats("user", "assistant"))
    yield f"not_ending_in_{ending}", (sizes > 0) & ~turns.any(turns.role(ending) & turns.ends())


def _equal(batch: pa.Table, one: str, other: str) -> Mask:
    """Per row: do the two conversations hold the same messages? By their 128-bit hashes."""
    hashes = [row_hashes(batch.select([column]), [column]) for column in (one, other)]
    return bools(pc.equal(*hashes))
