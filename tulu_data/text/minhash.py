"""Shingles, MinHash signatures and their bands: which texts are nearly equal, without comparing all with all.

    shingles     the distinct runs of n tokens of every document, as ascending 64-bit hashes
    signatures   `uint32 [documents, permutations]`; two agree in as many places as their sets' Jaccard says
    band_keys    documents that agree in a whole band of their signatures are worth a look
    jaccards     the look: the exact Jaccard of two documents' shingles

Signatures are those of datasketch's `MinHash(seed=1, scheme="affine32", hashfunc=minhash_plain.hash32)`,
value for value. All of it runs without the interpreter's lock; its plain twin is `minhash_plain.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tulu_data.text import _kernels, _memory, _minhash_kernels
from tulu_data.text.hashing import Texts, prepare_texts
from tulu_data.text.kernel_cache import keep_true
from tulu_data.text.unicode_tables import unicode_tables

Hashes = npt.NDArray[np.uint64]
Ends = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]

keep_true(
    {_minhash_kernels.shingle_sets.stats.cache_path},
    [Path(m.__file__ or "") for m in (_kernels, _memory, _minhash_kernels)],
    "minhash.sha256",
)


@dataclass(frozen=True)
class Shingles:
    """The shingles of documents: document d has `hashes[ends[d]:ends[d + 1]]`, distinct and ascending."""

    hashes: Hashes
    ends: Ends

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, document: int) -> Hashes:
        return self.hashes[self.ends[document] : self.ends[document + 1]]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many shingles each document has."""
        return np.diff(self.ends)

    def take(self, documents: npt.ArrayLike) -> Shingles:
        """Some documents, in the order in which they are named."""
        wanted = np.asarray(documents, np.int64)
        return Shingles(*_minhash_kernels.gather(self.hashes, self.ends, wanted))


def shingles(texts: Texts, n: int, firsts: npt.ArrayLike | None = None, *, field: int = 0) -> Shingles:
    """The distinct runs of n tokens of every document; each character of a script without spaces is a token.

    A document with fewer than n tokens is one shingle, all of it; one without a token has none. Where a
    document is made of several texts, runs go on from one text to the next.

    Args:
        texts: one text for each document, or several, one behind the other.
        n: tokens in a shingle.
        firsts: `[documents + 1]`: document d is the texts firsts[d] to firsts[d + 1]; one each unless given.
        field: the shingles of one field equal none of another's; see `together`.
    """
    begins = np.arange(len(texts.offsets), dtype=np.int64) if firsts is None else np.asarray(firsts, np.int64)
    hashes, ends, hard = _sets(texts, begins, n, field)
    found = Shingles(hashes, ends)
    return _with_python(found, hard, texts, begins, n, field) if len(hard) else found


