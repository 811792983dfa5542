"""Alpaca: instruction, input, output."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from tulu_data.sources.adapters._arrow import is_list, items, join, turn
from tulu_data.sources.adapters._base import Rows, column_type
from tulu_data.sources.adapters._pairs import Pair, with_input


class Alpaca(Pair):
    r"""An instruction, an input that may follow it, and the answer (Alpaca, CodeAlpaca, GPTeacher, LIMA).

    Uses `instruction`, `input`, `output` or `response`, `history` (pairs of earlier turns) and `system`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("alpaca", {"instruction": "Add them.", "input": "1, 2", "output": "3"})
    {'messages': [{'role': 'user', 'content': 'Add them.\n\n1, 2'}, {'role': 'assistant', 'content': '3'}]}
    """

    name: ClassVar[str] = "alpaca"
    needs: ClassVar[str] = "instruction, output | response, [input, history, system]"
    question: ClassVar[str] = "instruction"
    answers: ClassVar[tuple[str, ...]] = ("output", "response")
    excluded: ClassVar[tuple[str, ...]] = ("instances",)

    def asked(self, rows: Rows) -> pa.Array:
        """The instruction with its input."""
        return with_input(rows.required("instruction"), rows.optional("input"))

    def before(self, rows: Rows) -> list[pa.Array]:
        """The pairs of `history`, in order."""
        kind = column_type(rows.table, "history")
        if not is_list(kind) or not (is_list(items(kind)) or pa.types.is_null(items(kind))):
            return []
        _, history = rows.column("history")
        pairs = history.to_pylist()
        parts = []
        for place in range(max((len(row or ()) for row in pairs), default=0)):
            at = [row[place] if row and len(row) > place else None for row in pairs]
            for index, pair in enumerate(at):
                if pair is not None and (len(pair) != len(("user", "assistant")) or None in pair):
                    rows.bad(
                        index,
                        "a turn of the history is not a question and an answer",
                        f"history[{place}]",
                        "two texts",
                    )
            asked = [pair[0] if pair else None for pair in at]
            answered = [pair[-1] if pair else None for pair in at]
            parts += [
                turn("user", pa.array(asked, pa.string())),
                turn("assistant", pa.array(answered, pa.string())),
            ]
        return [join(*parts)] if parts else []
