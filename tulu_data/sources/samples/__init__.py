"""A mirror of made-up rows: every dataset of a recipe in its native schema, so that it runs without the Hub.

A maker knows one published shape: its columns, its files and its quirks. The catalogue says which dataset has
which shape. A row depends on the seed, its dataset and its number only, so a sample is the same bytes each
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from tulu_data.errors import Problem, RecipeError, nearest
from tulu_data.sources.hub import ALL
from tulu_data.sources.mirror import SAMPLE
from tulu_data.sources.output import new_folder
from tulu_data.sources.samples.case import Case, Dataset, Made, Part, Row
from tulu_data.sources.samples.files import TRUTH, write_card, write_rows, write_truth
from tulu_data.sources.source import SourceSpec

__all__ = ["SampleMirror", "SampledDataset", "Wanted", "datasets", "write_mirror"]

SCHEMES = ("hf", "mirror")
"""Sources that are read from a mirror; files and versions of the store are where they are."""

_FEW = 20
"""What no source asks for (another split, another config) has one row for so many, so that reading the wrong
one shows."""

_COPY_EVERY, _COPY_BACK = 40, 6
"""Where copies are planted, one case in 40 is that of six before it."""


@dataclass(frozen=True)
class Wanted:
    """A source to make rows for."""

    spec: SourceSpec
    where: str = ""
    """Where a recipe names it, for the reader of an error."""


@dataclass(frozen=True)
class SampledDataset:
    """A dataset that was written."""

    name: str
    rows: int
    files: tuple[str, ...]


@dataclass(frozen=True)
class SampleMirror:
    """What was written, and which datasets were left out because their shape is not known."""

    folder: Path
    datasets: tuple[SampledDataset, ...]
    left_out: tuple[str, ...] = ()


@cache
def catalogue() -> Mapping[str, Dataset]:
    """Every dataset that a sample can be made of, with all its files."""
    from tulu_data.sources.samples import (
        chats,
        completions,
        evals,
        instructions,
        preference,
        rlvr,
        sft,
        votes,
    )

    gathered: dict[str, list[Part]] = {}
    for module in (sft, chats, instructions, preference, votes, completions, rlvr, evals):
        for name, parts in module.DATASETS.items():
            gathered.setdefault(name, []).extend(parts)
    return gathered


def datasets() -> list[str]:
    """The datasets that a sample can be made of."""
    return sorted(catalogue())


def write_mirror(
    wanted: Iterable[Wanted],
    out: Path,
    *,
    rows: int,
    seed: int = 42,
    force: bool = False,
    skip_unknown: bool = False,
) -> SampleMirror:
    """Writes a mirror folder with `rows` made-up rows for each source, and `truth.jsonl`.

    Sources that are not read from a mirror are passed over.

    Args:
        wanted: the sources.
        out: the folder, laid out `ORG/NAME/…`; it appears whole or not at all.
        rows: how many rows each source gets; other splits and configs of its dataset get a few.
        seed: other seeds make up other rows.
        force: whether an earlier sample at `out` is replaced.
        skip_unknown: whether a dataset whose shape is not known is left out, instead of an error.

    Raises:
        RecipeError: the shape of a dataset is not known, or a source asks for a config, split or file that
            the dataset does not have; all of them in one error.
        StoreError: `out` is no new or empty folder, or cannot be written.
    """
    plan, unknown = _plan(wanted, rows, skip_unknown=skip_unknown)
    written: list[SampledDataset] = []
    replace = force or _is_empty(out)
    with new_folder(out, _ours(out), force=replace) as folder:
        truths: list[dict[str, Any]] = []
        for name, counts in plan.items():
            written.append(_write(folder, name, counts, seed, truths))
        write_truth(folder / TRUTH, truths)
    return SampleMirror(out, tuple(written), tuple(unknown))


# -- what to write -------------------------------------------------------------------------------------------

_Counts = dict[Part, int]


def _plan(
    wanted: Iterable[Wanted], rows: int, *, skip_unknown: bool
) -> tuple[dict[str, _Counts], Sequence[str]]:
    """How many rows each file of each dataset gets; and the datasets that are not known."""
    asked_for: dict[str, _Counts] = {}
    problems: list[Problem] = []
    unknown: dict[str, None] = {}
    for want in wanted:
        scheme, _, name = want.spec.from_.partition(":")
        if scheme not in SCHEMES:
            continue
        if name not in catalogue():
            unknown[name] = None
            if not skip_unknown:
                problems.append(_unknown(want, name))
            continue
        counts = asked_for.setdefault(name, {})
        asked, missing = _asked(want.spec, catalogue()[name])
        problems += [Problem(missing, want.where)] if missing else []
        for part, share in zip(asked, _shares(rows, len(asked)), strict=True):
            counts[part] = max(counts.get(part, 0), share)
    if problems:
        raise RecipeError("the sample cannot be made", dict.fromkeys(problems))
    few = min(rows, max(4, rows // _FEW))
    plan = {
        name: {part: min(counts.get(part, few), part.most or rows) for part in catalogue()[name]}
        for name, counts in sorted(asked_for.items())
    }
    return plan, sorted(unknown)


def _unknown(want: Wanted, name: str) -> Problem:
    near = nearest(name, datasets())
    remedy = f"Did you mean {near!r}? " if near else ""
    remedy += "--skip-unknown leaves it out; rows of your own can stand in: put them into the mirror folder"
    return Problem(f"no sample is known for the dataset {name}", want.where, remedy)


def _shares(rows: int, parts: int) -> list[int]:
    return [max(1, (rows + i) // parts) for i in reversed(range(parts))]


def _asked(spec: SourceSpec, parts: Dataset) -> tuple[Sequence[Part], str]:
    """The files that a source reads; or none, and what the dataset lacks."""
    if spec.files is not None:
        found = [part for part in parts if _matches(part.path, spec.files)]
        listing = ", ".join(part.path for part in parts)
        return found, "" if found else f"{spec.from_} has no file {spec.files!r}; expected one of: {listing}"
    configs = list(dict.fromkeys(part.config for part in parts))
    config = spec.config or ("default" if "default" in configs else configs[0])
    found = [part for part in parts if config in (ALL, part.config)]
    if not found:
        return [], f"{spec.from_} has no config {config!r}; expected one of: {', '.join(configs)}"
    splits = ", ".join(dict.fromkeys(part.split for part in found))
    found = [part for part in found if part.split == (spec.split or "train")]
    missing = f"{spec.from_} has no split {spec.split or 'train'!r}; expected one of: {splits}"
    return found, "" if found else missing


def _matches(path: str, pattern: str) -> bool:
    """Whether a glob, as `Path.glob` takes it, finds the file."""
    if "**" in pattern:
        return fnmatchcase(path, pattern.replace("**/", "*"))
    pieces, patterns = path.split("/"), pattern.split("/")
    return len(pieces) == len(patterns) and all(map(fnmatchcase, pieces, patterns))


# -- writing -------------------------------------------------------------------------------------------------


def _write(
    folder: Path, name: str, counts: _Counts, seed: int, truths: list[dict[str, Any]]
) -> SampledDataset:
    home = folder / name
    for part, count in counts.items():
        rows: list[Row] = []
        for made, places, case in _scattered(part, name, count, seed, rows):
            if not part.items:
                truths.append(_truth(name, part, made, places, case))
        write_rows(home / part.path, rows, part.schema)
    total = sum(counts.values())
    write_card(home, name, list(counts), total)
    return SampledDataset(name, total, tuple(part.path for part in counts))


def _scattered(
    part: Part, dataset: str, count: int, seed: int, rows: list[Row]
) -> Iterator[tuple[Made, list[int], Case]]:
    """Every case of a file with the places of its rows; the rows themselves go to `rows`."""
    cases = list(_cases(part, dataset, count, seed))
    owners = [number for number, (made, _) in enumerate(cases) for _ in made.rows]
    queues = [iter(made.rows) for made, _ in cases]
    if part.scattered:
        Random(f"{seed}/{dataset}/{part.path}").shuffle(owners)  # noqa: S311 - nothing secret
    places: list[list[int]] = [[] for _ in cases]
    for place, owner in enumerate(owners):
        rows.append(next(queues[owner]))
        places[owner].append(place)
    for (made, case), where in zip(cases, places, strict=True):
        yield made, where, case


def _cases(part: Part, dataset: str, count: int, seed: int) -> Iterator[tuple[Made, Case]]:
    """Cases until there are `count` rows; where the part plants copies, some come twice."""
    home = part.family or f"{dataset}/{part.path}"
    tag = blake2b(home.encode(), digest_size=3).hexdigest()
    cases: list[tuple[Made, Case]] = []
    room = count
    while room > 0:
        case = Case(tag, len(cases), seed, room)
        made = part.make(case)
        if part.copies and case.number % _COPY_EVERY == _COPY_EVERY - 1:
            first, case = cases[-_COPY_BACK]
            made = replace(first, why=first.why or "copy")
        cases.append((made, case))
        yield made, case
        room -= len(made.rows)


def _truth(dataset: str, part: Part, made: Made, places: Sequence[int], case: Case) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "config": part.config,
        "split": part.split,
        "file": part.path,
        "rows": list(places),
        "prompt": case.prompt_token,
        "expected": made.expected,
        "why": made.why or None,
        "chosen": list(made.chosen),
        "rejected": list(made.rejected),
    }


# -- where to write ------------------------------------------------------------------------------------------


def _is_empty(out: Path) -> bool:
    return out.is_dir() and not any(out.iterdir())


def _ours(out: Path) -> AbstractSet[str]:
    """What a new sample may replace at `out`: the files of an earlier one, and no dataset that is real."""
    folders = [path for path in out.iterdir() if path.is_dir()] if out.is_dir() else []
    made_up = (org.name for org in folders if all((home / SAMPLE).is_file() for home in org.iterdir()))
    return {TRUTH, *made_up}
