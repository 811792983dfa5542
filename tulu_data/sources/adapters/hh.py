"""Preference pairs as transcripts of Human and Assistant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import conversation
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column
from tulu_data.sources.adapters._preference import SIDES, pair

MARK = re.compile(r"\n\n(Human|Assistant): ?")
"""A speaker's mark, at the head of a paragraph: 48 of harmless-base's 2,312 rows hold another `Human:`."""
FIRST = re.compile(r"\s*(?=(?:Human|Assistant):)")
ROLE_OF = {"Human": "user", "Assistant": "assistant"}


class HH(Adapter):
    r"""A chosen and a rejected transcript that begin with the same turns (Anthropic's hh-rlhf).

    Uses `chosen` and `rejected`: texts cut at `\n\nHuman: ` and `\n\nAssistant: `. A `prompt` column of text
    is the row's prompt, as it stands; without it that is the last user turn that both share.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> ask = "\n\nHuman: Hi\n\nAssistant:"
    >>> adapt_row("hh", {"chosen": ask + " Hello!", "rejected": ask + " No."})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'prompt': 'Hi',
     'chosen': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!'}],
     'rejected': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'No.'}]}
    """

    name: ClassVar[str] = "hh"
    kinds: ClassVar[tuple[Kind, ...]] = ("preference",)
    needs: ClassVar[str] = r"chosen, rejected (text that begins with \n\nHuman:)"

    def matches(self, sample: pa.Table) -> bool:
        """Texts of which some begin with a speaker's mark."""
        return all(is_text_column(sample, side) for side in SIDES) and is_transcript(sample) is not False

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """Both transcripts as messages."""
        chosen, rejected = (_transcripts(rows, side) for side in SIDES)
        return pair(rows, chosen, rejected)


def is_transcript(sample: pa.Table) -> bool | None:
    """Whether a sample's pairs begin with a speaker's mark: all (True), none (False), or some (None)."""
    held = [v for side in SIDES for v in sample[side].to_pylist() if v]
    begins = {FIRST.match(text) is not None for text in held}
    return begins.pop() if len(begins) == 1 else (None if begins else False)


def _transcripts(rows: Rows, column: str) -> pa.Array:
    offsets, roles, contents = [0], [], []
    for index, text in enumerate(rows.required(column).to_pylist()):
        begins = FIRST.match(text or "")
        _, *cut = MARK.split("\n\n" + text[begins.end() :]) if begins else ("",)
        if text is not None and not begins:
            rows.bad(index, f"{column} does not begin with a speaker", column, r"\n\nHuman: at its beginning")
        roles += [ROLE_OF[mark] for mark in cut[::2]]
        contents += cut[1::2]
        offsets.append(len(roles))
    return conversation(
        pa.array(offsets).to_numpy(), pa.array(roles, pa.string()), pa.array(contents, pa.string())
    )
