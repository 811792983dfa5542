"""Questions with choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import is_list, is_text, join, keys, turn
from tulu_data.sources.adapters._base import Adapter, Rows, column_type, is_text_column

CHOICES = ("choices", "options")
ANSWERS = ("answerKey", "answer")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class MultipleChoice(Adapter):
    r"""A question, its labelled choices and the right one (CommonsenseQA, ARC, MMLU-Pro).

    Uses `question` (text, or nested with `stem` and `choices`), `choices` or `options`, and `answerKey` or
    `answer` (a label). The answer is the label and its text.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("multiple_choice", {"question": "Is ice cold?", "options": ["yes", "no"], "answer": "A"})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'messages': [{'role': 'user', 'content': 'Is ice cold?\n\nA. yes\nB. no'},
                  {'role': 'assistant', 'content': 'A. yes'}]}
    """

    name: ClassVar[str] = "multiple_choice"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = "question (text, or stem and choices), choices | options, answerKey | answer"

    def matches(self, sample: pa.Table) -> bool:
        """A nested question, or a question with choices, and a label."""
        question = column_type(sample, "question")
        nested = {"stem", "choices"} <= keys(question)
        beside = is_text_column(sample, "question") and any(
            _are_choices(column_type(sample, n)) for n in CHOICES
        )
        return (nested or beside) and any(is_text_column(sample, name) for name in ANSWERS)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The question with its choices, one on a line; then the right one."""
        _, questions = rows.column("question")
        beside = rows.column(*CHOICES)[1].to_pylist() if is_text(questions.type) else [None] * len(rows)
        right = rows.column(*ANSWERS)[1].to_pylist()
        asked, answered = [], []
        for index, (question, choices, label) in enumerate(
            zip(questions.to_pylist(), beside, right, strict=True)
        ):
            stem, listed = _read(question, choices)
            lines = {name: f"{name}. {text}" for name, text in listed}
            if stem is None or not listed:
                rows.bad(
                    index, "the question has no text or no choices", "question", "a question with choices"
                )
            elif label not in lines and kind != "prompts":
                rows.bad(
                    index,
                    f"the answer {label!r} is none of the choices",
                    "answer",
                    f"one of: {', '.join(lines)}",
                )
            asked.append(f"{stem}\n\n" + "\n".join(lines.values()))
            answered.append(lines.get(label, ""))
        parts = [turn("user", pa.array(asked, pa.string()))]
        if kind != "prompts":
            parts.append(turn("assistant", pa.array(answered, pa.string())))
        return {"messages": join(*parts)}


def _are_choices(kind: pa.DataType) -> bool:
    return is_list(kind) or {"text", "label"} <= keys(kind)


def _read(question: Any, choices: Any) -> tuple[str | None, list[tuple[str, str]]]:
    """The stem, and each choice's label and text; without labels they are lettered."""
    if isinstance(question, dict):
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, dict):
        choices = [
            {"label": label, "text": text}
            for label, text in zip(choices["label"] or (), choices["text"] or (), strict=False)
        ]
    listed = [
        (c["label"], c["text"]) if isinstance(c, dict) else (letter, c)
        for letter, c in zip(LETTERS, choices or (), strict=False)
    ]
    return question, listed
