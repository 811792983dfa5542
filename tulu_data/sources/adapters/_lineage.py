"""Where a row came from: its upstream id, its licence, and the native columns that nothing else used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.sources.adapters._arrow import is_list, is_number, is_scalar, is_text, items, one_chunk, texts
from tulu_data.sources.adapters._base import Rows

IDS = (
    *(
        "id",
        "prompt_id",
        "task_id",
        "question_id",
        "dialogue_id",
        "conversation_id",
        "message_id",
        "_instance_id",
    ),
    *("conversation_hash", "post_id", "qid", "idx"),
)
LICENSES = ("license", "licence", "Instance License")
NATIVE_CHARACTERS = 1_000
"""Longer texts are left out of `native`: lineage is read to find a row again, not to train on."""

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'


def lineage(rows: Rows, license: str | None) -> tuple[Mapping[str, pa.Array], tuple[str, ...]]:  # noqa: A002 - a recipe's word
    """The lineage columns, and the native columns that are left out of them."""
    count = len(rows)
    upstream = _upstream_ids(rows)
    licenses = pa.repeat(pa.scalar(license, pa.string()), count) if license is not None else _licenses(rows)
    native, left_out = _native(rows)
    columns = {"row": rows.batch.rows, "upstream_id": upstream, "license": licenses, "native": native}
    return columns, (*dict.fromkeys([*rows.left_out, *left_out]),)


def _upstream_ids(rows: Rows) -> pa.Array:
    if rows.upstream is not None:
        return as_strings(rows.upstream)
    table = rows.table
    held = (n for n in IDS if n in table.column_names and is_scalar(table.schema.field(n).type))
    name = next((n for n in held if n not in rows.used), None)
    return pa.nulls(len(rows), pa.string()) if name is None else as_strings(rows.column(name)[1])


def _licenses(rows: Rows) -> pa.Array:
    name = rows.first(LICENSES)
    if name is not None:
        kind = rows.table.schema.field(name).type
        if is_text(kind):
            return texts(rows.column(name)[1])
        if is_list(kind) and is_text(items(kind)):
            return texts(pc.binary_join(rows.column(name)[1].cast(pa.list_(pa.string())), ", "))
    return pa.nulls(len(rows), pa.string())


def as_strings(values: pa.Array) -> pa.Array:
    """Scalars as text; a whole float, which is an integer id beside nulls, without its point."""
    if pa.types.is_floating(values.type) and pc.all(pc.equal(values, pc.floor(values))).as_py():
        values = values.cast(pa.int64())
    return texts(values)


def _native(rows: Rows) -> tuple[pa.Array, list[str]]:
    """The unused scalar columns as one JSON object per row (null where it is empty), and what it lacks."""
    held = {n: rows.table[n] for n in rows.table.column_names if n not in rows.used and n not in rows.notes}
    scalars: dict[str, pa.Array] = {n: one_chunk(c) for n, c in held.items() if is_scalar(c.type)}
    scalars |= rows.notes
    left_out = [n for n in held if n not in scalars]
    fragments = []
    for name, values in scalars.items():
        kept = values
        if is_text(values.type):
            kept = _short(texts(values))
            if kept.null_count > values.null_count:
                left_out.append(name)
        if kept.null_count < len(kept):
            fragments.append(_fragment(name, kept))
    if not fragments:
        return pa.nulls(len(rows), pa.string()), left_out
    # Not null_handling="skip": Arrow 26 loses rows where all is null. Each fragment brings its own comma.
    joined = pc.binary_join_element_wise("{", *(pc.fill_null(f, "") for f in fragments), "}", "")
    first = pc.replace_substring(joined, "{, ", "{", max_replacements=1)
    return pc.if_else(pc.equal(joined, "{}"), None, first), left_out


def _short(values: pa.Array) -> pa.Array:
    long = pc.greater(pc.utf8_length(values), NATIVE_CHARACTERS)
    return pc.if_else(long, None, values) if pc.any(long).as_py() else values


def _fragment(name: str, values: pa.Array) -> pa.Array:
    """`, "name": value` of every row; null for null. Only texts that need escapes become Python objects."""
    kind = values.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        held = [None if v is None else _number(v) for v in values.to_pylist()]
        encoded = pa.array(held, pa.string())
    elif is_number(kind) or pa.types.is_boolean(kind):
        encoded = values.cast(pa.string())
    else:
        plain = texts(values)
        awkward = pc.fill_null(pc.match_substring_regex(plain, _NEEDS_ESCAPE), fill_value=False)
        encoded = pc.binary_join_element_wise('"', plain, '"', "")
        if pc.any(awkward).as_py():
            escaped = pa.array([encode_basestring(v) for v in plain.filter(awkward).to_pylist()], pa.string())
            encoded = pc.replace_with_mask(encoded, awkward, escaped)
    return pc.binary_join_element_wise(f", {json.dumps(name, ensure_ascii=False)}: ", encoded, "")


def _number(value: Any) -> str:
    """A number as JSON has it; what JSON has no word for (NaN, infinity) as text.

    >>> _number(0.5), _number(float("nan"))
    ('0.5', '"nan"')
    """
    number = float(value)
    return repr(number) if number - number == 0 else json.dumps(str(value))  # as json.dumps, sooner
