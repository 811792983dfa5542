"""What is kept between runs: it never changes a result, is proved before use, and never stops a run."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tulu_data
from tests.rows import conversation
from tulu_data import cli
from tulu_data.decontam.cache import keys
from tulu_data.decontam.cache.arrays import packed, unpacked
from tulu_data.decontam.cache.batches import batch_key
from tulu_data.decontam.cache.indexes import kept_index
from tulu_data.decontam.cache.keys import eval_key
from tulu_data.decontam.cache.listing import overview, prune
from tulu_data.decontam.cache.scans import MATCHERS, CachedFindings
from tulu_data.decontam.cache.store import ASIDE, ENDING, Cache, Listed, default_folder, over
from tulu_data.decontam.evidence import findings_of
from tulu_data.decontam.index import Index
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.rules import PRESETS
from tulu_data.decontam.suite import load_suite
from tulu_data.engine import ordered_map
from tulu_data.mixtures.build import build
from tulu_data.record import MESSAGES, Kind
from tulu_data.sources import SourceSpec, open_source
from tulu_data.workspace import Workspace

WORDS = [f"{a}{b}" for a in ("ra", "ti", "mo", "ku", "se") for b in ("lan", "per", "dos", "vin")]


def words(count: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


TEXTS = [words(count, seed) for seed, count in enumerate((9, 12, 16, 30, 3, 2, 1, 12))]
"""Few enough that evals share items, and rows repeat them."""
OPTIONS = TEXTS[4:6]


def suite_of(folder: Path, evals: dict[str, list[str]], rule: str = "{like: tulu3, ngram: 3}") -> SuiteItems:
    """A suite of these evals, read from files as any other; every item has the same two answer options."""
    entries = []
    for name, items in evals.items():
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["question", "a", "b"], *([item, *OPTIONS] for item in items)])
        entries.append(f"  - {{name: {name}, from: {name}.csv, fields: [question], options: [a, b]}}\n")
    (folder / "s.yaml").write_text(f"suite: s\nrule: {rule}\nevals:\n{''.join(entries)}")
    return read_items(load_suite("s.yaml", Workspace(folder)))


def batch_of(*texts: str) -> pa.Table:
    """A row for each text: the user says it, the assistant answers with the next one."""
    rows = [
        conversation(f"user: {a}", f"assistant: {b}") for a, b in zip(texts, (*texts[1:], "Yes"), strict=True)
    ]
    return pa.table({"messages": pa.array(rows, MESSAGES)})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def kept_files(cache: Cache) -> list[Path]:
    return sorted(path for path in cache.root.rglob("*") if path.is_file())


# -- incremental equals full ---------------------------------------------------------------------------------

texts = st.sampled_from(TEXTS)
rows_text = st.lists(texts, min_size=1, max_size=3).map(" and ".join)
shards = st.lists(rows_text, min_size=1, max_size=7)
CHANGES = (
    "add an eval", "remove an eval", "change an item", "move an eval", "add a shard", "remove a shard",
    "append rows", "change a row", "change roles", "change the rule", "damage", "delete", "nothing",
)  # fmt: skip
RULES = [
    "{like: tulu3, ngram: 3}", "{like: tulu3, ngram: 3, threshold: 0.9}",
    "{like: tulu3, ngram: 3, actions: {copy: review}}", "{ngram: 3}", "{ngram: 3, boilerplate: 2}",
    *sorted(PRESETS),
]  # fmt: skip
ROLES = [None, ("user",), ("assistant", "user")]


@dataclass
class World:
    """What is scanned for what, and which scans a cache that keeps everything must know."""

    evals: dict[str, list[str]]
    shards: list[list[str]]
    rule: str = RULES[0]
    roles: tuple[str, ...] | None = ROLES[1]
    known: set[tuple[str, str]] = field(default_factory=set)
    lost: bool = False
    """Something that was kept is gone, and `known` says too much."""

    def change(self, what: str, draw: Any, cache: Cache) -> None:
        if "eval" in what or "item" in what:
            self._change_evals(what, draw)
        elif "shard" in what or "row" in what:
            self._change_shards(what, draw)
        elif what == "change roles":
            self.roles = draw(st.sampled_from(ROLES))
        elif what == "change the rule":
            self.rule = draw(st.sampled_from(RULES))
        elif what in {"damage", "delete"} and (files := kept_files(cache)):
            path = draw(st.sampled_from(files))
            self.lost = True
            _damage(path, draw) if what == "damage" else path.unlink()

    def _change_evals(self, what: str, draw: Any) -> None:
        name = draw(st.sampled_from(sorted(self.evals)))
        match what:
            case "add an eval":
                self.evals[f"e{draw(st.integers(0, 9))}"] = draw(st.lists(texts, min_size=1, max_size=4))
            case "remove an eval" if len(self.evals) > 1:
                del self.evals[name]
            case "change an item":
                self.evals[name][draw(st.integers(0, len(self.evals[name]) - 1))] = draw(texts)
            case "move an eval":
                self.evals[name] = self.evals.pop(name)

    def _change_shards(self, what: str, draw: Any) -> None:
        number = draw(st.integers(0, len(self.shards) - 1))
        match what:
            case "add a shard":
                self.shards.insert(number, draw(shards))
            case "remove a shard" if len(self.shards) > 1:
                self.shards.pop(number)
            case "append rows":
                self.shards[number] += draw(shards)
            case "change a row":
                row = draw(st.integers(0, len(self.shards[number]) - 1))
                self.shards[number][row] = draw(rows_text)

    def check(self, folder: Path, cache: Cache) -> None:
        """The run equals a full one, and scans exactly what was not known."""
        suite = suite_of(folder, self.evals, self.rule)
        run = CachedFindings(cache, suite, self.roles)
        names = {eval_key(part, suite.suite.rule): part.eval.name for part in suite.evals}
        expected: dict[str, int] = {}
        for shard in self.shards:
            for start in range(0, len(shard), 3):
                batch = batch_of(*shard[start : start + 3])
                full = findings_of(batch, "sft", self.roles, suite)
                found = run(batch, "sft")
                assert found.type == full.type
                assert found.to_pylist() == full.to_pylist()
                scan = {(batch_key(batch, "sft", self.roles), key) for key in names}
                for _, key in scan - self.known:
                    expected[names[key]] = expected.get(names[key], 0) + 1
                self.known |= scan
        if not self.lost and len(run._suites) <= MATCHERS:
            assert dict(run.counts.scanned) == expected


def _damage(path: Path, draw: Any) -> None:
    data = bytearray(path.read_bytes())
    match draw(st.sampled_from(["flip", "cut", "empty", "other", "longer"])):
        case "flip":
            data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
        case "cut":
            data = data[: draw(st.integers(0, len(data) - 1))]
        case "empty":
            data.clear()
        case "other":
            data = bytearray(b"PAR1 this is another program's file PAR1")
        case "longer":
            data += b"\0"
    path.write_bytes(data)


@given(st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_that_uses_what_is_kept_equals_a_full_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("world")
    cache = Cache(folder / "cache")
    evals = st.dictionaries(
        st.sampled_from(["e0", "e1", "e2"]), st.lists(texts, min_size=1, max_size=4), min_size=1
    )
    world = World(data.draw(evals), data.draw(st.lists(shards, min_size=1, max_size=2)))
    world.check(folder, cache)
    for _ in range(data.draw(st.integers(1, 5))):
        world.change(data.draw(st.sampled_from(CHANGES)), data.draw, cache)
        world.check(folder, cache)


@pytest.fixture
def suite(tmp_path: Path) -> SuiteItems:
    return suite_of(tmp_path, {"one": TEXTS[:4], "two": TEXTS[2:6], "three": TEXTS[6:]})


BATCHES = [batch_of(*TEXTS[start : start + 3]) for start in range(0, 6, 2)]


def scan_all(cache: Cache | None, suite: SuiteItems, roles: Any = None) -> tuple[list[Any], dict[str, Any]]:
    run = CachedFindings(cache, suite, roles)
    return [run(batch, "sft", "chat").to_pylist() for batch in BATCHES], run.counts.told()


def test_the_second_run_scans_nothing(cache: Cache, suite: SuiteItems) -> None:
    first, counts = scan_all(cache, suite)
    assert (counts["batches"], counts["scanned"], counts["kept"]) == (3, 3, 0)
    second, counts = scan_all(cache, suite)
    assert (counts["batches"], counts["scanned"], counts["kept"]) == (3, 0, 3)
    assert counts["scanned_by_eval"] == {}
    assert first == second == scan_all(None, suite)[0]
    assert any(row for batch in first for row in batch)


def test_an_added_eval_alone_is_scanned_for(cache: Cache, suite: SuiteItems) -> None:
    scan_all(cache, replace(suite, evals=suite.evals[::2]))
    found, counts = scan_all(cache, suite)
    assert counts["scanned_by_eval"] == {"two": 3}
    assert counts["partly_scanned"] == 3
    assert found == scan_all(None, suite)[0]


def test_where_every_batch_lacks_other_evals_few_matchers_are_made(cache: Cache, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, {f"e{number}": [text] for number, text in enumerate(TEXTS)})
    batches = [batch_of(text) for text in TEXTS[:7]]
    for number, batch in enumerate(batches):
        CachedFindings(cache, replace(suite, evals=suite.evals[: number + 1]), None)(batch, "sft")
    run = CachedFindings(cache, suite, None)
    for batch in batches:
        assert run(batch, "sft").equals(findings_of(batch, "sft", None, suite))
    assert len(run._suites) == MATCHERS + 1
    assert run.counts.told()["scanned"] > 0


def test_threads_share_a_run(cache: Cache, suite: SuiteItems) -> None:
    batches = [batch_of(*TEXTS[: number % 7 + 1]) for number in range(40)]
    run = CachedFindings(cache, suite, None)
    found = list(ordered_map(lambda batch: run(batch, "sft"), batches, 4))
    assert found == [findings_of(batch, "sft", None, suite) for batch in batches]
    assert run.counts.batches == 40


def test_every_kind_of_row_is_kept(cache: Cache, suite: SuiteItems) -> None:
    said = [conversation(f"user: {TEXTS[0]}"), None, [], conversation(f"assistant: {TEXTS[1]}")]
    answers = pa.array([said[3], said[0], None, []], MESSAGES)
    pairs = pa.table({"prompt": [TEXTS[2], None, "", TEXTS[3]], "chosen": answers, "rejected": answers[::-1]})
    prompts = pa.table({"messages": pa.array(said, MESSAGES)})
    tables: list[tuple[Kind, pa.Table]] = [
        ("preference", pairs), ("rlvr", prompts), ("prompts", prompts), ("sft", prompts[:0]),
    ]  # fmt: skip
    for kind, batch in tables:
        for roles in ROLES:
            full = findings_of(batch, kind, roles, suite)
            for _ in range(2):
                assert CachedFindings(cache, suite, roles)(batch, kind).equals(full), (kind, roles)


# -- keys ----------------------------------------------------------------------------------------------------


def test_the_key_of_a_batch_is_of_its_texts_and_not_of_how_arrow_holds_them() -> None:
    batch = batch_of(*TEXTS)
    key = batch_key(batch, "sft", None)
    chunked = pa.concat_tables([batch[:3], batch[3:]])
    sliced = pa.concat_tables([batch_of("before"), batch, batch_of("after")]).combine_chunks()[1:-1]
    filtered = pa.concat_tables([batch, batch]).combine_chunks().filter([True] * 8 + [False] * 8)
    assert {batch_key(table, "sft", None) for table in (batch, chunked, sliced, filtered)} == {key}


def test_where_texts_begin_and_who_says_them_enters_the_key() -> None:
    tables = [
        [conversation("user: ab", "user: c")],
        [conversation("user: a", "user: bc")],
        [conversation("user: ab"), conversation("user: c")],
        [conversation("user: ab", "assistant: c")],
        [conversation("assistant: ab", "user: c")],
        [conversation("user: ab", "user: c"), []],
        [[], conversation("user: ab", "user: c")],
        [conversation("user: ab", "user: c", "user: ")],
    ]
    found = {batch_key(pa.table({"messages": pa.array(rows, MESSAGES)}), "sft", None) for rows in tables}
    assert len(found) == len(tables)


def test_only_texts_of_the_chosen_roles_count() -> None:
    batch, other = (
        pa.table({"messages": pa.array([conversation("user: Hi", f"assistant: {text}")], MESSAGES)})
        for text in ("Yes", "No")
    )
    assert batch_key(batch, "sft", ("user",)) == batch_key(other, "sft", ("user",))
    assert batch_key(batch, "sft", ("user", "assistant")) != batch_key(other, "sft", ("user", "assistant"))
    assert batch_key(batch, "sft", ("user",)) != batch_key(batch, "prompts", ("user",))
    earlier = pa.table({"messages": pa.array([conversation("assistant: Yes", "user: Hi")], MESSAGES)})
    assert batch_key(batch, "sft", ("user",)) != batch_key(
        earlier, "sft", ("user",)
    )  # spans name the message


def test_an_eval_is_known_by_all_that_its_findings_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = suite_of(tmp_path, {"one": TEXTS[:2]})
    part, rule = suite.evals[0], suite.suite.rule
    entry = part.eval
    others = [
        replace(part, ids=["0", "x"]),
        replace(part, texts=[[TEXTS[0], TEXTS[2]]]),
        replace(part, texts=[TEXTS[:2][::-1]]),
        *(
            replace(part, eval=entry.model_copy(update=change))
            for change in ({"name": "uno"}, {"role": "unseen"}, {"split": "test"})
        ),
    ]
    found = {eval_key(other, rule) for other in (part, *others)}
    found.add(eval_key(part, rule.model_copy(update={"ngram": 4})))
    monkeypatch.setattr(keys, "code_key", lambda: "other code")
    found.add(eval_key(part, rule))
    assert len(found) == len(others) + 3
    monkeypatch.undo()
    moved = replace(part, eval=entry.model_copy(update={"from_": "elsewhere.csv"}))
    assert eval_key(moved, rule) == eval_key(part, rule)
    policy = rule.model_copy(update={"contaminated": 0.5, "rule": "mine", "actions": {"copy": "keep"}})
    assert eval_key(part, policy) == eval_key(part, rule)


def test_adding_a_file_leaves_the_batches_of_the_others_as_they_are(tmp_path: Path) -> None:
    def known(*names: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for ending in ("jsonl", "parquet"):
            source = open_source(SourceSpec.model_validate({"from": f"*.{ending}"}), base=tmp_path)
            for batch in source.batches(batch_bytes=20_000):
                found.setdefault(batch.file, []).append(batch_key(batch.table, "sft", None))
        assert sorted(found) == sorted(names)
        return found

    def write(name: str, seed: int) -> None:
        rows = [conversation(f"user: {words(20, seed + row)}") for row in range(500)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
        table = pa.table({"messages": pa.array(rows, MESSAGES)})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=200)

    write("b", 0)
    before = known("b.jsonl", "b.parquet")
    assert all(len(batches) > 1 for batches in before.values())
    write("a", 1000)
    write("c", 2000)
    after = known(*(f"{name}.{ending}" for name in "abc" for ending in ("jsonl", "parquet")))
    assert {name: after[name] for name in before} == before


# -- the folder ----------------------------------------------------------------------------------------------


def test_where_entries_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TULU_DATA_CACHE", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here"
    monkeypatch.delenv("TULU_DATA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "tulu-data"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification says to ignore
    assert default_folder() == Path.home() / ".cache" / "tulu-data"


def test_a_damaged_entry_is_told_once_and_made_again(cache: Cache, suite: SuiteItems) -> None:
    full, _ = scan_all(cache, suite)
    files = kept_files(cache)
    for path in files:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    said: list[str] = []
    found, counts = scan_all(Cache(cache.root, said.append), suite)
    assert found == full
    assert counts["scanned"] == 3
    assert len(said) == 1
    assert "its checksum does not fit its content" in said[0]
    assert scan_all(cache, suite)[1]["kept"] == 3


def test_a_damaged_entry_that_is_not_made_again_goes(cache: Cache, suite: SuiteItems) -> None:
    scan_all(cache, replace(suite, evals=suite.evals[:1]))
    for path in kept_files(cache):
        path.write_bytes(path.read_bytes()[:-1])
    said: list[str] = []
    for _ in range(2):
        scan_all(Cache(cache.root, said.append), suite)
    assert len(said) == 1


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, suite: SuiteItems) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    cache = Cache(tmp_path / "file" / "cache", said.append)
    assert scan_all(cache, suite)[0] == scan_all(None, suite)[0]
    assert len(said) == 1
    assert "cannot be written (not a directory); nothing is kept" in said[0]
    assert overview(cache)["bytes"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_told_once(cache: Cache, suite: SuiteItems, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **settings: Any) -> Any:
        return real(Path("/dev/full"), "wb") if mode == "xb" else real(path, mode, *rest, **settings)

    monkeypatch.setattr(Path, "open", full)
    said: list[str] = []
    assert scan_all(Cache(cache.root, said.append), suite)[0] == scan_all(None, suite)[0]
    assert [text.partition("cannot be written ")[2] for text in said] == [
        "(the disk is full); nothing is kept"
    ]
    assert kept_files(cache) == []


def test_a_folder_that_another_process_prunes_meanwhile_is_made_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replaced = cache.path("indexes", "a" * 40), Path.replace

    def pruned(aside: Path, target: Path) -> Path:
        if path.parent.exists():
            path.parent.rmdir()
            monkeypatch.undo()
        return replaced(aside, target)

    monkeypatch.setattr(Path, "replace", pruned)
    cache.write(path, {"a": 1}, [b"content"])
    entry = cache.read(path)
    assert entry
    assert (entry.header["a"], entry.content.tobytes()) == (1, b"content")


def test_what_an_interrupted_write_leaves_is_cleared_away(
    cache: Cache, suite: SuiteItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        scan_all(cache, suite)
    assert kept_files(cache) == []


# -- the index -----------------------------------------------------------------------------------------------


class Inner(NamedTuple):
    numbers: Any
    empty: Any
    bits: np.uint64
    more: tuple[Any, ...]


@dataclass
class Outer:
    inner: Inner
    named: dict[str, Any]
    names: list[str]
    share: float
    absent: None = None
    _memory: list[int] = field(default_factory=list)


def test_nested_arrays_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inner, "__module__", "tulu_data.made_up")
    monkeypatch.setattr(Outer, "__module__", "tulu_data.made_up")
    monkeypatch.setitem(sys.modules, "tulu_data.made_up", sys.modules[__name__])
    fixed = np.arange(12, dtype=np.int16)
    fixed.flags.writeable = False
    inner = Inner(
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 4), bool),
        np.uint64(1 << 63),
        (fixed, (True, "é")),
    )
    value = Outer(
        inner, {"a": fixed[::2], "b": np.array(7), "c": fixed}, ["x", "y"], float("inf"), _memory=[1]
    )
    shape, parts = packed(value)
    content = np.frombuffer(b"".join(bytes(part) for part in parts), np.uint8).copy()
    back = unpacked(json.loads(json.dumps(shape)), content)
    assert isinstance(back, Outer)
    assert back._memory == []
    assert (back.names, back.share, back.absent, back.inner.more[1]) == (
        ["x", "y"],
        float("inf"),
        None,
        (True, "é"),
    )
    assert type(back.inner.bits) is np.uint64
    assert back.inner.bits == inner.bits
    pairs = [
        (inner.numbers, back.inner.numbers), (inner.empty, back.inner.empty), (fixed, back.inner.more[0]),
        (value.named["a"], back.named["a"]), (value.named["b"], back.named["b"]),
    ]  # fmt: skip
    for before, after in pairs:
        assert before.dtype == after.dtype
        assert before.shape == after.shape
        assert (before == after).all()
        assert before.flags.writeable == after.flags.writeable
    assert back.inner.numbers.flags.f_contiguous
    assert back.named["c"] is back.inner.more[0]


def test_what_is_not_made_of_our_types_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be kept"):
        packed({"path": Path()})
    with pytest.raises(TypeError, match="an array of object cannot be kept"):
        packed(np.array([None]))
    with pytest.raises(TypeError, match="no type of this package"):
        unpacked({"type": ["os:_wrap_close", {}]}, np.zeros(0, np.uint8))
    with pytest.raises(TypeError, match="cannot be kept"):
        unpacked({"type": ["tulu_data.errors:Iterable", {}]}, np.zeros(0, np.uint8))


def index_of(cache: Cache | None, suite: SuiteItems, built: list[int]) -> Index:
    def build() -> Index:
        built.append(1)
        matcher: Any = replace(suite).matcher
        made: Index = matcher.index
        return made

    return kept_index(cache, suite, build)


def flat(value: Any) -> Iterator[Any]:
    shape, parts = packed(value)
    yield json.dumps(shape)
    yield from map(bytes, parts)


def test_an_index_is_built_once(cache: Cache, suite: SuiteItems) -> None:
    built: list[int] = []
    first, second = (index_of(cache, suite, built) for _ in range(2))
    assert built == [1]
    assert list(flat(first)) == list(flat(second))
    fresh = replace(suite)
    vars(fresh.matcher)["index"] = second
    for batch in BATCHES:
        assert findings_of(batch, "sft", None, fresh).equals(findings_of(batch, "sft", None, suite))


@pytest.mark.parametrize("place", [0, 30, 70, 200, -1])
def test_a_corrupted_index_is_built_again(cache: Cache, suite: SuiteItems, place: int) -> None:
    built: list[int] = []
    first = index_of(cache, suite, built)
    (path,) = kept_files(cache)
    data = bytearray(path.read_bytes())
    data[place] ^= 64
    path.write_bytes(data)
    said: list[str] = []
    assert list(flat(index_of(Cache(cache.root, said.append), suite, built))) == list(flat(first))
    assert (built, len(said)) == ([1, 1], 1)
    index_of(cache, suite, built)
    assert built == [1, 1]


def _build(folder: Path, cache: Path, barrier: Any, results: Any) -> None:
    suite = suite_of(folder, {"one": TEXTS[:4], "two": TEXTS[2:6]})
    kept, said = Cache(cache), list[str]()
    kept.say = said.append
    barrier.wait(300)
    for _ in range(5):
        value = index_of(kept, suite, [])
        CachedFindings(kept, suite, None)(BATCHES[0], "sft")
    results.put((said, [hash(part) for part in flat(value)][1:] != []))


@pytest.mark.slow
def test_two_processes_build_the_same_index_at_once(cache: Cache, tmp_path: Path) -> None:
    index_of(None, suite_of(tmp_path, {"one": TEXTS[:1]}), [])
    scan_all(None, suite_of(tmp_path, {"one": TEXTS[:1]}))  # compiles the kernels for both
    start = multiprocessing.get_context("spawn")
    barrier, results = start.Barrier(2), start.Queue()
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    both = [start.Process(target=_build, args=(f, cache.root, barrier, results)) for f in folders]
    for process in both:
        process.start()
    told = [results.get(timeout=400) for _ in both]
    for process in both:
        process.join(100)
    assert told == [([], True)] * 2
    assert [entry.kind for entry in cache.entries()] == ["indexes", "scans"]
    assert list((cache.root / ASIDE).iterdir()) == []


def test_the_oldest_indexes_make_room(cache: Cache) -> None:
    entries = [Listed(Path(str(age)), "indexes", {}, 10, used=100 - age) for age in (3, 1, 2)]
    assert [entry.path.name for entry in over(entries, 20)] == ["3"]
    assert [entry.path.name for entry in over(entries, 9)] == ["1", "2", "3"]
    for number in range(3):
        path = cache.path("indexes", f"{number}" * 40)
        cache.write(path, {}, [bytes(1000)])
        os.utime(path, (number, number))
    cache.limit("indexes", 2500)
    assert [path.name[0] for path in kept_files(cache)] == ["1", "2"]


# -- the command and the step --------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    suite_of(tmp_path, {"one": TEXTS[:4], "two": TEXTS[2:6]}, rule="tulu3")
    for name, seed in (("b", 0), ("c", 100)):
        _write_rows(tmp_path / f"{name}.jsonl", seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write_rows(path: Path, seed: int) -> None:
    said = [TEXTS[row % 8] if row % 5 == 0 else words(12, seed + row) for row in range(60)]
    rows = [{"messages": conversation(f"user: {text}", "assistant: Yes")} for text in said]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _result(out: str, *, cache: bool = True) -> tuple[pa.Table, pa.Table]:
    """Matches and clean rows of a run over every file that lies there."""
    tulu_data.decontaminate("s.yaml", ["*.jsonl"], out=Path(out), cache=cache, force=True)
    (clean,) = Path(out, "clean").glob("*.parquet")
    return pq.read_table(Path(out, "matches.parquet")), pq.read_table(clean)


def _scans() -> list[dict[str, Any]]:
    """The headers of all kept scans."""
    return [entry.header for entry in Cache.open().entries("scans")]


def test_the_command_scans_only_what_is_new(place: Path) -> None:
    full = _result("full", cache=False)
    assert not Cache.open().root.exists()
    assert full[0].num_rows
    assert _result("first") == full
    assert [(scan["rows"], scan["evals"]) for scan in _scans()] == [(60, ["one", "two"])] * 2
    assert _result("second") == full
    assert len(_scans()) == 2
    _write_rows(place / "a.jsonl", 200)  # before the others
    assert _result("shard") == _result("full", cache=False)
    assert [(scan["rows"], scan["evals"]) for scan in _scans()] == [(60, ["one", "two"])] * 3
    suite_of(place, {"zero": TEXTS[5:], "one": TEXTS[:4], "two": TEXTS[2:6]}, rule="tulu3")
    assert _result("eval") == _result("full", cache=False)
    added = [scan["evals"] for scan in _scans() if scan["evals"] != ["one", "two"]]
    assert added == [["zero"]] * 3


def test_a_source_before_another_leaves_the_batches_of_that_one_known(place: Path) -> None:
    (place / "mixtures").mkdir()

    def built(*names: str) -> int:
        """How many batches a build scans."""
        before = len(_scans())
        sources = "".join(f"  - {{name: {name}, from: ../{name}.jsonl}}\n" for name in names)
        head = "mixture: m\nkind: sft\ndecontaminate: {suite: ../s.yaml, on_unseen: rows}\nsources:\n"
        (place / "mixtures" / "m.yaml").write_text(head + sources)
        build("m", workspace=Workspace(place), batch_bytes=2000)
        return len(_scans()) - before

    assert built("c") > 5
    assert built("b") > 5
    assert built("b", "c") <= 1  # where one ends and the other begins
    assert built("b", "c") == 0


# -- the verb ------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("TULU_DATA_CACHE", str(tmp_path / "own"))
    return Cache.open()


def verb(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["index", *arguments]) == 0
    return capsys.readouterr().out


def test_the_verb_shows_what_is_kept(
    own: Cache, suite: SuiteItems, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb(capsys) == f"{own.root} keeps nothing\n"
    index_of(own, suite, [])
    scan_all(own, replace(suite, evals=suite.evals[:2]), ("user",))
    scan_all(own, suite, ("user",))
    shown = verb(capsys)
    assert "chat" in shown
    told = json.loads(verb(capsys, "--json"))
    (index,), (scans,) = told["indexes"], told["scans"]
    assert (index["suite"], index["rule"], index["evals"], index["items"]) == (
        "s",
        "like tulu3",
        ["one", "two", "three"],
        10,
    )
    assert (scans["dataset"], scans["roles"], scans["batches"], scans["rows"]) == ("chat", "user", 3, 9)
    assert scans["evals"] == {"one": 3, "two": 3, "three": 3}
    assert told["bytes"] == sum(path.stat().st_size for path in kept_files(own))
    assert told["useless"] == {"entries": 0, "bytes": 0}


def test_pruning(own: Cache, suite: SuiteItems, capsys: pytest.CaptureFixture[str]) -> None:
    index_of(own, suite, [])
    scan_all(own, suite)
    (index,) = own.root.glob(f"indexes/*/*{ENDING}")
    assert verb(capsys, "--prune").startswith("deleted 0 entries, 0.0 MB")
    # An entry of other code, a damaged one, a half-written one, and one that is being written.
    own.write(own.path("indexes", "a" * 40), {"code": "other"}, [b"x"])
    damaged = own.path("indexes", "b" * 40)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no entry")
    for name, age in (("1-dead", 1e9), ("2-alive", 0)):
        left = own.root / ASIDE / name
        left.write_bytes(b"half")
        if age:
            os.utime(left, (age, age))
    assert "3 entries (0.0 MB) of no use any more" in verb(capsys)
    assert verb(capsys, "--prune").startswith("deleted 3 entries")
    assert [path.name for path in (own.root / ASIDE).iterdir()] == ["2-alive"]
    assert index.exists()
    os.utime(index, (0, 0))
    assert verb(capsys, "--prune", "--older-than", "30").startswith("deleted 1 entry")
    assert not index.exists()
    assert json.loads(verb(capsys, "--prune", "--max-size", "0", "--json"))["entries"] == 3
    scan_all(own, suite)
    assert "keeps 0 entries" in verb(capsys, "--prune", "--all")
    assert not list(own.root.glob("scans/*"))


@pytest.mark.parametrize("option", [["--all"], ["--older-than", "3"], ["--max-size", "1"]])
def test_what_says_what_to_delete_needs_prune(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["index", *option]) == 2
    assert f"expected --prune {option[0]}" in capsys.readouterr().err


def test_pruning_while_another_prunes(cache: Cache, suite: SuiteItems) -> None:
    scan_all(cache, suite)
    entries = list(cache.entries())
    entries[0].path.unlink()
    assert prune(cache, everything=True).entries == 2
    assert cache.remove(entries) > 0
