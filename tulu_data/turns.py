"""A column of conversations laid flat: one entry per message, so that operators compare whole arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import MESSAGE, MESSAGES

Mask = npt.NDArray[np.bool_]

SPACE = r"\s\v\x1c-\x1f\x{85}\p{Z}"
"""What Python's `str.strip` takes for white space, as the inside of an RE2 character class."""


@dataclass(frozen=True)
class Turns:
    """The messages of every row, one behind the other. A null conversation has none."""

    rows: npt.NDArray[np.int64]
    """Which row each message is of, ascending."""
    roles: pa.Array
    texts: pa.Array
    count: int
    """How many rows there are, those without messages included."""

    def where(self, mask: Mask) -> Turns:
        """Only the messages where `mask` is true; as many rows as before."""
        if mask.all():
            return self
        keep = pa.array(mask)
        return Turns(self.rows[mask], self.roles.filter(keep), self.texts.filter(keep), self.count)

    def any(self, mask: Mask) -> Mask:
        """Per row: is `mask` true for one of its messages?"""
        return self.sizes(mask) > 0

    def sizes(self, mask: Mask | None = None) -> npt.NDArray[np.int64]:
        """Per row: how many messages, of those where `mask` is true."""
        rows = self.rows if mask is None else self.rows[mask]
        return np.bincount(rows, minlength=self.count).astype(np.int64)

    def starts(self) -> Mask:
        """Per message: is it the first of its row?"""
        return np.asarray(np.diff(self.rows, prepend=-1) != 0)

    def ends(self) -> Mask:
        """Per message: is it the last of its row?"""
        return np.asarray(np.diff(self.rows, append=self.count) != 0)

    def places(self) -> npt.NDArray[np.int64]:
        """Per message: how many come before it in its row."""
        sizes = self.sizes()
        return np.arange(len(self.rows)) - (np.cumsum(sizes) - sizes)[self.rows]

    def role(self, *roles: str) -> Mask:
        """Per message: is its role one of these?"""
        return bools(pc.is_in(self.roles, pa.array(roles, pa.string())))

    def repeats(self, *roles: str) -> Mask:
        """Per message: has it one of these roles, and the message before it in its row the same?"""
        same = [self.role(role) & np.roll(self.role(role), 1) for role in roles]
        repeated: Mask = np.any(same, axis=0) & ~self.starts()
        return repeated

    def column(self) -> pa.Array:
        """The conversations again; those that were null are empty."""
        offsets = np.concatenate([[0], np.cumsum(self.sizes())])
        messages = pa.StructArray.from_arrays([self.roles, self.texts], fields=list(MESSAGE))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), messages, type=MESSAGES)


def turns_of(column: pa.Array | pa.ChunkedArray) -> Turns:
    """The messages of a column of conversations."""
    lists = one_chunk(column)
    messages = lists.flatten()  # honours slices, and skips what lies under null lists
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lists), dtype=np.int64), sizes)
    role, content = (_field(messages, name) for name in ("role", "content"))
    return Turns(rows, role, content, len(lists))


def _field(messages: pa.StructArray, name: str) -> pa.Array:
    """One field of every message; without a copy where no message is null."""
    return pc.struct_field(messages, name) if messages.null_count else messages.field(name)


def blank(texts: pa.Array) -> Mask:
    """Per text: is it null, or white space only?"""
    return ~bools(pc.match_substring_regex(texts, f"[^{SPACE}]"))


def one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as a single array."""
    if isinstance(column, pa.Array):
        return column
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    )


def bools(values: Any) -> Mask:
    """A boolean Arrow array for NumPy; null is false."""
    flags: Mask = pc.fill_null(values, fill_value=False).to_numpy(zero_copy_only=False)
    return flags
