"""Transcripts in one text: paragraphs that begin with `Human:` and `Assistant:`."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from tulu_data.sources.adapters._arrow import conversation
from tulu_data.sources.adapters._base import Rows
from tulu_data.sources.adapters._preference import SIDES

MARK = re.compile(r"\n\n(Human|Assistant): ?")
"""A speaker's mark, at the head of a paragraph: 48 of harmless-base's 2,312 rows hold another `Human:`."""
FIRST = re.compile(r"\s*(?=(?:Human|Assistant):)")
ROLE_OF = {"Human": "user", "Assistant": "assistant"}


def transcripts(rows: Rows, column: str, *, prompts: bool = False) -> pa.Array:
    """A column of transcripts as messages; those that do not begin with a speaker are bad.

    With `prompts`, the white space around the turns belongs to the template, and so does the assistant's
    empty last turn.
    """
    offsets, roles, contents = [0], [], []
    for index, text in enumerate(rows.required(column).to_pylist()):
        begins = FIRST.match(text or "")
        _, *cut = MARK.split("\n\n" + text[begins.end() :]) if begins else ("",)
        if text is not None and not begins:
            rows.bad(index, f"{column} does not begin with a speaker", column, r"\n\nHuman: at its beginning")
        marks, said = cut[::2], cut[1::2]
        if prompts:
            said = [part.strip() for part in said]
            if marks and (marks[-1], said[-1]) == ("Assistant", ""):
                marks, said = marks[:-1], said[:-1]
        roles += [ROLE_OF[mark] for mark in marks]
        contents += said
        offsets.append(len(roles))
    return conversation(np.array(offsets), pa.array(roles, pa.string()), pa.array(contents, pa.string()))


def is_transcript(sample: pa.Table) -> bool | None:
    """Whether a sample's pairs begin with a speaker's mark: all (True), none (False), or some (None)."""
    held = [v for side in SIDES for v in sample[side].to_pylist() if v]
    begins = {FIRST.match(text) is not None for text in held}
    return begins.pop() if len(begins) == 1 else (None if begins else False)
