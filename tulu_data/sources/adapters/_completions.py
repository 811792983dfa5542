"""Prompts with several answers and what judges said of each: the column `completions`, built without rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import COMPLETION, COMPLETIONS, RATING, Kind
from tulu_data.sources.adapters._arrow import (
    conversation,
    is_number,
    is_text,
    join,
    last_user,
    owners,
    pick,
    shared_turns,
    texts,
    turn,
)
from tulu_data.sources.adapters._base import Adapter, Rows

Judged = tuple[pa.Array, pa.Array]
"""Numbers, and beside each a note: what was said where it is no number, or says more."""

TIE = 0.5
"""Each side's vote where the judge called it a draw."""


class Completed(Adapter):
    """A shape whose preference rows are a prompt with rated answers: `pair` chooses two of them later."""

    kinds: ClassVar[tuple[Kind, ...]] = ("preference",)
    completes: ClassVar[bool] = True


# -- what judges said ----------------------------------------------------------------------------------------


def judged(values: pa.Array) -> Judged:
    """Ratings in numbers or in text; of text that is no finite number, the note holds what it says.

    >>> [column.to_pylist() for column in judged(pa.array(["4", "N/A", None]))]
    [[4.0, None, None], [None, 'N/A', None]]
    """
    if is_text(values.type):
        coded = texts(values).dictionary_encode()
        said = coded.dictionary.to_pylist()
        numbers = [_number(text) for text in said]
        notes = [text if number is None else None for text, number in zip(said, numbers, strict=True)]
        return (
            pa.array(numbers, pa.float64()).take(coded.indices),
            pa.array(notes, pa.string()).take(coded.indices),
        )
    none = pa.nulls(len(values), pa.string())
    if not is_number(values.type):
        return pa.nulls(len(values), pa.float64()), none
    numbers = values.cast(pa.float64())
    odd = pc.fill_null(pc.invert(pc.is_finite(numbers)), fill_value=False)
    if not pc.any(odd).as_py():
        return numbers, none
    return pc.if_else(odd, None, numbers), pc.if_else(odd, numbers.cast(pa.string()), none)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None


def ratings(aspects: Mapping[str, Judged]) -> pa.Array:
    """`list<RATING>` of every completion, its aspects in the order given; none where nothing was said."""
    count = len(next(iter(aspects.values()))[0])
    values = alternate(*(numbers for numbers, _ in aspects.values()))
    notes = alternate(*(notes for _, notes in aspects.values()))
    names = alternate(*(pa.repeat(pa.scalar(name, pa.string()), count) for name in aspects))
    said = pc.or_(values.is_valid(), notes.is_valid())
    sizes = said.to_numpy(zero_copy_only=False).reshape(count, len(aspects)).sum(axis=1)
    flat = pa.StructArray.from_arrays(
        [column.filter(said) for column in (names, values, notes)], fields=list(RATING)
    )
    return _lists(np.concatenate([[0], np.cumsum(sizes)]), flat, COMPLETION.field("ratings").type)


def unnoted(values: pa.Array) -> Judged:
    """Numbers with nothing to note."""
    return values.cast(pa.float64()), pa.nulls(len(values), pa.string())


# -- completions ---------------------------------------------------------------------------------------------


def completions(
    offsets: np.ndarray[Any, Any], conversations: pa.Array, models: pa.Array, rated: pa.Array
) -> pa.Array:
    """`COMPLETIONS` of every row from its flat conversations, models and ratings."""
    flat = pa.StructArray.from_arrays([conversations, texts(models), rated], fields=list(COMPLETION))
    return _lists(offsets, flat, COMPLETIONS)


def answered(context: pa.Array, offsets: np.ndarray[Any, Any], answers: pa.Array) -> pa.Array:
    """Whole conversations: every answer behind the turns of its row."""
    return join(context.take(pa.array(owners(offsets))), turn("assistant", answers))


def answered_twice(asked: pa.Array, first: pa.Array, second: pa.Array) -> pa.Array:
    """Of every row two conversations, one behind the other: the question and the first, or second, answer."""
    roles = pa.array(["user", "assistant"]).take(pa.array(np.arange(4 * len(asked)) % 2))
    offsets = 2 * np.arange(2 * len(asked) + 1)
    return conversation(offsets, roles, alternate(asked, first, asked, second))


def two(
    conversations: pa.Array,
    models: tuple[pa.Array, pa.Array],
    aspects: Mapping[str, tuple[Judged, Judged]],
) -> pa.Array:
    """`COMPLETIONS` of rows with two each, whose conversations alternate, as `alternate` gives them."""
    both = {
        name: (alternate(first[0], second[0]), alternate(first[1], second[1]))
        for name, (first, second) in aspects.items()
    }
    offsets = 2 * np.arange(len(models[0]) + 1)
    return completions(offsets, conversations, alternate(*(texts(m) for m in models)), ratings(both))


def votes(first: pa.Array, notes: pa.Array | None = None) -> tuple[Judged, Judged]:
    """Both sides' shares of a vote from that of the first; null where there was no vote."""
    shares = first.cast(pa.float64())
    said = pa.nulls(len(first), pa.string()) if notes is None else notes
    return (shares, said), (pc.subtract(1.0, shares), said)


def alternate(*columns: pa.Array) -> pa.Array:
    """The first value of each column, then the second of each, and so on.

    >>> alternate(pa.array([1, 2]), pa.array([3, 4])).to_pylist()
    [1, 3, 2, 4]
    """
    count = len(columns[0])
    order = np.arange(len(columns) * count).reshape(len(columns), count).T.ravel()
    return pa.concat_arrays(columns).take(pa.array(order))


def shared_prompt(rows: Rows, first: pa.Array, second: pa.Array, column: str) -> pa.Array:
    """The last user turn among those that two conversations share; rows without one are bad."""
    place = last_user(first, limit=shared_turns(first, second))
    for index in np.flatnonzero(place < 0):
        rows.bad(int(index), "the two conversations share no user turn", column, "two answers to one prompt")
    return pick(first, place)


def _lists(offsets: np.ndarray[Any, Any], flat: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=kind)
