"""Turns that no Arrow type holds: some contents are text, others lists of parts, or something else.

Readers give such a column as JSON text and mark its field `AS_JSON`. Here it becomes turns again: each
content a list of parts, so that what is text can be used and what is not can be reported where it stands.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from tulu_data.sources.adapters._arrow import is_text
from tulu_data.sources.json_text import is_json_text

ROLES = ("role", "from", "speaker")
CONTENTS = ("content", "value", "text", "utterance")
_SAID = {*ROLES, *CONTENTS}
_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_KINDS = {bool: "boolean", int: "number", float: "number", dict: "object"}


def unmix(table: pa.Table) -> pa.Table:
    """The table with its marked columns of turns as lists of turns; other marked columns stay text."""
    for index, field in enumerate(table.schema):
        if is_json_text(field) and is_text(field.type):
            found = _turns(table[index].to_pylist())
            if found is not None:
                table = table.set_column(index, field.name, found)
    return table


def _turns(values: list[str | None]) -> pa.Array | None:
    """Lists of turns; None, at the first value that is none, if these are not."""
    rows: list[list[dict[str, Any]] | None] = []
    for value in values:
        row = None if value is None else json.loads(value)
        if row is not None and not _is_said(row):
            return None
        rows.append(row)
    turns = [turn for row in rows for turn in row or ()]
    if not turns:
        return None
    keys = dict.fromkeys(key for turn in turns for key in turn)
    kind = pa.struct([pa.field(key, _type(key)) for key in keys])
    plain = [
        None if row is None else [{key: _plain(key, turn.get(key)) for key in keys} for turn in row]
        for row in rows
    ]
    return pa.array(plain, pa.list_(kind))


def _is_said(row: Any) -> bool:
    """Whether a value is a list of objects that have a speaker or something said."""
    return isinstance(row, list) and all(isinstance(t, dict) and not _SAID.isdisjoint(t) for t in row)


def _type(key: str) -> pa.DataType:
    if key in ROLES:
        return pa.string()
    return pa.list_(_PART) if key in CONTENTS else pa.null()


def _plain(key: str, value: Any) -> Any:
    if key in ROLES:
        return value if value is None or isinstance(value, str) else json.dumps(value)
    if key not in CONTENTS or value is None:
        return None
    return [_part(part) for part in value] if isinstance(value, list) else [_part(value)]


def _part(part: Any) -> dict[str, str | None]:
    """A part with its type; of what is no part of ours, the type says what it is.

    >>> _part("Hi"), _part({"type": "image_url"}), _part(5)
    ({'type': 'text', 'text': 'Hi'}, {'type': 'image_url', 'text': None}, {'type': 'number', 'text': None})
    """
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, dict) and (isinstance(part.get("type"), str) or "text" in part):
        text = part.get("text", part.get("value"))
        return {"type": part.get("type", "text"), "text": text if isinstance(text, str) else None}
    return {"type": _KINDS.get(type(part), "null"), "text": None}
