"""Prompts without answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import is_text, join, turn
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column
from tulu_data.sources.adapters._pairs import system_turn, with_input

QUESTIONS = ("instruction", "prompt", "question", "problem", "synthesized text")
ANSWERS = frozenset(
    {
        *(
            "messages",
            "conversations",
            "conversation",
            "turns",
            "utterances",
            "instances",
            "completions",
            "answers",
        ),
        *(
            "output",
            "outputs",
            "response",
            "responses",
            "completion",
            "answer",
            "target",
            "targets",
            "solution",
            "label",
        ),
        *(
            "output_1",
            "response_a",
            "response_j",
            "model_a",
            "human_ref_A",
            "chosen",
            "rejected",
            "ground_truth",
        ),
        *("generated_solution", "answer_matching_behavior", "answerKey", "target_scores", "reward_model"),
    }
)
"""Columns that show a row to hold more than a prompt."""


class Instruction(Adapter):
    """A prompt that nobody has answered yet (InstructionWild, PersonaHub).

    Uses `instruction`, `prompt`, `question`, `problem` or PersonaHub's `synthesized text`, with `input` and
    `system`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("instruction", {"instruction": "Name a colour.", "instruction_type": "QA"})
    {'messages': [{'role': 'user', 'content': 'Name a colour.'}], 'native': '{"instruction_type": "QA"}'}
    """

    name: ClassVar[str] = "instruction"
    kinds: ClassVar[tuple[Kind, ...]] = ("prompts",)
    needs: ClassVar[str] = "instruction | prompt | question | problem | synthesized text, and no answer"

    def matches(self, sample: pa.Table) -> bool:
        """A text column of the prompt, and none of an answer."""
        if ANSWERS & set(sample.column_names):
            return False
        return any(
            name in sample.column_names and is_text(sample.schema.field(name).type) for name in QUESTIONS
        )

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """One user turn."""
        asked = rows.required(*(name for name in QUESTIONS if is_text_column(rows.table, name)), *QUESTIONS)
        return {"messages": join(system_turn(rows), turn("user", with_input(asked, rows.optional("input"))))}
