"""The fast tokeniser as a function from texts to tokens, in the words of its plain twin."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tulu_data.decontam.index import cut_texts
from tulu_data.text.tokens import Token


def kernel_tokens(column: pa.Array, *, characters: bool = False) -> list[list[Token]]:
    """The tokens of every text as the index has them, in the form that is hashed: `_` lies there as DEL."""
    cut = cut_texts(column, characters=characters)
    raw, ends = cut.text.tobytes(), cut.ends.tolist()
    words = [raw[a:b].decode().strip().replace("\x7f", "_") for a, b in zip([0, *ends], ends, strict=False)]
    places = zip(cut.starts_at.tolist(), cut.ends_at.tolist(), strict=True)
    tokens = [Token(word, *place) for word, place in zip(words, places, strict=True)]
    return [tokens[a:b] for a, b in pairwise(cut.offsets.tolist())]


TRICKY: SearchStrategy[str] = st.text(
    st.sampled_from(
        "aZ_09 '\x00\x7f\n"
        "éÉ\u0301\u0300\u0316\u0305\u0344\u0327\u0345"  # letters and marks, of several combining classes
        "\u1100\u1161\u11a8\u11c2가각\u1160\u1175"  # Hangul, composed and not
        "\u200b\u200d\u00ad\u2066\ufeff\U000e0041"  # format characters
        "Σσςİıßẞﬁﷺﷻǅΐΰ½²①㌀㍿ﾊﾟｶﾞﬓ"  # what changes in length or form
        "\u09c7\u09be\u0bc6\u0bd7\u0dd9\u0dca\U00011131\U00011127"  # Indic vowels that compose
        "日本😀\u0660\u0966\u0e33ָׁשׂ\u2126\u212b\u0f73\u3099か\ufe0fไทน้ำ๙ဗခ々ー㍼𠀀\U0001d400\U0010ffff\ufffd"
    ),
    max_size=24,
)
"""Characters whose normal form depends on their neighbours, grows, shrinks or vanishes."""
