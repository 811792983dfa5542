"""OpenAssistant's messages, one to a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import first_text
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column
from tulu_data.sources.adapters._trees import Message, best_path, conversations

TREE = "message_tree_id"
FIELDS = ("message_id", "parent_id", "text", "role")
OPTIONAL = ("deleted", "labels")


class Oasst(Adapter):
    """The best path through a tree of messages, gathered from rows of one each (OpenAssistant/oasst1).

    Uses `message_tree_id`, `message_id`, `parent_id`, `text`, `role` (prompter is the user), `deleted` and
    `labels`. From the root on, the reply of the highest `quality` follows (none counts as 0; of equal ones
    the first), deleted ones aside. A path that ends with a prompter stays as it is, for a step to judge;
    one whose root is deleted is empty.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> tree = {"message_id": ["a", "b"], "parent_id": [None, "a"], "text": ["Hi", "Yo"]}
    >>> tree |= {"role": ["prompter", "assistant"], "message_tree_id": ["a", "a"]}
    >>> adapt_row("oasst", tree) # doctest: +NORMALIZE_WHITESPACE
    {'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yo'}],
     'upstream_id': 'a'}
    """

    name: ClassVar[str] = "oasst"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = f"{TREE}, {', '.join(FIELDS)}, [deleted, labels]"
    gathers: ClassVar[str] = TREE
    columns: ClassVar[tuple[str, ...]] = (TREE, *FIELDS, *OPTIONAL)

    def matches(self, sample: pa.Table) -> bool:
        """Messages that name their tree and their parent."""
        return all(is_text_column(sample, name) for name in (TREE, *FIELDS))

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The path; for prompts, up to the last user turn."""
        rows.upstream, _ = first_text(rows.column(TREE)[1])
        paths = [_path(rows, index, tree) for index, tree in enumerate(_trees(rows))]
        return {"messages": conversations(rows, paths, TREE, kind)}


def _trees(rows: Rows) -> list[list[Message]]:
    """The messages of every tree, in reading order."""
    names = (*FIELDS, *(name for name in OPTIONAL if rows.first([name])))
    columns = [rows.column(name)[1].to_pylist() for name in names]
    return [
        [dict(zip(names, message, strict=True)) for message in zip(*tree, strict=True)]
        for tree in zip(*columns, strict=True)
    ]


def _path(rows: Rows, index: int, tree: list[Message]) -> list[Message]:
    replies: dict[str | None, list[Message]] = {}
    for message in tree:
        replies.setdefault(message["parent_id"], []).append(message)
    roots = replies.pop(None, [])
    if not roots:
        rows.bad(index, "the tree has no root", "parent_id", "a message without a parent")
        return []
    # Taken once each, so that messages that name one another as parents end the path.
    return best_path(roots[0], lambda message: replies.pop(message["message_id"], []))
