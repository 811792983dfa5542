"""What was found, as Arrow: for each row the list of its findings; exploded, the table `matches.parquet`.

Spans are characters `[start, end)` of the original texts, on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.items import SuiteItems
from tulu_data.decontam.match import KINDS, Column, Findings, Pieces
from tulu_data.record import MESSAGES, ROLES, Kind, conversation_columns
from tulu_data.text.hashing import Texts
from tulu_data.turns import Turns, one_chunk, turns_of

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
    ("kind", pa.string()),  # copy, partial, short, options, changed_numbers or near_duplicate; see rules.py
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
    matcher = suite.matcher
    sides = [side for name in names for side in _sides(name, one_chunk(batch[name]), roles, matcher.streams)]
    found = matcher.find([side.column for side in sides])
    rows = _structs(found, suite, _train_spans(found, sides))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(found.rows, minlength=batch.num_rows))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows, mask=pa.array(np.diff(offsets) == 0))


@dataclass(frozen=True)
class _Side:
    """Texts of a column, as the matcher takes them."""

    name: str
    column: Column
    messages: npt.NDArray[np.int32]
    """Which message of its row each text is, where it is one."""


def _sides(name: str, column: pa.Array, roles: Sequence[str] | None, streams: bool) -> list[_Side]:
    """A column's messages, or its streams: of each row the messages of one role, joined."""
    if column.type != MESSAGES:  # a bare prompt is what a user says
        wanted = np.full(len(column), roles is None or "user" in roles, np.uint8)
        rows = np.arange(len(column), dtype=np.int32)
        return [_Side(name, Column(Texts.of(column), rows, wanted), np.zeros(len(column), np.int32))]
    turns = turns_of(column)
    firsts = np.concatenate([[0], np.cumsum(turns.sizes())[:-1]]) if turns.count else np.zeros(0, np.int64)
    within = np.arange(len(turns.rows)) - firsts[turns.rows] if len(turns.rows) else turns.rows
    numbers: npt.NDArray[np.int32] = within.astype(np.int32)
    if streams:
        return [_stream(name, turns, numbers, role) for role in (ROLES if roles is None else roles)]
    wanted = np.ones(len(turns.rows), np.uint8) if roles is None else turns.role(*roles).astype(np.uint8)
    return [_Side(name, Column(Texts.of(turns.texts), turns.rows.astype(np.int32), wanted), numbers)]


def _stream(name: str, turns: Turns, numbers: npt.NDArray[np.int32], role: str) -> _Side:
    """Of each row the messages of a role, with a line break between two."""
    chosen = turns.role(role)
    texts = turns.texts.filter(pa.array(chosen))
    counts = np.bincount(turns.rows[chosen], minlength=turns.count)
    rows = np.flatnonzero(counts)
    offsets = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
    if len(texts) > len(rows):
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts.fill_null(""))
        joined = pc.binary_join(lists, "\n")
    else:
        joined = texts
    pieces = Pieces(texts.fill_null(""), numbers[chosen], offsets)
    wanted = np.ones(len(rows), np.uint8)
    column = Column(Texts.of(joined), rows.astype(np.int32), wanted, pieces)
    return _Side(name, column, np.zeros(len(rows), np.int32))


def _train_spans(found: Findings, sides: list[_Side]) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """The finding of each span of a row, and the spans as TRAIN_SPAN; those of streams by their messages."""
    spans = found.train_spans
    bases = np.cumsum([0, *(len(side.column.rows) for side in sides)])
    side_of = np.searchsorted(bases, spans[:, 1], side="right") - 1
    owners, names, messages, starts, ends = [], [], [], [], []
    for number, side in enumerate(sides):
        here = spans[side_of == number]
        texts = here[:, 1] - bases[number]
        if side.column.pieces is None:
            parts = np.stack([here[:, 0], side.messages[texts], here[:, 2], here[:, 3]], axis=1)
        else:
            parts = _by_message(here, texts, side.column.pieces)
        owners.append(parts[:, 0])
        names.append(np.full(len(parts), number))
        messages.append(parts[:, 1])
        starts.append(parts[:, 2])
        ends.append(parts[:, 3])
    owner = np.concatenate([np.zeros(0, np.int64), *owners])
    order = np.argsort(owner, kind="stable")
    column_names = pa.array([side.name for side in sides], pa.string())
    columns = [
        column_names.take(pa.array(np.concatenate([np.zeros(0, np.int64), *names])[order])),
        *(
            pa.array(np.concatenate([np.zeros(0, np.int64), *part])[order])
            for part in (messages, starts, ends)
        ),
    ]
    values = [c.cast(f.type) for c, f in zip(columns, TRAIN_SPAN, strict=True)]
    return owner[order], pa.StructArray.from_arrays(values, fields=list(TRAIN_SPAN))


