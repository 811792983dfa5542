"""Columns whose values mix kinds, so that no Arrow type holds them: JSON text, in fields marked `AS_JSON`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from tulu_data.sources.batch import AS_JSON


def is_json_text(field: pa.Field) -> bool:
    """Whether a field is marked: its values are JSON text in place of what they are."""
    return bool(field.metadata and field.metadata.items() >= AS_JSON.items())


def restored(table: pa.Table) -> pa.Table:
    """The table with its marked columns as values again, where one Arrow type holds those that are left."""
    for index, field in enumerate(table.schema):
        if is_json_text(field):
            values = [None if text is None else json.loads(text) for text in table[index].to_pylist()]
            try:
                table = table.set_column(index, field.name, pa.array(values))
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                continue
    return table


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """One schema for tables of several; a column whose types have nothing in common becomes JSON text."""
    names = dict.fromkeys(name for schema in schemas for name in schema.names)
    return pa.schema([_one([s.field(name) for s in schemas if name in s.names]) for name in names])


def _one(fields: Sequence[pa.Field]) -> pa.Field:
    if not any(is_json_text(field) for field in fields):
        try:
            return pa.unify_schemas([pa.schema([f]) for f in fields], promote_options="permissive").field(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    return pa.field(fields[0].name, pa.string(), metadata=AS_JSON)


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in a `unified` schema: what it lacks is null, and what became JSON text is told as such."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif is_json_text(field) and not is_json_text(table.schema.field(field.name)):
            values = table[field.name].to_pylist()
            texts = [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in values]
            columns.append(pa.array(texts, pa.string()))
        else:
            # Arrow 26 spoils structs with a field of nulls where it casts them to the type that they have.
            column = table[field.name]
            columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.table(columns, schema=schema)
