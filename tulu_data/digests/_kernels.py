"""BLAKE2b (RFC 7693) of four rows side by side, in the lanes of vector registers.

A single BLAKE2b leaves most of a processor's width idle: each of its steps waits for the one before. So each
lane works on a row of its own, and takes up the next row as soon as it is through with one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 4
BLOCK = 128
"""Bytes that are taken in at a time."""
NONE, ALL = np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)

IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
"""RFC 7693, 2.6: those of SHA-512."""

SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
"""RFC 7693, 2.7: which words of the block each of the ten rounds mixes in; rounds 11 and 12 begin again."""

MIXED = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))  # fmt: skip
"""Which words of the state each step of a round mixes (RFC 7693, 3.2)."""

_WORD = ir.IntType(64)
_LANES = ir.VectorType(_WORD, LANES)
_INDEX = ir.VectorType(ir.IntType(32), LANES)


def _splat(value: int) -> Any:
    return ir.Constant(_LANES, [value] * LANES)


@intrinsic
def compress(_context: Any, state: Any, blocks: Any, counts: Any, finals: Any) -> Any:
    """Takes one block into each lane's state (RFC 7693, 3.2).

    Args:
        state: address of uint64 [8, lanes].
        blocks: address of the addresses of the lanes' blocks.
        counts: address of how many bytes each lane has taken in, with these.
        finals: address of all bits set for lanes whose block is their last, else none.
    """

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        state, blocks, counts, finals = args

        def load(address: Any, offset: int, kind: Any = _LANES) -> Any:
            place = builder.add(address, ir.Constant(_WORD, offset))
            return builder.load(builder.inttoptr(place, kind.as_pointer()), align=1, typ=kind)

        hashes = [load(state, 8 * LANES * i) for i in range(8)]
        words = _transposed(builder, [load(blocks, 8 * lane, _WORD) for lane in range(LANES)], load)
        v = hashes + [_splat(int(word)) for word in IV]
        v[12] = builder.xor(v[12], load(counts, 0))
        v[14] = builder.xor(v[14], load(finals, 0))
        for number in range(12):
            sigma = SIGMA[number % 10]
            for step, places in enumerate(MIXED):
                _mix(builder, v, places, words[sigma[2 * step]], words[sigma[2 * step + 1]])
        for i in range(8):
            new = builder.xor(hashes[i], builder.xor(v[i], v[i + 8]))
            place = builder.add(state, ir.Constant(_WORD, 8 * LANES * i))
            builder.store(new, builder.inttoptr(place, _LANES.as_pointer()), align=1)
        return ir.Constant(_WORD, 0)

    return types.uint64(types.uint64, types.uint64, types.uint64, types.uint64), code


def _transposed(builder: Any, blocks: list[Any], load: Any) -> list[Any]:
    """The 16 words of the blocks, each with the lanes side by side."""

    def shuffled(one: Any, other: Any, order: list[int]) -> Any:
        return builder.shuffle_vector(one, other, ir.Constant(_INDEX, order))

    words = []
    for offset in range(0, BLOCK, 8 * LANES):
        a, b, c, d = (load(block, offset) for block in blocks)
        even, odd = [0, 4, 2, 6], [1, 5, 3, 7]
        ab, cd = (shuffled(a, b, even), shuffled(a, b, odd)), (shuffled(c, d, even), shuffled(c, d, odd))
        for half in ([0, 1, 4, 5], [2, 3, 6, 7]):
            words += [shuffled(ab[i], cd[i], half) for i in range(2)]
    return words


def _mix(builder: Any, v: list[Any], places: tuple[int, ...], one: Any, other: Any) -> None:
    """The function G (RFC 7693, 3.1)."""
    a, b, c, d = places

    def rotated(value: Any, bits: int) -> Any:
        return builder.or_(builder.lshr(value, _splat(bits)), builder.shl(value, _splat(64 - bits)))

    for word, first, second in ((one, 32, 24), (other, 16, 63)):
        v[a] = builder.add(builder.add(v[a], v[b]), word)
        v[d] = rotated(builder.xor(v[d], v[a]), first)
        v[c] = builder.add(v[c], v[d])
        v[b] = rotated(builder.xor(v[b], v[c]), second)


@intrinsic
def copy(_context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copies bytes from one address to another."""

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        pointers = [builder.inttoptr(address, ir.IntType(8).as_pointer()) for address in args[:2]]
        cgutils.raw_memcpy(builder, *pointers, args[2], 1)
        return ir.Constant(_WORD, 0)

    return types.uint64(types.uint64, types.uint64, types.int64), code


