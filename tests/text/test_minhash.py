"""Shingles, signatures and bands: what the kernels make is what the plain twin and datasketch make."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.text.kernel import TRICKY
from tulu_data.text import minhash, minhash_plain
from tulu_data.text.hashing import Texts

VOCABULARY = ("to", "be", "or", "not", "that", "is", "the", "a", "an", "_", "42", "Ünïcode", "日本語", "ไทย")
WORDS = st.lists(st.sampled_from(VOCABULARY)).map(" ".join)
ANY = st.one_of(WORDS, TRICKY, st.text(max_size=40))


def made(texts: list[str], n: int, **settings_: int) -> minhash.Shingles:
    return minhash.shingles(Texts.of(pa.array(texts, pa.string())), n, **settings_)


def plain(text: str, n: int) -> set[str]:
    return minhash_plain.shingles(minhash_plain.tokens_of(text), n)


def theirs(shingles: set[str], permutations: int) -> MinHash:
    found = MinHash(permutations, seed=1, scheme="affine32", hashfunc=minhash_plain.hash32)
    found.update_batch([shingle.encode() for shingle in shingles])
    return found


@settings(deadline=None)
@given(st.lists(ANY, max_size=5), st.integers(1, 9))
@example(["", "a", "a b", "a b c a b c", "x" * 200], 3)
@example(["Σ e\u0301 日本", "plain"], 2)
def test_shingles_are_those_of_the_plain_twin(texts: list[str], n: int) -> None:
    found = made(texts, n)
    assert len(found) == len(texts)
    for number, text in enumerate(texts):
        assert found[number].tolist() == sorted(map(minhash_plain.shingle_hash, plain(text, n)))


@settings(deadline=None)
@given(ANY, st.integers(1, 6), st.sampled_from([1, 16, 128, 200]))
@example("", 5, 128)
def test_signatures_equal_those_of_datasketch(text: str, n: int, permutations: int) -> None:
    oracle = theirs(plain(text, n), permutations)
    (ours,) = minhash.signatures(made([text], n), permutations)
    assert ours.dtype == np.uint32
    assert ours.tolist() == oracle.hashvalues.tolist()
    assert ours.tolist() == minhash_plain.signature(plain(text, n), *minhash.permutations(permutations))
    exported = minhash.to_datasketch(ours)
    assert exported == oracle
    exported.update(b"one more")
    oracle.update(b"one more")
    assert exported == oracle


@settings(deadline=None)
@given(st.lists(st.lists(ANY, max_size=4), max_size=5), st.integers(1, 5))
def test_a_document_of_several_texts_is_one_stream(documents: list[list[str]], n: int) -> None:
    texts = [text for document in documents for text in document]
    firsts = np.cumsum([0, *map(len, documents)])
    found = minhash.shingles(Texts.of(pa.array(texts, pa.string())), n, firsts)
    for number, document in enumerate(documents):
        words = [word for text in document for word in minhash_plain.tokens_of(text)]
        assert found[number].tolist() == sorted(
            map(minhash_plain.shingle_hash, minhash_plain.shingles(words, n))
        )


@settings(deadline=None)
@given(st.lists(ANY, min_size=1, max_size=6), st.integers(1, 3))
def test_the_jaccard_is_exact(texts: list[str], n: int) -> None:
    pairs = list(combinations(range(len(texts)), 2))
    lefts, rights = ([pair[side] for pair in pairs] for side in (0, 1))
    sets = made(texts, n)
    expected = [minhash_plain.jaccard(plain(texts[a], n), plain(texts[b], n)) for a, b in pairs]
    assert minhash.jaccards(sets, lefts, sets, rights).tolist() == expected


def test_two_texts_without_a_token_have_nothing_in_common() -> None:
    assert minhash.jaccards(made(["", "!?"], 5), [0], made(["🙂"], 5), [0]).tolist() == [0.0]


def test_a_text_shorter_than_a_shingle_is_one() -> None:
    sets = made(["Hello world", "hello, WORLD!", "hello", "hello world again and again"], 5)
    assert sets.sizes.tolist() == [1, 1, 1, 1]
    assert minhash.jaccards(sets, [0, 0, 0], sets, [1, 2, 3]).tolist() == [1.0, 0.0, 0.0]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    one, other = "我能吞下玻璃而不伤身体", "我能吞下玻璃而不伤我的身体"
    sets = made([one, other], 3)
    assert sets.sizes.tolist() == [9, 11]
    assert minhash.jaccards(sets, [0], sets, [1])[0] == pytest.approx(7 / 13)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=4))
def test_fields_share_no_shingles(ones: list[str], twos: list[str]) -> None:
    size = min(len(ones), len(twos))
    one, two = made(ones[:size], 2), made(twos[:size], 2, field=1)
    both = minhash.together([one, two])
    for number in range(size):
        assert both[number].tolist() == sorted([*one[number].tolist(), *two[number].tolist()])
        assert len(set(both[number].tolist())) == one.sizes[number] + two.sizes[number]


@given(st.lists(WORDS, max_size=6), st.data())
def test_sets_can_be_taken_in_any_order(texts: list[str], data: st.DataObject) -> None:
    sets = made(texts, 2)
    order = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8)) if texts else []
    taken = sets.take(order)
    assert [taken[k].tolist() for k in range(len(taken))] == [sets[number].tolist() for number in order]


@given(st.lists(WORDS, max_size=8))
def test_digests_are_equal_for_equal_sets_and_no_others(texts: list[str]) -> None:
    digests = [tuple(pair) for pair in minhash.digests(made(texts, 2)).tolist()]
    for a, b in combinations(range(len(texts)), 2):
        assert (digests[a] == digests[b]) == (plain(texts[a], 2) == plain(texts[b], 2))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.85])
@pytest.mark.parametrize(("permutations", "weight"), [(64, 0.5), (128, 0.5), (128, 0.9), (200, 0.3)])
def test_bands_are_chosen_as_datasketch_does(threshold: float, permutations: int, weight: float) -> None:
    index = MinHashLSH(threshold, permutations, weights=(1 - weight, weight))
    assert minhash.bands_for(threshold, permutations, weight) == (index.b, index.r)


@settings(deadline=None, max_examples=25)
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6))
def test_candidates_are_those_of_datasketch(known: list[str], asked: list[str]) -> None:
    permutations, bands = 16, (8, 2)
    index = MinHashLSH(num_perm=permutations, params=bands)
    for number, text in enumerate(known):
        index.insert(number, theirs(plain(text, 2), permutations))
    keys = [
        minhash.band_keys(minhash.signatures(made(side, 2), permutations), *bands) for side in (known, asked)
    ]
    for row, text in enumerate(asked):
        found = np.flatnonzero((keys[0] == keys[1][row]).any(axis=1))
        assert found.tolist() == sorted(index.query(theirs(plain(text, 2), permutations)))


def test_the_chance_to_be_found_is_what_it_is_said_to_be() -> None:
    """1,000 pairs of sets of Jaccard 0.8: 8 of 10 numbers shared, as often as chance allows, and no more."""
    rng = np.random.default_rng(7)
    shared, own = (
        rng.integers(1, 2**64, (1_000, 80), np.uint64),
        rng.integers(1, 2**64, (2_000, 10), np.uint64),
    )
    pairs = np.sort(np.concatenate([np.repeat(shared, 2, axis=0), own], axis=1), axis=1)
    sets = minhash.Shingles(pairs.reshape(-1), np.arange(2_001, dtype=np.int64) * 90)
    assert minhash.jaccards(sets, [0], sets, [1]).tolist() == [0.8]
    for weight in (0.5, 0.99):
        bands = minhash.bands_for(0.8, 128, weight)
        keys = minhash.band_keys(minhash.signatures(sets), *bands)
        found = (keys[::2] == keys[1::2]).any(axis=1).mean()
        assert found == pytest.approx(minhash.found_with(0.8, *bands), abs=0.05)


def test_one_word_a_hundred_thousand_times_is_one_shingle() -> None:
    sets = made(["x " * 100_000, "x" * 1_000_000, "x x x x x"], 5)
    assert sets.sizes.tolist() == [1, 1, 1]
    assert minhash.jaccards(sets, [0], sets, [2]).tolist() == [1.0]