def _sets(texts: Texts, firsts: Ends, n: int, field: int) -> tuple[Hashes, Ends, Ends]:
    tables = unicode_tables(True)  # by position: so the cache knows it
    salt = np.uint64(field * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    found: tuple[Hashes, Ends, Ends] = _minhash_kernels.shingle_sets(
        texts.data, texts.offsets, firsts, texts.prepared,
        (tables.pages, tables.values, tables.expansions), n, salt,
    )  # fmt: skip
    return found


def _with_python(found: Shingles, hard: Ends, texts: Texts, firsts: Ends, n: int, field: int) -> Shingles:
    """The same with the documents that hold a text which only Python can normalise."""
    numbers = [range(firsts[document], firsts[document + 1]) for document in hard]
    prepared = prepare_texts([texts.text(i) for own in numbers for i in own], characters=True)
    begins = np.concatenate([[0], np.cumsum([len(own) for own in numbers])]).astype(np.int64)
    hashes, ends, _ = _sets(prepared.texts, begins, n, field)
    order = np.arange(len(found))
    order[hard] = len(found) + np.arange(len(hard))
    both = Shingles(
        np.concatenate([found.hashes, hashes]), np.concatenate([found.ends, ends[1:] + found.ends[-1]])
    )
    return both.take(order)


def together(fields: Sequence[Shingles]) -> Shingles:
    """Documents of several fields, made each with a `field` of its own: all their shingles in one set."""
    if len(fields) == 1:
        return fields[0]
    hashes = np.concatenate([field.hashes for field in fields])
    owners = np.concatenate([np.repeat(np.arange(len(field)), field.sizes) for field in fields])
    order = np.lexsort((hashes, owners))
    sizes = np.sum([field.sizes for field in fields], axis=0)
    return Shingles(hashes[order], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


@cache
def permutations(count: int) -> tuple[Signatures, Signatures]:
    """The factors a and shifts b of datasketch's `MinHash(num_perm=count, seed=1, scheme="affine32")`.

    >>> [part.tolist() for part in permutations(2)]
    [[3582191691, 4270784983], [3093770124, 4005303368]]
    """
    random = np.random.RandomState(1)  # the legacy generator, because datasketch uses it
    a = random.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, random.randint(0, 1 << 32, count, dtype=np.uint32)


def signatures(of: Shingles, count: int = 128) -> Signatures:
    """The signature of every document, of `count` permutations."""
    found: Signatures = _minhash_kernels.sign(of.hashes, of.ends, *permutations(count))
    return found


def to_datasketch(signature: Signatures) -> Any:
    """One signature as datasketch's `MinHash`; needs datasketch 2 to be installed.

    It takes further shingles, as bytes (`b"to be or not to"`), like one that was made there.
    """
    from datasketch import MinHash

    from tulu_data.text.minhash_plain import hash32

    return MinHash(
        seed=1, scheme="affine32", hashfunc=hash32, hashvalues=signature,
        permutations=permutations(len(signature)),
    )  # fmt: skip


@cache
def bands_for(threshold: float, count: int = 128, miss_weight: float = 0.5) -> tuple[int, int]:
    """(bands, rows of each) as datasketch's `MinHashLSH` chooses them, by the same weighted sum of errors.

    A pair of Jaccard s shares a band with probability 1 - (1 - s^rows)^bands. To be as small as can be: that
    probability over all s below the threshold, and 1 minus it over all s above, as integrals.

    Args:
        threshold: the Jaccard above which pairs are wanted.
        count: permutations; bands * rows may be fewer.
        miss_weight: the weight of missed pairs; that of pairs in vain is the rest of 1.

    >>> bands_for(0.8), bands_for(0.8, miss_weight=0.9)
    ((9, 13), (14, 9))
    """
    least, best = np.inf, (0, 0)
    for bands in range(1, count + 1):
        for rows in range(1, count // bands + 1):
            in_vain, missed = _errors(threshold, bands, rows)
            error = (1 - miss_weight) * in_vain + miss_weight * missed
            if error < least:
                least, best = error, (bands, rows)
    return best


def _errors(threshold: float, bands: int, rows: int) -> tuple[float, float]:
    nodes, weights = _gauss(bands * rows // 2 + 1)  # exact for this degree
    low, high = threshold * (nodes + 1) / 2, threshold + (1 - threshold) * (nodes + 1) / 2
    in_vain = threshold / 2 * weights @ (1 - (1 - low**rows) ** bands)
    missed = (1 - threshold) / 2 * weights @ (1 - high**rows) ** bands
    return float(in_vain), float(missed)


@cache
def _gauss(order: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(order)


def found_with(jaccard: float, bands: int, rows: int) -> float:
    """The probability that a pair of that Jaccard shares a band.

    >>> [round(found_with(0.8, *bands_for(0.8, miss_weight=w)), 2) for w in (0.5, 0.9)]
    [0.4, 0.87]
    """
    return float(1 - (1 - jaccard**rows) ** bands)


def band_keys(signatures: Signatures, bands: int, rows: int) -> Hashes:
    """`uint64 [documents, bands]`: documents with an equal key in one column agree in that band.

    Documents without shingles agree in every band; whoever uses the keys leaves them out.
    """
    keys: Hashes = _minhash_kernels.band_keys(signatures, bands, rows)
    return keys


def digests(of: Shingles) -> Hashes:
    """`uint64 [documents, 2]`: documents of equal shingles, and no others, have equal digests."""
    found: Hashes = _minhash_kernels.digests(of.hashes, of.ends)
    return found


def jaccards(
    left: Shingles, lefts: npt.ArrayLike, right: Shingles, rights: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """The exact Jaccard of pairs, `left[lefts[k]]` with `right[rights[k]]`; 0 where both are empty."""
    found: npt.NDArray[np.float64] = _minhash_kernels.jaccards(
        left.hashes, left.ends, np.asarray(lefts, np.int64),
        right.hashes, right.ends, np.asarray(rights, np.int64),
    )  # fmt: skip
    return found


_told: list[bool] = []


def tell_first_compilation(say: Callable[[str], None]) -> None:
    """Says that the kernels are compiled now, once, where no earlier run has left them in Numba's cache."""
    cache = _minhash_kernels.shingle_sets.stats.cache_path
    compiled = cache and any(Path(cache).glob("_minhash_kernels.shingle_sets-*.nbi"))
    if not compiled and not _told:
        _told.append(True)
        say("compiling the MinHash kernels; this happens once and takes about a quarter of a minute")
