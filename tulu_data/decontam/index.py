"""The evaluation suite as the kernels search it: its n-grams, its distinct field texts, and its items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam import kernels
from tulu_data.decontam.kernels import PRIME, Fields, Grams
from tulu_data.text.hashing import Texts, prepare_texts
from tulu_data.text.unicode_tables import UnicodeTables, unicode_tables

FILTER_BITS_PER_GRAM = 8
"""Two of 8 bits are set for each n-gram: 5 % of other n-grams pass and cost a longer look. More bits would
let fewer pass but no longer fit the cache (1.4 million n-grams: 2 MB; 4 MB took 10 % longer in all)."""

Memory = tuple[Any, ...]


@dataclass
class Index:
    """What `match` needs of a suite. Items are numbered as they came; so are the fields of each."""

    n: int
    threshold: float
    grams: Grams
    fields: Fields
    slots: npt.NDArray[np.int32]
    """Beside `fields.item_fields`: which of its item's fields that is, counted from 0 with the empty ones."""
    _idle: list[Memory] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def memory(self) -> Iterator[Memory]:
        """Stamps for one call of `judge`; kept and lent again, so that they need no clearing."""
        with self._lock:
            memory = self._idle.pop() if self._idle else self._new_memory()
        try:
            yield memory
        finally:
            with self._lock:
                self._idle.append(memory)

    def _new_memory(self) -> Memory:
        grams, fields, items = len(self.grams.length), len(self.fields.tokens), len(self.fields.item_offsets)
        gram_seen, gram_mark = np.zeros(grams, np.int64), np.zeros(grams, np.int64)
        field_tried, field_seen = np.zeros(fields, np.int64), np.zeros(fields, np.int64)
        item_seen, clock = np.zeros(items, np.int64), np.zeros(1, np.int64)
        scores, candidates = np.zeros(fields), np.zeros(items, np.int32)
        return gram_seen, field_tried, field_seen, scores, item_seen, candidates, gram_mark, clock


@dataclass(frozen=True)
class _Cut:
    """The tokens of every distinct text, one text behind the other."""

    offsets: npt.NDArray[np.int64]
    text: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    chars: npt.NDArray[np.int32]


def kernel_tables(tables: UnicodeTables | None = None) -> tuple[Any, Any, Any]:
    """The Unicode tables as the kernels take them."""
    tables = tables or unicode_tables()
    return tables.pages, tables.values, tables.expansions


def build_index(items: Sequence[Sequence[str]], n: int = 8, threshold: float = 0.5) -> Index:
    """Indexes items, each a list of the texts of its fields (the same number for every item or not).

    Raises:
        ValueError: two different n-grams have one hash (once in 10^7 suites of a million n-grams).
    """
    texts = [text for item in items for text in item]
    encoded = pa.array(texts, pa.string()).dictionary_encode()
    numbers = encoded.indices.to_numpy()
    cut = _cut_texts(encoded.dictionary)
    grams, gram_of, gram_offsets = _grams(cut, n)
    counts = np.diff(cut.offsets)
    sizes = np.array([len(item) for item in items], np.int64)
    full = counts[numbers] > 0
    item_fields = numbers[full].astype(np.int32)
    item_offsets = _offsets(np.bincount(np.repeat(np.arange(len(items)), sizes)[full], minlength=len(items)))
    slots = (np.arange(len(numbers)) - np.repeat(_offsets(sizes)[:-1], sizes))[full].astype(np.int32)
    holder_offsets, holders = _inverted(item_fields, item_offsets, len(counts))
    probe_offsets, probes = _probes(counts, gram_offsets, gram_of, len(grams.length), n, threshold)
    fields = Fields(
        counts.astype(np.int32), gram_offsets, gram_of,
        cut.offsets, _column(cut.chars, 0), _column(cut.chars, 1),
        probe_offsets, probes, item_offsets, item_fields, holder_offsets, holders,
    )  # fmt: skip
    return Index(n, threshold, grams, fields, slots)


