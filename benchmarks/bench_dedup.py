"""How fast near-duplicates are found, beside rensa and datasketch, and how many of them; and 5 million rows.

    python benchmarks/bench_dedup.py             # needs `pip install '.[bench]'`

60,000 conversations, evenly taken from the corpus of `corpus.py`, are deduplicated at 128 permutations and a
Jaccard of 0.8 over runs of five words, from texts in memory to the rows that go: cutting into words is a part
of it for all. Ours begins with Arrow, the others with Python's strings, each with what it can take. For them
the texts are cut by one regular expression and lower-cased, which is less than ours does; of the ways to hand
over shingles and to ask for duplicates, all that are quick are tried. Every figure is the best of three.

Recall is counted against all pairs of at least that Jaccard, found without MinHash: a pair counts as found if
not both of its rows stay. A row goes in vain if there is no row at all of which it is a near-duplicate.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import corpus
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasketch import MinHash as TheirMinHash
from datasketch import MinHashLSH
from measure import best, command
from rensa import RMinHash, RMinHashDeduplicator, RMinHashLSH

from tulu_data.dedup.minhash import MinHash
from tulu_data.engine import ordered_map, rebatch
from tulu_data.op import Context, Fold
from tulu_data.record import MESSAGES
from tulu_data.show import table

ROOT = Path(__file__).resolve().parent.parent
THRESHOLD, PERMUTATIONS, NGRAM = 0.8, 128, 5
WORDS = re.compile(r"\w+").findall
Flags = npt.NDArray[np.bool_]


def main() -> None:
    """Builds the corpus, measures, prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("TULU_DATA_SHARED", ROOT.parent / "shared" / "data")
    parser.add_argument("--shared", type=Path, default=Path(default), help="the folder of real data sets")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tulu-data-bench")
    parser.add_argument("--documents", type=int, default=60_000)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the large run; 0 leaves it out")
    options = parser.parse_args()
    if not (options.shared / "README.md").is_file():
        sys.exit(f"the real data sets are not at {options.shared}; set TULU_DATA_SHARED to their folder")
    data = corpus.build(options.shared, options.work / "corpus-300.parquet")
    compare(sample(data, options.documents))
    if options.rows:
        large(data, options.rows, options.work)


def sample(data: Path, documents: int) -> pa.Table:
    """Evenly spread conversations."""
    whole = pq.read_table(data, columns=["id", "messages"])
    step = whole.num_rows // documents
    return whole.take(pa.array(np.arange(documents) * step)).combine_chunks()


# -- side by side --------------------------------------------------------------------------------------------


@dataclass
class Way:
    """One way of finding duplicates: what it found, in how many seconds."""

    name: str
    seconds: float
    busy: float
    """Seconds of all cores together: they hardly hang on what else the machine does."""
    found: Flags
    """Of every row whether it goes; where a tool tells only that rows are alike, whether it is."""
    both: bool = False
    """Whether it tells both rows of a pair."""


def compare(rows: pa.Table) -> None:
    """Every way on the same rows, and how much of the truth each found."""
    texts = [" ".join(turn["content"] or "" for turn in turns) for turns in rows["messages"].to_pylist()]
    pairs = true_pairs([hashed(text) for text in texts])
    alike = np.zeros(len(texts), np.bool_)
    alike[pairs.reshape(-1)] = True
    ways = [*ours(rows), *rensa(texts), *datasketch(texts)]
    lines = []
    for way in ways:
        hit = way.found[pairs[:, 0]] & way.found[pairs[:, 1]] if way.both else way.found[pairs].any(axis=1)
        in_vain = int((way.found & ~alike).sum())
        ratios = (way.seconds / ways[0].seconds, way.busy / ways[0].busy)
        shown = [f"{way.seconds:.2f}", f"{way.busy:.2f}", *(f"{ratio:.1f}" for ratio in ratios)]
        lines.append((way.name, *shown, f"{hit.mean():.1%}", int(way.found.sum()), in_vain))
    print(f"\n{len(texts):,} documents, {sum(map(len, texts)) / 1e6:.0f} MB, {PERMUTATIONS} permutations,")
    print(f"Jaccard {THRESHOLD}, {NGRAM} words; {len(pairs):,} true pairs; {os.cpu_count()} cores\n")
    titles = ("way", "seconds", "of cores", "times ours", "of cores", "pairs found", "rows told", "in vain")
    table(titles, lines)


