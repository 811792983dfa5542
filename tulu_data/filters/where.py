"""`where`: keeps the rows of some sources by what one of their native columns said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from tulu_data.errors import Problem, nearest
from tulu_data.op import Context, OfSources, Op, verdicts
from tulu_data.record import Kind
from tulu_data.sources.adapters._lineage import NATIVE_CHARACTERS
from tulu_data.sources.natives import Natives, word
from tulu_data.turns import one_chunk

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
_TYPE = 80
"""So many characters of an Arrow type are shown."""
_WRITTEN = {
    "booleans": "Booleans are written true and false.",
    "numbers": "Numbers are written without quotes.",
    "text": 'Text is written in quotes, as in "1".',
}
_LONG = f"is not kept beside the rows whose text there is longer than {NATIVE_CHARACTERS:,} characters"
CONDITIONS = ("equals", "one_of", "none_of", "matches")


class Where(OfSources, Op):
    """Keeps the rows whose native column fits one condition, of the sources that are named; others pass.

    Native columns are those that the source was published with and that became no part of the conversation:
    they travel beside each row as `native`. Only single values are there, and of texts only those of up to
    1,000 characters. Values are compared by type, too: `"1"`, `1` and `true` are three; 1 and 1.0 are one.
    `check` refuses a column that a source does not have, and a value of a type that the column does not hold.

        - {op: where, sources: [sciriff], column: dataset, matches: "^science"}

        sciriff  native {"dataset": "science.qasper"}   ->  kept
        sciriff  native {"dataset": "tulu"}             ->  where:dataset
        sciriff  native {"id": 7}                       ->  where:no_dataset
        flan     native null                            ->  kept: another source
    """

    name: ClassVar[str] = "where"

    column: str = Field(min_length=1, description="The native column that decides.")
    equals: Scalar | None = Field(default=None, description="Keeps rows that have this value.")
    one_of: tuple[Scalar, ...] = Field(default=(), description="Keeps rows that have one of these.")
    none_of: tuple[Scalar, ...] = Field(
        default=(), description="Keeps rows that have none of these, and rows without the column."
    )
    matches: str | None = Field(
        default=None,
        min_length=1,
        description="Keeps rows whose text this regular expression matches somewhere.",
    )

    @field_validator("matches")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [word for word in CONDITIONS if getattr(self, word) not in (None, ())]
        if len(given) != 1:
            told = f"`{given[0]}` and `{given[1]}` are both given" if given else "no condition is given"
            raise ValueError(f"{told}; keep one of {', '.join(CONDITIONS)}")
        return self

    @classmethod
    def example(cls) -> Self:
        """Conversations with models of one family."""
        return cls(column="model", sources=("wildchat",), matches="^gpt-4")

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The native columns, of rows of any kind, and the source where only some are looked at."""
        return ("native", *self.source_column())

    def asks(self, natives: Natives) -> list[Problem]:
        """Why no row of the source can fit: it has no such column, or one with values of other types."""
        if self.sources and natives.source not in self.sources:
            return []
        if self.column in natives.kept:
            what, remedy = self._other_types(natives.kept[self.column])
        else:
            what, remedy = self._not_kept(natives)
        # A later part of a file may have the column, and without `sources` some may do without.
        sure = natives.complete and (self.sources or not self.none_of)
        if not what and self.column in natives.left_out:
            what, remedy, sure = f"{self.column!r} {_LONG}", "Their rows are as without the column", False
        found = Problem(f"source {natives.source}: {what}", "", remedy, "error" if sure else "warning")
        return [found] if what else []

    def _not_kept(self, natives: Natives) -> tuple[str, str]:
        """Why the column does not travel beside the rows, and what does; nothing where that is open."""
        column, found = self.column, natives.columns.get(self.column)
        known = ", ".join(natives.kept) or "none"
        if column in natives.unseen:
            return "", ""
        if found is None:
            near = nearest(column, natives.kept)
            fate = "nothing is rejected" if self.none_of else "all of its rows would be rejected"
            remedy = f"Did you mean {near!r}?" if near else f"Columns that can be asked for: {known}"
            return f"it has no column {column!r}, so {fate}", remedy
        if "<" in found:
            why = f"it holds {found if len(found) <= _TYPE else found[:_TYPE] + '…'}"
        elif column in natives.left_out:
            why = "its texts are too long"
        else:
            why = "it is the rows' content, upstream id or licence already"
        return f"the column {column!r} is not kept beside the rows: {why}", f"Those that are: {known}"

    def _other_types(self, held: frozenset[str]) -> tuple[str, str]:
        """Which value is of a type that the column does not hold, and how to write those that it does."""
        wanted: tuple[Scalar, ...] = self.one_of or self.none_of
        if self.equals is not None:
            wanted = (self.equals,)
        if self.matches is not None:
            wanted = (self.matches,)
        other = next((value for value in wanted if word(value) not in held), None)
        if other is None:
            return "", ""
        kinds = " and ".join(sorted(held))
        if self.matches is not None:
            return f"the column {self.column!r} holds {kinds}; `matches` looks at text", "Use `one_of`"
        what = f"the column {self.column!r} holds {kinds}, which {json.dumps(other)} never equals"
        return what, " ".join(_WRITTEN[kind] for kind in sorted(held))

    def setup(self, context: Context) -> Callable[[Any], bool]:  # noqa: ARG002
        """The condition, as a function of one value that is not null."""
        if self.matches is not None:
            pattern = re.compile(self.matches)
            return lambda value: isinstance(value, str) and pattern.search(value) is not None
        listed = {_typed(v) for v in self.one_of or self.none_of or (self.equals,)}
        wanted = not self.none_of
        return lambda value: (_typed(value) in listed) is wanted

    def apply(self, batch: pa.Table, state: Callable[[Any], bool]) -> pa.Table:
        """The batch with a verdict on every row that does not fit."""
        rows = np.flatnonzero(self.looked_at(batch))
        reasons: Any = np.full(batch.num_rows, None, object)
        natives = one_chunk(batch["native"]).take(pa.array(rows)).to_pylist()
        reasons[rows] = [self._reason(native, state) for native in natives]
        found = pa.array(reasons, pa.string())
        return verdicts(batch, pc.is_valid(found), found)

    def _reason(self, native: str | None, fits: Callable[[Any], bool]) -> str | None:
        value = json.loads(native).get(self.column) if native else None
        if value is None:
            return None if self.none_of else f"{self.name}:no_{self.column}"
        return None if fits(value) else f"{self.name}:{self.column}"


def _typed(value: object) -> tuple[bool, object]:
    """What two values must share to be the same: Python takes `True` for 1."""
    return isinstance(value, bool), value
