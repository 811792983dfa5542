"""Running a deduplication step over rows in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tests.rows import table_of
from tulu_data.dedup.compared import Deduplication
from tulu_data.engine import LocalEngine
from tulu_data.op import Context
from tulu_data.record import Kind


class Found(NamedTuple):
    """The ids that stay, in order; for each other one that of its survivor; and every row's likeness."""

    kept: list[str]
    gone: dict[str, str]
    similarity: dict[str, float]
    clusters: pa.Table


def find(
    step: Deduplication, scratch: Path, table: pa.Table, kind: Kind = "sft", *, threads: int = 1,
    batch_bytes: int = 1 << 20,
) -> Found:  # fmt: skip
    gone: dict[str, str] = {}
    similarity: dict[str, float] = {}

    def dropped(rows: pa.Table, _place: int) -> None:
        assert {verdict.partition(":")[0] for verdict in rows["verdict"].to_pylist()} == {step.name}
        for row in rows.select(["id", "duplicate_of", "similarity"]).to_pylist():
            gone[row["id"]] = row["duplicate_of"]
            similarity[row["id"]] = row["similarity"]

    engine = LocalEngine(scratch, threads=threads, batch_bytes=batch_bytes)
    kept = [
        i
        for batch in engine.run([table], step.plan(), Context(kind=kind), dropped)
        for i in batch["id"].to_pylist()
    ]
    return Found(kept, gone, similarity, pq.read_table(engine.artifacts[-1][1]))


def duplicates(
    step: Deduplication, scratch: Path, rows: list[dict[str, Any]], kind: Kind = "sft"
) -> list[int | None]:
    """Per row: the place of the row that it is a duplicate of."""
    table = table_of(kind, rows)
    ids = table["id"].to_pylist()
    found = find(step, scratch, table, kind)
    assert found.kept == [i for i in ids if i not in found.gone]
    return [ids.index(found.gone[i]) if i in found.gone else None for i in ids]