def ours(rows: pa.Table) -> Iterator[Way]:
    """The operator's folds over Arrow batches, with one thread and with two."""
    batches = list(rebatch([rows]))
    for threads in (2, 1):
        seconds, busy, gone = best(partial(folded, batches, threads))
        found = pc.is_in(rows["id"], pa.array(gone, pa.string())).to_numpy()
        yield Way(f"ours, {threads} thread{'s' * (threads > 1)}", seconds, busy, found)


def folded(batches: list[pa.Table], threads: int) -> list[str]:
    """The ids of the rows that go."""
    with tempfile.TemporaryDirectory() as scratch:
        artifacts: dict[str, Path] = {}
        found = pa.table({})
        for fold in MinHash(threshold=THRESHOLD, permutations=PERMUTATIONS, ngram=NGRAM).plan():
            if not isinstance(fold, Fold):
                continue
            state = fold.setup(Context(artifacts=artifacts))
            parts = ordered_map(partial(_part, fold, state), batches, threads)
            found = fold.finish(pa.concat_tables(parts))
            artifacts[fold.name] = Path(scratch, fold.name)
            pq.write_table(found, artifacts[fold.name])
    ids, survivors = found["id"].to_pylist(), found["survivor"].to_pylist()
    return [row for row, survivor in zip(ids, survivors, strict=True) if row != survivor]


def _part(fold: Fold, state: object, batch: pa.Table) -> pa.Table:
    return fold.partial(batch, state)


def shingles(text: str) -> list[str]:
    """Runs of five words, as text."""
    words = WORDS(text.lower())
    runs = zip(*(words[k:] for k in range(NGRAM)), strict=False)
    return [" ".join(run) for run in runs] or [" ".join(words)]


def hashed(text: str) -> list[int]:
    """Runs of five words, as Python's hash of the tuple: quicker than joining them."""
    words = WORDS(text.lower())
    return [*map(hash, zip(*(words[k:] for k in range(NGRAM)), strict=False))] or [hash(tuple(words))]


def flat(texts: list[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """All hashes in one array, and where each text's begin."""
    lists = [hashed(text) for text in texts]
    ends = np.cumsum([0, *map(len, lists)])
    return np.fromiter(chain.from_iterable(lists), np.int64, ends[-1]).view(np.uint64), ends.astype(np.uint64)


def rensa(texts: list[str]) -> Iterator[Way]:
    """Its matrices with the one-shot index, of strings and of hashes, and its deduplicator."""

    def one_shot(bands: int, rho: bool) -> Flags:
        hashes, ends = flat(texts)
        kind = "_rho" if rho else ""
        make = getattr(RMinHash, f"digest_matrix_from_flat_token_hashes{kind}")
        index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=bands)
        return np.array(index.query_duplicate_flags_matrix_one_shot(make(hashes, ends, PERMUTATIONS, 42)))

    def of_strings() -> Flags:
        matrix = RMinHash.digest_matrix_from_token_sets([shingles(t) for t in texts], PERMUTATIONS, 42)
        index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16)
        return np.array(index.query_duplicate_flags_matrix_one_shot(matrix))

    def deduplicator() -> Flags:
        dedup = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
        return ~np.array(dedup.add_pairs([(str(k), shingles(text)) for k, text in enumerate(texts)]))

    yield Way("rensa, rho of hashes, 16 bands", *best(lambda: one_shot(16, True)), both=True)
    yield Way("rensa, matrix of hashes, 8 bands", *best(lambda: one_shot(8, False)), both=True)
    yield Way("rensa, matrix of hashes, 16 bands", *best(lambda: one_shot(16, False)), both=True)
    yield Way("rensa, matrix of hashes, 32 bands", *best(lambda: one_shot(32, False)), both=True)
    yield Way("rensa, matrix of strings, 16 bands", *best(of_strings), both=True)
    yield Way("rensa, deduplicator", *best(deduplicator))


