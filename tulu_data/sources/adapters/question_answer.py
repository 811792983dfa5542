"""Question and answer."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class QuestionAnswer(Pair):
    """A question and its answer (GSM8K; OpenOrca, with a system prompt).

    Uses `question`, `answer` or `response`, and `system` or `system_prompt`. Rows with choices are
    `multiple_choice`, and rows with a passage would lose it, so neither is taken for this shape.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("question_answer", {"question": "2 + 2?", "answer": "4"})
    {'messages': [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '4'}]}
    """

    name: ClassVar[str] = "question_answer"
    needs: ClassVar[str] = "question, answer | response, [system]"
    question: ClassVar[str] = "question"
    answers: ClassVar[tuple[str, ...]] = ("answer", "response")
    excluded: ClassVar[tuple[str, ...]] = ("choices", "options", "answerKey", "passage", "context")
