"""Prompt and completion."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class PromptCompletion(Pair):
    """A prompt and its completion (T0's templates, Table-GPT, CoCoNot).

    Uses `prompt`, `completion` or `response`, and `system`. Texts stay as published, end marks included.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("prompt_completion", {"prompt": "Title:", "completion": "Rain"})
    {'messages': [{'role': 'user', 'content': 'Title:'}, {'role': 'assistant', 'content': 'Rain'}]}
    """

    name: ClassVar[str] = "prompt_completion"
    needs: ClassVar[str] = "prompt, completion | response, [system]"
    question: ClassVar[str] = "prompt"
    answers: ClassVar[tuple[str, ...]] = ("completion", "response")
    excluded: ClassVar[tuple[str, ...]] = ("prompt_harm_label",)
