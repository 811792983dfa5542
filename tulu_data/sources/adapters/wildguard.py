"""WildGuard's labelled prompts, some with a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import join, turn
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column

# The number of prompts without a response is told by the card; the names of the columns were not verified.


class WildGuard(Adapter):
    """A prompt with labels, and its response where there is one (allenai/wildguardmix).

    Uses `prompt` and `response`, which is null in more than half of the rows: those are a user turn alone, so
    that the step `valid_conversation` drops them, and names them as what does not end with an answer.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("wildguard", {"prompt": "Say hi", "response": None, "prompt_harm_label": "unharmful"})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'messages': [{'role': 'user', 'content': 'Say hi'}],
     'native': '{"prompt_harm_label": "unharmful"}'}
    """

    name: ClassVar[str] = "wildguard"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "prompt, response, prompt_harm_label"

    def matches(self, sample: pa.Table) -> bool:
        """A prompt, a response and the label of the prompt."""
        return all(is_text_column(sample, name) for name in ("prompt", "response", "prompt_harm_label"))

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The prompt and, unless only prompts are wanted, the response that is there."""
        parts = [turn("user", rows.required("prompt"))]
        _, response = rows.text("response")
        if kind != "prompts":
            parts.append(turn("assistant", response))
        return {"messages": join(*parts)}
