r"""How text becomes tokens, told plainly: the twin that the fast kernel is tested against.

    normalise   NFKC, then format characters (category Cf: zero-width joiners, soft hyphens, …) dropped, then lower case
    tokens      the runs of `\w` in the normalised text, with their places in the *original* text, in characters
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

ASSIGNED = 0x33480
"""Above this code point Unicode has no letters or digits: only tags, variation selectors and private use."""

SIGMA = "Σ"
"""The one letter whose lower case depends on its neighbours (final sigma)."""


@dataclass(frozen=True)
class Token:
    """A normalised token and its characters `[start, end)` in the original text."""

    text: str
    start: int
    end: int


@cache
def composing() -> frozenset[str]:
    """Characters that normalisation may join with the one before them: second parts of canonical compositions."""
    seconds = {chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # Hangul vowels and final consonants
    for code in range(ASSIGNED):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    return frozenset(seconds)


def starts_anew(char: str) -> bool:
    """Whether normalisation can be done separately before and from this character on."""
    first = unicodedata.normalize("NFKD", char)[0]
    return unicodedata.combining(first) == 0 and first not in composing()


def normalise(text: str) -> str:
    """NFKC, format characters dropped, lower case.

    >>> normalise("Ｈello\u200b Wo\u00adrld ﬁ")
    'hello world fi'
    """
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf").lower()


def normalise_with_origins(text: str) -> tuple[str, list[int], list[int]]:
    """`normalise(text)`, and for each of its characters where its original begins and ends.

    The text is cut where normalisation cannot reach across; all that comes out of a piece has the piece as origin.
    """
    kept: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    cuts = [i for i, c in enumerate(text) if i == 0 or c.isascii() or starts_anew(c)] + [len(text)]
    for start, end in zip(cuts, cuts[1:], strict=False):
        for char in unicodedata.normalize("NFKC", text[start:end]):
            if unicodedata.category(char) != "Cf":
                kept.append(char)
                width = len(char.lower())
                starts += [start] * width
                ends += [end] * width
    return "".join(kept).lower(), starts, ends


def tokens(text: str) -> list[Token]:
    r"""The tokens of a text, by NLTK's `RegexpTokenizer(r"\w+")` over the normalised text.

    >>> [(t.text, t.start, t.end) for t in tokens("Can't  STOP")]
    [('can', 0, 3), ('t', 4, 5), ('stop', 7, 11)]
    """
    from nltk.tokenize import RegexpTokenizer

    plain, starts, ends = normalise_with_origins(text)
    spans = RegexpTokenizer(r"\w+").span_tokenize(plain)
    return [Token(plain[a:b], starts[a], ends[b - 1]) for a, b in spans]
