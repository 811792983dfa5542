"""Problem and solution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import turn
from tulu_data.sources.adapters._base import Rows
from tulu_data.sources.adapters._pairs import Pair, answer
from tulu_data.sources.adapters._truth import last_boxed

DATASET = "MATH"
"""How Tülu 3's RLVR sets name these rows, and so the verifier."""


class ProblemSolution(Pair):
    r"""A problem and its worked solution (MATH, OpenMathInstruct, NuminaMath).

    Uses `problem`, and `solution` or `generated_solution`. As rlvr rows: the problem alone, and as ground
    truth what the last `\boxed{}` of the solution holds.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("problem_solution", {"problem": "Solve 2x = 4.", "solution": "x = 2"})
    {'messages': [{'role': 'user', 'content': 'Solve 2x = 4.'}, {'role': 'assistant', 'content': 'x = 2'}]}
    """

    name: ClassVar[str] = "problem_solution"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts", "rlvr")
    needs: ClassVar[str] = "problem, solution | generated_solution"
    question: ClassVar[str] = "problem"
    answers: ClassVar[tuple[str, ...]] = ("solution", "generated_solution")

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The problem and its solution; for rlvr, what a verifier is told."""
        if kind != "rlvr":
            return super().convert(rows, kind)
        solutions = answer(rows, self.answers)
        truth = pa.array([last_boxed(text) for text in solutions.to_pylist()], pa.string())
        rows.refuse_nulls(truth, "the answer in solution", r"a last \boxed{…}")
        dataset = pa.repeat(pa.scalar(DATASET, pa.string()), len(rows))
        return {"messages": turn("user", self.asked(rows)), "ground_truth": truth, "dataset": dataset}
