"""BIG-Bench Hard's input and target."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class InputTarget(Pair):
    """An `input` and its `target` (BIG-Bench Hard).

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("input_target", {"input": "not True is", "target": "False"})
    {'messages': [{'role': 'user', 'content': 'not True is'}, {'role': 'assistant', 'content': 'False'}]}
    """

    name: ClassVar[str] = "input_target"
    needs: ClassVar[str] = "input, target"
    question: ClassVar[str] = "input"
    answers: ClassVar[tuple[str, ...]] = ("target",)
    excluded: ClassVar[tuple[str, ...]] = ("target_scores", "instruction")
