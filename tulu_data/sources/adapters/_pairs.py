"""Shapes of a question and its answer in two columns of text, under whatever names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import items, join, only, pieces, turn
from tulu_data.sources.adapters._base import Adapter, Rows, column_type, is_text_column, some
from tulu_data.sources.adapters._turns import names_of

SYSTEMS = ("system", "system_prompt", "system_message")
"""Columns that hold a system turn (OpenOrca, Intel's Orca pairs, LLaMA-Factory)."""
TURNS = ("messages", "conversations", "conversation")
"""Columns that, where they hold turns, hold the whole conversation (NuminaMath-TIR, beside its problem)."""


class Pair(Adapter):
    """A question and an answer; with a system turn where a column holds one."""

    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    question: ClassVar[str]
    answers: ClassVar[tuple[str, ...]]
    """The names that the answer goes by."""
    excluded: ClassVar[tuple[str, ...]] = ()
    """Columns that make it another shape."""

    def matches(self, sample: pa.Table) -> bool:
        """A text column of the question and one of an answer, and none that make it another shape."""
        if some(name in sample.column_names for name in self.excluded) or holds_turns(sample):
            return False
        return is_text_column(sample, self.question) and some(
            is_text_column(sample, name) for name in self.answers
        )

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The system turn, the turns before, the question and, unless only prompts are wanted, the answer."""
        parts = [system_turn(rows), *self.before(rows), turn("user", self.asked(rows))]
        if kind != "prompts":
            parts.append(turn("assistant", answer(rows, self.answers)))
        return {"messages": join(*parts)}

    def asked(self, rows: Rows) -> pa.Array:
        """The text of the user's turn."""
        return rows.required(self.question)

    def before(self, rows: Rows) -> list[pa.Array]:  # noqa: ARG002 - for those that override it
        """Turns that precede the question."""
        return []


def holds_turns(sample: pa.Table) -> bool:
    """Whether a column holds the conversation as turns, so that texts beside it are parts of that."""
    return any(names_of(items(column_type(sample, name))) is not None for name in TURNS)


def system_turn(rows: Rows) -> pa.Array:
    """The system turn of each row; none where its column is absent, null or empty."""
    found = rows.optional(*SYSTEMS)
    if found is None:
        return turn("system", pa.nulls(len(rows), pa.string()))
    return turn("system", pc.if_else(filled(found), found, None))


def with_system(rows: Rows, conversations: pa.Array) -> pa.Array:
    """Conversations behind the system turn that a column holds, except those that begin with their own."""
    if rows.first(SYSTEMS) is None:
        return conversations
    offsets, turns = pieces(conversations)
    held = np.diff(offsets) > 0
    bare = np.ones(len(conversations), bool)
    firsts = turns.field("role").take(pa.array(offsets[:-1][held]))
    bare[held] = pc.not_equal(firsts, "system").to_numpy(zero_copy_only=False)
    return join(only(system_turn(rows), bare), conversations)


def filled(values: pa.Array) -> pa.Array:
    """Where a text is neither null, nor empty, nor white space."""
    return pc.fill_null(pc.match_substring_regex(values, r"\S"), fill_value=False)


def with_input(instruction: pa.Array, given: pa.Array | None) -> pa.Array:
    r"""The instruction and, behind a blank line, the input: Alpaca's layout without its captions.

    >>> with_input(pa.array(["Add.", "Hi"]), pa.array(["1, 2", ""])).to_pylist()
    ['Add.\n\n1, 2', 'Hi']
    """
    if given is None or not pc.any(there := filled(given)).as_py():
        return instruction
    gap, text = pc.if_else(there, "\n\n", ""), pc.if_else(there, given, "")
    return pc.binary_join_element_wise(instruction, gap, text, "")


def answer(rows: Rows, names: tuple[str, ...]) -> pa.Array:
    """The answer under any of its names; where several hold one they must agree.

    CodeAlpaca's newer file has both `response` and `output`: in all 4,535 rows they are equal, so either
    will do.
    """
    held = [rows.text(name) for name in names if is_text_column(rows.table, name)] or [rows.text(*names)]
    found = held[0][1]
    for name, values in held[1:]:
        there = filled(found)
        clash = pc.and_(
            pc.and_(there, filled(values)), pc.fill_null(pc.not_equal(found, values), fill_value=False)
        )
        for index in np.flatnonzero(clash.to_numpy(zero_copy_only=False)):
            rows.bad(
                int(index),
                f"the columns {held[0][0]} and {name} hold different answers",
                name,
                "one answer; `adapter` cannot choose between columns, so rename or drop one",
            )
        found = pc.if_else(there, found, pc.coalesce(values, found))
    rows.refuse_nulls(found, held[0][0])
    return found
