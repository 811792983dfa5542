r"""How text becomes tokens, told plainly: the twin that the fast kernel is tested against.

normalise   NFKC, then format characters (Cf: zero-width joiners, soft hyphens, …) dropped, then lower case
tokens      the runs of `\w` in the normalised text, with their places in the *original* text, in characters

With `characters`, a script that writes no spaces between words (UNSPACED) gives a token for each character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

ASSIGNED = 0x33480
"""Above this code point Unicode has no letters or digits: only tags, variation selectors and private use."""

SIGMA = "Σ"
"""The one letter whose lower case depends on its neighbours (final sigma)."""


UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic marks of repetition, closing and zero
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x3105, 0x312F),  # Bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese characters, with their extensions
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3347F),
)
"""Code points of scripts that write no spaces between words (UAX 14: ideographs, and complex context)."""


def is_unspaced(code: int) -> bool:
    """Whether a code point belongs to a script that writes no spaces between words."""
    return any(first <= code <= last for first, last in UNSPACED)


UNSPACED_CLASS = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
"""The same, for inside the brackets of a regular expression."""


@dataclass(frozen=True)
class Token:
    """A normalised token and its characters `[start, end)` in the original text."""

    text: str
    start: int
    end: int


@cache
def composing() -> frozenset[str]:
    """Characters that normalisation may join with the one before: second parts of canonical compositions."""
    seconds = {
        chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))
    }  # Hangul vowels and final consonants
    for code in range(ASSIGNED):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    return frozenset(seconds)


@cache
def binds(char: str) -> bool:
    """Whether normalisation may join the character with the one before it."""
    return unicodedata.normalize("NFKD", char)[0] in composing()


def starts_anew(char: str) -> bool:
    """Whether normalisation can be done separately before and from this character on."""
    return unicodedata.combining(unicodedata.normalize("NFKD", char)[0]) == 0 and not binds(char)


@cache
def _long_runs() -> re.Pattern[str]:
    """Runs of combining marks longer than any script writes: 30 is the bound of stream-safe text (UAX 15)."""
    marks = "".join(
        chr(code)
        for code in range(ASSIGNED)
        if unicodedata.combining(unicodedata.normalize("NFKD", chr(code))[0])
    )
    return re.compile(f"[{marks}]{{31,}}")


def _sorted_marks(run: re.Match[str]) -> str:
    return "".join(
        sorted(
            (part for char in run[0] for part in unicodedata.normalize("NFKD", char)),
            key=unicodedata.combining,
        )
    )


def nfkc(text: str) -> str:
    """NFKC in linear time: `unicodedata` sorts a run of marks by insertion, 100,000 of them in half a minute.

    Long runs are handed over in their canonical order, which leaves the result as it is.
    """
    if _MANY_OTHERS.search(text):  # quick to ask; most texts have no such run of anything but ASCII
        text = _long_runs().sub(_sorted_marks, text)
    return unicodedata.normalize("NFKC", text)


_MANY_OTHERS = re.compile(r"[^\x00-\x7f]{31}")


@cache
def _formats() -> re.Pattern[str]:
    """All format characters."""
    chars = (chr(code) for code in (*range(ASSIGNED), *range(0xE0000, 0xE1000)))
    return re.compile(f"[{re.escape(''.join(c for c in chars if unicodedata.category(c) == 'Cf'))}]+")


def normalise(text: str) -> str:
    """NFKC, format characters dropped, lower case.

    >>> normalise("\uff28ello\u200b Wo\u00adrld ﬁ")
    'hello world fi'
    """
    if text.isascii():
        return text.lower()
    plain = nfkc(text)
    if not plain.replace(
        "\n", " "
    ).isprintable():  # quick to ask: what is printable holds no format character
        plain = _formats().sub("", plain)
    return plain.lower()


def normalise_with_origins(text: str) -> tuple[str, list[int], list[int]]:
    """`normalise(text)`, and for each of its characters where its original begins and ends.

    The text is cut where normalisation cannot reach across; all that comes out of a piece has the piece as
    origin. Where the marks of a piece cannot join its first character, that character alone is the origin:
    marks are no part of a token.
    """
    kept: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for first, last in _pieces(text):
        piece = text[first:last]
        if piece.isascii():  # every character is its own origin
            kept.append(piece)
            starts += range(first, last)
            ends += range(first + 1, last + 1)
            continue
        end = last if any(map(binds, piece)) else first + 1
        for char in nfkc(piece):
            if unicodedata.category(char) != "Cf":
                kept.append(char)
                width = len(char.lower())
                starts += [first] * width
                ends += [end] * width
    return "".join(kept).lower(), starts, ends


_NEAR_OTHERS = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Cuts a text where normalisation cannot reach across; runs of ASCII stay whole."""
    done = 0
    for run in _NEAR_OTHERS.finditer(text):
        if run.start() > done:
            yield done, run.start()
        cuts = [i for i in range(run.start() + 1, run.end()) if starts_anew(text[i])]
        yield from zip([run.start(), *cuts], [*cuts, run.end()], strict=True)
        done = run.end()
    if done < len(text):
        yield done, len(text)


_WORD = re.compile(r"\w+")
_WORD_OR_CHARACTER = re.compile(rf"(?=\w)[{UNSPACED_CLASS}]|[^\W{UNSPACED_CLASS}]+")


def tokens(text: str, *, characters: bool = False) -> list[Token]:
    r"""The tokens of a text: the runs of `\w`, as Python's `re` has it, in the normalised text.

    NLTK's `RegexpTokenizer(r"\w+")` gives the same where it runs on `re`. From 3.10 on it runs on `regex`,
    for which combining marks are word characters too; what counts as a match must not hang on the version of
    a library.

    Args:
        text: any text.
        characters: whether each character of a script without spaces is a token of its own.

    >>> [(t.text, t.start, t.end) for t in tokens("Can't  STOP")]
    [('can', 0, 3), ('t', 4, 5), ('stop', 7, 11)]
    >>> [t.text for t in tokens("GPT4は速い", characters=True)]
    ['gpt4', 'は', '速', 'い']
    """
    plain, starts, ends = normalise_with_origins(text)
    pattern = _WORD_OR_CHARACTER if characters else _WORD
    spans = (found.span() for found in pattern.finditer(plain))
    return [Token(plain[a:b], starts[a], ends[b - 1]) for a, b in spans]


def ngrams(tokens: Sequence[T], n: int) -> Iterator[tuple[T, ...]]:
    """Every run of n tokens; none where there are fewer.

    As `nltk.util.ngrams`, which takes more than a second to import.

    >>> list(ngrams(["to", "be", "or", "not"], 3))
    [('to', 'be', 'or'), ('be', 'or', 'not')]
    """
    return zip(*(islice(tokens, start, None) for start in range(n)), strict=False)
