"""Chatbot Arena: two conversations and a person's vote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._base import Rows, column_type, is_text_column
from tulu_data.sources.adapters._completions import TIE, Completed, alternate, shared_prompt, two, votes
from tulu_data.sources.adapters._turns import names_of, turn_type, turns

SHARE_OF = {"model_a": 1.0, "model_b": 0.0, "tie": TIE, "tie (bothbad)": TIE}
"""Of each `winner`, the share of the vote that went to a."""


class Arena(Completed):
    """Two conversations that began alike, and who won (lmsys/chatbot_arena_conversations): aspect `vote`.

    Uses `conversation_a`, `conversation_b`, `model_a`, `model_b` and `winner`. A tie gives both sides 0.5,
    and its note tells whether both were bad. Of several turns, the prompt is the last user turn before the
    answers differ, which is the first where they differ at once.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> a, b = ([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": c}] for c in ("A", "B"))
    >>> row = {"conversation_a": a, "conversation_b": b, "model_a": "m", "model_b": "n"}
    >>> [one["ratings"] for one in adapt_row("arena", {**row, "winner": "tie"})["completions"]]
    ... # doctest: +NORMALIZE_WHITESPACE
    [[{'aspect': 'vote', 'rating': 0.5, 'note': 'tie'}], [{'aspect': 'vote', 'rating': 0.5, 'note': 'tie'}]]
    """

    name: ClassVar[str] = "arena"
    needs: ClassVar[str] = "conversation_a, conversation_b (turns), winner, [model_a, model_b]"

    def matches(self, sample: pa.Table) -> bool:
        """Two columns of turns, and a winner in words."""
        sides = ("conversation_a", "conversation_b")
        held = all(names_of(turn_type(column_type(sample, side))) is not None for side in sides)
        return held and is_text_column(sample, "winner")

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """Both conversations whole."""
        first, second = turns(rows, "conversation_a"), turns(rows, "conversation_b")
        won = rows.required("winner")
        coded = won.dictionary_encode()
        known = coded.dictionary.to_pylist()
        shares = pa.array([SHARE_OF.get(word) for word in known], pa.float64()).take(coded.indices)
        for index in np.flatnonzero(shares.is_null().to_numpy(zero_copy_only=False)):
            rows.bad(int(index), f"winner is {won[int(index)]}", "winner", f"one of: {', '.join(SHARE_OF)}")
        said = [word if SHARE_OF.get(word) == TIE else None for word in known]
        notes = pa.array(said, pa.string()).take(coded.indices)
        nobody = pa.nulls(len(rows), pa.string())
        models = [rows.optional(f"model_{side}") for side in "ab"]
        a, b = (nobody if model is None else model for model in models)
        return {
            "prompt": shared_prompt(rows, first, second, "conversation_b"),
            "completions": two(alternate(first, second), (a, b), {"vote": votes(shares, notes)}),
        }
