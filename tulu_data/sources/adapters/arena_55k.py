"""Arena's 55k preferences: lists of turns as JSON text, and the winner one-hot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import conversation
from tulu_data.sources.adapters._base import Rows, is_text_column
from tulu_data.sources.adapters._completions import TIE, Completed, alternate, shared_prompt, two, votes

COLUMNS = ("prompt", "response_a", "response_b")
"""As others tell the columns of the file; that an answer in the lists can be null was not verified."""
WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")
"""One-hot; a tie and "both bad" seem to share the last."""


class Arena55k(Completed):
    """The turns of a user and of two models as JSON text, and who won (Arena's 55k): aspect `vote`.

    Uses `prompt`, `response_a` and `response_b` (JSON lists of texts, of equal length; a null answer is an
    empty one), `model_a`, `model_b`, and the one-hot `winner_model_a`, `winner_model_b`, `winner_tie`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> row = {"prompt": '["Hi"]', "response_a": '["Hello"]', "response_b": '[null]', "model_a": "m"}
    >>> row |= {"model_b": "n", "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}
    >>> found = adapt_row("arena_55k", row)["completions"]
    >>> [(one["model"], one["messages"][1]["content"], one["ratings"][0]["rating"]) for one in found]
    [('m', 'Hello', 1.0), ('n', '', 0.0)]
    """

    name: ClassVar[str] = "arena_55k"
    needs: ClassVar[str] = f"{', '.join(COLUMNS)} (JSON text), model_a, model_b, {', '.join(WINNERS)}"

    def matches(self, sample: pa.Table) -> bool:
        """The turns in text, and the winners."""
        texts = all(is_text_column(sample, name) for name in COLUMNS)
        return texts and set(WINNERS) <= set(sample.column_names)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """Both conversations whole."""
        asked, a, b = (_lists(rows, name) for name in COLUMNS)
        first, second = _talks(rows, asked, a, "response_a"), _talks(rows, asked, b, "response_b")
        shares, ties = _shares(rows)
        models = (rows.required("model_a"), rows.required("model_b"))
        vote = votes(shares, pc.if_else(ties, "tie", None))
        return {
            "prompt": shared_prompt(rows, first, second, "response_b"),
            "completions": two(alternate(first, second), models, {"vote": vote}),
        }


def _lists(rows: Rows, column: str) -> list[list[str]]:
    """The texts of a column, nulls as empty ones; those that are no list of texts are bad."""
    found = []
    for index, text in enumerate(rows.required(column).to_pylist()):
        said = _said(text)
        if said is None and text is not None:
            rows.bad(index, f"{column} is no JSON list of texts", column, 'such as ["Hi", "And now?"]')
        found.append(said or [])
    return found


def _said(text: str | None) -> list[str] | None:
    try:
        held: Any = json.loads(text or "")
        if not isinstance(held, list) or not all(part is None or isinstance(part, str) for part in held):
            return None
        said = [part or "" for part in held]
        "".join(said).encode()  # half of a surrogate pair is no text
    except ValueError:
        return None
    return said


def _talks(rows: Rows, asked: list[list[str]], answers: list[list[str]], column: str) -> pa.Array:
    offsets, roles, contents = [0], [], []
    for index, (questions, replies) in enumerate(zip(asked, answers, strict=True)):
        if len(questions) != len(replies):
            told = f"{column} has {len(replies)} turns, prompt {len(questions)}"
            rows.bad(index, told, column, "an answer, or null, to every turn of the prompt")
        pairs = list(zip(questions, replies, strict=False))
        roles += ["user", "assistant"] * len(pairs)
        contents += [text for pair in pairs for text in pair]
        offsets.append(len(roles))
    return conversation(np.array(offsets), pa.array(roles, pa.string()), pa.array(contents, pa.string()))


def _shares(rows: Rows) -> tuple[pa.Array, pa.Array]:
    """Of the vote, what went to a; and where it was a tie. Rows without just one winner are bad."""
    a, b, tie = (pc.equal(rows.column(name)[1].cast(pa.float64()), 1.0) for name in WINNERS)
    marks = [pc.fill_null(column, fill_value=False).to_numpy(zero_copy_only=False) for column in (a, b, tie)]
    for index in np.flatnonzero(np.sum(marks, axis=0) != 1):
        rows.bad(int(index), "not just one winner is 1", WINNERS[0], f"1 in one of {', '.join(WINNERS)}")
    return pa.array(np.where(marks[2], TIE, marks[0])), pa.array(marks[2])
