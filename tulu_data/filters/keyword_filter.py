"""`keyword_filter`: rejects rows that speak of things on a list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from tulu_data.filters.words import LISTS, WordList
from tulu_data.op import Context, OfSources, Op, verdicts
from tulu_data.record import ROLES, Kind, conversation_columns
from tulu_data.turns import bools, turns_of

Role = Literal["system", "user", "assistant", "tool"]
_WORD_CHARACTER = r"\pL\pN_"
"""Python's Unicode `\\w` for RE2, whose own `\\b` and `\\w` know ASCII only and find OpenAI in `éOpenAI`."""


@dataclass(frozen=True)
class _State:
    columns: tuple[str, ...]
    roles: tuple[str, ...]
    pattern: str
    spellings: dict[str, str]


class KeywordFilter(OfSources, Op):
    """Rejects a row if a message of the chosen roles contains one of the words. Case is ignored.

    A whole word touches no letter, digit or underscore of any script: `OpenAI's` counts, `MyOpenAI` does not.
    The verdict names the word as the list spells it; where several are found, the first in the row, and the
    longest that begins there. Of a preference row, both sides are looked at.

        - {op: keyword_filter, list: provider_names}

        assistant: "I am ChatGPT, made by OpenAI."    ->  keyword_filter:ChatGPT
        assistant: "I am Tülu."                       ->  kept
        user: "Are you ChatGPT?"                      ->  kept: only assistant turns are looked at
    """

    name: ClassVar[str] = "keyword_filter"

    list: str | None = Field(default=None, description="A list of words known by name.")
    words: tuple[str, ...] = Field(
        default=(), max_length=10_000, description="Words to look for, beside those of `list`."
    )
    roles: tuple[Role, ...] | None = Field(
        default=None, description="Whose messages are searched; else as the list says, else assistant."
    )
    whole_words: bool | None = Field(
        default=None, description="Only whole words; else as the list says, else true."
    )

    @field_validator("list")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in LISTS:
            raise ValueError(f"no list is named {value!r}; there are: {', '.join(LISTS)}")
        return value

    @model_validator(mode="after")
    def _some_words(self) -> Self:
        if not self.words and self.list is None:
            raise ValueError("no words to look for: give `list` or `words`")
        if not all(word.strip() for word in self.words):
            raise ValueError("an empty word would be found everywhere")
        if self.roles == ():
            raise ValueError(f"no roles to look at: choose from {', '.join(ROLES)}")
        return self

    @classmethod
    def example(cls) -> Self:
        """The names of model providers, and a word of another script."""
        return cls.model_validate({"list": "provider_names", "words": ["Алиса"]})

    def content(self) -> str:
        """The words of the named list: another list under the old name is another filter."""
        return repr(LISTS[self.list]) if self.list else ""

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The conversations, and the source where only some are looked at."""
        return (*conversation_columns(kind), *self.source_column())

    def setup(self, context: Context) -> _State:
        """The words as one pattern, longest first, so that GPT-3.5 is not reported as GPT-3."""
        listed = LISTS[self.list] if self.list else WordList((), ("assistant",), whole_words=True)
        words = sorted({*listed.words, *self.words}, key=lambda word: (-len(word), word))
        pattern = f"(?P<word>{'|'.join(map(_escape, words))})"
        if listed.whole_words if self.whole_words is None else self.whole_words:
            pattern = rf"(?:\A|[^{_WORD_CHARACTER}]){pattern}(?:\z|[^{_WORD_CHARACTER}])"
        spellings = {word.casefold(): word for word in reversed(words)}
        return _State(
            conversation_columns(context.kind), self.roles or listed.roles, f"(?i){pattern}", spellings
        )

    def apply(self, batch: pa.Table, state: _State) -> pa.Table:
        """The batch with a verdict on every row that contains a word."""
        looked_at = pa.array(self.looked_at(batch))
        for column in state.columns:
            reasons = self._reasons(batch[column], state)
            batch = verdicts(batch, pc.and_(pc.is_valid(reasons), looked_at), reasons)
        return batch

    def _reasons(self, column: pa.ChunkedArray, state: _State) -> pa.Array:
        turns = turns_of(column)
        said = bools(pc.match_substring_regex(turns.texts, state.pattern))
        if set(state.roles) != set(ROLES):
            # Only now: to copy the texts of some roles costs more than to search all.
            said = said & turns.role(*state.roles)
        hits = turns.where(said)
        hits = hits.where(hits.starts())
        found = pc.struct_field(pc.extract_regex(hits.texts, state.pattern), "word").to_pylist()
        reasons: Any = np.full(turns.count, None, object)
        reasons[hits.rows] = [f"{self.name}:{state.spellings.get(word.casefold(), word)}" for word in found]
        return pa.array(reasons, pa.string())


def _escape(word: str) -> str:
    """The word as RE2 wants it: `re.escape` without its backslash before spaces and non-ASCII characters."""
    return re.sub(r"[^\w\s]", lambda m: rf"\x{{{ord(m[0]):x}}}", word)
