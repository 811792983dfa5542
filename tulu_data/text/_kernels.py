"""The fast tokeniser: Numba over bytes of UTF-8, no Python object per token. Its plain twin is `tokens.py`.

ASCII text is cut where it lies. Other text is first rewritten by table (`prepare`) into a scratch buffer that
holds only word characters of the normalised text, and spaces; then it is cut by the same code.

What is called once for every text is inlined: most texts are short, and passing a dozen arrays to each call
took 8 % of a scan.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tulu_data.text._memory import high_bits, load1, load8, trailing_zeros, word_bits

_A = np.uint64(
    0x9E3779B97F4A7C15
)  # odd 64-bit constants with well spread bits (golden ratio, and MurmurHash3's
_B = np.uint64(
    0xFF51AFD7ED558CCD
)  # finaliser); any such would do, since every hit is confirmed on the tokens
_C = np.uint64(0xC4CEB9FE1A85EC53)
_HIGH = np.uint64(0x8080808080808080)
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
ALONE = 1 << 24
"""As in `unicode_tables`: marks a character that is a token of its own."""
NEEDS_PREPARING = -1
"""What `cut` returns for text that is not ASCII."""
NEEDS_PYTHON = -1
"""What `prepare` returns where normalisation depends on a character's neighbours."""
NEEDS_ROOM = -2
"""What `prepare` returns where its result does not fit."""


@njit(nogil=True, cache=True, inline="always")
def _lower(word):
    """Eight bytes, those below 0x80 with bit 0x20 set: letters in lower case, one-to-one on words."""
    return word | ((~word & _HIGH) >> np.uint64(2))


@njit(nogil=True, cache=True, inline="always")
def cut(address, length, prepared, starts, ends):
    """Finds the tokens of a text: byte ranges [starts[i], ends[i]). Returns how many.

    Args:
        address: of the text, with SLACK readable bytes behind it.
        length: in bytes.
        prepared: whether bytes outside ASCII are word characters (text made by `prepare`); else such a byte
            ends the work with NEEDS_PREPARING.
        starts: int32, at least length // 2 + 1 long.
        ends: likewise.
    """
    one = np.uint64(1)
    opened = 0
    closed = 0
    carry = np.uint64(0)
    place = 0
    while place < length:
        here = address + np.uint64(place)
        words = word_bits(here)
        high = high_bits(here)
        if length - place < 64:
            inside = (one << np.uint64(length - place)) - one
            words &= inside
            high &= inside
        if high != 0:
            if not prepared:
                return NEEDS_PREPARING
            words |= high
        before = (words << one) | carry
        carry = words >> np.uint64(63)
        firsts = words & ~before
        while firsts != 0:
            starts[opened] = place + trailing_zeros(firsts)
            opened += 1
            firsts &= firsts - one
        stops = ~words & before
        while stops != 0:
            ends[closed] = place + trailing_zeros(stops)
            closed += 1
            stops &= stops - one
        place += 64
    if closed < opened:
        ends[closed] = length
    return opened


@njit(nogil=True, cache=True, inline="always")
def hash_tokens(address, count, starts, ends, hashes):
    """The 64-bit hash of each token's lower-cased bytes, into `hashes`."""
    for i in range(count):
        place = address + np.uint64(starts[i])
        size = ends[i] - starts[i]
        h = np.uint64(size) * _A
        while size > 8:
            h = (h ^ _lower(load8(place))) * _B
            h ^= h >> np.uint64(29)
            place += np.uint64(8)
            size -= 8
        last = _lower(load8(place)) & (_ONES >> np.uint64(64 - 8 * size))
        h = (h ^ last) * _C
        hashes[i] = h ^ (h >> np.uint64(32))


@njit(nogil=True, cache=True)
def prepare(address, length, pages, values, expansions, out, origins):
    """Rewrites UTF-8 text into its normalised word characters and spaces.

    Args:
        address: of the text.
        length: in bytes.
        pages: see `unicode_tables`.
        values: likewise.
        expansions: likewise.
        out: uint8, room for the result and SLACK bytes behind it.
        origins: int32, for each byte of the result the number of the original character it comes from.

    Returns:
        The length of the result in bytes, NEEDS_PYTHON, or NEEDS_ROOM.
    """
    size = 0
    char = 0
    place = 0
    room = out.size - 256
    while place < length:
        if size > room:
            return NEEDS_ROOM
        # How many ASCII bytes come next: they go over as they are, since cutting and hashing know their case.
        plain = 0
        if length - place >= 64:
            high = high_bits(address + np.uint64(place))
            plain = np.int64(trailing_zeros(high)) if high != 0 else 64
        elif load1(address + np.uint64(place)) < 0x80:
            plain = 1
        if plain:
            for k in range(plain):
                out[size + k] = load1(address + np.uint64(place + k))
                origins[size + k] = char + k
            size += plain
            place += plain
            char += plain
            continue
        code, width = _decode(address + np.uint64(place), length - place)
        value = values[pages[code >> 8] * 256 + (code & 255)]
        if value >= 0:
            size = _write(value, out, origins, size, char)
        elif value == -1:
            out[size] = 32
            origins[size] = char
            size += 1
        elif value == -3:
            return NEEDS_PYTHON
        elif value <= -4:
            first = -4 - value
            for k in range(expansions[first]):
                part = expansions[first + 1 + k]
                size = _write(part if part >= 0 else 32, out, origins, size, char)
        place += width
        char += 1
    return size


