"""What a row is: the schemas of the published Tülu 3 datasets, ids and verdicts.

A conversation is `messages: list<struct<role, content>>`. While a mixture is made, a row carries the columns
of its kind (`OUTPUT[kind]`) and those that tell where it came from (`LINEAGE`); the first go to `data/`, the
second to `lineage.parquet`.

A row's `id` is `source/hash/occurrence`: the hash covers the row's content and nothing else, and the
occurrence counts rows of equal content in one source from 0. So an id survives reordering and upstream
insertions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.digests import Part, hash_rows, part_of_texts

Kind = Literal["sft", "preference", "rlvr", "prompts"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ROLES = ("system", "user", "assistant", "tool")
MESSAGE = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])
MESSAGES = pa.list_(pa.field("item", MESSAGE))

RATING = pa.struct(
    [pa.field("aspect", pa.string()), pa.field("rating", pa.float64()), pa.field("note", pa.string())]
)
"""What one judge says of one aspect. The rating is null where it is no number; `note` has then what was said
instead, such as `N/A`."""
COMPLETION = pa.struct(
    [
        pa.field("messages", MESSAGES),
        pa.field("model", pa.string()),
        pa.field("ratings", pa.list_(pa.field("item", RATING))),
    ]
)
"""One of several answers to a prompt: the whole conversation, who answered, and what judges said."""
COMPLETIONS = pa.list_(pa.field("item", COMPLETION))

_CONTENT: dict[Kind, list[tuple[str, pa.DataType]]] = {
    "sft": [("messages", MESSAGES), ("tools", pa.string())],
    "prompts": [("messages", MESSAGES), ("tools", pa.string())],
    "preference": [
        ("prompt", pa.string()),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("chosen_rating", pa.float64()),
        ("rejected_rating", pa.float64()),
        ("chosen_model", pa.string()),
        ("rejected_model", pa.string()),
    ],
    "rlvr": [
        ("messages", MESSAGES),
        ("ground_truth", pa.string()),
        ("dataset", pa.string()),
        ("constraint_type", pa.string()),
        ("constraint", pa.string()),
    ],
}

CONTENT: dict[Kind, pa.Schema] = {kind: pa.schema(columns) for kind, columns in _CONTENT.items()}
"""The columns of each kind that hold its content; adapters produce these."""

_BESIDE: dict[Kind, list[tuple[str, pa.DataType]]] = {"preference": [("completions", COMPLETIONS)]}
"""Columns that go with the content to `lineage.parquet`, not to `data/`: all the answers that a pair was
chosen from, so that none is ever lost."""

IDENTITY: dict[Kind, tuple[str, ...]] = {
    "sft": ("messages", "tools"),
    "prompts": ("messages", "tools"),
    "preference": ("prompt", "chosen", "rejected"),
    "rlvr": ("messages", "ground_truth", "dataset", "constraint_type", "constraint"),
}
"""The columns that a row's content hash covers: other ratings and model names make no new row.

Where a row has completions, it covers their messages too.
"""

OUTPUT: dict[Kind, pa.Schema] = {
    kind: pa.schema([("id", pa.string()), *columns, ("source", pa.string())])
    for kind, columns in _CONTENT.items()
}
"""The columns of `data/`: those of the published Tülu 3 datasets, and `tools` where a row has some."""

LINEAGE = pa.schema(
    [
        ("row", pa.int64()),  # which row of its source, from 0 in reading order
        ("upstream_id", pa.string()),
        ("license", pa.string()),
        ("native", pa.string()),  # unused scalar columns of the source, as one JSON object
    ]
)
"""The columns that tell where a row came from."""

VERDICT = "verdict"
"""Null while a row is kept; `operator:reason` once one rejects it."""


def adapted_schema(kind: Kind) -> pa.Schema:
    """What an adapter returns for `kind`: the content columns, those beside them, and the lineage columns."""
    return pa.schema([*CONTENT[kind], *beside(kind), *LINEAGE])


def beside(kind: Kind) -> pa.Schema:
    """The columns that go with the content of `kind`, and are stored with its lineage."""
    return pa.schema(_BESIDE.get(kind, []))


def working_schema(kind: Kind) -> pa.Schema:
    """What operators see: the output columns, those beside them, the lineage columns and the verdict."""
    return pa.schema([*OUTPUT[kind], *beside(kind), *LINEAGE, pa.field(VERDICT, pa.string())])


def conversation_columns(kind: Kind) -> tuple[str, ...]:
    """The columns of `kind` that hold messages."""
    return tuple(f.name for f in CONTENT[kind] if f.type == MESSAGES)


# -- identity -----------------------------------------------------------------------------------------------


def canonical_text(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The text whose hash is a row's identity: every value behind its length, so none runs into the next.

    Lengths are in bytes of UTF-8, and `-` where a value is null; a null message has no role and no content.
    This is the legible twin of what `content_hashes` feeds to the hash.

    >>> hello = [{"role": "user", "content": "Hé"}, {"role": "assistant", "content": None}]
    >>> canonical_text({"messages": hello, "tools": None}, ["messages", "tools"])
    '2[user:3:assistant:-:Hé-'
    """
    out = []
    for column in columns:
        value = row[column]
        if value is None:
            out.append("-")
        elif isinstance(value, str):
            out.append(f"{len(value.encode())}:{value}")
        else:
            turns = [(m["role"], m["content"]) if m else (None, None) for m in value]
            heads = [f"{_or_dash(role)}:{_or_dash(_size(content))}:" for role, content in turns]
            out.append("".join([f"{len(value)}[", *heads, *(content or "" for _, content in turns)]))
    return "".join(out)


def _size(text: str | None) -> int | None:
    return None if text is None else len(text.encode())


