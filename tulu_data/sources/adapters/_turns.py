"""Turns under any names (`role`/`content`, `from`/`value`, …) to messages: roles mapped, text checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.errors import SourceError, nearest
from tulu_data.record import MESSAGES, ROLES
from tulu_data.sources.adapters._arrow import (
    conversation,
    first_turns,
    is_list,
    is_text,
    items,
    keys,
    last_user,
    owners,
    pieces,
    texts,
)
from tulu_data.sources.adapters._base import Rows

ROLE_OF: Mapping[str, str] = {
    **{role: role for role in ROLES},
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "developer": "system",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
"""What data sets call the roles, in lower case: ShareGPT, OpenAssistant, LLaMA-Factory, OpenAI, Llama 3."""

NAMES = (("role", "content"), ("from", "value"))
TEXT_PARTS = ("text", "input_text", "output_text")
"""The types of a content part that are text, as OpenAI and LLaMA-Factory name them."""


def names_of(kind: pa.DataType) -> tuple[str, str] | None:
    """The keys under which a struct holds a turn's role and content."""
    return next((pair for pair in NAMES if keys(kind).issuperset(pair)), None)


def turns(
    rows: Rows,
    column: str,
    names: tuple[str, str] | None = None,
    *,
    role_of: Mapping[str, str] = ROLE_OF,
    may_miss: bool = False,
) -> pa.Array:
    """A column of conversations, or of single turns, as messages.

    Near zero-copy where the roles are ours and the content is text. `names` are the keys of role and content.
    Rows with an unknown role, or content that is not text, are bad; so are nulls, unless a conversation
    `may_miss`: then they are empty. Unused keys are named as left out.
    """
    _, values = rows.column(column)
    if is_text(values.type):
        _refuse_text(rows, values, column)
        return pa.nulls(len(rows), MESSAGES)
    found = names or names_of(turn_type(values.type)) or NAMES[0]
    lists = _as_lists(values, found)
    if not keys(items(lists.type)).issuperset(found):
        raise SourceError(
            f"column {column!r} holds {values.type}",
            where=rows.batch.file,
            expected=f"a list of turns with {' and '.join(found)}",
        )
    rows.left_out += [f"{column}.{f.name}" for f in items(lists.type) if f.name not in found]
    if not may_miss:
        rows.refuse_nulls(lists, column, "a list of turns")
    offsets, flat = pieces(lists)
    roles = _roles(flat, found[0], role_of)
    contents = _contents(pc.struct_field(flat, found[1]))
    if roles.null_count or contents.null_count:
        _refuse(rows, column, found, offsets, flat, roles, contents)
    return conversation(offsets, roles, contents)


def until_last_user(rows: Rows, messages: pa.Array, column: str) -> pa.Array:
    """Each conversation up to and including its last user turn; rows without one are bad."""
    last = last_user(messages)
    for index in np.flatnonzero(last < 0):
        rows.bad(int(index), f"{column} holds no user turn", column, "a user turn to answer")
    return first_turns(messages, last + 1)


def turn_type(kind: pa.DataType) -> pa.DataType:
    """The type of a single turn in a column of turns or of lists of turns."""
    return kind if pa.types.is_struct(kind) else items(kind)


def _as_lists(values: pa.Array, names: tuple[str, str]) -> pa.Array:
    """Single turns as lists of one; lists that are all empty, so of no known type, as lists of turns."""
    if pa.types.is_struct(values.type):
        offsets = pa.array(np.arange(len(values) + 1), pa.int32())
        return pa.ListArray.from_arrays(offsets, values, mask=values.is_null())
    if is_list(values.type) and pa.types.is_null(items(values.type)):
        return values.cast(pa.list_(pa.struct([pa.field(name, pa.string()) for name in names])))
    return values


