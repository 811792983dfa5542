"""Trees of messages: the path of the best replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tulu_data.record import MESSAGES, Kind
from tulu_data.sources.adapters._base import Rows
from tulu_data.sources.adapters._turns import ROLE_OF, until_last_user

Message = Mapping[str, Any]


def best_path(root: Message, replies: Callable[[Message], Sequence[Message]]) -> list[Message]:
    """From the root on, the reply of the highest quality (of equal ones the first), deleted ones aside."""
    path: list[Message] = []
    here: Message | None = None if root.get("deleted") else root
    while here is not None:
        path.append(here)
        there = [reply for reply in replies(here) if not reply.get("deleted")]
        here = max(there, key=_quality, default=None)
    return path


def _quality(message: Message) -> float:
    """What reviewers gave: `labels` by name (file of trees), or as lists of names and values (flat rows).

    >>> _quality({"labels": {"quality": {"value": 0.75, "count": 3}}}), _quality({"labels": None})
    (0.75, 0.0)
    >>> _quality({"labels": {"name": ["spam", "quality"], "value": [0.0, 0.5]}})
    0.5
    """
    labels = message.get("labels") or {}
    if isinstance(labels.get("name"), list):
        value = dict(zip(labels["name"], labels["value"] or (), strict=False)).get("quality")
    else:
        value = (labels.get("quality") or {}).get("value")
    return float(value or 0)


def conversations(rows: Rows, paths: Sequence[Sequence[Message]], column: str, kind: Kind) -> pa.Array:
    """The paths as messages; for prompts, up to the last user turn. Unknown roles and nulls are bad."""
    found = []
    for index, path in enumerate(paths):
        said = []
        for message in path:
            role, text = ROLE_OF.get(message["role"] or ""), message["text"]
            if role is None:
                rows.bad(index, f"unknown role {message['role']!r}", "role", "prompter or assistant")
            elif text is None:
                rows.bad(index, "the text of a message is null", "text", "text")
            said.append({"role": role, "content": text})
        found.append(said)
    whole = pa.array(found, MESSAGES)
    return until_last_user(rows, whole, column) if kind == "prompts" else whole