_told: list[bool] = []


def tell_first_compilation(say: Callable[[str], None]) -> None:
    """Says that the kernels are compiled now, once, where no earlier run has left them in Numba's cache."""
    cache = kernels.scan.stats.cache_path
    compiled = cache and any(Path(cache).glob("scanning.scan-*.nbi"))
    if not compiled and not _told:
        _told.append(True)
        say("compiling the matching kernels; this happens once and takes about half a minute")


def _column(table: npt.NDArray[np.int32], number: int) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(table[:, number])


def _cut_texts(distinct: pa.Array) -> _Cut:
    """Tokens of the distinct texts, those that Python must normalise put back in their place."""
    tables = kernel_tables()
    texts = Texts.of(distinct)
    counts, text, ends, hashes, chars = kernels.cut_all(texts.data, texts.offsets, False, tables)
    hard = np.flatnonzero(counts < 0)
    if not len(hard):
        return _Cut(_offsets(counts), text, ends, hashes, chars)
    prepared = prepare_texts([texts.text(i) for i in hard.tolist()])
    more, text2, ends2, hashes2, chars2 = kernels.cut_all(
        prepared.texts.data, prepared.texts.offsets, True, tables
    )
    own = np.repeat(np.arange(len(hard), dtype=np.int32), more)
    chars2 = np.stack(prepared.characters(own, chars2[:, 0], chars2[:, 1]), axis=1)
    owners = np.concatenate(
        [np.repeat(np.flatnonzero(counts >= 0), counts[counts >= 0]), np.repeat(hard, more)]
    )
    order = np.argsort(owners, kind="stable")
    stops = np.concatenate([ends, len(text) + ends2]) + 1  # each with the space behind it
    starts = np.concatenate([[0], stops[:-1]])
    widths = stops - starts
    both = np.concatenate([text, text2])
    counts[hard] = more
    moved = _gather(both, starts[order], widths[order])
    return _Cut(
        _offsets(counts), moved, np.cumsum(widths[order]).astype(np.int64) - 1,
        np.concatenate([hashes, hashes2])[order], np.concatenate([chars, chars2]).astype(np.int32)[order],
    )  # fmt: skip


