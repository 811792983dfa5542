"""Messages with role and content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import is_text, items, keys
from tulu_data.sources.adapters._base import Adapter, Rows, column_type, is_text_column
from tulu_data.sources.adapters._pairs import with_system
from tulu_data.sources.adapters._tools import tools
from tulu_data.sources.adapters._turns import turns, until_last_user

COLUMNS = ("messages", "conversations", "conversation")


class Messages(Adapter):
    """Conversations of turns with role and content (Tülu, WildChat, no_robots; KTO, its `label` in `native`).

    Uses `messages`, `conversations` or `conversation`, `tools` and `system`. The content is text, or a list
    of text parts (`type` and `text` or `value`), which are joined.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("messages", {"messages": [{"role": "human", "content": [{"type": "text", "text": "Hi"}]}]})
    {'messages': [{'role': 'user', 'content': 'Hi'}]}
    """

    name: ClassVar[str] = "messages"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "messages | conversations (list of role and content), [tools, system]"

    def matches(self, sample: pa.Table) -> bool:
        """Turns with role and content that end in an answer, unless there is no other reading of them."""
        column = next((name for name in COLUMNS if _holds_turns(sample, name)), None)
        if column is None:
            return is_text_column(sample, "messages") and "ground_truth" not in sample.column_names
        return "ground_truth" not in sample.column_names or answered(sample, column) is not False

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The turns as they are; for prompts, up to the last user turn."""
        column = (
            next((name for name in COLUMNS if _holds_turns(rows.table, name)), None)
            or rows.column(*COLUMNS)[0]
        )
        found = with_system(rows, turns(rows, column, ("role", "content")))
        asked = until_last_user(rows, found, column) if kind == "prompts" else found
        return {"messages": asked, "tools": tools(rows)}


def _holds_turns(table: pa.Table, name: str) -> bool:
    return {"role", "content"} <= keys(items(column_type(table, name)))


def answered(sample: pa.Table, column: str) -> bool | None:
    """Whether a sample's conversations end in an answer: all (True), none (False), or some (None)."""
    kind = column_type(sample, column)
    if is_text(kind):
        return None
    role = "role" if "role" in keys(items(kind)) else "from"
    ends = {
        str(row[-1][role]).lower() in ("assistant", "gpt", "model")
        for row in sample[column].to_pylist()
        if row
    }
    return next(iter(ends)) if len(ends) == 1 else None
