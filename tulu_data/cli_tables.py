"""What the verbs print: the tables of a decontamination, a build, a check, and the operators."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tulu_data.show import Side, beside, table, visible

if TYPE_CHECKING:
    from tulu_data.decontam.run import Result
    from tulu_data.errors import Problem
    from tulu_data.mixtures.build import BuildResult
    from tulu_data.op import Registry

ALL_CELLS = 24
"""A table of data sets and evals longer than this shows only the pairs that matched."""

MOST_SOURCES = 6
"""Up to so many sources have a column each in the table of reasons."""


def print_decontamination(result: Result, show: int) -> None:
    """Some matched rows beside their items, the table of data sets and evals, and what was written where."""
    print_findings(result, show)
    print_cells(result.summary["cells"])
    print(f"\n{outcome(result.summary)}\nwritten to {visible(str(result.out))}")


def print_findings(result: Result, show: int) -> None:
    """Matched rows beside the items that they match, the shared words marked; the least certain first."""
    known = result.first_findings.sort_by([("score", "ascending")])
    for finding in known.slice(0, show).to_pylist():
        row, item = result.text_of(finding)
        beside(Side(*row), Side(f"{item.title}, {finding['score']:.0%} shared", item.text, item.spans))
        print()


def outcome(summary: dict[str, Any]) -> str:
    """What was found, in a sentence that claims no more than was done."""
    rows, kept, dropped, bad = (
        _total(summary["datasets"], key) for key in ("rows", "kept", "dropped", "bad")
    )
    items, unchecked = (_total(summary["evals"], key) for key in ("items", "unchecked"))
    matching = "1 row matches" if dropped == 1 else f"{dropped:,} rows match"
    text = f"{rows:,} rows against {items:,} items: {matching}, {kept:,} stay"
    if bad:
        text += f"; {bad:,} more could not be used and were set aside"
    if unchecked:
        text += f"; {unchecked:,} items have no word in any field and could not be checked"
    return text


def _total(parts: Sequence[dict[str, Any]], key: str) -> int:
    return sum(part[key] for part in parts)


def print_cells(cells: Sequence[dict[str, Any]]) -> None:
    """The table of data sets and evals with the verdict on each pair."""
    shown = cells if len(cells) <= ALL_CELLS else [cell for cell in cells if cell["matched"]]
    columns = ("dataset", "eval", "role", "items", "matched", "percent", "rows_flagged", "verdict")
    titles = ("data set", "eval", "role", "items", "found", "%", "in rows", "verdict")
    table(titles, [tuple(cell[column] for column in columns) for cell in shown])
    if len(shown) < len(cells):
        print(f"nothing matched in {len(cells) - len(shown):,} other pairs of data set and eval")


def print_build(result: BuildResult) -> None:
    """What was kept and dropped, and why, and where the version lies."""
    sources = result.summary["sources"]
    keys = ("source", "read", "selected", "kept")
    rows = [tuple(source[key] for key in keys) for source in sources]
    table(keys, [*rows, ("all", *(_total(sources, key) for key in keys[1:]))])
    print_reasons(sources)
    if bad := _total(sources, "bad"):
        print(f"\n{bad:,} more could not be used and were set aside in bad_rows.parquet")
    what = "the same rows as before" if result.reused else f"{result.rows:,} rows"
    print(f"\n{visible(result.name)}: {what}, in {visible(str(result.path))}")
    if result.differs:
        print(
            f"the rows are those of {visible(result.name)}; its manifest, card and dropped rows are of the "
            f"earlier recipe (differs in: {', '.join(result.differs)}); remove the folder to record this one"
        )


def print_reasons(sources: Sequence[dict[str, Any]]) -> None:
    """How many rows were dropped for which reason, by source where there are few."""
    reasons = sorted({reason for source in sources for reason in source["dropped"]})
    if not reasons:
        return
    print()
    named = sources if len(sources) <= MOST_SOURCES else []
    counts = [[source["dropped"].get(reason) for source in sources] for reason in reasons]
    rows = [
        (reason, *n[: len(named)], sum(filter(None, n))) for reason, n in zip(reasons, counts, strict=True)
    ]
    table(("dropped because", *(source["source"] for source in named), "all"), rows)


def print_problems(name: str, problems: Sequence[Problem]) -> None:
    """Every problem of a recipe, errors first; further lines are set in."""
    for problem in sorted(problems, key=lambda p: p.level != "error"):
        print("\n".join([visible(line) for line in f"{problem.level}: {problem}".splitlines()]))
    errors = sum(p.level == "error" for p in problems)
    warnings = len(problems) - errors
    counts = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((errors, "error"), (warnings, "warning")) if n]
    print(f"{visible(name)}: {' and '.join(counts) or 'nothing wrong'}")


def operator_rows(registry: Registry) -> list[dict[str, str]]:
    """Every operator that a recipe can name: its word, the first line of its documentation, its settings."""
    rows = []
    for name in registry.names():
        step = registry.find(name)
        what = (inspect.getdoc(step) or "").partition("\n")[0].partition(". ")[0].rstrip(".:")
        settings = [field.alias or key for key, field in step.model_fields.items()]
        rows.append({"operator": name, "what": what, "settings": ", ".join(settings)})
    return rows
