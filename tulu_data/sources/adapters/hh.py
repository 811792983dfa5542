"""Preference pairs as transcripts of Human and Assistant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._base import Adapter, Rows, is_text_column
from tulu_data.sources.adapters._preference import SIDES, pair
from tulu_data.sources.adapters._transcript import is_transcript, transcripts


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
        chosen, rejected = (transcripts(rows, side) for side in SIDES)
        return pair(rows, chosen, rejected)
