"""The schemas of the tools that a conversation may call."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.sources.adapters._arrow import is_text, texts
from tulu_data.sources.adapters._base import Rows

NAMES = ("tools", "functions")
EMPTY = ("", "[]", "{}", "null")


def tools(rows: Rows) -> pa.Array:
    """The tool schemas of each row as JSON text; null where there are none."""
    name = rows.first(NAMES)
    if name is None:
        return pa.nulls(len(rows), pa.string())
    _, values = rows.column(name)
    if not is_text(values.type):
        held = [json.dumps(v, ensure_ascii=False) if v else None for v in values.to_pylist()]
        return pa.array(held, pa.string())
    found = texts(values)
    empty = pc.is_in(pc.utf8_trim_whitespace(found), pa.array(EMPTY))
    return pc.if_else(empty, None, found)
