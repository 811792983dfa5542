"""OpenAssistant's file of nested trees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import keys
from tulu_data.sources.adapters._base import Adapter, Rows
from tulu_data.sources.adapters._trees import best_path, conversations
from tulu_data.sources.json_text import is_json_text


class OasstTrees(Adapter):
    """The best path through a tree of nested replies (OpenAssistant's file of trees), as `oasst` takes it.

    Uses `prompt`: text, role, deleted, labels and replies, which are such again.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> good, bad = ({"quality": {"value": value}} for value in (0.9, 0.1))
    >>> replies = [{"role": "assistant", "text": "No.", "labels": bad, "deleted": False, "replies": []}]
    >>> replies += [{"role": "assistant", "text": "Yo", "labels": good, "deleted": False, "replies": []}]
    >>> adapt_row("oasst_trees", {"prompt": {"role": "prompter", "text": "Hi", "replies": replies}})
    {'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yo'}]}
    """

    name: ClassVar[str] = "oasst_trees"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "prompt (text, role, labels and replies)"

    def matches(self, sample: pa.Table) -> bool:
        """A prompt with replies."""
        if "prompt" not in sample.column_names:
            return False
        field = sample.schema.field("prompt")
        if is_json_text(field):  # where the trees of a file differ in a type further in
            held = (json.loads(text) for text in sample["prompt"].drop_null().to_pylist())
            return all(isinstance(tree, dict) and "replies" in tree for tree in held)
        return {"text", "role", "replies"} <= keys(field.type)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The path; for prompts, up to the last user turn."""
        _, held = rows.column("prompt")
        rows.refuse_nulls(held, "prompt", "a message with its replies")
        marked = is_json_text(rows.table.schema.field("prompt"))
        trees = [tree and json.loads(tree) if marked else tree for tree in held.to_pylist()]
        paths = [best_path(tree, lambda here: here.get("replies") or []) if tree else [] for tree in trees]
        return {"messages": conversations(rows, paths, "prompt", kind)}
