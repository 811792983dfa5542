"""The fast tokeniser as a function from texts to tokens, in the words of its plain twin."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tulu_data.decontam._kernels import cut_all
from tulu_data.decontam.index import kernel_tables
from tulu_data.text.hashing import Texts, prepare_texts
from tulu_data.text.tokens import Token


def kernel_tokens(column: pa.Array) -> list[list[Token]]:
    """The tokens of every text, as the kernels find them (lower case, since their hashes ignore ASCII case)."""
    texts = Texts.of(column)
    counts, body, ends, _, chars = cut_all(texts.data, texts.offsets, False, kernel_tables())
    fast = iter(_tokens(body, ends, chars))
    hard = np.flatnonzero(counts < 0)
    prepared = prepare_texts([texts.text(i) for i in hard])
    again, body, ends, _, places = cut_all(prepared.texts.data, prepared.texts.offsets, True, kernel_tables())
    base = np.repeat(prepared.texts.offsets[:-1], again)
    chars = np.stack([prepared.starts[base + places[:, 0]], prepared.ends[base + places[:, 1] - 1]], axis=1)
    slow = iter(_tokens(body, ends, chars))
    sizes = dict(zip(hard.tolist(), again.tolist(), strict=True))
    return [
        [next(slow) for _ in range(sizes[i])] if count < 0 else [next(fast) for _ in range(count)]
        for i, count in enumerate(counts.tolist())
    ]


def _tokens(body: np.ndarray, ends: np.ndarray, chars: np.ndarray) -> list[Token]:
    raw, starts = body.tobytes(), [0, *ends.tolist()]
    places = chars.tolist()
    return [
        Token(raw[a:b].decode().lower(), *place) for a, b, place in zip(starts, ends.tolist(), places, strict=False)
    ]


TRICKY: SearchStrategy[str] = st.text(
    st.sampled_from(
        "aZ_09 '\x00\x7f\n"
        "éÉ\u0301\u0300\u0316\u0305\u0344\u0327\u0345"  # letters and marks, of several combining classes
        "\u1100\u1161\u11a8\u11c2가각\u1160\u1175"  # Hangul, composed and not
        "\u200b\u200d\u00ad\u2066\ufeff\U000e0041"  # format characters
        "Σσςİıßẞﬁﷺﷻǅΐΰ½²①㌀㍿ﾊﾟｶﾞﬓ"  # what changes in length or form
        "\u09c7\u09be\u0bc6\u0bd7\u0dd9\u0dca\U00011131\U00011127"  # Indic vowels that compose
        "日本😀\u0660\u0966\u0e33ָׁשׂ\u2126\u212b\u0f73\u3099か\ufe0f\U0001d400\U0010ffff\ufffd"
    ),
    max_size=24,
)
"""Characters whose normal form depends on their neighbours, grows, shrinks or vanishes."""
