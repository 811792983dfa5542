"""What the verbs print: the tables of a decontamination, a build, a check, and the operators."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulu_data.show import Side, beside, table, visible

if TYPE_CHECKING:
    from tulu_data.decontam.cache.listing import Pruned
    from tulu_data.decontam.run import Result
    from tulu_data.dedup.run import Result as Deduplicated
    from tulu_data.errors import Problem
    from tulu_data.mixtures.build import BuildResult
    from tulu_data.mixtures.rebuild import Rebuilt
    from tulu_data.op import Registry

ALL_CELLS = 24
"""A table of data sets and evals longer than this shows only the pairs that matched."""

MOST_SOURCES = 6
"""Up to so many sources have a column each in the table of reasons."""


def print_decontamination(result: Result, show: int) -> None:
    """Some matched rows beside their items, the table of data sets and evals, and what was written where."""
    print_findings(result, show)
    print_cells(result.summary["cells"])
    print(f"\n{outcome(result.summary)}\nthe control: {visible(result.certificate.status)}")
    print(f"written to {visible(str(result.out))}; open report.html there to see why, and to decide")


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
    touched = _total(summary["datasets"], "kept_with_findings")
    text = f"{rows:,} rows against {items:,} items: {matching}, {kept:,} stay"
    if touched:
        text += f", {touched:,} of them with findings that drop nothing"
    if bad:
        text += f"; {bad:,} more could not be used and were set aside"
    if unchecked:
        text += f"; {unchecked:,} items could not be checked"
    return text


def _total(parts: Sequence[dict[str, Any]], key: str) -> int:
    return sum(part[key] for part in parts)


def print_cells(cells: Sequence[dict[str, Any]]) -> None:
    """The table of data sets and evals with the verdict on each pair."""
    shown = cells if len(cells) <= ALL_CELLS else [c for c in cells if c["verdict"] != "no match"]
    columns = (
        "dataset", "eval", "role", "items", "matched", "percent", "rows_flagged", "rows_to_review", "verdict"
    )  # fmt: skip
    titles = ("data set", "eval", "role", "items", "found", "%", "in rows", "to review", "verdict")
    table(titles, [tuple(cell[column] for column in columns) for cell in shown])
    if len(shown) < len(cells):
        print(f"nothing matched in {len(cells) - len(shown):,} other pairs of data set and eval")


def print_dedup(result: Deduplicated) -> None:
    """The table of data sets, and which of them repeats which."""
    summary = result.summary
    columns = ("dataset", "rows", "kept", "dropped")
    rows = [tuple(one[column] for column in columns) for one in summary["datasets"]]
    totals = [("all", *(_total(summary["datasets"], column) for column in columns[1:]))]
    table(("data set", *columns[1:]), rows + (totals if len(rows) > 1 else []))
    if len(rows) > 1 and summary["repeats"]:
        print()
        table(("rows of", "repeat", "rows"), [(r["dataset"], r["of"], r["rows"]) for r in summary["repeats"]])
    print(f"\n{dedup_outcome(summary)}\nwritten to {visible(str(result.out))}")


def dedup_outcome(summary: dict[str, Any]) -> str:
    """What was found, in a sentence."""
    dropped, bad = (_total(summary["datasets"], key) for key in ("dropped", "bad"))
    threshold = summary["settings"].get("threshold")
    one = dropped == 1
    like = f"{'is' if one else 'are'} equal to"
    if threshold is not None:
        like = f"share{'s' * one} {threshold:.0%} of {'its' if one else 'their'} shingles or more with"
    text = f"{dropped:,} row{'s' * (not one)} {like} one that stays"
    if dropped:
        many = summary["clusters"] > 1
        text += f", in {summary['clusters']:,} cluster{'s' * many}"
        text += f", the largest of {summary['largest_cluster']:,} rows" * many
    return text + (f"; {bad:,} more could not be used and were set aside" if bad else "")


def print_build(result: BuildResult) -> None:
    """What was kept and dropped, and why, and where the version lies."""
    sources, shares = result.summary["sources"], result.summary["shares"]
    keys = ("source", "read", "selected", "survived", "kept")
    rows = [
        (*(source[key] for key in keys), f"{share['rows']:.1%}", f"{share['tokens']:.1%}")
        for source, share in zip(sources, shares, strict=True)
    ]
    totals = ("all", *(_total(sources, key) for key in keys[1:]), "", "")
    counted = result.manifest["tokens"]["counted"] == "exact"
    table((*keys, "of rows", "of tokens" if counted else "of tokens (estimated)"), [*rows, totals])
    print_reasons(sources)
    if any(step["settings"].get("use") for step in result.manifest["steps"] if step["op"] == "licenses"):
        refused, none = _by_license(sources)
        print(f"\nby their licences {refused:,} rows were left out; {none:,} of them name none")
    if held := result.manifest.get("test_rows"):
        print(f"\n{held:,} of the rows are held out, in test/")
    if bad := _total(sources, "bad"):
        print(f"\n{bad:,} more could not be used and were set aside in bad_rows.parquet")
    what = "the same rows as before" if result.reused else f"{result.rows:,} rows"
    print(f"\n{visible(result.name)}: {what}, in {visible(str(result.path))}")
    if result.differs:
        print(
            f"the rows are those of {visible(result.name)}; its manifest, card and dropped rows are of the "
            f"earlier recipe (differs in: {', '.join(result.differs)}); remove the folder to record this one"
        )


def _by_license(sources: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """How many rows were dropped by their licence, and how many of them because they name none."""
    counts = [(v, n) for source in sources for v, n in source["dropped"].items() if v.startswith("licenses:")]
    return sum(n for _, n in counts), sum(n for v, n in counts if v == "licenses:missing")


def print_rebuilt(result: Rebuilt) -> None:
    """Whether a version is the same when it is made again; if not, what moved."""
    for source in result.sources:
        if source["moved"] or source["rows_added"] or source["rows_removed"]:
            rows = f"{source['rows_added']:,} rows are new, {source['rows_removed']:,} are gone"
            print(visible(f"source {source['source']} {source['moved'] or 'is what it was'}: {rows}"))
    for step in result.operators:
        print(visible(f"step {step['step']}, {step['op']}: version {step['version']}, now {step['now']}"))
    if result.tokenizer:
        print(visible(f"the tokenizer {result.tokenizer} has other content"))
    for name, (before, now) in result.libraries.items():
        print(visible(f"{name} {before}, now {now}"))
    if result.same_rows:
        what = "the same rows, in the same bytes" if result.same_bytes else "the same rows, in other bytes"
    else:
        what = "other rows"
    print(f"{visible(result.version)}: {what}")


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


def print_kept(kept: dict[str, Any]) -> None:
    """What is kept between runs: evaluation indexes, scan results, and how much of it is of no use."""
    if kept["indexes"]:
        indexes = [
            (i["suite"], len(i["evals"]), i["items"], i["rule"], i["bytes"] / 1e6, i["last_used"])
            for i in kept["indexes"]
        ]
        table(("suite", "evals", "items", "rule", "MB", "last used"), indexes)
        print()
    if kept["scans"]:
        columns = ("data set", "suite", "roles", "batches", "rows", "evals", "findings", "MB", "last used")
        keys = ("dataset", "suite", "roles", "batches", "rows")
        scans = [
            (*(s[key] for key in keys), len(s["evals"]), s["findings"], s["bytes"] / 1e6, s["last_used"])
            for s in kept["scans"]
        ]
        table(columns, scans)
        print()
    what = f"{kept['bytes'] / 1e6:,.1f} MB" if kept["indexes"] or kept["scans"] else "nothing"
    print(f"{visible(kept['folder'])} keeps {what}")
    if useless := kept["useless"]["entries"]:
        megabytes = kept["useless"]["bytes"] / 1e6
        print(
            f"{_entries(useless)} ({megabytes:,.1f} MB) of no use any more; --prune deletes what is of no use"
        )


def print_pruned(pruned: Pruned, folder: Path) -> None:
    """What was deleted, and what is left."""
    print(
        f"deleted {_entries(pruned.entries)}, {pruned.freed / 1e6:,.1f} MB; "
        f"{visible(str(folder))} keeps {_entries(pruned.left)}, {pruned.left_bytes / 1e6:,.1f} MB"
    )


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"
