"""ShareGPT: turns with from and value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import items, keys
from tulu_data.sources.adapters._base import Adapter, Rows, column_type
from tulu_data.sources.adapters._pairs import with_system
from tulu_data.sources.adapters._tools import tools
from tulu_data.sources.adapters._turns import turns, until_last_user

COLUMNS = ("conversations", "conversation", "messages")


class ShareGPT(Adapter):
    """Conversations of turns with from and value (ShareGPT, WizardLM, Glaive's tool calls).

    Uses `conversations`, `conversation` or `messages`, `tools` and `system`. human is the user; gpt and
    function_call are the assistant; observation is a tool. Rows of ShareGPT's own files may lack their
    conversation: it is empty then, for a step to judge.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> said = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]
    >>> adapt_row("sharegpt", {"conversations": said})
    {'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yo'}]}
    """

    name: ClassVar[str] = "sharegpt"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "conversations (list of from and value), [tools, system]"

    def matches(self, sample: pa.Table) -> bool:
        """Turns with from and value; beside `chosen` and `rejected` they are only the prompt of a pair."""
        pair = {"chosen", "rejected"} <= set(sample.column_names)
        return not pair and any(_holds_turns(sample, name) for name in COLUMNS)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The turns as they are, mapped; for prompts, up to the last user turn."""
        column = (
            next((name for name in COLUMNS if _holds_turns(rows.table, name)), None)
            or rows.column(*COLUMNS)[0]
        )
        found = with_system(rows, turns(rows, column, ("from", "value"), may_miss=True))
        asked = until_last_user(rows, found, column) if kind == "prompts" else found
        return {"messages": asked, "tools": tools(rows)}


def _holds_turns(table: pa.Table, name: str) -> bool:
    return {"from", "value"} <= keys(items(column_type(table, name)))
