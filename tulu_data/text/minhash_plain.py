"""MinHash told plainly: the twin that the kernels are tested against.

shingles    the runs of n tokens of a text, as text: tokens with a space between; a shorter text is one
shingle_hash    a shingle's 64-bit hash; `hash32`, its leading 32 bits, is what signatures are made of
signature   for each permutation a * h + b (modulo 2^32) the least value over all shingles
jaccard     shingles that two texts share, of all that they have

>>> a, b = (shingles(tokens_of(text), 2) for text in ("To be or not to be", "to be, or to be?"))
>>> sorted(a & b), jaccard(a, b)
(['be or', 'to be'], 0.4)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tulu_data.text.tokens import tokens

_WORD = (1 << 64) - 1
_HALF = (1 << 32) - 1


def tokens_of(text: str) -> list[str]:
    """The normalised tokens of a text; each character of a script without spaces is one."""
    return [token.text for token in tokens(text, characters=True)]


def shingles(words: Sequence[str], n: int) -> set[str]:
    """The distinct runs of n tokens; all tokens as one run where there are fewer; none of no tokens."""
    if not words:
        return set()
    size = min(n, len(words))
    return {" ".join(words[i : i + size]) for i in range(len(words) - size + 1)}


def jaccard(a: set[str], b: set[str]) -> float:
    """What both sets have, of what either has; 0 where both are empty, since nothing speaks for equality."""
    return len(a & b) / len(a | b) if a or b else 0.0


def token_hash(token: str) -> int:
    """The 64-bit hash of a token, as the tokeniser's kernel makes it."""
    raw = bytes(b | 0x20 if b < 0x80 else b for b in token.encode())
    h = len(raw) * 0x9E3779B97F4A7C15 & _WORD
    while len(raw) > 8:
        h = (h ^ int.from_bytes(raw[:8], "little")) * 0xFF51AFD7ED558CCD & _WORD
        h ^= h >> 29
        raw = raw[8:]
    h = (h ^ int.from_bytes(raw, "little")) * 0xC4CEB9FE1A85EC53 & _WORD
    return h ^ (h >> 32)


def shingle_hash(shingle: str) -> int:
    """The 64-bit hash of a shingle: a polynomial in its tokens' hashes, then MurmurHash3's finaliser."""
    h = 0
    for token in shingle.split(" "):
        h = h * 0x9FB21C651E98DF25 + token_hash(token) & _WORD
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ (h >> 33)) * factor & _WORD
    h ^= h >> 33
    return min(h, _WORD - 1)


def hash32(shingle: bytes) -> int:
    """The leading 32 bits of a shingle's hash: the `hashfunc` with which datasketch makes our signatures.

    >>> from datasketch import MinHash
    >>> from tulu_data.text.minhash import permutations
    >>> theirs = MinHash(num_perm=4, seed=1, scheme="affine32", hashfunc=hash32)
    >>> theirs.update_batch([b"to be", b"be or"])
    >>> theirs.hashvalues.tolist() == signature({"to be", "be or"}, *permutations(4))
    True
    """
    return shingle_hash(shingle.decode()) >> 32


def signature(of: set[str], a: Iterable[int], b: Iterable[int]) -> list[int]:
    """For each permutation the least value; 2^32 - 1 where there is no shingle."""
    hashes = [_premixed(shingle_hash(shingle) >> 32) for shingle in of]
    return [
        min(((int(factor) * h + int(shift)) & _HALF for h in hashes), default=_HALF)
        for factor, shift in zip(a, b, strict=True)
    ]


def _premixed(h: int) -> int:
    h = (h ^ (h >> 16)) * 0x85EBCA6B & _HALF
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & _HALF
    return h ^ (h >> 16)
