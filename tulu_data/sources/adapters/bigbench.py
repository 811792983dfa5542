"""BIG-bench's scored targets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import join, turn
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column


class BigBench(Adapter):
    """An input and scored targets, of which the best is the answer (BIG-bench; of equal ones, the first).

    Uses `input` and `target_scores` (an object, or its JSON text).

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("bigbench", {"input": "2 + 2 =", "target_scores": {"3": 0, "4": 1}})
    {'messages': [{'role': 'user', 'content': '2 + 2 ='}, {'role': 'assistant', 'content': '4'}]}
    """

    name: ClassVar[str] = "bigbench"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "input, target_scores"

    def matches(self, sample: pa.Table) -> bool:
        """`input` and `target_scores`."""
        return is_text_column(sample, "input") and "target_scores" in sample.column_names

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The input; then the target of the highest score."""
        parts = [turn("user", rows.required("input"))]
        _, scored = rows.column("target_scores")
        if kind != "prompts":
            answers = [_best(scores) for scores in scored.to_pylist()]
            found = pa.array(answers, pa.string())
            rows.refuse_nulls(found, "target_scores")
            parts.append(turn("assistant", found))
        return {"messages": join(*parts)}


def _best(scores: Any) -> str | None:
    """The target of the highest score. Arrow gives every row the keys of all rows, with nulls."""
    if isinstance(scores, str):
        try:
            scores = json.loads(scores)
        except ValueError:
            return None
    pairs = scores.items() if isinstance(scores, dict) else scores or ()
    known = [(target, score) for target, score in pairs if isinstance(score, int | float)]
    return max(known, key=lambda pair: pair[1])[0] if known else None
