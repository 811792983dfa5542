"""Problem and solution."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class ProblemSolution(Pair):
    """A problem and its worked solution (MATH, OpenMathInstruct, NuminaMath).

    Uses `problem`, and `solution` or `generated_solution`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("problem_solution", {"problem": "Solve 2x = 4.", "solution": "x = 2"})
    {'messages': [{'role': 'user', 'content': 'Solve 2x = 4.'}, {'role': 'assistant', 'content': 'x = 2'}]}
    """

    name: ClassVar[str] = "problem_solution"
    needs: ClassVar[str] = "problem, solution | generated_solution"
    question: ClassVar[str] = "problem"
    answers: ClassVar[tuple[str, ...]] = ("solution", "generated_solution")