def _gather(
    data: npt.NDArray[Any], starts: npt.NDArray[Any], widths: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """`data[start:start + width]` of every range, joined."""
    shift = (
        np.repeat(starts - np.concatenate([[0], np.cumsum(widths)[:-1]]), widths)
        if len(widths)
        else np.zeros(0, int)
    )
    taken: npt.NDArray[np.uint8] = data[np.arange(len(shift)) + shift]
    return taken


def _offsets(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _grams(cut: _Cut, n: int) -> tuple[Grams, npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    powers = np.array([pow(int(PRIME), k, 1 << 64) for k in range(n + 1)], np.uint64)
    keys, firsts, gram_offsets = kernels.gram_keys(cut.hashes, cut.offsets, n)
    distinct, where, inverse = _numbered(keys)
    counts = np.diff(cut.offsets)
    lengths = np.repeat(np.minimum(counts, n), np.diff(gram_offsets)).astype(np.int32)
    places = np.concatenate([[0], cut.ends + 1])[firsts]  # where each gram's text begins
    if not kernels.one_gram_each(inverse, where, places, lengths, cut.text):
        raise ValueError("two different n-grams have one hash")
    first, length = firsts[where], lengths[where]
    filter_, filter_shift, table, table_shift, short_filter = _filters_and_table(
        distinct, length, places[where], n
    )
    short_lengths = np.isin(np.arange(n), length).astype(np.uint8)
    # Half an n-gram: fewer places are sampled as it grows, but shorter runs pass more often.
    stride = max(1, n // 2)
    sampled, _, _ = kernels.gram_keys(cut.hashes, cut.offsets, n - stride + 1)
    sample, sample_shift = _filter(len(sampled))
    kernels.fill_sample(sampled, sample, sample_shift)
    ends, singles, sizes = _short(cut, first, length, n)
    grams = Grams(
        n, powers, stride, sample, sample_shift, filter_, filter_shift,
        ends, singles, sizes, short_filter, short_lengths,
        table, table_shift, _padded(cut.text), length,
    )  # fmt: skip
    return grams, inverse.astype(np.int32), gram_offsets


def _numbered(
    keys: npt.NDArray[np.uint64],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any], npt.NDArray[Any]]:
    """The distinct keys in the order in which they first occur, where that is, and the number of each key.

    By that order the grams of a field have neighbouring numbers, so that what is kept by gram lies together.
    """
    distinct, where, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(where)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return distinct[order], where[order], rank[inverse]


def _padded(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return text if len(text) else np.zeros(1, np.uint8)


def _filter(keys: int) -> tuple[npt.NDArray[np.uint64], int]:
    """An empty filter for so many keys, and the shift that leads from a mixed key to its word."""
    bits = max(16, int(keys * FILTER_BITS_PER_GRAM - 1).bit_length())
    return np.zeros(1 << (bits - 6), np.uint64), 70 - bits


def _filters_and_table(
    keys: Any, lengths: npt.NDArray[np.int32], places: npt.NDArray[np.int64], n: int
) -> tuple[Any, ...]:
    filter_, shift = _filter(len(keys))
    short_filter = np.zeros(kernels.SHORT_BITS // 64, np.uint64)
    slot_bits = max(8, int(len(keys) * 2).bit_length())
    table = np.zeros((1 << slot_bits, 2), np.uint64)
    kernels.fill(keys, lengths, places, n, filter_, shift, short_filter, table, 64 - slot_bits)
    return filter_, shift, table, 64 - slot_bits, short_filter


def _short(cut: _Cut, first: npt.NDArray[Any], length: npt.NDArray[Any], n: int) -> tuple[Any, ...]:
    """How `scan` knows where a gram shorter than n ends: (ends, singles, sizes) of `Grams`."""
    ends, singles = (np.zeros(bits // 64, np.uint64) for bits in (kernels.END_BITS, kernels.SINGLE_BITS))
    # As narrow as the lengths allow: for n-grams of 8 tokens 64 kB, which stay in the cache.
    sizes = np.zeros(kernels.SIZES, np.uint8 if n <= 8 else np.uint64)
    for start, size in zip(first[length < n].tolist(), length[length < n].tolist(), strict=True):
        third, second, last = [np.uint64(0), np.uint64(0), *cut.hashes[start : start + size]][-3:]
        if size > 1:
            kernels.set_bit(ends, kernels.end_bit(second, last))
        else:
            kernels.set_bit(singles, kernels.single_bit(last))
        sizes[kernels.end_slot(third, second, last)] |= sizes.dtype.type(1 << size)
    return ends, singles, sizes


def _inverted(values: Any, offsets: Any, size: int) -> tuple[Any, Any]:
    """For each value, the lists that hold it (as offsets and lists), each list once."""
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    pairs = (
        np.unique(np.stack([values, owners], axis=1), axis=0) if len(values) else np.zeros((0, 2), np.int64)
    )
    counts = np.bincount(pairs[:, 0], minlength=size) if size else np.zeros(0, np.int64)
    return _offsets(counts), np.ascontiguousarray(pairs[:, 1]).astype(np.int32)


def _probes(
    counts: Any, gram_offsets: Any, gram_of: Any, grams: int, n: int, threshold: float
) -> tuple[Any, Any]:
    """The fields that each gram makes a candidate, as offsets and fields."""
    frequency = np.bincount(gram_of, minlength=grams)
    probing = kernels.probe_grams(
        counts.astype(np.int32), gram_offsets, gram_of, frequency, n, threshold
    ).astype(bool)
    owners = np.repeat(np.arange(len(counts)), np.diff(gram_offsets))[probing]
    order = np.argsort(gram_of[probing], kind="stable")
    return _offsets(np.bincount(gram_of[probing], minlength=grams)), owners[order].astype(np.int32)
