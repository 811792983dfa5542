"""Preference pairs of plain answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import join, turn
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column
from tulu_data.sources.adapters._pairs import system_turn, with_input
from tulu_data.sources.adapters._preference import SIDES, pair
from tulu_data.sources.adapters._transcript import is_transcript

QUESTIONS = ("prompt", "question", "instruction", "input")

# Of distilabel's Orca pairs, only `system`, `input`, `chosen` and `rejected` were read in code. Others tell
# of `chosen_score`, the rating of that side, and of `status` and `in_gsm8k_train`, which stay in `native`.


class PreferenceText(Adapter):
    """A prompt and two answers, all plain text (Intel's Orca pairs, CoCoNot).

    Uses `prompt`, `question`, `instruction` (with `input`) or `input`, `chosen`, `rejected`, `system`,
    ratings and models. What is asked, under whichever name, is the row's prompt and the user's turn.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("preference_text", {"question": "2 + 2?", "chosen": "4", "rejected": "5"})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'prompt': '2 + 2?',
     'chosen': [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '4'}],
     'rejected': [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '5'}]}
    """

    name: ClassVar[str] = "preference_text"
    kinds: ClassVar[tuple[Kind, ...]] = ("preference",)
    needs: ClassVar[str] = (
        "prompt | question | instruction | input, chosen, rejected (text), [system, ratings, models]"
    )

    def matches(self, sample: pa.Table) -> bool:
        """A prompt, and answers that are not all transcripts."""
        texts = all(is_text_column(sample, side) for side in SIDES)
        asked = any(is_text_column(sample, name) for name in QUESTIONS)
        return texts and asked and is_transcript(sample) is not True

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """Both conversations: system, prompt, answer."""
        name = next((n for n in QUESTIONS if is_text_column(rows.table, n)), QUESTIONS[0])
        asked = rows.required(name)
        if name == "instruction":
            asked = with_input(asked, rows.optional("input"))
        context = join(system_turn(rows), turn("user", asked))
        chosen, rejected = (join(context, turn("assistant", rows.required(side))) for side in SIDES)
        return pair(rows, chosen, rejected)
