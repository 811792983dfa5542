r"""What is done to an item's text before it is planted.

>>> from tulu_data.text.tokens import tokens
>>> respaced("A fine day", tokens("A fine day"), 0)
'a\nFINE - DAY'
>>> renumbered("16 eggs", tokens("16 eggs"), "salt")
'56 eggs'
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from hashlib import blake2b

from tulu_data.text.tokens import SIGMA, Token, normalise, starts_anew

GAPS = ("\n", " - ", "  ", "\t", ", ", " / ", "... ", "\n\n")
"""What stands between two tokens instead; none of them holds a word character."""

LIGATURES = {"ffi": "ﬃ", "ffl": "ﬄ", "fi": "ﬁ", "fl": "ﬂ", "ff": "ﬀ", "st": "ﬆ"}
QUOTES = str.maketrans({"'": "\u2019", '"': "\u201d", " ": "\u00a0"})
FULL_WIDTH = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})
ZERO_WIDTH, SOFT_HYPHEN = "\u200b", "\u00ad"


def rebuilt(
    text: str, tokens: Sequence[Token], word: Callable[[int, str], str], gap: Callable[[int, str], str]
) -> str:
    """The text with each token, and what stands before and after each, put through a function.

    One character can be two tokens (`¼` is 1 and 4); it is left as it is.
    """
    out, done = [], 0
    for number, token in enumerate(tokens):
        if token.start < done:
            out.append(text[done : token.end])
        else:
            both = number + 1 < len(tokens) and tokens[number + 1].start < token.end
            old = text[token.start : token.end]
            out += [gap(number, text[done : token.start]), old if both else word(number, old)]
        done = max(done, token.end)
    return "".join([*out, gap(len(tokens), text[done:])])


def respaced(text: str, tokens: Sequence[Token], salt: int) -> str:
    """Other case, and something else between the tokens; where nothing stands between two, nothing does."""

    def gap(number: int, old: str) -> str:
        inner = 0 < number < len(tokens)
        return GAPS[(number + salt - 1) % len(GAPS)] if old and inner else ""

    return rebuilt(text, tokens, lambda number, word: recased(word, upper=number % 4 > 0), gap)


def recased(word: str, *, upper: bool) -> str:
    """In the other case, but for letters whose other case is no single letter that comes back."""
    changed = word.upper() if upper else word.lower()
    if word.isascii():
        return changed
    return "".join(map(_other_case, word))


def _other_case(char: str) -> str:
    other = char.swapcase()
    safe = len(other) == 1 and char.lower() != SIGMA.lower() and normalise(other) == normalise(char)
    return other if safe else char


def disguised(text: str, tokens: Sequence[Token], salt: int) -> str:
    """The same text for the eye: each word in another of Unicode's forms that NFKC without Cf undoes."""
    forms = (_full_width, _zero_width, _ligatures, _soft_hyphen, _decomposed)

    def word(number: int, old: str) -> str:
        turn = (number + salt) % len(forms)
        changed = (form(old) for form in (*forms[turn:], *forms[:turn]))
        return next((new for new in changed if new != old), old)

    return rebuilt(text, tokens, word, lambda _, gap: gap.translate(QUOTES))


def _full_width(word: str) -> str:
    return word.translate(FULL_WIDTH)


def _ligatures(word: str) -> str:
    for letters, one in LIGATURES.items():
        word = word.replace(letters, one)
    return word


def _zero_width(word: str) -> str:
    return _hidden(word, ZERO_WIDTH)


def _soft_hyphen(word: str) -> str:
    return _hidden(word, SOFT_HYPHEN)


def _hidden(word: str, char: str) -> str:
    """With an invisible character inside, where it parts no letter from its marks."""
    place = len(word) // 2
    if not word.isascii():
        places = [i for i in range(1, len(word)) if starts_anew(word[i]) and word[i - 1].isalnum()]
        place = places[len(places) // 2] if places else 0
    if not place:
        return word
    return word[:place] + char + word[place:]


def _decomposed(word: str) -> str:
    return word if word.isascii() else unicodedata.normalize("NFD", word)


def renumbered(text: str, tokens: Sequence[Token], salt: str) -> str:
    """Every number replaced by another of as many digits; equal numbers by equal ones."""

    def word(number: int, old: str) -> str:
        plain = tokens[number].text
        return other_number(plain, salt) if is_number(plain) and normalise(old) == plain else old

    return rebuilt(text, tokens, word, lambda _, gap: gap)


def is_number(token: str) -> bool:
    """Whether a token is written in digits alone."""
    return token.isascii() and token.isdigit()


def other_number(number: str, salt: str) -> str:
    """Another number of as many digits, without a leading zero where there was none."""
    seed = int.from_bytes(blake2b(f"{salt}/{number}".encode(), digest_size=8).digest(), "big")
    low = 0 if number[0] == "0" else 10 ** (len(number) - 1)
    span = 10 ** len(number) - low
    value = int(number) - low
    return str(low + (value + 1 + seed % (span - 1)) % span).zfill(len(number))
