"""What a suite cannot see well, told beforehand: items that are matched only whole, or not at all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

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


CAUTIONS = {
    "short": (
        "fewer tokens in every field than an n-gram",
        "Such a field counts as found wherever it occurs whole, so a common phrase matches by chance",
    ),
    "sentence": (
        "fewer tokens in every field than an n-gram",
        "They are found where they are a sentence of their own",
    ),
    "alone": (
        "so few words, or such common ones, that by themselves they say little",
        "They are found only where they are all that a message says",
    ),
    "options": (
        "a question that says little by itself",
        "They are found only together with most of their options",
    ),
    "whole": (
        "nothing but what other items of the eval have too (numbers not looked at)",
        "They are found only whole, word for word",
    ),
}
"""What a matcher may say of an item: what is to be told of it, and what follows."""


def _of_eval(items: SuiteItems, number: int, part: EvalItems) -> list[Problem]:
    start, total = items.starts[number], len(part.ids)
    where = str(items.suite.document.where("evals", number))
    cautions = Counter(items.matcher.caution(item) for item in range(start, start + total))
    found = [
        Problem(
            f"{_of(cautions[caution], total)} of eval {part.eval.name!r} {_have(cautions[caution])} {what}",
            where, remedy, level="warning",
        )
        for caution, (what, remedy) in CAUTIONS.items() if cautions[caution]
    ]  # fmt: skip
    reasons = Counter(items.matcher.unchecked(item) for item in range(start, start + total))
    for reason, nothing in reasons.items():
        if reason:
            found.append(Problem(
                f"{_of(nothing, total)} of eval {part.eval.name!r} cannot be checked: {reason}",
                where,
                "Nothing can match there; it is counted as unchecked",
                level="warning",
            ))  # fmt: skip
    return found


def _have(some: int) -> str:
    return "has" if some == 1 else "have"


def _of(some: int, total: int) -> str:
    return f"{some:,} of {total:,} items"