def _roles(flat: pa.Array, key: str, role_of: Mapping[str, str]) -> pa.Array:
    """Our roles, null where theirs is unknown. There are few, so each is looked up once."""
    native = pc.struct_field(flat, key)
    if not is_text(native.type):
        return pa.nulls(len(flat), pa.string())
    native = texts(native)
    coded = native.dictionary_encode()
    known = coded.dictionary.to_pylist()
    ours = [role_of.get(role.strip().lower()) for role in known]
    return native if ours == known else pa.array(ours, pa.string()).take(coded.indices)


def _contents(native: pa.Array) -> pa.Array:
    """The texts, null where the content is anything else; parts that are all text are joined."""
    if is_text(native.type):
        return texts(native)
    if not is_list(native.type) or not keys(items(native.type)) & {"text", "value"}:
        return pa.nulls(len(native), pa.string())
    offsets, parts = pieces(native)
    held = [texts(pc.struct_field(parts, k)) for k in ("text", "value") if _is_text_key(parts.type, k)]
    found = pc.coalesce(*held) if held else pa.nulls(len(parts), pa.string())
    if "type" in keys(parts.type):
        types = pc.struct_field(parts, "type")
        is_ours = pc.is_in(texts(types), pa.array(TEXT_PARTS)) if is_text(types.type) else False
        found = pc.if_else(is_ours, found, None)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), found), "")
    return pc.if_else(native.is_valid(), joined, None)  # binary_join gives null where any part is null


def _is_text_key(kind: pa.DataType, key: str) -> bool:
    return key in keys(kind) and is_text(kind.field(key).type)


# -- reports -------------------------------------------------------------------------------------------------


def _refuse_text(rows: Rows, values: pa.Array, column: str) -> None:
    for index, value in enumerate(values.is_null().to_pylist()):
        if value:
            rows.bad(index, f"{column} is null", column, "a list of turns")
        else:
            rows.bad(
                index,
                f"{column} is text, not a list of turns",
                column,
                "JSON parsed before it is written (json.loads)",
            )


def _refuse(
    rows: Rows,
    column: str,
    names: tuple[str, str],
    offsets: np.ndarray[Any, Any],
    flat: pa.Array,
    roles: pa.Array,
    contents: pa.Array,
) -> None:
    """Report each row's first turn whose role is unknown or whose content is not text."""
    wrong = pc.or_(roles.is_null(), contents.is_null()).to_numpy(zero_copy_only=False)
    owner = owners(offsets)
    for place in np.flatnonzero(wrong):
        row = int(owner[place])
        key = names[0] if not roles[int(place)].is_valid else names[1]
        field = f"{column}[{place - offsets[row]}].{key}"
        value = flat[int(place)][key].as_py() if flat[int(place)].is_valid else None
        if key == names[0]:
            rows.bad(row, f"unknown role {value!r}", field, _known_roles(value))
        else:
            rows.bad(row, f"the content is {_what(value)}, not text", field, "text, or a list of text parts")


def _known_roles(value: Any) -> str:
    """The roles and the nearest; all their other names too where the nearest is one of those.

    >>> _known_roles("usr")
    'one of: system, user, assistant, tool (nearest to user)'
    """
    like = nearest(value.strip().lower(), ROLE_OF) if isinstance(value, str) else None
    if like is None:
        return f"one of: {', '.join(ROLES)}"
    return f"one of: {', '.join(ROLES if like in ROLES else ROLE_OF)} (nearest to {like})"


def _what(content: Any) -> str:
    """What a content is, in words.

    >>> _what([{"type": "text", "text": "Look:"}, {"type": "image_url"}])
    "a part of type 'image_url'"
    """
    if isinstance(content, list):
        parts = [p for p in content if not isinstance(p, dict) or p.get("type", "text") not in TEXT_PARTS]
        odd = parts[0] if parts else None
        return (
            f"a part of type {odd.get('type')!r}"
            if isinstance(odd, dict)
            else "a list with a part that holds no text"
        )
    if content is None:
        return "null"
    return {"bool": "a boolean", "int": "a number", "float": "a number", "dict": "an object"}.get(
        type(content).__name__, type(content).__name__
    )
