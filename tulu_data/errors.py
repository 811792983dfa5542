"""What can go wrong, and how it is told.

Every error a user can cause is a `TuluDataError`: one message that says *what* is wrong, *where*
(file, line, row, field), what was *expected*, and, for a name, the *nearest that exists*. The CLI prints
that message and leaves with the class's `exit_status`; a traceback always means a fault of ours.

    UsageError      2   the command or a recipe asks for something that does not exist
    RecipeError     2   a recipe or suite is wrong; gathers every problem it has
    SourceError     1   a source cannot be reached or read
    RowError        1   a row cannot be used (or is set aside with `--bad-rows skip`)
    StoreError      1   the store refuses: exists already, altered, disk full
    PolicyError     1   the data breaks a rule that the recipe sets
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """A place in the user's data: `data/a.jsonl.gz, line 7, row 6, field messages`.

    `line` counts from 1 as editors do; `row` counts from 0 as Arrow does.
    """

    file: str | None = None
    line: int | None = None
    row: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        parts = [self.file] if self.file else []
        numbered = (("line", self.line), ("row", self.row), ("field", self.field))
        return ", ".join(parts + [f"{name} {value}" for name, value in numbered if value is not None])


class TuluDataError(Exception):
    """An error that its reader can mend.

    >>> print(UsageError("no mixture is named 'sft_mni'", nearest="sft_mini"))
    no mixture is named 'sft_mni'. Did you mean 'sft_mini'?
    """

    exit_status = 1

    def __init__(
        self,
        what: str,
        *,
        where: Where | str | None = None,
        expected: str | None = None,
        nearest: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.where, self.expected = what, where, expected
        self.nearest, self.remedy = nearest, remedy
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where and str(self.where) else self.what
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f". Did you mean {self.nearest!r}?"
        if self.remedy:
            text += f". {self.remedy}" if not text.endswith("?") else f" {self.remedy}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), dict(vars(self))))


def _rebuild(kind: type[TuluDataError], state: dict[str, object]) -> TuluDataError:
    error = kind.__new__(kind)
    Exception.__init__(error, state["what"])
    vars(error).update(state)
    return error


class UsageError(TuluDataError):
    """The command line or a name in it asks for something that does not exist."""

    exit_status = 2


class SourceError(TuluDataError):
    """A source cannot be reached, read or understood."""


class RowError(TuluDataError):
    """One row cannot be used; `--bad-rows skip` sets it aside instead."""


class StoreError(TuluDataError):
    """The store, or an output directory, cannot take or give what was asked."""


class PolicyError(TuluDataError):
    """The data breaks a rule that the recipe or suite sets."""


@dataclass(frozen=True)
class Problem:
    """One fault of a recipe or suite, with its remedy. `level` is error or warning."""

    what: str
    where: str = ""
    remedy: str = ""
    level: str = "error"

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.remedy}" if self.remedy else text


class RecipeError(TuluDataError):
    """Every problem that a recipe or suite has, in one error."""

    exit_status = 2

    def __init__(self, title: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(title)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.what}: {self.problems[0]}"
        title = f"{self.what}: {len(self.problems)} problems"
        return "\n".join([title, *(f"  - {problem}" for problem in self.problems)])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None if none is like it.

    >>> nearest("keywrd_filter", ["keyword_filter", "length"])
    'keyword_filter'
    """
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(what: str, name: str, known: Iterable[str], *, where: Where | str | None = None) -> UsageError:
    """The error for a name that does not exist: says which do, and which is nearest."""
    names = sorted(known)
    listing = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    expected = f"one of: {listing}" if names else None
    return UsageError(
        f"no {what} is named {name!r}", where=where, expected=expected, nearest=nearest(name, names)
    )