@njit(nogil=True, cache=True)
def _decode(address, left):
    """The code point at an address and its width; bytes that are no UTF-8 count as U+FFFD, one by one."""
    b = np.int32(load1(address))
    if b < 0x80:
        return b, 1
    width = 2 if b < 0xE0 else 3 if b < 0xF0 else 4
    if b < 0xC2 or b > 0xF4 or width > left:
        return np.int32(0xFFFD), 1
    code = b & (0x7F >> width)
    for k in range(1, width):
        follow = np.int32(load1(address + np.uint64(k)))
        if follow & 0xC0 != 0x80:
            return np.int32(0xFFFD), 1
        code = (code << 6) | (follow & 0x3F)
    if code > 0x10FFFF:
        return np.int32(0xFFFD), 1
    return code, width


@njit(nogil=True, cache=True)
def _write(value, out, origins, size, char):
    """A character; with spaces around it, if it is a token of its own."""
    if value < ALONE:
        return _encode(value, out, origins, size, char)
    out[size] = 32
    origins[size] = char
    size = _encode(value - ALONE, out, origins, size + 1, char)
    out[size] = 32
    origins[size] = char
    return size + 1


@njit(nogil=True, cache=True)
def _encode(code, out, origins, size, char):
    if code < 0x80:
        width = 1
        out[size] = code
    elif code < 0x800:
        width = 2
        out[size] = 0xC0 | (code >> 6)
    elif code < 0x10000:
        width = 3
        out[size] = 0xE0 | (code >> 12)
    else:
        width = 4
        out[size] = 0xF0 | (code >> 18)
    for k in range(1, width):
        out[size + k] = 0x80 | ((code >> (6 * (width - 1 - k))) & 0x3F)
    for k in range(width):
        origins[size + k] = char
    return size + width


@njit(nogil=True, cache=True)
def make_room(size):
    """Scratch for texts of up to `size` bytes: (out, origins, starts, ends, hashes)."""
    half = size // 2 + 2
    return (
        np.empty(size, np.uint8),
        np.empty(size, np.int32),
        np.empty(half, np.int32),
        np.empty(half, np.int32),
        np.empty(half, np.uint64),
    )


@njit(nogil=True, cache=True)
def longest(offsets):
    """The length of the longest text."""
    most = 0
    for i in range(offsets.size - 1):
        most = max(most, offsets[i + 1] - offsets[i])
    return most


@njit(nogil=True, cache=True, inline="always")
def locate(data, start, length, prepared, pages, values, expansions, out, origins, starts, ends, hashes):
    """Finds and hashes the tokens of one text of a buffer, by the cheapest way that is right for it.

    Args:
        data: uint8, the buffer.
        start: where the text begins.
        length: in bytes.
        prepared: whether the buffer holds prepared texts.
        pages: see `unicode_tables`.
        values: likewise.
        expansions: likewise.
        out: of `make_room`, for at least `length + SLACK` bytes, as the following.
        origins: filled if the third result is true.
        starts: filled with the places where tokens begin, counted from the address.
        ends: filled with the places where they end.
        hashes: filled with their hashes.

    Returns:
        (the address that starts and ends count from; the number of tokens, NEEDS_PYTHON or NEEDS_ROOM;
        whether `origins` apply)
    """
    source = np.uint64(data.ctypes.data) + np.uint64(start)
    address = source
    if start + length + 128 > data.size:  # too near the end to read blocks where the text lies
        out[:length] = data[start : start + length]
        address = np.uint64(out.ctypes.data)
    count = cut(address, length, prepared, starts, ends)
    if count != NEEDS_PREPARING:
        hash_tokens(address, count, starts, ends, hashes)
        return address, count, False
    size = prepare(source, length, pages, values, expansions, out, origins)
    if size < 0:
        return address, size, False
    address = np.uint64(out.ctypes.data)
    count = cut(address, size, True, starts, ends)
    hash_tokens(address, count, starts, ends, hashes)
    return address, count, True


@njit(nogil=True, cache=True)
def enough_room(length):
    """Room for the normalised form of any text of that length: none grows more than elevenfold (U+FDFA)."""
    return make_room(12 * length + 8192)
