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
    rotate = builder.module.declare_intrinsic("llvm.fshr", [_LANES])
    for word, first, second in ((one, 32, 24), (other, 16, 63)):
        v[a] = builder.add(builder.add(v[a], v[b]), word)
        v[d] = builder.xor(v[d], v[a])
        v[d] = builder.call(rotate, [v[d], v[d], _splat(first)])
        v[c] = builder.add(v[c], v[d])
        v[b] = builder.xor(v[b], v[c])
        v[b] = builder.call(rotate, [v[b], v[b], _splat(second)])


@intrinsic
def copy(_context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copies bytes from one address to another."""

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        pointers = [builder.inttoptr(address, ir.IntType(8).as_pointer()) for address in args[:2]]
        cgutils.raw_memcpy(builder, *pointers, args[2], 1)
        return ir.Constant(_WORD, 0)

    return types.uint64(types.uint64, types.uint64, types.int64), code


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
    blocks = np.empty(LANES, np.uint64)
    counts = np.zeros(LANES, np.uint64)
    finals = np.zeros(LANES, np.uint64)
    row = np.full(LANES, -1, np.int64)
    piece = np.zeros(LANES, np.int64)
    place = np.zeros(LANES, np.int64)
    left = np.zeros(LANES, np.int64)
    begun = 0
    done = 0
    for lane in range(LANES):
        blocks[lane] = np.uint64(ends[lane].ctypes.data)
    while done < rows:
        for lane in range(LANES):
            if row[lane] < 0:
                if begun == rows:
                    continue
                row[lane] = begun
                begun += 1
                state[:, lane] = IV
                state[0, lane] ^= np.uint64(0x01010000 ^ size)
                piece[lane], place[lane], counts[lane] = 0, 0, 0
                left[lane] = lengths[row[lane]].sum()
            own = row[lane]
            while piece[lane] < pieces and place[lane] == lengths[own, piece[lane]]:
                piece[lane] += 1
                place[lane] = 0
            taken = min(left[lane], BLOCK)
            if taken == BLOCK and lengths[own, piece[lane]] - place[lane] >= BLOCK:
                blocks[lane] = addresses[own, piece[lane]] + np.uint64(place[lane])
                place[lane] += BLOCK
            else:
                ends[lane] = 0
                buffer = np.uint64(ends[lane].ctypes.data)
                blocks[lane] = buffer
                filled = 0
                while filled < taken:
                    some = min(taken - filled, lengths[own, piece[lane]] - place[lane])
                    source = addresses[own, piece[lane]] + np.uint64(place[lane])
                    copy(buffer + np.uint64(filled), source, some)
                    filled += some
                    place[lane] += some
                    if filled < taken:
                        piece[lane] += 1
                        place[lane] = 0
            left[lane] -= taken
            counts[lane] += np.uint64(taken)
            finals[lane] = np.uint64(0xFFFFFFFFFFFFFFFF) if left[lane] == 0 else np.uint64(0)
        compress(
            np.uint64(state.ctypes.data), np.uint64(blocks.ctypes.data),
            np.uint64(counts.ctypes.data), np.uint64(finals.ctypes.data),
        )  # fmt: skip
        for lane in range(LANES):
            if row[lane] >= 0 and left[lane] == 0:
                for word in range(size // 8):
                    out[row[lane], word] = state[word, lane]
                row[lane] = -1
                blocks[lane] = np.uint64(ends[lane].ctypes.data)
                done += 1
    return out
