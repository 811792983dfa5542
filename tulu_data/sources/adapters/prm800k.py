"""PRM800K's second phase: solutions whose steps people have rated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import (
    dig,
    is_text,
    items,
    keys,
    one_chunk,
    owners,
    pieces,
    texts,
    turn,
)
from tulu_data.sources.adapters._base import Rows, column_type
from tulu_data.sources.adapters._completions import Completed, answered, completions, ratings, unnoted
from tulu_data.sources.json_text import is_json_text

ERROR, SOLUTION = "found_error", "solution"
"""How labelling ends where it tells something of the whole solution."""
IGNORED = {
    "is_quality_control_question": "ignored_quality_control",
    "is_initial_screening_question": "ignored_screening",
}
ENDS = {"bad_problem": "ignored_bad_problem", "give_up": "ignored_give_up"}
"""Rows that tell nothing of a solution, and how `native` counts them."""
INCOMPLETE = "ignored_incomplete"
"""Rows whose labelling ended otherwise, or that lack their steps."""

ASPECTS = ("correct", "no_error", "good_steps")

_SEEN = pa.list_(pa.struct([("rating", pa.int64())]))
_STEPS = pa.list_(pa.struct([("completions", _SEEN), ("chosen_completion", pa.int64())]))
_LABEL = pa.struct([("finish_reason", pa.string()), ("steps", _STEPS)])
_Numbers = np.ndarray[Any, Any]


class PRM800K(Completed):
    r"""A problem, its reference solution and all labelled generations, gathered (PRM800K, phase 2).

    Uses `question` (problem, ground_truth_solution, pre_generated_steps) and `label` (steps, finish_reason).
    Aspect `correct`: 1 for the reference solution, which comes first where there is one, 0 for a generation
    with a found error. Aspect `no_error`: 1 for a generation in which labellers found none (that is no proof
    that it is correct), 0 for one with an error. Aspect `good_steps`: the share of its labelled steps that
    were rated 1; labelling stops at the first error. Rows of quality control, of screening, of bad problems
    and of labellers who gave up are counted in `native`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> asked = {"problem": "1+1?", "ground_truth_solution": "2", "pre_generated_steps": ["So 3.", "3"]}
    >>> label = {"finish_reason": "found_error", "steps": [{"completions": [{"rating": -1}]}]}
    >>> found = adapt_row("prm800k", {"question": [asked], "label": [label]})["completions"]
    >>> [(one["messages"][1]["content"], [r["rating"] for r in one["ratings"]]) for one in found]
    [('2', [1.0]), ('So 3.\n3', [0.0, 0.0, 0.0])]
    """

    name: ClassVar[str] = "prm800k"
    needs: ClassVar[str] = "question (problem, pre_generated_steps), label (steps, finish_reason)"
    gathers: ClassVar[str] = "question.problem"
    columns: ClassVar[tuple[str, ...]] = ("question", "label", *IGNORED)

    def matches(self, sample: pa.Table) -> bool:
        """A problem with generated steps, and a label that says how labelling ended."""
        asked = keys(column_type(sample, "question")) >= {"problem", "pre_generated_steps"}
        if not asked or "label" not in sample.column_names:
            return False
        field = sample.schema.field("label")
        return is_json_text(field) or "finish_reason" in keys(field.type)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """The problem as prompt; the reference solution, then the generations in reading order."""
        offsets, questions = pieces(rows.column("question")[1])
        problems = texts(dig(questions, "problem")).take(pa.array(offsets[:-1]))  # no group is empty
        solutions = pa.concat_tables(
            [_references(offsets, questions), _generations(rows, offsets, questions)]
        )
        owner = solutions["group"].to_numpy()
        solutions = solutions.take(pa.array(np.argsort(owner, kind="stable"))).combine_chunks()
        ours = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(rows)))])
        rated = ratings({aspect: unnoted(one_chunk(solutions[aspect])) for aspect in ASPECTS})
        whole = answered(turn("user", problems), ours, one_chunk(solutions["text"]))
        nobody = pa.nulls(len(solutions), pa.string())
        return {"prompt": problems, "completions": completions(ours, whole, nobody, rated)}


_SOLUTIONS = pa.schema(
    [("group", pa.int64()), ("text", pa.string()), *((aspect, pa.float64()) for aspect in ASPECTS)]
)


def _references(offsets: _Numbers, questions: pa.Array) -> pa.Table:
    """The first reference solution of every group that has one."""
    solutions = texts(dig(questions, "ground_truth_solution"))
    known = solutions.is_valid().to_numpy(zero_copy_only=False)
    groups, first = np.unique(owners(offsets)[known], return_index=True)
    unrated = [pa.nulls(len(groups), pa.float64())] * 2
    found = solutions.filter(pa.array(known)).take(pa.array(first))
    return pa.table([pa.array(groups), found, pa.array(np.ones(len(groups))), *unrated], schema=_SOLUTIONS)


def _generations(rows: Rows, offsets: _Numbers, questions: pa.Array) -> pa.Table:
    """The labelled generations that tell something of a whole solution."""
    _, labels = pieces(rows.column("label")[1])
    if is_text(labels.type):
        labels = pa.array([text and json.loads(text) for text in labels.to_pylist()], _LABEL)
    ends = texts(dig(labels, "finish_reason"))
    solutions = pc.binary_join(_as_lists(dig(questions, "pre_generated_steps"), pa.string()), "\n")
    failed = pc.equal(ends, ERROR)
    correct, no_error = pc.if_else(failed, 0.0, None), pc.if_else(failed, 0.0, 1.0)
    columns = [pa.array(owners(offsets)), solutions, correct, no_error, _good_steps(labels)]
    whole = pc.and_(pc.is_in(ends, pa.array([ERROR, SOLUTION])), solutions.is_valid())
    return pa.table(columns, schema=_SOLUTIONS).filter(_told(rows, owners(offsets), ends, whole))


def _told(rows: Rows, owner: _Numbers, ends: pa.Array, whole: pa.Array) -> pa.Array:
    """Which generations are used; the others are counted, each once."""
    told = np.ones(len(owner), bool)

    def ignore(which: pa.Array, note: str) -> None:
        mask = pc.fill_null(which, fill_value=False).to_numpy(zero_copy_only=False) & told
        counts = np.bincount(owner[mask], minlength=len(rows))
        rows.notes[note] = pa.array(counts, mask=counts == 0)
        told[mask] = False

    for column, note in IGNORED.items():
        if rows.first([column]):
            ignore(pieces(rows.column(column)[1])[1], note)
    for end, note in ENDS.items():
        ignore(pc.equal(ends, end), note)
    ignore(pc.invert(whole), INCOMPLETE)
    return pa.array(told)


def _as_lists(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists, also where there are none at all, so that their type is unknown."""
    known = not pa.types.is_null(values.type) and not pa.types.is_null(items(values.type))
    return values if known else values.cast(pa.list_(kind))


def _good_steps(labels: pa.Array) -> pa.Array:
    """Of each generation, the share of its labelled steps that were rated 1; null where none was rated.

    A step holds the candidates that a labeller saw (null in some rows, as others tell); the rating is that of
    the chosen one, else the first.
    """
    offsets, steps = pieces(_as_lists(dig(labels, "steps"), pa.struct([])))
    ends, seen = pieces(_as_lists(dig(steps, "completions"), pa.struct([])))
    chosen = pc.fill_null(dig(steps, "chosen_completion").cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    place = ends[:-1] + chosen
    rating = dig(seen, "rating").cast(pa.int64()).take(pa.array(place, mask=place >= ends[1:]))
    rated = rating.is_valid().to_numpy(zero_copy_only=False)
    good = pc.fill_null(pc.equal(rating, 1), fill_value=False).to_numpy(zero_copy_only=False)
    owner = owners(offsets)
    counts, sums = (np.bincount(owner[mask], minlength=len(labels)) for mask in (rated, good))
    return pa.array(sums / np.maximum(counts, 1), mask=counts == 0)
