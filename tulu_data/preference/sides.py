"""What the operators of this folder share: which rows they look at, and how both sides of a pair compare."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data import op
from tulu_data.record import CONTENT, Kind
from tulu_data.turns import Mask, Turns, bools, one_chunk, turns_of

Longs = npt.NDArray[np.int64]

SIDES = ("chosen", "rejected")
EQUAL = 1e-9
"""Scores that differ by no more are equal: sums of the same ratings in another order may differ so much."""


class OfSources(op.OfSources):
    """A step that looks at the preference rows of some sources, or of all."""

    kinds: ClassVar[tuple[Kind, ...]] = ("preference",)


def both_sides(batch: pa.Table) -> tuple[Turns, Turns]:
    """The messages of the chosen and of the rejected side."""
    chosen, rejected = (turns_of(batch[side]) for side in SIDES)
    return chosen, rejected


def agreeing(chosen: Turns, rejected: Turns) -> Longs:
    """Per row: with how many equal turns both sides begin. White space around a text makes no difference."""
    shorter = np.minimum(chosen.sizes(), rejected.sizes())
    heads = [side.where(side.places() < shorter[side.rows]) for side in (chosen, rejected)]
    roles = [side.roles for side in heads]
    texts = [pc.utf8_trim_whitespace(side.texts) for side in heads]
    differs = ~(_same(*roles) & _same(*texts))
    first = shorter.copy()
    np.minimum.at(first, heads[0].rows[differs], heads[0].places()[differs])
    return first


def _same(left: pa.Array, right: pa.Array) -> Mask:
    """Elementwise: are they equal, or both null?"""
    return bools(pc.equal(left, right)) | bools(pc.and_(left.is_null(), right.is_null()))


def last_user_text(turns: Turns) -> pa.Array:
    """Per row: the text of the last user message; null where there is none."""
    users = turns.where(turns.role("user"))
    last = users.where(users.ends())
    found = np.full(turns.count, -1)
    found[last.rows] = np.arange(len(last.rows))
    return last.texts.take(pa.array(found, mask=found < 0))


def filled(batch: pa.Table, column: str, values: pa.Array, rows: Mask) -> pa.Table:
    """The batch with new values of a column in some rows; the others keep theirs."""
    field = CONTENT["preference"].field(column)
    new = pc.if_else(pa.array(rows), values.cast(field.type), one_chunk(batch[column]))
    return batch.set_column(batch.column_names.index(column), field, new)
