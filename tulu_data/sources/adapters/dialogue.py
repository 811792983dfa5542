"""Dialogues between two speakers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import (
    conversation,
    first_turns,
    is_list,
    is_text,
    items,
    keys,
    owners,
    pick,
    pieces,
    texts,
)
from tulu_data.sources.adapters._base import Adapter, Rows, column_type
from tulu_data.sources.adapters._turns import ROLE_OF, turns, until_last_user

COLUMNS = ("turns", "utterances", "conversations")
TEXTS = ("utterance", "text")
SPEAKER_OF = {**ROLE_OF, "system": "assistant"}
"""In a dialogue with a service the system is who answers the user."""


class Dialogue(Adapter):
    """Turns with a speaker (SGD: USER and SYSTEM; Taskmaster), or texts that alternate, user first (LIMA).

    Uses `turns`, `utterances` or `conversations`: `speaker` with `utterance` or `text`, or plain texts. A
    speaker named SYSTEM is the assistant. Of plain texts, a last one of the user's that nobody answers is no
    turn of an sft row: `native` keeps it as `unanswered`. A lone one stays.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> said = [{"speaker": "USER", "utterance": "Hi"}, {"speaker": "SYSTEM", "utterance": "Yo"}]
    >>> adapt_row("dialogue", {"turns": said})
    {'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yo'}]}
    """

    name: ClassVar[str] = "dialogue"
    kinds: ClassVar[tuple[Kind, ...]] = ("sft", "prompts")
    needs: ClassVar[str] = (
        "turns | utterances (list of speaker and utterance | text), or conversations (list of text)"
    )

    def matches(self, sample: pa.Table) -> bool:
        """A list of turns with a speaker, or of texts."""
        return _column(sample) is not None

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The turns; for prompts, up to the last user turn."""
        column = _column(rows.table) or rows.column(*COLUMNS)[0]
        turn_type = items(column_type(rows.table, column))
        if is_text(turn_type):
            found = _alternating(rows, column)
            if kind != "prompts":
                found = _answered(rows, found)
        else:
            text = next((name for name in TEXTS if name in keys(turn_type)), TEXTS[0])
            found = turns(rows, column, ("speaker", text), role_of=SPEAKER_OF)
        return {"messages": until_last_user(rows, found, column) if kind == "prompts" else found}


def _column(table: pa.Table) -> str | None:
    for name in COLUMNS:
        kind = column_type(table, name)
        speaks = "speaker" in keys(items(kind)) and keys(items(kind)) & set(TEXTS)
        if speaks or (name == "conversations" and is_list(kind) and pa.types.is_string(items(kind))):
            return name
    return None


def _alternating(rows: Rows, column: str) -> pa.Array:
    _, values = rows.column(column)
    rows.refuse_nulls(values, column)
    offsets, said = pieces(values)
    owner = owners(offsets)
    places = np.arange(len(owner)) - offsets[owner]
    for place in np.flatnonzero(said.is_null().to_numpy(zero_copy_only=False)):
        rows.bad(int(owner[place]), "the content is null, not text", f"{column}[{places[place]}]", "text")
    return conversation(offsets, pa.array(["user", "assistant"]).take(pa.array(places % 2)), texts(said))


def _answered(rows: Rows, found: pa.Array) -> pa.Array:
    """The turns without a last one of the user's, unless it is the only one (Tülu 2 cuts LIMA likewise)."""
    counts = pc.list_value_length(found).to_numpy(zero_copy_only=False)
    odd = (counts % 2 == 1) & (counts > 1)
    rows.notes["unanswered"] = pick(found, np.where(odd, counts - 1, -1))
    return first_turns(found, counts - odd)
