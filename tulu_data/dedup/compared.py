"""What of a row is compared with other rows, and which of several equal rows stays."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from tulu_data.op import Step
from tulu_data.record import MESSAGES, Kind, conversation_columns
from tulu_data.turns import Mask, Turns, turns_of

Fields = Annotated[tuple[str, ...], Field(min_length=1)]
By = Literal["conversation", "prompt"] | Fields

Longs = npt.NDArray[np.int64]


def asked(turns: Turns) -> Mask:
    """Per message: whether it is of the prompt: of the user or the system, up to the last user message."""
    return turns.role("user", "system") & ~answered(turns)


def answered(turns: Turns) -> Mask:
    """Per message: whether it comes after the last user message."""
    asks = turns.role("user")
    position = np.arange(len(turns.rows))
    last = np.full(turns.count, -1)
    last[turns.rows[asks]] = position[asks]  # ascending, so the last one stands
    return np.asarray(position > last[turns.rows])


class Deduplication(Step):
    """What both ways of finding duplicates have in common: what is compared, and which row stays."""

    by: By = Field(
        default="conversation",
        description="What is compared: `conversation`, `prompt`, or a list of columns.",
    )
    keep: Literal["first", "longest", "best_source", "license"] = Field(
        default="first", description="Which of several rows stays."
    )
    sources: tuple[str, ...] = Field(default=(), description="For `best_source`: the sources, best first.")
    licenses: tuple[str, ...] = Field(default=(), description="For `license`: the licences, best first.")

    @field_validator("by")
    @classmethod
    def _not_the_id(cls, by: By) -> By:
        if isinstance(by, tuple) and "id" in by:
            raise ValueError("every row has an `id` of its own; the data's is `upstream_id`")
        return by

    @model_validator(mode="after")
    def _lists_where_they_count(self) -> Self:
        for rule, key in (("best_source", "sources"), ("license", "licenses")):
            given = getattr(self, key)
            if self.keep == rule and not given:
                raise ValueError(f"`keep: {rule}` needs a list `{key}`, best first")
            if self.keep != rule and given:
                raise ValueError(f"`{key}` is for `keep: {rule}`, but `keep` is {self.keep}")
        return self

    def ranked_by(self, kind: Kind) -> tuple[str, ...]:
        """The columns that decide which row stays."""
        match self.keep:
            case "first":
                return ()
            case "longest":
                return conversation_columns(kind)
            case "best_source":
                return ("source",)
            case "license":
                return ("license",)

    def ranks(self, batch: pa.Table, kind: Kind) -> pa.Array:
        """A number for every row (int64): the lower, the rather it stays."""
        match self.keep:
            case "first":
                return pa.array(np.zeros(batch.num_rows, np.int64))
            case "longest":
                return pa.array(-sum(characters(batch[name]) for name in conversation_columns(kind)))
            case "best_source":
                return _places(batch["source"], self.sources)
            case "license":
                ids = pc.utf8_lower(pc.utf8_trim_whitespace(batch["license"]))
                return _places(ids, tuple(name.strip().lower() for name in self.licenses))


def characters(column: pa.ChunkedArray) -> Longs:
    """How many characters the texts of each row's messages have."""
    if column.type != MESSAGES:
        return _filled(pc.utf8_length(column))
    turns = turns_of(column)
    lengths = _filled(pc.utf8_length(turns.texts))
    return np.bincount(turns.rows, lengths, turns.count).astype(np.int64)


def _filled(numbers: pa.Array | pa.ChunkedArray) -> Longs:
    found: Longs = pc.fill_null(numbers, 0).to_numpy().astype(np.int64)
    return found


def _places(values: pa.ChunkedArray, listed: tuple[str, ...]) -> pa.Array:
    """Where each value stands in the list; behind all where it does not."""
    places = pc.index_in(values, pa.array(listed, pa.string()))
    return pa.array(_filled(pc.fill_null(places, len(listed))))
