"""Tülu 2's hard-coded examples."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class HardCoded(Pair):
    """A `Prompt` and its `Output`, as headed in Tülu 2's sheet of hard-coded examples (saved as csv).

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("hard_coded", {"Prompt": "Who are you?", "Output": "A model."})
    {'messages': [{'role': 'user', 'content': 'Who are you?'}, {'role': 'assistant', 'content': 'A model.'}]}
    """

    name: ClassVar[str] = "hard_coded"
    needs: ClassVar[str] = "Prompt, Output"
    question: ClassVar[str] = "Prompt"
    answers: ClassVar[tuple[str, ...]] = ("Output",)
