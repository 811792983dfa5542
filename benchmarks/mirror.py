"""A mirror of the size of the Tülu 3 SFT mixture: 939,344 conversations, 2.9 GB of text, always the same.

Every text is put together from texts of the real data sets: a question is one of theirs (now and then two),
an answer is as many as it takes to reach a length drawn from a log-normal distribution, since the texts at
hand are shorter than those of the mixture. The 19 sources have the names and counts of the mixture's `source`
values (arXiv 2411.15124; the released mixture has one row less). Aya's draws from texts beyond ASCII alone.
In every source 2 % of the rows repeat an earlier one, and 1 % do so with a few words more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data.record import MESSAGES

SOURCES = {
    "ai2-adapt-dev/personahub_math_v5_regen_149960": 149_960,
    "ai2-adapt-dev/evol_codealpaca_heval_decontaminated": 107_276,
    "ai2-adapt-dev/tulu_v3.9_aya_100k": 100_000,
    "ai2-adapt-dev/tulu_v3.9_wildchat_100k": 100_000,
    "ai2-adapt-dev/flan_v2_converted": 89_982,
    "ai2-adapt-dev/numinamath_tir_math_decontaminated": 64_312,
    "ai2-adapt-dev/tulu_v3.9_wildjailbreak_decontaminated_50k": 50_000,
    "ai2-adapt-dev/tulu_v3.9_synthetic_finalresp_wildguardmixtrain_decontaminated_50k": 50_000,
    "ai2-adapt-dev/tulu_v3.9_open_math_2_gsm8k_50k": 50_000,
    "allenai/tulu-3-sft-personas-math-grade": 49_980,
    "ai2-adapt-dev/personahub_code_v2_34999": 34_999,
    "ai2-adapt-dev/personahub_ifdata_manual_seed_v3_29980": 29_980,
    "ai2-adapt-dev/tulu_v3.9_personahub_math_interm_algebra_20k": 20_000,
    "ai2-adapt-dev/coconot_converted": 10_983,
    "ai2-adapt-dev/tulu_v3.9_sciriff_10k": 10_000,
    "ai2-adapt-dev/no_robots_converted": 9_500,
    "ai2-adapt-dev/oasst1_converted": 7_132,
    "ai2-adapt-dev/tulu_v3.9_table_gpt_5k": 5_000,
    "ai2-adapt-dev/tulu_hard_coded_repeated_10": 240,
}
"""The sources and their rows, 939,344 in all."""

BEYOND_ASCII = "ai2-adapt-dev/tulu_v3.9_aya_100k"

ANSWER_BYTES, SPREAD = 1_275, 1.0
"""Median and sigma of the lengths that answers are drawn to: with the questions, 3.1 kB for each row."""

LONGEST = 60_000
MORE_TURNS = (0.85, 0.08, 0.05, 0.02)
"""How many of 100 conversations have one, two, three, four questions."""
EQUAL, NEARLY = 0.02, 0.01
ROWS_AT_ONCE = 5_000
SCHEMA = pa.schema([("id", pa.string()), ("messages", MESSAGES), ("source", pa.string())])

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """Texts to draw from."""

    questions: pa.Array
    answers: pa.Array

    @classmethod
    def of(cls, messages: pa.Array, *, ascii_: bool | None = None) -> Pool:
        """The questions and the answers of conversations; with `ascii_`, only those in ASCII, or beyond."""
        flat = messages.flatten()
        texts, roles = pc.struct_field(flat, "content"), pc.struct_field(flat, "role")
        wanted = pc.greater(pc.binary_length(texts), 20)
        if ascii_ is not None:
            wanted = pc.and_(wanted, pc.equal(pc.string_is_ascii(texts), ascii_))
        return cls(*(texts.filter(pc.and_(wanted, pc.equal(roles, r))) for r in ("user", "assistant")))


def build(shared: Path, out: Path, scale: float = 1.0) -> Path:
    """Writes the mirror to `out` (once), with that part of each source's rows, and returns its path."""
    if out.is_dir():
        return out
    everything, beyond = _pools(shared)
    aside = out.with_suffix(".tmp")
    for number, (name, rows) in enumerate(SOURCES.items()):
        folder = aside / name / "data"
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(number)
        pool = beyond if name == BEYOND_ASCII else everything
        with pq.ParquetWriter(folder / "train-00000-of-00001.parquet", SCHEMA) as writer:
            for table in _source(name, scaled(rows, scale), pool, random):
                writer.write_table(table)
    aside.rename(out)
    return out


