"""Natural Instructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import first_text, is_list, is_text, items, join, texts, turn
from tulu_data.sources.adapters._base import Adapter, Rows, column_type, is_text_column
from tulu_data.sources.adapters._pairs import with_input


class Task(Adapter):
    r"""A task's definition, an input and the first of its outputs (Natural Instructions, SciRIFF).

    Uses `Definition` (repeated on every row of a task; not required), `input` and `output` (text or list).
    Where there are more outputs, `native` counts them as `more_outputs`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("task", {"Definition": "Give the opposite.", "input": "hot", "output": ["cold", "cool"]})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'messages': [{'role': 'user', 'content': 'Give the opposite.\n\nhot'},
                  {'role': 'assistant', 'content': 'cold'}],
     'native': '{"more_outputs": 1}'}
    """

    name: ClassVar[str] = "task"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "input, output (text or list), [Definition]"

    def matches(self, sample: pa.Table) -> bool:
        """`input` and `output` without an `instruction`."""
        kind = column_type(sample, "output")
        answered = "output" in sample.column_names and (
            is_text(kind) or (is_list(kind) and is_text(items(kind)))
        )
        return is_text_column(sample, "input") and answered and "instruction" not in sample.column_names

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The definition, a blank line and the input; then the first output."""
        given = rows.required("input")
        definition = _first(rows, "Definition") if "Definition" in rows.table.column_names else None
        parts = [turn("user", given if definition is None else with_input(definition, given))]
        if kind != "prompts":
            found = _first(rows, "output")
            rows.refuse_nulls(found, "output")
            parts.append(turn("assistant", found))
        else:
            rows.used.add("output")
        return {"messages": join(*parts)}


def _first(rows: Rows, name: str) -> pa.Array:
    _, values = rows.column(name)
    if not is_list(values.type):
        return texts(values)
    found, more = first_text(values)
    if name == "output":
        rows.notes["more_outputs"] = more
    return found
