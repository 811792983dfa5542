"""Preference pairs of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import join, only, pieces
from tulu_data.sources.adapters._base import Adapter, Rows, column_type
from tulu_data.sources.adapters._pairs import system_turn
from tulu_data.sources.adapters._preference import SIDES, pair
from tulu_data.sources.adapters._turns import names_of, turn_type, turns

CONTEXTS = ("conversations", "conversation", "messages", "prompt")


class Preference(Adapter):
    """A chosen and a rejected conversation (Tülu 3, UltraFeedback, Capybara; LLaMA-Factory, TRL).

    Uses `chosen` and `rejected`: lists of turns, or one turn each (role and content, or from and value).
    Where they begin with the answer, the turns before it are in `conversations`, `messages` or `prompt`.
    A `prompt` that is text is the row's prompt; without it that is the last user turn that both share.
    Ratings and models are known by their many names (`chosen_rating`, `score_chosen`, `chosen-model`, …).

    >>> from tulu_data.sources.adapters import adapt_row
    >>> ask, good = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}
    >>> bad = {"from": "gpt", "value": "No."}
    >>> adapt_row("preference", {"conversations": [ask], "chosen": good, "rejected": bad})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'prompt': 'Hi',
     'chosen': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!'}],
     'rejected': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'No.'}]}
    """

    name: ClassVar[str] = "preference"
    kinds: ClassVar[tuple[Kind, ...]] = ("preference",)
    needs: ClassVar[str] = "chosen, rejected (turns), [conversations | messages | prompt, ratings, models]"

    def matches(self, sample: pa.Table) -> bool:
        """`chosen` and `rejected` hold turns."""
        return all(_turn_names(column_type(sample, side)) is not None for side in SIDES)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """Both conversations whole, the turns before the answer included."""
        chosen, rejected = (turns(rows, side) for side in SIDES)
        bare = _begins_with_answer(chosen) | _begins_with_answer(rejected)
        column = next(
            (name for name in CONTEXTS if _turn_names(column_type(rows.table, name)) is not None), None
        )
        if column is not None and bare.any():
            context = only(join(system_turn(rows), turns(rows, column)), bare)
            chosen, rejected = join(context, chosen), join(context, rejected)
        return pair(rows, chosen, rejected)


def _turn_names(kind: pa.DataType) -> tuple[str, str] | None:
    return names_of(turn_type(kind))


def _begins_with_answer(conversations: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    offsets, flat = pieces(conversations)
    begins = np.zeros(len(conversations), bool)
    held = np.diff(offsets) > 0
    roles = flat.field("role").take(pa.array(offsets[:-1][held]))
    begins[held] = [role in ("assistant", "tool") for role in roles.to_pylist()]
    return begins
