"""Question and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import turn
from tulu_data.sources.adapters._base import Rows
from tulu_data.sources.adapters._pairs import Pair, answer
from tulu_data.sources.adapters._truth import after_hashes

DATASET = "gsm8k"
"""How Tülu 3's RLVR sets name these rows, and so the verifier."""


class QuestionAnswer(Pair):
    """A question and its answer (GSM8K; OpenOrca, with a system prompt).

    Uses `question`, `answer` or `response`, and `system` or `system_prompt`. Rows with choices are
    `multiple_choice`, and rows with a passage would lose it, so neither is taken for this shape. As rlvr
    rows: the question alone, and as ground truth what follows the last `####` of the answer.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("question_answer", {"question": "2 + 2?", "answer": "4"})
    {'messages': [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '4'}]}
    """

    name: ClassVar[str] = "question_answer"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts", "rlvr")
    needs: ClassVar[str] = "question, answer | response, [system]"
    question: ClassVar[str] = "question"
    answers: ClassVar[tuple[str, ...]] = ("answer", "response")
    excluded: ClassVar[tuple[str, ...]] = ("choices", "options", "answerKey", "passage", "context")

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The question and its answer; for rlvr, what a verifier is told."""
        if kind != "rlvr":
            return super().convert(rows, kind)
        truth = after_hashes(answer(rows, self.answers))
        rows.refuse_nulls(truth, "the final answer in answer", "a last line such as #### 72")
        dataset = pa.repeat(pa.scalar(DATASET, pa.string()), len(rows))
        return {"messages": turn("user", self.asked(rows)), "ground_truth": truth, "dataset": dataset}