def datasketch(texts: list[str]) -> Iterator[Way]:
    """Signatures in bulk, of numbers hashed beforehand; then its index, at its own weights and at others."""

    def dedup(weights: tuple[float, float]) -> Flags:
        hashes, ends = flat(texts)
        numbers = (hashes >> np.uint64(32)).tolist()
        lists = (numbers[a:b] for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        index = MinHashLSH(THRESHOLD, PERMUTATIONS, weights)
        goes = np.zeros(len(texts), np.bool_)
        for number, minhash in enumerate(TheirMinHash.bulk(lists, num_perm=PERMUTATIONS, hashfunc=int)):
            goes[number] = bool(index.query(minhash))
            if not goes[number]:
                index.insert(number, minhash, check_duplication=False)
        return goes

    yield Way("datasketch, its weights", *best(lambda: dedup((0.5, 0.5))))
    yield Way("datasketch, weights 0.1 and 0.9", *best(lambda: dedup((0.1, 0.9))))


def true_pairs(lists: Iterable[list[int]]) -> npt.NDArray[np.int64]:
    """All pairs of at least the threshold, by plain sets: two such share one of the rarest of each."""
    sets = [frozenset(own) for own in lists]
    count = Counter(chain.from_iterable(sets))
    holders: defaultdict[int, list[int]] = defaultdict(list)
    found = []
    for number, own in enumerate(sets):
        early = len(own) - math.ceil(THRESHOLD * len(own) - 1e-9) + 1
        rare = sorted(own, key=lambda shingle: (count[shingle], shingle))[:early]
        for other in {other for shingle in rare for other in holders[shingle]}:
            there = sets[other]
            if THRESHOLD * max(len(own), len(there)) <= min(len(own), len(there)) + 1e-9:
                both = len(own & there)
                if both / (len(own) + len(there) - both) >= THRESHOLD:
                    found.append((other, number))
        for shingle in rare:
            if count[shingle] > 1:
                holders[shingle].append(number)
    return np.array(found, np.int64).reshape(-1, 2)


# -- five million rows ---------------------------------------------------------------------------------------


def large(data: Path, rows: int, work: Path) -> None:
    """The whole command over many short rows, a fifth of them others again, most with a word changed."""
    path = work / f"short-{rows}.parquet"
    if not path.is_file():
        write_short(data, rows, path)
    seconds, memory = command("dedup", str(path), "--out", str(work / "dedup"), "--force")
    size = path.stat().st_size / 1e6
    print(f"\n{rows:,} short rows ({size:,.0f} MB of Parquet), the whole command")
    print(f"{seconds:,.0f} s, peak memory {memory:.2f} GB; the aim is 8 GB")


def write_short(data: Path, rows: int, path: Path) -> None:
    """Windows of 25 words over the corpus; every fifth row is an earlier one again."""
    held: list[str] = []
    made = pieces(data)
    schema = pa.schema([("messages", MESSAGES)])
    aside = path.with_suffix(".tmp")
    with pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for start in range(0, rows, 100_000):
            texts = []
            for number in range(start, min(rows, start + 100_000)):
                if number % 5 or not held:
                    held.append(next(made))
                    texts.append(held[-1])
                else:
                    text = held[number * 7_919 % len(held)]
                    texts.append(text if number % 20 == 0 else f"w{number} {text.partition(' ')[2]}")
            turns = [[{"role": "user", "content": text}] for text in texts]
            writer.write_table(pa.table([pa.array(turns, MESSAGES)], schema=schema))
    aside.rename(path)


def pieces(data: Path) -> Iterator[str]:
    """25 words, then 25 words from the eleventh of these on, and so forth; then again with another offset."""
    for offset in range(10):
        for batch in pq.ParquetFile(data).iter_batches(columns=["messages"]):
            for turns in batch.column(0).to_pylist():
                words = " ".join(turn["content"] or "" for turn in turns).split()
                for place in range(offset, len(words) - 24, 10):
                    yield " ".join(words[place : place + 25])


if __name__ == "__main__":
    main()