@njit(nogil=True, cache=True, inline="always")
def _fill(buffer, taken, addresses, lengths, piece, place):
    """Copies the next bytes of a row, across its pieces; returns where it stands then: (piece, place)."""
    filled = 0
    while filled < taken:
        some = min(taken - filled, lengths[piece] - place)
        copy(buffer + np.uint64(filled), addresses[piece] + np.uint64(place), some)
        filled += some
        place += some
        if filled < taken:
            piece += 1
            place = 0
    return piece, place


@njit(nogil=True, cache=True)
def blake2b(addresses, lengths, size):
    """The unkeyed BLAKE2b of every row.

    Args:
        addresses: uint64 [rows, pieces], where the pieces of each row lie.
        lengths: int64 [rows, pieces], in bytes.
        size: of a hash in bytes, a multiple of 8.

    Returns:
        uint64 [rows, size // 8], the bytes of the hashes.
    """
    rows, pieces = addresses.shape
    out = np.empty((rows, size // 8), np.uint64)
    state = np.empty((8, LANES), np.uint64)
    ends = np.zeros((LANES, BLOCK), np.uint8)
    buffers = np.uint64(ends.ctypes.data) + np.arange(LANES).astype(np.uint64) * np.uint64(BLOCK)
    blocks = buffers.copy()  # a lane without a row takes in what lies there, and nobody looks
    counts = np.zeros(LANES, np.uint64)
    finals = np.zeros(LANES, np.uint64)
    row = np.full(LANES, -1, np.int64)
    piece = np.zeros(LANES, np.int64)
    place = np.zeros(LANES, np.int64)
    left = np.zeros(LANES, np.int64)
    begun = 0
    done = 0
    while done < rows:
        for lane in range(LANES):
            if row[lane] < 0 and begun < rows:
                row[lane] = begun
                left[lane] = lengths[begun].sum()
                begun += 1
                state[:, lane] = IV
                state[0, lane] ^= np.uint64(0x01010000 ^ size)  # the parameters: RFC 7693, 2.5
                piece[lane], place[lane], counts[lane] = 0, 0, 0
            if row[lane] < 0:
                continue
            own, taken = row[lane], min(left[lane], BLOCK)
            while piece[lane] < pieces - 1 and place[lane] == lengths[own, piece[lane]]:
                piece[lane] += 1
                place[lane] = 0
            if lengths[own, piece[lane]] - place[lane] >= BLOCK:
                blocks[lane] = addresses[own, piece[lane]] + np.uint64(place[lane])
                place[lane] += BLOCK
            else:
                ends[lane] = 0
                blocks[lane] = buffers[lane]
                piece[lane], place[lane] = _fill(
                    buffers[lane], taken, addresses[own], lengths[own], piece[lane], place[lane]
                )
            left[lane] -= taken
            counts[lane] += np.uint64(taken)
            finals[lane] = ALL if left[lane] == 0 else NONE
        compress(
            np.uint64(state.ctypes.data), np.uint64(blocks.ctypes.data),
            np.uint64(counts.ctypes.data), np.uint64(finals.ctypes.data),
        )  # fmt: skip
        for lane in range(LANES):
            if row[lane] >= 0 and left[lane] == 0:
                out[row[lane]] = state[: size // 8, lane]
                row[lane] = -1
                done += 1
    return out
