"""What a suite cannot see well, told beforehand: items that are matched only whole, or not at all."""

from __future__ import annotations

import numpy as np

from tulu_data.decontam.items import EvalItems, SuiteItems
from tulu_data.errors import Problem


def check_suite(items: SuiteItems) -> list[Problem]:
    """Warnings for the evals of a suite: items whose every field is short, and items without a token."""
    return [problem for number, part in enumerate(items.evals) for problem in _of_eval(items, number, part)]


def _of_eval(items: SuiteItems, number: int, part: EvalItems) -> list[Problem]:
    fields, start, total = items.index.fields, items.starts[number], len(part.ids)
    first, last = fields.item_offsets[start], fields.item_offsets[start + total]
    owners = np.repeat(np.arange(total), np.diff(fields.item_offsets[start : start + total + 1]))
    long = fields.tokens[fields.item_fields[first:last]] >= items.index.n
    checked = np.bincount(owners, minlength=total) > 0
    whole = checked & (np.bincount(owners, weights=long, minlength=total) == 0)
    where = str(items.suite.document.where("evals", number))
    found = []
    if short := int(whole.sum()):
        found.append(Problem(
            f"{_of(short, total)} of eval {part.eval.name!r} {'has' if short == 1 else 'have'} fewer than "
            f"{items.index.n} tokens in every field",
            where,
            "Such a field counts as found wherever it occurs whole, so a common phrase matches by chance",
            level="warning",
        ))  # fmt: skip
    if nothing := int((~checked).sum()):
        found.append(Problem(
            f"{_of(nothing, total)} of eval {part.eval.name!r} {'has' if nothing == 1 else 'have'} no token in any field",
            where,
            "Nothing can match there; it is counted as unchecked",
            level="warning",
        ))  # fmt: skip
    return found


def _of(some: int, total: int) -> str:
    return f"{some:,} of {total:,} items"
