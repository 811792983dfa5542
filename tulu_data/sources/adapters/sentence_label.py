"""Classification: a sentence and its label."""

from __future__ import annotations

from typing import ClassVar

from tulu_data.sources.adapters._pairs import Pair


class SentenceLabel(Pair):
    """A `sentence` and its `label` in words (classification sets of the continual-learning benchmark).

    A numeric label says nothing to a reader, so it is not taken for this shape.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("sentence_label", {"sentence": "A fine film.", "label": "Good"})
    {'messages': [{'role': 'user', 'content': 'A fine film.'}, {'role': 'assistant', 'content': 'Good'}]}
    """

    name: ClassVar[str] = "sentence_label"
    needs: ClassVar[str] = "sentence, label (text)"
    question: ClassVar[str] = "sentence"
    answers: ClassVar[tuple[str, ...]] = ("label",)