def scaled(rows: int, scale: float) -> int:
    """How many rows a source has in a smaller mirror."""
    return max(1, round(rows * scale))


def _pools(shared: Path) -> tuple[Pool, Pool]:
    base = pa.concat_tables(corpus.sources(shared))["messages"].combine_chunks()
    return Pool.of(base), Pool.of(base, ascii_=False)


def _source(name: str, rows: int, pool: Pool, random: np.random.Generator) -> Iterator[pa.Table]:
    for start in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - start)
        messages = _with_repeats(_conversations(count, pool, random), random)
        ids = pc.binary_join_element_wise(
            name.rpartition("/")[2], pa.array(np.arange(start, start + count)).cast(pa.string()), "_"
        )
        yield pa.table([ids, messages, pa.repeat(pa.scalar(name), count)], schema=SCHEMA)


def _conversations(rows: int, pool: Pool, random: np.random.Generator) -> pa.Array:
    """Questions and answers in turns, in one to four exchanges."""
    exchanges = random.choice(len(MORE_TURNS), rows, p=MORE_TURNS) + 1
    count = int(exchanges.sum())
    questions = _joined(pool.questions, 1 + (random.random(count) < 0.1), random)
    lengths = np.minimum(random.lognormal(np.log(ANSWER_BYTES), SPREAD, count), LONGEST)
    answers = _to_length(pool, lengths, random)
    order = pa.array(np.arange(2 * count).reshape(2, count).T.ravel())
    contents = pa.concat_arrays([questions, answers]).take(order)
    roles = pa.array(["user", "assistant"] * count)
    turns = pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGES.value_type))
    ends = np.concatenate([[0], np.cumsum(2 * exchanges)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), turns, type=MESSAGES)


def _to_length(pool: Pool, lengths: npt.NDArray[np.float64], random: np.random.Generator) -> pa.Array:
    """Answers of about these lengths: texts one behind the other, questions among them."""
    texts = pa.concat_arrays([pool.answers, pool.questions])
    mean = pc.mean(pc.binary_length(texts)).as_py()
    return _joined(texts, np.maximum(1, (lengths / mean).round()).astype(np.int64), random)


def _joined(texts: pa.Array, counts: Any, random: np.random.Generator) -> pa.Array:
    """So many of the texts, drawn at random, as one, with an empty line between them."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    drawn = texts.take(pa.array(random.integers(0, len(texts), ends[-1])))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), drawn), "\n\n")


def _with_repeats(messages: pa.Array, random: np.random.Generator) -> pa.Array:
    """The conversations; some are replaced by an earlier one, some of these with a few words more."""
    rows = len(messages)
    chance = random.random(rows)
    earlier = (random.random(rows) * np.arange(rows)).astype(np.int64)
    taken = messages.take(pa.array(np.where(chance < EQUAL + NEARLY, earlier, np.arange(rows))))
    flat, sizes = taken.flatten(), pc.list_value_length(taken).to_numpy()
    ends = np.concatenate([[0], np.cumsum(sizes)])
    last = np.zeros(len(flat), bool)
    last[ends[1:][(chance >= EQUAL) & (chance < EQUAL + NEARLY)] - 1] = True
    texts = pc.struct_field(flat, "content")
    more = pc.binary_join_element_wise(texts, "I hope that this helps.", "\n")
    texts = pc.if_else(pa.array(last), more, texts)
    turns = pa.StructArray.from_arrays([pc.struct_field(flat, "role"), texts], fields=list(flat.type))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), turns, type=MESSAGES)
