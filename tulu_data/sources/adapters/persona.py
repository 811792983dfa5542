"""Anthropic's persona evaluations."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class Persona(Pair):
    """A question and the answer that matches a behaviour (Anthropic's model-written evaluations).

    Uses `question` and `answer_matching_behavior`, whose texts begin with a space as published.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("persona", {"question": "Would you say so?", "answer_matching_behavior": " Yes"})
    {'messages': [{'role': 'user', 'content': 'Would you say so?'}, {'role': 'assistant', 'content': ' Yes'}]}
    """

    name: ClassVar[str] = "persona"
    needs: ClassVar[str] = "question, answer_matching_behavior"
    question: ClassVar[str] = "question"
    answers: ClassVar[tuple[str, ...]] = ("answer_matching_behavior",)
