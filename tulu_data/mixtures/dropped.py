"""Where rejected rows go: to `dropped/`, with their verdict and the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from tulu_data.mixtures.check import ReadyStep
from tulu_data.mixtures.writer import GroupWriter
from tulu_data.record import VERDICT

STEP = pa.field("step", pa.int64())


def stored(schema: pa.Schema) -> list[pa.Field]:
    """The columns of a working table that are kept: those that begin with `_` are the operators' own."""
    return [f for f in schema if not f.name.startswith("_")]


class Dropped:
    """`dropped/02-exact_dedup.parquet` and so on: every rejected row, its verdict and the evidence."""

    def __init__(self, folder: Path, steps: Sequence[ReadyStep]) -> None:
        self.folder = folder
        self.counts: Counter[tuple[str, str]] = Counter()
        """Rows by source and verdict."""
        self._steps = [number for number, step in enumerate(steps, 1) for _ in step.plan]
        self._names = [op.name for step in steps for op in step.plan]
        self._writers: dict[int, GroupWriter] = {}

    def __call__(self, table: pa.Table, place: int) -> None:
        """Takes what the operator at `place` of the plan rejected."""
        self.counts.update(zip(table["source"].to_pylist(), table[VERDICT].to_pylist(), strict=True))
        if place not in self._writers:
            schema = pa.schema([*stored(table.schema), STEP])
            self._writers[place] = GroupWriter(self.folder / self._file_name(place), schema)
        step = pa.repeat(pa.scalar(self._steps[place], pa.int64()), table.num_rows)
        self._writers[place].write(table.append_column(STEP, step))

    def _file_name(self, place: int) -> str:
        """Step and operator; where a step has an operator of that name twice, which of them."""
        stem = f"{self._steps[place]:02}-{self._names[place]}"
        here = list(zip(self._steps, self._names, strict=True))
        earlier = here[:place].count(here[place])
        return f"{stem}-{earlier + 1}.parquet" if earlier else f"{stem}.parquet"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.__exit__(kind, error, trace)
