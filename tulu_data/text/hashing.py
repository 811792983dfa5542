"""Texts of an Arrow column as the kernels take them, and the rare texts that Python must normalise first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.text.tokens import UNSPACED_CLASS, normalise, normalise_with_origins

_NO_WORD = re.compile(r"\W")
_UNSPACED = re.compile(f"[{UNSPACED_CLASS}]")


@dataclass(frozen=True)
class Texts:
    """A column of texts as bytes: text i is `data[offsets[i]:offsets[i + 1]]`."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    prepared: bool = False
    """Whether the texts hold only normalised word characters and spaces."""

    @classmethod
    def of(cls, column: pa.Array) -> Texts:
        """The texts of a string or large-string array, in place; nulls count as empty."""
        if len(column) == 0:
            return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64))
        if column.null_count:
            column = column.fill_null("")
        width: Any = np.int64 if pa.types.is_large_string(column.type) else np.int32
        _, offsets, data = column.buffers()
        ends = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1]
        body = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        return cls(body, ends.astype(np.int64))

    def text(self, index: int) -> str:
        """One text as Python sees it."""
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes().decode("utf-8", "replace")


@dataclass(frozen=True)
class Prepared:
    """Texts that Python normalised, as the kernels take them, and what they were before."""

    texts: Texts
    originals: list[str]
    split: bool = False
    """Whether spaces were put around characters of scripts without spaces."""

    def characters(
        self, numbers: npt.NDArray[np.int32], starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Where bytes [start, end) of prepared texts lie in the original ones, in characters.

        Only now are the origins traced, and only in the texts named: few texts have anything to show.

        Args:
            numbers: which text each range is of, ascending.
            starts: bytes of the prepared text.
            ends: likewise.
        """
        first, last = np.empty_like(starts), np.empty_like(ends)
        for number in np.unique(numbers).tolist():
            here = slice(*np.searchsorted(numbers, [number, number + 1]))
            begins, stops = _origins(self.originals[number], characters=self.split)
            first[here] = begins[starts[here]]
            last[here] = stops[ends[here] - 1]
        return first, last


def prepare_texts(texts: list[str], *, characters: bool = False) -> Prepared:
    """Normalised word characters and spaces of each text, for what the table-driven kernel cannot do.

    With `characters`, spaces are put around each character of a script that writes none.
    """
    bodies = []
    for text in texts:
        body = _NO_WORD.sub(" ", normalise(text))
        bodies.append((_UNSPACED.sub(r" \g<0> ", body) if characters else body).encode())
    offsets = np.concatenate([[0], np.cumsum([len(body) for body in bodies])]).astype(np.int64)
    return Prepared(
        Texts(np.frombuffer(b"".join(bodies), np.uint8), offsets, prepared=True), texts, characters
    )


def _origins(text: str, *, characters: bool) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """For each byte of a prepared text, the start and the end of its original in characters."""
    plain, first, last = normalise_with_origins(text)
    body = _NO_WORD.sub(" ", plain)
    codes = np.frombuffer(body.encode("utf-32-le"), np.uint32)
    widths = 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF)  # bytes of UTF-8
    if characters:  # and the two spaces
        widths[[found.start() for found in _UNSPACED.finditer(body)]] += 2
    return np.repeat(np.array(first, np.int32), widths), np.repeat(np.array(last, np.int32), widths)
