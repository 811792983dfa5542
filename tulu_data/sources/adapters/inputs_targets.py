"""FLAN's inputs and targets."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class InputsTargets(Pair):
    """FLAN's `inputs` and `targets` (FLAN v2, Aya).

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("inputs_targets", {"inputs": "Translate: chat", "targets": "cat"})
    {'messages': [{'role': 'user', 'content': 'Translate: chat'}, {'role': 'assistant', 'content': 'cat'}]}
    """

    name: ClassVar[str] = "inputs_targets"
    needs: ClassVar[str] = "inputs, targets"
    question: ClassVar[str] = "inputs"
    answers: ClassVar[tuple[str, ...]] = ("targets",)
