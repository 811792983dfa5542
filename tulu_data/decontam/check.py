"""What a suite cannot see well, told beforehand: items that are matched only whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tulu_data.decontam.items import EvalItems, SuiteItems, read_eval
from tulu_data.decontam.suite import load_suite
from tulu_data.errors import Problem, RecipeError, TuluDataError
from tulu_data.workspace import Workspace


def check_suite(items: SuiteItems) -> list[Problem]:
    """Warnings for the evals of a suite: items whose every field is short, and items without a token."""
    return [problem for number, part in enumerate(items.evals) for problem in _of_eval(items, number, part)]


def suite_problems(name: str, workspace: Workspace, mirror: Path | None = None) -> list[Problem]:
    """Every problem of a suite: what is wrong in its file, evals that are not as it says, and the warnings.

    Raises:
        UsageError: nothing has that name.
    """
    try:
        suite = load_suite(name, workspace)
    except RecipeError as error:
        return list(error.problems)
    parts, problems = [], []
    for number, entry in enumerate(suite.evals):
        try:
            parts.append(read_eval(entry, suite.base, mirror))
        except TuluDataError as error:
            problems.append(Problem(str(error), str(suite.document.where("evals", number))))
    return problems or check_suite(SuiteItems(suite, tuple(parts)))


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
            f"{_of(short, total)} of eval {part.eval.name!r} {_have(short)} fewer than "
            f"{items.index.n} tokens in every field",
            where,
            "Such a field counts as found wherever it occurs whole, so a common phrase matches by chance",
            level="warning",
        ))  # fmt: skip
    if nothing := int((~checked).sum()):
        found.append(Problem(
            f"{_of(nothing, total)} of eval {part.eval.name!r} {_have(nothing)} no token in any field",
            where,
            "Nothing can match there; it is counted as unchecked",
            level="warning",
        ))  # fmt: skip
    return found


def _have(some: int) -> str:
    return "has" if some == 1 else "have"


def _of(some: int, total: int) -> str:
    return f"{some:,} of {total:,} items"
