"""The kernel's hashes are hashlib's, whatever the lengths and however a row is cut into pieces."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulu_data.digests import Part, hash_rows, part_of_texts, rows

LENGTHS = st.one_of(st.integers(0, 300), st.sampled_from([0, 127, 128, 129, 255, 256, 257, 384, 5000]))


@pytest.fixture
def kernel_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "FEW", 0)


def part(pieces: list[bytes]) -> Part:
    ends = np.cumsum([0, *map(len, pieces)]).astype(np.int64)
    return Part(pa.py_buffer(b"".join(pieces)), ends)


def expected(table: list[list[bytes]], size: int) -> list[bytes]:
    return [hashlib.blake2b(b"".join(row), digest_size=size).digest() for row in table]


@pytest.mark.skipif(sys.byteorder != "little", reason="the kernel is for little-endian machines")
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.sampled_from([8, 16]), st.data())
def test_many_rows_of_several_pieces(pieces: int, size: int, data: st.DataObject) -> None:
    shape = st.lists(st.lists(LENGTHS, min_size=pieces, max_size=pieces), max_size=12)
    lengths = data.draw(shape)
    random = np.random.default_rng(len(lengths))
    table = [[random.bytes(length) for length in row] for row in lengths]
    parts = [part([row[number] for row in table]) for number in range(pieces)]
    with pytest.MonkeyPatch.context() as patch:
        for few in (0, 1 << 30):
            patch.setattr(rows, "FEW", few)
            assert [bytes(found) for found in hash_rows(parts, size)] == expected(table, size)


@pytest.mark.usefixtures("kernel_always")
def test_texts_of_a_slice() -> None:
    texts = pa.array([f"text {n} äöü" * n for n in range(200)]).slice(7, 150)
    found = hash_rows([part_of_texts(texts)], 16)
    assert [bytes(one) for one in found] == expected([[t.encode()] for t in texts.to_pylist()], 16)


@pytest.mark.usefixtures("kernel_always")
def test_no_rows_and_empty_rows() -> None:
    assert hash_rows([part_of_texts(pa.array([], pa.string()))], 8).shape == (0, 8)
    found = hash_rows([part_of_texts(pa.array(["", "", ""]))], 8)
    assert [bytes(one) for one in found] == expected([[b""]] * 3, 8)
