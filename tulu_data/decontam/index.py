"""The evaluation suite as the kernels search it: its n-grams, its distinct field texts, and its items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam import kernels
from tulu_data.decontam.kernels import PRIME, Fields, Grams
from tulu_data.text.hashing import Texts, prepare_texts
from tulu_data.text.unicode_tables import unicode_tables

FILTER_BITS_PER_GRAM = 8
"""Two of 8 bits are set for each n-gram: 5 % of other n-grams pass and cost a longer look. More bits would
let fewer pass but no longer fit the cache (1.4 million n-grams: 2 MB; 4 MB took 10 % longer in all)."""

Memory = tuple[Any, ...]


@dataclass
class Index:
    """What `match` needs of a suite. Items are numbered as they came; so are the fields of each."""

    n: int
    grams: Grams
    fields: Fields
    slots: npt.NDArray[np.int32]
    """Beside `fields.item_fields`: which of its item's fields that is, counted from 0 with the empty ones."""
    cut: Cut
    """The tokens of the distinct field texts."""
    distinctive: npt.NDArray[np.uint8]
    """Beside the tokens of `cut`: whether one counts as more than boilerplate."""
    core: npt.NDArray[np.uint8]
    """Beside the tokens of `cut`: whether one lies in no boilerplate at all."""
    groups: npt.NDArray[np.int32]
    """For each distinct field text: its group (an eval, where boilerplate is learned)."""
    characters: bool = False
    """Whether scripts without spaces are cut into characters."""
    _idle: list[Memory] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def places(self, items: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Where the fields of items lie in `fields.item_fields`, one item's behind the other's."""
        firsts, lasts = self.fields.item_offsets[items], self.fields.item_offsets[items + 1]
        counts = lasts - firsts
        befores = np.cumsum(counts) - counts
        return np.repeat(firsts - befores, counts) + np.arange(counts.sum())

    def of_items(self, of_texts: npt.NDArray[Any]) -> list[bool]:
        """For each item, whether a number is above 0 for one of its texts."""
        items = len(self.fields.item_offsets) - 1
        owners = np.repeat(np.arange(items), np.diff(self.fields.item_offsets))
        sums = np.bincount(owners, weights=of_texts[self.fields.item_fields], minlength=items)
        found: list[bool] = (sums > 0).tolist()
        return found

    def counted(self, item: int, slot: int) -> npt.NDArray[np.bool_]:
        """Which tokens of a field of an item count; none, where it has no tokens."""
        for place in range(*self.fields.item_offsets[item : item + 2].tolist()):
            if self.slots[place] == slot:
                text = self.fields.item_fields[place]
                first, size = int(self.fields.counted_offsets[text]), int(self.fields.tokens[text])
                return np.asarray(np.diff(self.fields.counted[first : first + size + 1]) > 0)
        return np.zeros(0, np.bool_)

    def unchecked(self, item: int) -> str:
        """Why nothing can match an item, or an empty string."""
        first, last = self.fields.item_offsets[item : item + 2]
        return "" if last > first else "no field of it has a letter or a digit"

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
        places = np.zeros(grams, np.int32)
        return gram_seen, field_tried, field_seen, scores, item_seen, candidates, gram_mark, places, clock


@dataclass(frozen=True)
class Cut:
    """The tokens of texts, one text behind the other."""

    offsets: npt.NDArray[np.int64]
    """[texts + 1]: where each text's tokens begin."""
    text: npt.NDArray[np.uint8]
    """The tokens in the form that hashing sees, each followed by a space."""
    ends: npt.NDArray[np.int64]
    """Where each token ends in `text`, the space not counted."""
    hashes: npt.NDArray[np.uint64]
    starts_at: npt.NDArray[np.int32]
    """The character of the original text where each token begins."""
    ends_at: npt.NDArray[np.int32]

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Where each token begins in `text`."""
        return np.concatenate([[0], self.ends + 1])[:-1]

    @cached_property
    def numbers(self) -> npt.NDArray[np.uint8]:
        """Whether each token is a number: begins with a digit."""
        firsts = self.text[self.places] if len(self.ends) else np.zeros(0, np.uint8)
        return ((firsts >= ord("0")) & (firsts <= ord("9"))).astype(np.uint8)


@dataclass(frozen=True)
class Learning:
    """What is learned from the items themselves, group by group (an eval is a group)."""

    groups: npt.NDArray[np.int32]
    """[items]: the group of each item, ascending."""
    boilerplate: int
    """An n-gram that so many texts of a group share is boilerplate, its numbers not looked at."""
    least: int = 4
    """So many tokens outside boilerplate, all of them there, make a candidate too."""


Keep = Callable[[Callable[[], Index]], Index]
"""Has an index built, or brings one that was kept."""


def build_anew(build: Callable[[], Index]) -> Index:
    """A `Keep` that keeps nothing."""
    return build()


def kernel_tables(*, characters: bool = False) -> tuple[Any, Any, Any]:
    """The Unicode tables as the kernels take them."""
    tables = unicode_tables(characters)
    return tables.pages, tables.values, tables.expansions


def build_index(
    items: Sequence[Sequence[str]],
    n: int = 8,
    threshold: float = 0.5,
    *,
    learning: Learning | None = None,
    ignore: Callable[[Cut], npt.NDArray[np.uint8]] | None = None,
    characters: bool = False,
) -> Index:
    """Indexes items, each a list of the texts of its fields (the same number for every item or not).

    Args:
        items: the texts of each item's fields.
        n: tokens in a gram.
        threshold: an item's score must be above it.
        learning: learn boilerplate, and match numbers by masked grams too.
        ignore: for the tokens, at which n-grams' first tokens (uint8 [tokens]) nothing is looked for.
        characters: whether scripts without spaces are cut into characters.

    Raises:
        ValueError: two different n-grams have one hash (once in 10^7 suites of a million n-grams).
    """
    numbers, distinct, groups = _distinct(items, learning)
    cut = cut_texts(distinct, characters=characters)
    counts = np.diff(cut.offsets)
    chosen = _choose(cut, n, (learning, groups) if learning else None, ignore)
    grams, gram_of = _grams(cut, n, chosen)
    sizes = np.array([len(item) for item in items], np.int64)
    full = counts[numbers] > 0
    item_fields = numbers[full].astype(np.int32)
    item_offsets = _offsets(np.bincount(np.repeat(np.arange(len(items)), sizes)[full], minlength=len(items)))
    slots = (np.arange(len(numbers)) - np.repeat(_offsets(sizes)[:-1], sizes))[full].astype(np.int32)
    holder_offsets, holders = _inverted(item_fields, item_offsets, len(counts))
    counted, weak = _counted(cut, chosen.distinctive)
    limits, item_limits = _limits(
        weak, item_fields, item_offsets, _thresholds(cut, chosen, learning, threshold)
    )
    frequency = np.bincount(gram_of[gram_of >= 0], minlength=len(grams.length))
    counted_offsets = cut.offsets + np.arange(len(cut.offsets))
    probe_offsets, probes = _probes(
        counts, counted, counted_offsets, limits, chosen.offsets, gram_of, frequency, n
    )
    fields = Fields(
        counts.astype(np.int32), counted, counted_offsets, limits, chosen.offsets, gram_of,
        cut.offsets, cut.starts_at, cut.ends_at,
        probe_offsets, probes, item_offsets, item_fields, item_limits, holder_offsets, holders,
    )  # fmt: skip
    return Index(n, grams, fields, slots, cut, chosen.distinctive, chosen.core, groups, characters)


def _distinct(
    items: Sequence[Sequence[str]], learning: Learning | None
) -> tuple[npt.NDArray[Any], pa.Array, npt.NDArray[np.int32]]:
    """Which distinct text each field has, those texts, and their groups; the same text is another in each."""
    texts = pa.array([text for item in items for text in item], pa.string())
    if learning is None:
        encoded = texts.dictionary_encode()
        return encoded.indices.to_numpy(), encoded.dictionary, np.zeros(len(encoded.dictionary), np.int32)
    owners = np.repeat(learning.groups, [len(item) for item in items])
    numbers, kept, groups, base = np.zeros(len(texts), np.int64), [], [], 0
    for group in np.unique(owners).tolist():
        first, last = np.searchsorted(owners, [group, group + 1])
        encoded = texts.slice(first, last - first).dictionary_encode()
        numbers[first:last] = encoded.indices.to_numpy() + base
        kept.append(encoded.dictionary)
        groups.append(np.full(len(encoded.dictionary), group, np.int32))
        base += len(encoded.dictionary)
    empty = pa.array([], pa.string())
    return numbers, pa.concat_arrays([empty, *kept]), np.concatenate([np.zeros(0, np.int32), *groups])


@dataclass(frozen=True)
class _Chosen:
    """What is looked for at each position of each distinct text."""

    keys: npt.NDArray[np.uint64]
    firsts: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    masked: npt.NDArray[np.uint8]
    ignored: npt.NDArray[np.uint8]
    distinctive: npt.NDArray[np.uint8]
    core: npt.NDArray[np.uint8]


def _choose(
    cut: Cut,
    n: int,
    learning: tuple[Learning, npt.NDArray[np.int32]] | None,
    ignore: Callable[[Cut], npt.NDArray[np.uint8]] | None,
) -> _Chosen:
    """The grams of each text: exact ones, or where numbers are masked, masked ones that are distinctive."""
    keys, firsts, offsets = kernels.gram_keys(cut.hashes, cut.offsets, n)
    nothing = np.zeros(len(keys), np.uint8)
    ignored = nothing if ignore is None else ignore(cut)[firsts]
    if learning is None:
        every = np.ones(len(cut.hashes), np.uint8)
        return _Chosen(keys, firsts, offsets, nothing, ignored, every, every)
    masked_keys, numbers = kernels.masked_keys(cut.hashes, cut.numbers, cut.offsets, n)
    frequency = kernels.frequencies(masked_keys, offsets, learning[1])
    common = frequency >= learning[0].boilerplate
    masked = (numbers > 0) & (numbers <= kernels.MASKED_MOST) & ~common
    sizes = np.minimum(np.repeat(np.diff(cut.offsets), np.diff(offsets)), n)
    distinctive = _covering(len(cut.hashes), firsts[~common], sizes[~common])
    core = 1 - _covering(len(cut.hashes), firsts[common], sizes[common])
    return _Chosen(
        np.where(masked, masked_keys, keys),
        firsts,
        offsets,
        masked.astype(np.uint8),
        ignored,
        distinctive,
        core,
    )


def _covering(
    tokens: int, firsts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Which tokens lie in one of the grams."""
    steps = np.zeros(tokens + 1, np.int64)  # +1 where a gram begins, -1 behind its end
    np.add.at(steps, firsts, 1)
    np.add.at(steps, firsts + sizes, -1)
    return (np.cumsum(steps[:-1]) > 0).astype(np.uint8)


def _counted(
    cut: Cut, distinctive: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """`Fields.counted`, and which texts are weak: nothing but boilerplate, so that all of it counts."""
    texts = len(cut.offsets) - 1
    sizes = np.diff(cut.offsets)
    owners = np.repeat(np.arange(texts), sizes)
    totals = np.bincount(owners, weights=distinctive, minlength=texts)
    weak = (totals == 0) & (sizes > 0)
    counts = np.where(weak[owners], 1, distinctive) if len(owners) else np.zeros(0, np.int64)
    running = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(len(owners) + texts) - np.repeat(
        np.arange(texts), sizes + 1
    )  # one more place than tokens
    return (running[within] - np.repeat(running[cut.offsets[:-1]], sizes + 1)).astype(np.int32), weak


BELOW = 1 - 1e-6
"""So much below a share, a score that is the share is above."""
ALL = 1 - 1e-9
"""Only a score of 1 is above it: no field has a thousand million tokens."""


def _limits(
    weak: npt.NDArray[np.bool_], item_fields: Any, item_offsets: Any, thresholds: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The limits of fields and items: where all of an item is boilerplate, all of it must be there."""
    items = len(item_offsets) - 1
    owners = np.repeat(np.arange(items), np.diff(item_offsets))
    strong = (
        np.bincount(owners, weights=~weak[item_fields], minlength=items) > 0 if items else np.zeros(0, bool)
    )
    needed = np.zeros(len(weak), np.bool_)  # fields that an item with something distinctive holds
    needed[item_fields[strong[owners]]] = True
    counts = np.maximum(np.diff(item_offsets), 1)
    means = np.bincount(owners, weights=thresholds[item_fields], minlength=items) / counts
    return np.where(weak & ~needed, ALL, thresholds), np.where(strong, means, ALL)


def _thresholds(
    cut: Cut, chosen: _Chosen, learning: Learning | None, threshold: float
) -> npt.NDArray[np.float64]:
    """For each text what its score must be above: no more than what all tokens outside boilerplate make."""
    texts = len(cut.offsets) - 1
    if learning is None:
        return np.full(texts, threshold)
    owners = np.repeat(np.arange(texts), np.diff(cut.offsets))
    core, counted = (
        np.bincount(owners, weights=flags, minlength=texts) for flags in (chosen.core, chosen.distinctive)
    )
    share = core / np.maximum(counted, 1) * BELOW
    return np.where(core >= learning.least, np.minimum(threshold, share), threshold)


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


def cut_texts(texts: pa.Array, *, characters: bool = False) -> Cut:
    """The tokens of texts, those that Python must normalise put back in their place."""
    tables = kernel_tables(characters=characters)
    given = Texts.of(texts)
    counts, text, ends, hashes, chars = kernels.cut_all(given.data, given.offsets, False, tables)
    hard = np.flatnonzero(counts < 0)
    if not len(hard):
        return Cut(_offsets(counts), text, ends, hashes, _column(chars, 0), _column(chars, 1))
    prepared = prepare_texts([given.text(i) for i in hard.tolist()], characters=characters)
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
    placed = np.concatenate([chars, chars2]).astype(np.int32)[order]
    return Cut(
        _offsets(counts), moved, np.cumsum(widths[order]).astype(np.int64) - 1,
        np.concatenate([hashes, hashes2])[order], _column(placed, 0), _column(placed, 1),
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


def _grams(cut: Cut, n: int, chosen: _Chosen) -> tuple[Grams, npt.NDArray[np.int32]]:
    """The distinct grams, and which of them is at each position (-1 where nothing is looked for)."""
    powers = np.array([pow(int(PRIME), k, 1 << 64) for k in range(n + 1)], np.uint64)
    wanted = np.flatnonzero(chosen.ignored == 0)
    firsts = chosen.firsts[wanted]
    distinct, where, inverse = _numbered(chosen.keys[wanted])
    sizes = np.repeat(np.diff(cut.offsets), np.diff(chosen.offsets))
    lengths = np.minimum(sizes, n).astype(np.int32)[wanted]
    places = cut.places[firsts]  # where each gram's text begins
    masked = chosen.masked[wanted]
    if not kernels.one_gram_each(inverse, where, places, lengths, cut.text, masked):
        raise ValueError("two different n-grams have one hash")
    first, length = firsts[where], lengths[where]
    filter_, filter_shift, table, table_shift, short_filter = _filters_and_table(
        distinct, length, places[where], n
    )
    short_lengths = np.isin(np.arange(n), length).astype(np.uint8)
    masks = bool(chosen.masked.any())
    # Half an n-gram: fewer places are sampled as it grows, but shorter runs pass more often.
    stride = max(1, n // 2)
    hashes = np.where(cut.numbers, kernels.NUMBER, cut.hashes) if masks else cut.hashes
    sampled, _, _ = kernels.gram_keys(hashes, cut.offsets, n - stride + 1)
    sample, sample_shift = _filter(len(sampled))
    kernels.fill_sample(sampled, sample, sample_shift)
    ends, singles, short_sizes = _short(cut, first, length, n)
    grams = Grams(
        n, powers, stride, sample, sample_shift, filter_, filter_shift,
        ends, singles, short_sizes, short_filter, short_lengths,
        table, table_shift, _padded(cut.text), length, masked[where], masks,
    )  # fmt: skip
    gram_of = np.full(len(chosen.keys), -1, np.int32)
    gram_of[wanted] = inverse
    return grams, gram_of


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


def _short(cut: Cut, first: npt.NDArray[Any], length: npt.NDArray[Any], n: int) -> tuple[Any, ...]:
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
    counts: Any,
    counted: Any,
    counted_offsets: Any,
    limits: Any,
    gram_offsets: Any,
    gram_of: Any,
    frequency: Any,
    n: int,
) -> tuple[Any, Any]:
    """The fields that each gram makes a candidate, as offsets and fields."""
    probing = kernels.probe_grams(
        counts.astype(np.int32), counted, counted_offsets, limits, gram_offsets, gram_of, frequency, n
    ).astype(bool)
    owners = np.repeat(np.arange(len(counts)), np.diff(gram_offsets))[probing]
    order = np.argsort(gram_of[probing], kind="stable")
    found, fields = gram_of[probing][order], owners[order]
    first = np.ones(len(order), np.bool_)  # a field that holds a gram twice is named once
    first[1:] = (found[1:] != found[:-1]) | (fields[1:] != fields[:-1])
    offsets = _offsets(np.bincount(found[first], minlength=len(frequency)))
    return offsets, fields[first].astype(np.int32)