def _or_dash(value: object) -> object:
    return "-" if value is None else value


def content_hashes(table: pa.Table, kind: Kind) -> pa.Array:
    """The 128-bit BLAKE2b hash of every row's `canonical_text`, as `fixed_size_binary(16)`.

    A row that has completions is hashed with all their messages, a null message behind each completion.
    """
    columns = IDENTITY[kind]
    if "completions" not in beside(kind).names or "completions" not in table.column_names:
        return row_hashes(table, columns)
    held = _one_chunk(table["completions"])
    if held.null_count == len(held):
        return row_hashes(table, columns)
    whole = table.select(columns).append_column("completions", all_messages(held))
    plain, told = row_hashes(table, columns), row_hashes(whole, whole.column_names)
    return pc.if_else(pc.is_null(held), plain, told)


def all_messages(completions: pa.Array) -> pa.Array:
    """The messages of each row's completions, one behind the other, a null message behind each completion."""
    counts = pc.fill_null(pc.list_value_length(completions), 0).to_numpy(zero_copy_only=False)
    firsts = np.concatenate([[0], np.cumsum(counts)])
    messages = pc.struct_field(completions.flatten(), "messages")
    sizes = pc.fill_null(pc.list_value_length(messages), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(sizes + 1)])
    places = np.arange(ends[-1]) - np.repeat(np.arange(len(sizes)), sizes + 1)
    indices = pa.array(places, pa.int64(), mask=np.isin(np.arange(ends[-1]), ends[1:] - 1))
    turns = messages.flatten().take(indices)
    return pa.ListArray.from_arrays(pa.array(ends[firsts], pa.int32()), turns).cast(MESSAGES)


def row_hashes(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """The 128-bit BLAKE2b hash of some columns' `canonical_text` of every row, as `fixed_size_binary(16)`.

    The texts of a row's messages lie one behind the other in Arrow's buffer, and are hashed where they are.
    """
    parts = [part for column in columns for part in _heads_and_bodies(_one_chunk(table[column]))]
    if not parts:
        parts = [Part(None, np.zeros(table.num_rows + 1, np.int64))]
    digests = pa.py_buffer(hash_rows(parts, 16))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), table.num_rows, [None, digests])


def _one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _heads_and_bodies(column: pa.Array) -> tuple[Part, Part]:
    """Of every row: its canonical text as far as the texts, and its texts where they lie in the buffer."""
    if pa.types.is_list(column.type):
        turns = column.flatten()  # honours slices and skips what lies under null lists
        roles, texts = (pc.struct_field(turns, name) for name in ("role", "content"))
        counts = pc.list_value_length(column)
        firsts = np.concatenate([[0], np.cumsum(pc.fill_null(counts, 0).to_numpy(zero_copy_only=False))])
        turn_heads = pc.binary_join_element_wise(_dashed(roles), _dashed(_lengths(texts)), "", ":")
        lists = pa.ListArray.from_arrays(pa.array(firsts, pa.int32()), turn_heads)
        heads = pc.binary_join_element_wise(pc.cast(counts, pa.string()), pc.binary_join(lists, ""), "[")
    else:
        texts, firsts = column, np.arange(len(column) + 1)
        heads = pc.binary_join_element_wise(_lengths(column), "", ":")
    if texts.null_count:
        texts = pc.fill_null(texts, "")  # there may be bytes in the buffer under a null
    _, offsets, data = texts.buffers()
    starts = np.frombuffer(offsets, np.int32)[texts.offset :] if len(texts) else np.zeros(1, np.int32)
    return part_of_texts(_dashed(heads)), Part(data, starts[firsts].astype(np.int64))


def _lengths(texts: pa.Array) -> pa.Array:
    return pc.cast(pc.binary_length(texts), pa.string())


def _dashed(texts: pa.Array) -> pa.Array:
    return pc.fill_null(texts, "-")


def row_ids(source: str, hashes: pa.Array, occurrences: pa.Array) -> pa.Array:
    """`source/hash/occurrence` of every row; `occurrences` are int64."""
    hexes = _hexes(
        np.frombuffer(hashes.buffers()[1], np.uint8).reshape(-1, 16)[hashes.offset :][: len(hashes)]
    )
    return pc.binary_join_element_wise(
        pa.scalar(source, pa.string()), hexes, pc.cast(occurrences, pa.string()), pa.scalar("/", pa.string())
    )


def _hexes(hashes: npt.NDArray[np.uint8]) -> pa.Array:
    """The hexadecimal digits of hashes, one to a row."""
    digits = _HEX_DIGITS[hashes]
    ends = np.arange(len(hashes) + 1, dtype=np.int32) * (2 * hashes.shape[1])
    return pa.StringArray.from_buffers(len(hashes), pa.py_buffer(ends), pa.py_buffer(digits))


_HEX_DIGITS = np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)
"""Of every byte its two digits."""


def sort_keys(ids: pa.Array, seed: int) -> pa.Array:
    """The 64-bit key that orders and selects rows: big-endian BLAKE2b of `seed/id`, as uint64.

    Selecting the k smallest keys means that raising k only adds rows.
    """
    seeded = pc.binary_join_element_wise(pa.scalar(f"{seed}/"), _one_chunk(ids), "")
    return pa.array(hash_rows([part_of_texts(seeded)], 8).view(">u8")[:, 0].astype(np.uint64))


def sort_key(row_id: str, seed: int) -> int:
    """The key of one row, as `sort_keys` gives it.

    >>> sort_key("chat/0fab/0", 42) == sort_keys(pa.array(["chat/0fab/0"]), 42)[0].as_py()
    True
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}/{row_id}".encode(), digest_size=8).digest(), "big")
