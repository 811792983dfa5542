"""Pairs of answers from Stack Exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import join, turn
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column

COLUMNS = ("question", "response_j", "response_k")
"""As the code that reads them names them; `qid`, `date` and `metadata` beside them were not verified."""


class StackExchange(Adapter):
    """A question, its better answer and a worse one (lvwerra/stack-exchange-paired).

    Uses `question`, `response_j` (rated better) and `response_k`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("stack_exchange", {"question": "2 + 2?", "response_j": "4", "response_k": "5"})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'prompt': '2 + 2?',
     'chosen': [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '4'}],
     'rejected': [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '5'}]}
    """

    name: ClassVar[str] = "stack_exchange"
    kinds: ClassVar[tuple[Kind, ...]] = ("preference",)
    needs: ClassVar[str] = ", ".join(COLUMNS)

    def matches(self, sample: pa.Table) -> bool:
        """A question and two responses."""
        return all(is_text_column(sample, name) for name in COLUMNS)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """Both conversations."""
        asked, better, worse = (rows.required(name) for name in COLUMNS)
        chosen, rejected = (join(turn("user", asked), turn("assistant", text)) for text in (better, worse))
        return {"prompt": asked, "chosen": chosen, "rejected": rejected}
