"""What was found, as Arrow: for each row the list of its findings; exploded, the table `matches.parquet`.

Spans are characters `[start, end)` of the original texts, on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.index import Index
from tulu_data.decontam.items import SuiteItems
from tulu_data.decontam.match import Column, Findings, find
from tulu_data.record import MESSAGES, Kind, conversation_columns
from tulu_data.text.hashing import Texts
from tulu_data.turns import one_chunk, turns_of

FIELD_SCORE = pa.struct([("field", pa.string()), ("score", pa.float64())])
TRAIN_SPAN = pa.struct(
    [("column", pa.string()), ("message", pa.int32()), ("start", pa.int32()), ("end", pa.int32())]
)
ITEM_SPAN = pa.struct([("field", pa.string()), ("start", pa.int32()), ("end", pa.int32())])

FINDING = pa.struct([
    ("role", pa.string()),  # the eval's role: development or unseen
    ("eval", pa.string()),
    ("split", pa.string()),
    ("item_id", pa.string()),
    ("kind", pa.string()),  # copy (all of it), short (whole, in a field too short for an n-gram), partial
    ("score", pa.float64()),
    ("field_scores", pa.list_(FIELD_SCORE)),
    ("action", pa.string()),  # drop, review or keep
    ("train_spans", pa.list_(TRAIN_SPAN)),
    ("item_spans", pa.list_(ITEM_SPAN)),
])  # fmt: skip

MATCHES = pa.schema([("dataset", pa.string()), ("train_id", pa.string()), ("row_id", pa.string()), *FINDING])
"""The columns of `matches.parquet`. `train_id` is the row's own id where it has one, `row_id` is ours."""


def scanned_columns(kind: Kind) -> tuple[str, ...]:
    """What of a row is looked at: its messages (RLVR: the prompt); of a pair of answers, prompt and both."""
    return ("prompt", "chosen", "rejected") if kind == "preference" else conversation_columns(kind)


def findings_of(batch: pa.Table, kind: Kind, roles: Sequence[str] | None, suite: SuiteItems) -> pa.Array:
    """For each row of a batch the list of its findings (`list<FINDING>`; null where there is none).

    Args:
        batch: rows with the columns of `scanned_columns(kind)`.
        kind: of the rows.
        roles: whose messages are looked at; None means everyone's.
        suite: what is looked for.
    """
    names = scanned_columns(kind)
    sides = [_side(one_chunk(batch[name]), roles) for name in names]
    found = find(suite.index, [column for column, _ in sides])
    texts = np.arange(len(names), dtype=np.int32).repeat([len(m) for _, m in sides])
    messages = np.concatenate([m for _, m in sides])
    rows = _structs(found, suite, pa.array(names, pa.string()), texts, messages)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(found.rows, minlength=batch.num_rows))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows, mask=pa.array(np.diff(offsets) == 0))


def _side(column: pa.Array, roles: Sequence[str] | None) -> tuple[Column, npt.NDArray[np.int32]]:
    """A column as the matcher takes it, and which message of its row each text is."""
    if column.type != MESSAGES:  # a bare prompt is what a user says
        wanted = np.full(len(column), roles is None or "user" in roles, np.uint8)
        rows = np.arange(len(column), dtype=np.int32)
        return Column(Texts.of(column), rows, wanted), np.zeros(len(column), np.int32)
    turns = turns_of(column)
    wanted = np.ones(len(turns.rows), np.uint8) if roles is None else turns.role(*roles).astype(np.uint8)
    firsts = np.concatenate([[0], np.cumsum(turns.sizes())[:-1]]) if turns.count else np.zeros(0, np.int64)
    number = np.arange(len(turns.rows)) - firsts[turns.rows] if len(turns.rows) else turns.rows
    return Column(Texts.of(turns.texts), turns.rows.astype(np.int32), wanted), number.astype(np.int32)


def _structs(
    found: Findings,
    suite: SuiteItems,
    columns: pa.Array,
    texts: npt.NDArray[np.int32],
    messages: npt.NDArray[np.int32],
) -> pa.Array:
    """The findings as an array of FINDING."""
    names, index = suite.names, suite.index
    evals = names.eval_of[found.items]
    owners = np.repeat(np.arange(len(found)), np.diff(found.slot_offsets))  # the finding of every field score
    places = (
        index.fields.item_offsets[found.items[owners]] + np.arange(len(owners)) - found.slot_offsets[owners]
    )
    fields = names.first_field[evals[owners]] + index.slots[places]
    spans, items = found.train_spans, found.item_spans
    slot_of_span = (
        index.fields.item_offsets[found.items[items[:, 0]]] + items[:, 1]
    )  # counted among fields with tokens
    item_fields = names.first_field[evals[items[:, 0]]] + index.slots[slot_of_span]
    parts = {
        "role": names.roles.take(pa.array(evals)),
        "eval": names.evals.take(pa.array(evals)),
        "split": names.splits.take(pa.array(evals)),
        "item_id": names.ids.take(pa.array(found.items)),
        "kind": _kinds(found, index, owners, places),
        "score": pa.array(found.scores),
        "field_scores": _lists(
            found.slot_offsets,
            [names.fields.take(pa.array(fields)), pa.array(found.slot_scores)],
            FIELD_SCORE,
        ),
        "action": pa.repeat(pa.scalar("drop"), len(found)),
        "train_spans": _lists(
            _offsets(spans[:, 0], len(found)),
            [columns.take(pa.array(texts[spans[:, 1]])), pa.array(messages[spans[:, 1]]), *_ends(spans)],
            TRAIN_SPAN,
        ),
        "item_spans": _lists(
            _offsets(items[:, 0], len(found)),
            [names.fields.take(pa.array(item_fields)), *_ends(items)],
            ITEM_SPAN,
        ),
    }
    return pa.StructArray.from_arrays([parts[f.name].cast(f.type) for f in FINDING], fields=list(FINDING))


def _ends(spans: npt.NDArray[np.int32]) -> list[pa.Array]:
    return [pa.array(np.ascontiguousarray(spans[:, number])) for number in (2, 3)]


def _offsets(owners: npt.NDArray[np.int32], size: int) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=size))]).astype(np.int64)


def _lists(offsets: npt.NDArray[np.int64], columns: list[pa.Array], kind: pa.StructType) -> pa.Array:
    values = pa.StructArray.from_arrays(
        [c.cast(f.type) for c, f in zip(columns, kind, strict=True)], fields=list(kind)
    )
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _kinds(
    found: Findings, index: Index, owners: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> pa.Array:
    """`copy`: every token covered; `short`: only fields too short for an n-gram match; else `partial`."""
    long = (index.fields.tokens[index.fields.item_fields[places]] >= index.n) & (found.slot_scores > 0)
    has_long = np.bincount(owners, weights=long, minlength=len(found)) > 0
    kinds = np.where(~has_long, 0, np.where(found.scores == 1.0, 1, 2))
    return pa.array(["short", "copy", "partial"]).take(pa.array(kinds))


def explode(dataset: pa.Array, train_id: pa.Array, row_id: pa.Array, findings: pa.Array) -> pa.Table:
    """The findings of some rows as `MATCHES`, in row order."""
    owners = pc.list_parent_indices(findings)
    flat = findings.flatten()
    own = [column.take(owners) for column in (dataset, train_id, row_id)]
    return pa.table([*own, *(pc.struct_field(flat, f.name) for f in FINDING)], schema=MATCHES)