def _by_message(
    spans: npt.NDArray[np.int32], streams: npt.NDArray[np.int64], pieces: Pieces
) -> npt.NDArray[np.int64]:
    """Spans of streams as spans of their messages: finding, message, start, end; some become several."""
    single = np.diff(pieces.offsets)[streams] == 1 if len(streams) else np.zeros(0, np.bool_)
    out = np.stack([spans[:, 0], pieces.numbers[pieces.offsets[streams]], spans[:, 2], spans[:, 3]], axis=1)
    parts = [out[single].astype(np.int64)]
    cuts: dict[int, npt.NDArray[np.int64]] = {}
    for place in np.flatnonzero(~single).tolist():
        stream = int(streams[place])
        starts = cuts.setdefault(stream, pieces.starts(stream)) if stream not in cuts else cuts[stream]
        finding, _, start, end = spans[place].tolist()
        first, last = np.searchsorted(starts, [start, end - 1], side="right") - 1
        for message in range(int(first), int(last) + 1):
            begin, stop = max(start, int(starts[message])), min(end, int(starts[message + 1]) - 1)
            if stop > begin:
                number = int(pieces.numbers[pieces.offsets[stream] + message])
                low = int(starts[message])
                parts.append(np.array([[finding, number, begin - low, stop - low]], np.int64))
    joined = np.concatenate(parts)
    return np.asarray(joined[np.lexsort((joined[:, 2], joined[:, 1], joined[:, 0]))])


def _structs(found: Findings, suite: SuiteItems, spans: tuple[npt.NDArray[np.int64], pa.Array]) -> pa.Array:
    """The findings as an array of FINDING."""
    names, rule = suite.names, suite.suite.rule
    evals = names.eval_of[found.items]
    owners = np.repeat(np.arange(len(found)), np.diff(found.slot_offsets))  # the finding of every field score
    fields = names.first_field[evals[owners]] + found.slots
    items = found.item_spans
    item_fields = names.first_field[evals[items[:, 0]]] + items[:, 1]
    kinds = pa.array(found.kinds)
    parts = {
        "role": names.roles.take(pa.array(evals)),
        "eval": names.evals.take(pa.array(evals)),
        "split": names.splits.take(pa.array(evals)),
        "item_id": names.ids.take(pa.array(found.items)),
        "kind": pa.array(KINDS).take(kinds),
        "score": pa.array(found.scores),
        "field_scores": _lists(
            found.slot_offsets,
            [names.fields.take(pa.array(fields)), pa.array(found.slot_scores)],
            FIELD_SCORE,
        ),
        "action": pa.array([rule.action(kind) for kind in KINDS]).take(kinds),
        "train_spans": pa.ListArray.from_arrays(
            pa.array(_offsets(spans[0], len(found)), pa.int32()), spans[1]
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


def _offsets(owners: npt.NDArray[Any], size: int) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=size))]).astype(np.int64)


def _lists(offsets: npt.NDArray[np.int64], columns: list[pa.Array], kind: pa.StructType) -> pa.Array:
    values = pa.StructArray.from_arrays(
        [c.cast(f.type) for c, f in zip(columns, kind, strict=True)], fields=list(kind)
    )
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def dropped_for(findings: pa.Array) -> pa.Array:
    """For each row the eval of the first finding for whose sake it drops; null where there is none."""
    flat = findings.flatten()
    drops = np.flatnonzero(pc.equal(pc.struct_field(flat, "action"), "drop").to_numpy(zero_copy_only=False))
    owners = pc.list_parent_indices(findings).to_numpy()[drops]
    rows, first = np.unique(owners, return_index=True)
    place = np.full(len(findings), -1, np.int64)
    place[rows] = drops[first]
    return pc.struct_field(flat, "eval").take(pa.array(place, mask=place < 0))


def one_each(matches: pa.Table) -> pa.Array:
    """Each row of a table of matches as the list of one finding."""
    flat = pa.StructArray.from_arrays([one_chunk(matches[f.name]) for f in FINDING], fields=list(FINDING))
    return pa.ListArray.from_arrays(pa.array(range(len(flat) + 1), pa.int32()), flat)


def explode(dataset: pa.Array, train_id: pa.Array, row_id: pa.Array, findings: pa.Array) -> pa.Table:
    """The findings of some rows as `MATCHES`, in row order."""
    owners = pc.list_parent_indices(findings)
    flat = findings.flatten()
    own = [column.take(owners) for column in (dataset, train_id, row_id)]
    return pa.table([*own, *(pc.struct_field(flat, f.name) for f in FINDING)], schema=MATCHES)
