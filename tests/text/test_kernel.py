"""The fast tokeniser equals its plain twin, wherever the text lies in memory and however long it is."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.kernel import TRICKY, kernel_tokens
from tulu_data.decontam.index import kernel_tables
from tulu_data.decontam.kernels import cut_all
from tulu_data.text.hashing import Texts, prepare_texts
from tulu_data.text.tokens import ASSIGNED, is_unspaced, normalise, tokens


@settings(max_examples=600, deadline=None)
@given(st.lists(st.text() | TRICKY | st.text(st.characters(max_codepoint=127)), max_size=6), st.booleans())
def test_the_kernel_finds_the_tokens_of_its_twin(texts: list[str], characters: bool) -> None:
    found = kernel_tokens(pa.array(texts, pa.string()), characters=characters)
    assert found == [tokens(text, characters=characters) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("characters", [False, True])
def test_every_character_is_treated_as_its_twin_treats_it(characters: bool) -> None:
    """Between two letters, so that a gap, nothing and a word character all look different."""
    texts = [f"a{chr(c)}b" for c in (*range(ASSIGNED), *range(0xE0000, 0xE0200)) if not 0xD800 <= c < 0xE000]
    for text, found in zip(texts, kernel_tokens(pa.array(texts), characters=characters), strict=True):
        assert found == tokens(text, characters=characters), ascii(text)


def test_no_letter_lies_beyond_the_tables() -> None:
    beyond = map(chr, range(ASSIGNED, sys.maxunicode + 1))
    assert not [hex(ord(c)) for c in beyond if c.isalnum() or unicodedata.normalize("NFKC", c) != c]


def test_no_character_outgrows_the_room_that_the_kernel_allows() -> None:
    """Eleven bytes for each one, at most, and two spaces; and less than the slack at once."""
    sizes = [
        (len(normalise(c).encode()) + 2 * sum(is_unspaced(ord(p)) for p in normalise(c)), len(c.encode()))
        for c in map(chr, range(ASSIGNED))
        if not 0xD800 <= ord(c) < 0xE000
    ]
    assert max(after / before for after, before in sizes) <= 11
    assert max(after for after, _ in sizes) <= 128 - 64


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["ﷺ" * 5_000, "a" * 1_000_000, "é" * 300_000, "a " * 400_000, "é " * 200_000, "\x00" * 100_000]
)
def test_texts_of_one_repeated_character(text: str) -> None:
    assert kernel_tokens(pa.array(["before", text, "after"])) == [
        tokens("before"),
        tokens(text),
        tokens("after"),
    ]


@pytest.mark.parametrize("mark", ["\u0301", "\u0300\u0316", "\u0305"])
def test_a_hundred_thousand_marks_on_one_letter(mark: str) -> None:
    text = "x a" + mark * (100_000 // len(mark)) + " y"
    assert kernel_tokens(pa.array([text])) == [tokens(text)]
    assert [token.start for token in tokens(text)] == [0, 2, len(text) - 1]


def test_a_column_is_read_where_it_lies() -> None:
    texts = ["skipped", "Ünder one two", None, "", "three " * 30, "last wörd"]
    expected = [tokens(text or "") for text in texts]
    for kind in (pa.string(), pa.large_string()):
        column = pa.array(texts, kind)
        assert kernel_tokens(column) == expected
        assert kernel_tokens(column[1:4]) == expected[1:4]
        assert kernel_tokens(column[5:]) == expected[5:]
        assert kernel_tokens(column[2:2]) == []
        assert kernel_tokens(pa.array([], kind)) == []
        assert kernel_tokens(pa.nulls(2, kind)) == [[], []]


def test_texts_are_not_copied() -> None:
    column = pa.array(["some text"] * 100)
    assert Texts.of(column).data.ctypes.data == column.buffers()[2].address


def guarded(body: bytes, offsets: list[int]) -> Texts:
    """Texts whose buffer ends with the last of them, as if a foreign library had allocated it."""
    return Texts(np.frombuffer(body, np.uint8), np.array(offsets, np.int64))


@pytest.mark.parametrize("tail", ["", "z", "é", "日本", "e\u0301", "ﷺ", "word" * 40])
@pytest.mark.parametrize("before", [0, 1, 63, 64, 65, 127, 128, 129])
def test_a_text_at_the_very_end_of_its_buffer(tail: str, before: int) -> None:
    """What lies behind is another text of the same memory: it must not run into this one."""
    text = "x" * before + " " + tail
    body = text.encode()
    memory = body + b"QQ" * 100
    texts = Texts(np.frombuffer(memory, np.uint8)[: len(body)], np.array([0, len(body)], np.int64))
    counts, found, *_ = cut_all(texts.data, texts.offsets, False, kernel_tables())
    if counts[0] < 0:
        return
    assert found.tobytes().decode().split() == [token.text for token in tokens(text)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=90)
        | st.sampled_from([b"\xe2", b"a\xf0\x9f", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80"]),
        max_size=4,
    )
)
def test_bytes_that_are_no_utf8_never_take_from_the_next_text(bodies: list[bytes]) -> None:
    """A character that its text cuts short is a gap, and what follows counts as if the text stood alone."""
    ends = np.cumsum([0, *map(len, bodies)]).tolist()
    together = guarded(b"".join(bodies), ends)
    counts, found, *_ = cut_all(together.data, together.offsets, False, kernel_tables())
    alone = [
        cut_all(*(t := guarded(b, [0, len(b)]), t.data, t.offsets)[1:], False, kernel_tables())
        for b in bodies
    ]
    assert counts.tolist() == [int(one[0][0]) for one in alone]
    assert found.tobytes() == b"".join(one[1].tobytes() for one in alone)


def test_prepared_texts_hold_only_word_characters_and_spaces() -> None:
    prepared = prepare_texts(["e\u0301, Σ!", "", "ok"])
    assert [prepared.texts.text(i) for i in range(3)] == ["é  σ ", "", "ok"]
    places = prepared.characters(*(np.array(column, np.int32) for column in ([0, 0], [0, 4], [2, 6])))
    assert [place.tolist() for place in places] == [[0, 4], [2, 5]], "in characters of the originals"
    assert prepare_texts([]).texts.offsets.tolist() == [0]
