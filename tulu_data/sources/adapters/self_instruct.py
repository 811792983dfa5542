"""Self-Instruct's seed tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import is_list, items, join, keys, pieces, texts, turn
from tulu_data.sources.adapters._base import Adapter, Rows, column_type, is_text_column
from tulu_data.sources.adapters._pairs import with_input


class SelfInstruct(Adapter):
    """An instruction and the first of its instances of input and output (Self-Instruct's seed tasks).

    Uses `instruction` and `instances`. Where there are more, `native` counts them as `more_instances`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("self_instruct", {"instruction": "Say hi.", "instances": [{"input": "", "output": "Hi!"}]})
    {'messages': [{'role': 'user', 'content': 'Say hi.'}, {'role': 'assistant', 'content': 'Hi!'}]}
    """

    name: ClassVar[str] = "self_instruct"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "instruction, instances (list of input and output)"

    def matches(self, sample: pa.Table) -> bool:
        """`instruction` and a list of `instances` that have an output."""
        kind = column_type(sample, "instances")
        return (
            is_text_column(sample, "instruction")
            and is_list(kind)
            and {"input", "output"} <= keys(items(kind))
        )

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The instruction with the first instance's input; then its output."""
        _, instances = rows.column("instances")
        offsets, flat = pieces(instances)
        counts = np.diff(offsets)
        rows.notes["more_instances"] = pa.array(counts - 1, mask=counts <= 1)
        first = flat.take(pa.array(offsets[:-1], mask=counts == 0))
        asked = with_input(rows.required("instruction"), texts(pc.struct_field(first, "input")))
        parts = [turn("user", asked)]
        if kind != "prompts":
            answer = texts(pc.struct_field(first, "output"))
            rows.refuse_nulls(answer, "instances[0].output")
            parts.append(turn("assistant", answer))
        return {"messages": join(*parts)}
