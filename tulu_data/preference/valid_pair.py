"""`valid_pair`: rejects what is no pair of two answers to one prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tulu_data.op import Op, verdicts
from tulu_data.preference.sides import EQUAL, SIDES, OfSources, agreeing, both_sides, last_user_text
from tulu_data.record import Kind
from tulu_data.turns import Mask, Turns, blank, bools, one_chunk

Reason = Literal[
    "no_pair",
    "consecutive_roles",
    "not_ending_in_assistant",
    "empty_answer",
    "no_prompt",
    "different_prompts",
    "same_answer",
    "prompt_mismatch",
    "equal_ratings",
]


class ValidPair(OfSources, Op):
    """Rejects rows whose two sides are not two answers to one prompt, with the first reason that holds.

    The answer is the last message of a side; what comes before it is the prompt that both must share. White
    space around a text makes no difference. What is wrong with a single conversation in other ways,
    `valid_conversation` tells.

        no_pair                    a side has no messages
        consecutive_roles          two user or two assistant messages in a row on a side
        not_ending_in_assistant    the last message of a side is not the assistant's
        empty_answer               an answer is of white space only
        no_prompt                  no user message comes before the answers
        different_prompts          a message before the answer differs, or is missing on one side
        same_answer                both answers are the same
        prompt_mismatch            the column `prompt` tells of another prompt (see below)
        equal_ratings              both sides are rated, and equally (`equal_ratings: drop`)

    `prompt` fits if its text lies in what comes before the answers, as that of the last user message does, or
    if all user messages before the answers lie in it, as in a whole transcript; white space does not count. A
    row without a `prompt` has none that could be wrong.

        - {op: valid_pair}

        user "2+2?", assistant "4"  |  user "2+2?", assistant "5"     ->  kept
        user "2+2?", assistant "4"  |  user "2+3?", assistant "5"     ->  valid_pair:different_prompts
        user "2+2?", assistant "4"  |  user "2+2?", assistant " 4"    ->  valid_pair:same_answer
    """

    name: ClassVar[str] = "valid_pair"

    allow: tuple[Reason, ...] = Field(default=(), description="Faults that are let pass.")
    equal_ratings: Literal["keep", "drop"] = Field(
        default="keep", description="What becomes of pairs whose sides are rated equally."
    )

    @classmethod
    def example(cls) -> Self:
        """Every check."""
        return cls(equal_ratings="drop")

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The prompt, both sides and their ratings."""
        return ("prompt", *SIDES, *(f"{side}_rating" for side in SIDES), *self.source_column())

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:  # noqa: ARG002
        """The batch with a verdict on every row that is no pair."""
        looked_at = self.looked_at(batch)
        allowed = {*self.allow, *(("equal_ratings",) if self.equal_ratings == "keep" else ())}
        for reason, faulty in _faults(batch):
            if reason not in allowed:
                batch = verdicts(batch, pa.array(faulty & looked_at), f"{self.name}:{reason}")
        return batch


def _faults(batch: pa.Table) -> Iterator[tuple[Reason, Mask]]:
    """Each reason with the rows that it holds for."""
    sides = both_sides(batch)
    lengths = [side.sizes() for side in sides]
    prompt = sides[0].where(~sides[0].ends())
    shared = agreeing(*sides)
    yield "no_pair", np.minimum(*lengths) == 0
    yield "consecutive_roles", _on_either(sides, [side.repeats("user", "assistant") for side in sides])
    yield "not_ending_in_assistant", _on_either(sides, [s.ends() & ~s.role("assistant") for s in sides])
    yield "empty_answer", _on_either(sides, [side.ends() & blank(side.texts) for side in sides])
    yield "no_prompt", ~prompt.any(prompt.role("user"))
    yield "different_prompts", (lengths[0] != lengths[1]) | (shared < lengths[0] - 1)
    yield "same_answer", (lengths[0] == lengths[1]) & (shared == lengths[0])
    yield "prompt_mismatch", _mismatch(one_chunk(batch["prompt"]), prompt)
    gaps = pc.abs(pc.subtract(*(batch[f"{side}_rating"] for side in SIDES)))
    yield "equal_ratings", bools(pc.less_equal(gaps, EQUAL))


def _on_either(sides: tuple[Turns, Turns], faulty: list[Mask]) -> Mask:
    """Per row: is a message of either side faulty?"""
    one, other = (side.any(mask) for side, mask in zip(sides, faulty, strict=True))
    return one | other


def _mismatch(prompts: pa.Array, before: Turns) -> Mask:
    """Per row: does the prompt tell of something else than the messages before the answers?"""
    same = pc.equal(*(pc.utf8_trim_whitespace(texts) for texts in (prompts, last_user_text(before))))
    doubtful = np.flatnonzero(bools(pc.is_valid(prompts)) & ~bools(same))
    mismatch = np.zeros(before.count, np.bool_)
    mismatch[doubtful] = [
        not _fits(prompt, turns)
        for prompt, turns in zip(
            prompts.take(pa.array(doubtful)).to_pylist(),
            before.column().take(pa.array(doubtful)).to_pylist(),
            strict=True,
        )
    ]
    return mismatch


def _fits(prompt: str, turns: list[dict[str, str | None]]) -> bool:
    """Whether a prompt lies in the messages before the answers, or the user's lie in the prompt."""
    told = _without_space(prompt)
    asked = [_without_space(turn["content"]) for turn in turns if turn["role"] == "user"]
    return told in _without_space("".join(turn["content"] or "" for turn in turns)) or (
        bool(asked) and all(text in told for text in asked)
    )


def _without_space(text: str | None) -> str:
    return "".join((text or "").split())
