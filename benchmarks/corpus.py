"""The corpus of the benchmarks: at least 300 MB of conversations from the real data sets, always the same.

Every row of every training set that has an answer is taken once. Then rows are joined into longer
conversations, two, then three, then four at a time with a fixed stride, until there is enough text: so
lengths vary from a word to many turns. Ids name the rows that a conversation is made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data.errors import TuluDataError
from tulu_data.record import MESSAGES
from tulu_data.sources import SetAside, SourceSpec, open_source
from tulu_data.sources.adapters import adapt, detect

STRIDE = 7_919
"""A prime: neighbours of one file do not end up in one conversation."""

ROWS_PER_GROUP = 20_000
SCHEMA = pa.schema([("id", pa.string()), ("messages", MESSAGES), ("source", pa.string())])


def build(shared: Path, out: Path, megabytes: int = 300) -> Path:
    """Writes the corpus to `out` (once) and returns its path."""
    if out.is_file():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    base = pa.concat_tables(sources(shared)).combine_chunks()
    aside = out.with_suffix(".tmp")
    with pq.ParquetWriter(aside, SCHEMA, compression="zstd") as writer:
        written = 0
        for table in _rounds(base):
            for start in range(0, table.num_rows, ROWS_PER_GROUP):
                part = table.slice(start, ROWS_PER_GROUP)
                writer.write_table(part)
                written += text_bytes(part)
                if written >= megabytes * 1_000_000:
                    break
            if written >= megabytes * 1_000_000:
                break
    aside.rename(out)
    return out


def text_bytes(table: pa.Table) -> int:
    """Bytes of all message texts."""
    texts = pc.struct_field(table["messages"].combine_chunks().flatten(), "content")
    return int(pc.sum(pc.binary_length(texts)).as_py() or 0)


def sources(shared: Path) -> Iterator[pa.Table]:
    """Every conversation of the training sets, file by file in the order of their paths."""
    for path in sorted((shared / "train").rglob("*")):
        if path.is_dir() or path.suffix == ".md":
            continue
        source = open_source(SourceSpec.model_validate({"from": path.name}), base=path.parent)
        name = path.parent.name
        for batch in source.batches(on_bad=SetAside()):
            try:
                adapter = detect(batch.table, kind="sft")
            except TuluDataError:
                break  # prompts without answers, preference pairs, task definitions
            rows = adapt(batch, adapter, "sft", on_bad=SetAside()).rows
            ids = pc.binary_join_element_wise(f"{name}/{path.name}", pc.cast(rows["row"], pa.string()), ":")
            yield pa.table([ids, rows["messages"], pa.array([name] * rows.num_rows)], schema=SCHEMA)


def _rounds(base: pa.Table) -> Iterator[pa.Table]:
    """The rows; then joined with one, two, three, … others."""
    yield base
    size, joined, number = base.num_rows, base, 0
    while True:
        number += 1
        shift = pa.array([(row + number * STRIDE) % size for row in range(size)])
        other = base.take(shift)
        ids = pc.binary_join_element_wise(joined["id"], other["id"], "+")
        messages = _concatenated(joined["messages"].combine_chunks(), other["messages"].combine_chunks())
        joined = pa.table([ids, messages, joined["source"]], schema=SCHEMA)
        yield joined


def _concatenated(left: pa.Array, right: pa.Array) -> pa.Array:
    """Row by row, the messages of both."""
    counts = [pc.list_value_length(side).to_numpy() for side in (left, right)]
    size = len(left)
    owners = pa.concat_arrays([pc.list_parent_indices(side) for side in (left, right)])
    both = pa.concat_arrays([left.flatten(), right.flatten()])
    order = pc.sort_indices(
        pa.table({"row": owners, "place": range(len(both))}),
        sort_keys=[("row", "ascending"), ("place", "ascending")],
    )
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int64()), pc.cumulative_sum(pa.array(counts[0].astype("int64") + counts[1]))]
    )
    assert len(offsets) == size + 1
    return pa.ListArray.from_arrays(offsets.cast(pa.int32()), both.take(order), type=MESSAGES)
