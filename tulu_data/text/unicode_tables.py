"""What the kernel knows of each code point, as a two-level table made from Python's own `unicodedata`.

A value says what the character becomes: another character (value >= 0), nothing (DROP), a gap between tokens
(GAP), several characters (-4 - index into `expansions`), or that it depends on its neighbours (CONTEXT), in
which case the whole text is normalised by Python instead.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from tulu_data.text.tokens import ASSIGNED, SIGMA, composing, is_unspaced

GAP, DROP, CONTEXT, EXPANDS = -1, -2, -3, -4
ALONE = 1 << 24
"""Above every code point."""


@dataclass(frozen=True)
class UnicodeTables:
    """`values[pages[c >> 8] * 256 + (c & 255)]` is the value of code point c."""

    pages: npt.NDArray[np.int32]  # [0x1100]
    values: npt.NDArray[np.int32]  # [pages in use * 256]
    expansions: npt.NDArray[np.int32]  # count, then that many values; one run behind the other


@cache
def unicode_tables(characters: bool = False) -> UnicodeTables:
    """The tables for this Python's Unicode version (about 0.1 s to make).

    Args:
        characters: whether characters of scripts without spaces are tokens of their own.
    """
    flat = np.full(0x110000, GAP, np.int32)
    expansions: list[int] = []
    joins = composing()
    for code in (*range(ASSIGNED), *range(0xE0000, 0xE1000)):
        char = chr(code)
        if 0xD800 <= code < 0xE000:
            continue
        plain = unicodedata.is_normalized("NFKC", char)
        if (
            plain
            and char not in joins
            and char != SIGMA
            and char.lower() == char
            and unicodedata.category(char) != "Cf"
        ):
            if char.isalnum() or char == "_":
                flat[code] = _marked(code, characters)
            continue
        flat[code] = _value(unicodedata.normalize("NFKC", char), joins, expansions, characters)
    unique, inverse = np.unique(flat.reshape(-1, 256), axis=0, return_inverse=True)
    return UnicodeTables(
        inverse.reshape(-1).astype(np.int32), unique.reshape(-1), np.array(expansions or [0], np.int32)
    )


def _marked(code: int, characters: bool) -> int:
    return code | ALONE if characters and is_unspaced(code) else code


def _value(normal: str, joins: frozenset[str], expansions: list[int], characters: bool) -> int:
    if SIGMA in normal or unicodedata.normalize("NFKD", normal)[:1] in joins:
        return CONTEXT
    out = [c for char in normal if unicodedata.category(char) != "Cf" for c in char.lower()]
    values = [_marked(ord(c), characters) if c.isalnum() or c == "_" else GAP for c in out]
    if len(values) == 1:
        return values[0]
    if not values:
        return DROP
    expansions += [len(values), *values]
    return EXPANDS - (len(expansions) - len(values) - 1)
