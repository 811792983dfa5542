"""Items laid beside the rows that they were found in; see `kernels/comparing.py`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam import kernels
from tulu_data.decontam.index import Cut, Index, cut_texts
from tulu_data.decontam.kernels import Words
from tulu_data.decontam.match import Column, Findings

NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
    "hundred",
    "thousand",
    "million",
    "half",
    "third",
    "quarter",
    "twice",
    "double",
    "triple",
    "first",
    "second",
    "fourth",
    "fifth",
    "sixth",
)
"""Count as numbers when an item is laid beside a row, so that "five slices" and "six slices" are a change."""


ARTICLES = ("a", "i")
"""Single letters that are words of English too: where one comes or goes, no variable was changed."""


class Compared(NamedTuple):
    """What `compare` says of each slot of each finding."""

    whole: npt.NDArray[np.bool_]
    equal: npt.NDArray[np.int64]
    symbols: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    text: npt.NDArray[np.int64]
    """Of the texts that were compared; -1 where the slot was not found."""
    place: npt.NDArray[np.int64]
    core: npt.NDArray[np.int64]
    """Of the equal tokens, how many lie in no boilerplate."""


@dataclass(frozen=True)
class Rows:
    """The texts with hits in rows that have findings, cut again."""

    cut: Cut
    words: Words
    numbers: npt.NDArray[np.int64]
    """The number over all columns of each text."""
    text_of: npt.NDArray[np.int32]
    """The other way round; -1 for texts that were not cut."""
    columns: list[Column]
    _originals: dict[int, str] = field(default_factory=dict)
    _messages: dict[int, npt.NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, columns: list[Column], hits: Any, hit_rows: Any, rows: npt.NDArray[np.int32], *, characters: bool
    ) -> Rows:
        """Cuts what the findings need."""
        numbers = np.unique(hits[np.isin(hit_rows, rows), 0]).astype(np.int64)
        texts = []
        for number in numbers.tolist():
            column, text = _text(columns, number)
            texts.append(column.texts.text(text))
        cut = cut_texts(pa.array(texts, pa.string()), characters=characters)
        text_of = np.full(sum(len(column.rows) for column in columns), -1, np.int32)
        text_of[numbers] = np.arange(len(numbers))
        return cls(cut, words_of(cut), numbers, text_of, columns)

    def sentence_edge(self, text: int, token: int) -> bool:
        """Whether a sentence may begin before a token, counted from the text's first; and behind the last."""
        low, high = self.cut.offsets[text : text + 2].tolist()
        if token in {0, high - low}:
            return True
        if text not in self._originals:
            column, number = _text(self.columns, int(self.numbers[text]))
            self._originals[text] = column.texts.text(number)
        end, start = int(self.cut.ends_at[low + token - 1]), int(self.cut.starts_at[low + token])
        return _parts(self._originals[text][end:start])

    def message_edges(self, text: int) -> npt.NDArray[np.bool_]:
        """Whether a message begins before each token, and one behind the last."""
        if text not in self._messages:
            low, high = self.cut.offsets[text : text + 2].tolist()
            edges = np.zeros(high - low + 1, np.bool_)
            edges[[0, -1]] = True
            column, number = _text(self.columns, int(self.numbers[text]))
            if column.pieces is not None:
                edges[np.searchsorted(self.cut.starts_at[low:high], column.pieces.starts(number))] = True
            self._messages[text] = edges
        return self._messages[text]


JOINING = "_,\uff0c\u3001\u060c'\u2019-\u2010\u2011"
"""Signs inside a sentence: commas (also full-width, ideographic and Arabic ones), apostrophes and hyphens."""
_EDGE = re.compile(rf"[^\s\w{re.escape(JOINING)}]|\n")


def _parts(gap: str) -> bool:
    """Whether what lies between two tokens parts two sentences: a line break, or a sign that is not JOINING.

    Marks over letters and format characters are no signs.
    """
    return any(sign == "\n" or unicodedata.category(sign)[0] in "PS" for sign in _EDGE.findall(gap))


def _text(columns: list[Column], number: int) -> tuple[Column, int]:
    """The column that a text is in, and its number there."""
    for column in columns:
        if number < len(column.rows):
            return column, number
        number -= len(column.rows)
    raise IndexError(number)


def words_of(cut: Cut, core: npt.NDArray[np.uint8] | None = None) -> Words:
    """A Cut as `compare` takes it; `core` tells which tokens lie in no boilerplate (all, unless given)."""
    firsts = cut.text[cut.places] if len(cut.ends) else np.zeros(0, np.uint8)
    letters = (cut.ends - cut.places == 1) & (
        firsts < 128
    )  # a byte of its own; in other scripts one is a word
    letters &= ~np.isin(cut.hashes, _hashes(ARTICLES))
    symbols = letters | (cut.numbers > 0) | np.isin(cut.hashes, _hashes(NUMBER_WORDS))
    text = cut.text if len(cut.text) else np.zeros(1, np.uint8)
    core = np.ones(len(cut.hashes), np.uint8) if core is None else core
    return Words(
        cut.offsets, cut.hashes, cut.numbers, core, symbols.astype(np.uint8), cut.places, cut.ends, text
    )


@cache
def _hashes(words: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    return cut_texts(pa.array(words)).hashes


def compared(index: Index, ours: Words, found: Findings, hits: Any, hit_rows: Any, rows: Rows) -> Compared:
    """Lays every slot of every finding beside its row."""
    with index.memory() as memory:
        out = kernels.compare(
            np.stack([found.rows, found.items], axis=1), found.slot_offsets, found.slot_scores,
            np.searchsorted(hit_rows, found.rows), np.searchsorted(hit_rows, found.rows, side="right"),
            hits, index.fields, ours, rows.words, rows.text_of, memory,
        )  # fmt: skip
    return Compared(out[:, 0] > 0, *(out[:, column] for column in range(1, 7)))
