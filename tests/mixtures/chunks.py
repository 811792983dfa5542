"""How much of a file a store of chunks has not seen: a plain content-defined chunker, as Xet's is.

Xet cuts by a gear hash into chunks of 64 KiB on average, of at least 8 and at most 128 KiB
(https://huggingface.co/docs/hub/xet/deduplication); its table of random numbers is another, which changes
where single cuts fall, and not how many bytes are new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

SMALLEST, LARGEST = 8 << 10, 128 << 10
MASK = np.uint64(0xFFFF_0000_0000_0000)
"""16 bits that must be zero: once in 64 Ki places."""
GEAR = np.random.default_rng(0).integers(0, 2**64, 256, np.uint64)


@njit
def _cuts(data, gear, mask):  # type: ignore[no-untyped-def]
    cuts = [0]
    start = 0
    value = np.uint64(0)
    for place in range(len(data)):
        value = (value << np.uint64(1)) + gear[data[place]]
        size = place + 1 - start
        if (size >= SMALLEST and value & mask == 0) or size == LARGEST:
            cuts.append(place + 1)
            start = place + 1
            value = np.uint64(0)
    if start < len(data):
        cuts.append(len(data))
    return cuts


def chunks(data: bytes) -> Iterator[bytes]:
    """The pieces of `data`, in order."""
    array: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8)
    cuts = _cuts(array, GEAR, MASK)
    yield from (data[start:end] for start, end in pairwise(cuts))


def new_bytes(files: Iterable[Path], seen: Iterable[Path]) -> tuple[int, int]:
    """Of the bytes of `files`: those in chunks that no file of `seen` has, and all."""
    known = {hashlib.sha256(chunk).digest() for file in seen for chunk in chunks(file.read_bytes())}
    new = total = 0
    for file in files:
        for chunk in chunks(file.read_bytes()):
            digest = hashlib.sha256(chunk).digest()
            total += len(chunk)
            new += 0 if digest in known else len(chunk)
            known.add(digest)
    return new, total
