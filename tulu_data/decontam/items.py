"""The items of a suite, read from their sources. What is missing stops the run: a suite is whole or none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.cache.store import Cache
from tulu_data.decontam.match import Matcher
from tulu_data.decontam.matchers import matcher_of
from tulu_data.decontam.suite import Eval, FieldSpec, Suite
from tulu_data.errors import SourceError, nearest
from tulu_data.progress import Progress
from tulu_data.sources import Batch, SourceLock, open_source
from tulu_data.sources.batch import refuse


@dataclass(frozen=True)
class EvalItems:
    """The items of one eval: their ids, and the texts of each slot (null counts as empty)."""

    eval: Eval
    ids: list[str]
    texts: list[list[str]]
    """Slots are the fields, then the options: as many as the item with the most has."""
    lock: SourceLock

    @property
    def slots(self) -> list[str]:
        """What the slots are called."""
        fields = [field.name for field in self.eval.fields]
        return [*fields, *(f"options.{number}" for number in range(len(self.texts) - len(fields)))]

    def rows(self) -> list[tuple[str, ...]]:
        """The texts of each item's fields."""
        return list(zip(*self.texts[: len(self.eval.fields)], strict=True))

    def options(self) -> list[tuple[str, ...]]:
        """The answer options of each item."""
        options = self.texts[len(self.eval.fields) :]
        return list(zip(*options, strict=True)) if options else [()] * len(self.ids)


@dataclass(frozen=True)
class Names:
    """The words of a suite as Arrow arrays, to be taken by number."""

    eval_of: npt.NDArray[np.int32]
    evals: pa.Array
    roles: pa.Array
    splits: pa.Array
    ids: pa.Array
    fields: pa.Array
    first_field: npt.NDArray[np.int64]
    """Where an eval's slots begin in `fields`."""


@dataclass(frozen=True)
class SuiteItems:
    """All items of a suite, in its order, and the matcher that finds them."""

    suite: Suite
    evals: tuple[EvalItems, ...]
    cache: Cache | None = field(default=None, compare=False, repr=False)
    """Where the index of an earlier run may lie."""

    @cached_property
    def matcher(self) -> Matcher:
        """The rule, made ready for the items (at first use)."""
        from tulu_data.decontam.cache.indexes import kept_index  # it speaks of suites

        rows = [row for part in self.evals for row in part.rows()]
        options = [given for part in self.evals for given in part.options()]
        sizes = [len(part.ids) for part in self.evals]
        groups = np.repeat(np.arange(len(self.evals), dtype=np.int32), sizes)
        return matcher_of(self.suite.rule, rows, options, groups, keep=partial(kept_index, self.cache, self))

    @cached_property
    def names(self) -> Names:
        """What each item, and each field of each item, is called."""
        sizes = [len(part.ids) for part in self.evals]
        widths = [len(part.slots) for part in self.evals]
        return Names(
            eval_of=np.repeat(np.arange(len(self.evals), dtype=np.int32), sizes),
            evals=pa.array([part.eval.name for part in self.evals], pa.string()),
            roles=pa.array([part.eval.role for part in self.evals], pa.string()),
            splits=pa.array([part.eval.split for part in self.evals], pa.string()),
            ids=pa.array([name for part in self.evals for name in part.ids], pa.string()),
            fields=pa.array([name for part in self.evals for name in part.slots], pa.string()),
            first_field=np.cumsum([0, *widths[:-1]]),
        )

    @cached_property
    def starts(self) -> list[int]:
        """The number of each eval's first item."""
        return np.cumsum([0, *(len(part.ids) for part in self.evals)]).tolist()  # type: ignore[no-any-return]

    def place(self, item: int) -> tuple[EvalItems, int]:
        """The eval of an item, and the item's number in it."""
        number = int(np.searchsorted(self.starts, item, side="right")) - 1
        return self.evals[number], item - self.starts[number]

    def unchecked(self, part: EvalItems) -> int:
        """How many items of an eval nothing can match."""
        start = self.starts[self.evals.index(part)]
        return sum(bool(self.matcher.unchecked(item)) for item in range(start, start + len(part.ids)))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the rule, and of every eval's name, ids and texts."""
        digest = sha256(self.suite.rule.model_dump_json().encode())
        for part in self.evals:
            for text in (
                part.eval.name,
                part.eval.role,
                *part.ids,
                *(t for texts in part.texts for t in texts),
            ):
                digest.update(f"{len(text.encode())}:{text}".encode())
        return digest.hexdigest()


def read_items(
    suite: Suite,
    *,
    mirror: Path | None = None,
    progress: Progress | None = None,
    cache: Cache | None = None,
) -> SuiteItems:
    """Reads every eval of a suite.

    Raises:
        SourceError: an eval cannot be read, lacks a field, has a row without the text that a pattern wants,
            or has another number of rows than the suite says (those of a synthetic sample may).
    """
    (progress or Progress()).say(
        f"reading suite {suite.name}: {len(suite.evals)} eval{'s' * (len(suite.evals) != 1)}"
    )
    with ThreadPoolExecutor(4) as pool:
        parts = [pool.submit(read_eval, e, suite.base, mirror) for e in suite.evals]
        return SuiteItems(suite, tuple(part.result() for part in parts), cache)


def read_eval(entry: Eval, base: Path, mirror: Path | None = None) -> EvalItems:
    """Reads one eval; see `read_items`."""
    source = open_source(entry.spec(), base=base, mirror=mirror)
    ids: list[str] = []
    texts: list[list[str]] = [[] for _ in entry.fields]
    options: list[list[str]] = []
    for batch in _first(source.batches(on_bad=refuse), entry.first):
        ids += _ids(entry, batch)
        for column, wanted in zip(texts, entry.fields, strict=True):
            column.extend(_texts(entry, wanted, batch))
        options += _options(entry, batch)
    if entry.rows is not None and len(ids) != entry.rows and not source.synthetic:
        raise SourceError(
            f"eval {entry.name!r} has {len(ids):,} rows",
            where=entry.from_,
            expected=f"{entry.rows:,}, as the suite says",
        )
    for column, wanted in zip(texts, entry.fields, strict=True):
        if not any(column):
            raise SourceError(
                f"eval {entry.name!r}: field {wanted.name!r} is empty in every row", where=entry.from_
            )
    most = max(map(len, options), default=0)
    texts += [[given[n] if n < len(given) else "" for given in options] for n in range(most)]
    return EvalItems(entry, _unlike(ids), texts, source.lock())


def _unlike(ids: list[str]) -> list[str]:
    """The ids, those that repeat told apart as `id~1`, `id~2`: upstream ids are never relied upon."""
    if len(set(ids)) == len(ids):
        return ids
    taken, seen = set(ids), Counter[str]()
    out = []
    for name in ids:
        unique = name
        while seen[name] and unique in taken:
            unique = f"{name}~{seen[name]}"
            seen[name] += 1
        seen[name] = seen[name] or 1
        taken.add(unique)
        out.append(unique)
    return out


def _first(batches: Iterator[Batch], most: int | None) -> Iterator[Batch]:
    """Only the first `most` rows of each file or config."""
    seen: dict[str, int] = {}
    for batch in batches:
        left = batch.table.num_rows if most is None else max(0, most - seen.get(batch.file, 0))
        seen[batch.file] = seen.get(batch.file, 0) + batch.table.num_rows
        if left:
            lines = batch.lines.slice(0, left) if batch.lines is not None else None
            yield replace(
                batch, table=batch.table.slice(0, left), rows=batch.rows.slice(0, left), lines=lines
            )


def _ids(entry: Eval, batch: Batch) -> Sequence[str]:
    numbers = batch.rows.to_pylist()
    given = numbers if entry.id is None else _column(entry, entry.id, batch).to_pylist()
    return [str(row if value is None else value) for value, row in zip(given, numbers, strict=True)]


def _texts(entry: Eval, field: FieldSpec, batch: Batch) -> list[str]:
    values = _column(entry, field.column, batch).to_pylist()
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise SourceError(
                f"eval {entry.name!r}: the field is no text but {type(value).__name__}",
                where=batch.where(row, field.column), expected="a column of text, or a dotted path to one",
            )  # fmt: skip
    if field.pattern is None:
        return [value or "" for value in values]
    found = [re.search(field.pattern, value or "") for value in values]
    for row, hit in enumerate(found):
        if hit is None:
            raise SourceError(
                f"eval {entry.name!r}: the text of field {field.name!r} does not fit its pattern",
                where=batch.where(row, field.column), expected=field.pattern,
            )  # fmt: skip
    return [hit.group(1) or "" for hit in found if hit]


_LETTERED = re.compile(r"\s*[(\[]?([A-Z])[)\].:]\s*")


def _options(entry: Eval, batch: Batch) -> list[list[str]]:
    """The options of each row, without letters before them."""
    given: list[list[str]] = [[] for _ in range(batch.table.num_rows)]
    for path in entry.options:
        for row, value in enumerate(_column(entry, path, batch).to_pylist()):
            found = value if isinstance(value, list) else [value]
            for text in found:
                if text is not None and not isinstance(text, str):
                    raise SourceError(
                        f"eval {entry.name!r}: an option is no text but {type(text).__name__}",
                        where=batch.where(row, path), expected="columns of text, or one with lists of text",
                    )  # fmt: skip
            given[row] += [text or "" for text in found]
    return [_without_letters(texts) for texts in given]


def _without_letters(options: list[str]) -> list[str]:
    """Options without the letters before them, where each has its own: "(A) Line", "(B) Circle"."""
    found = [_LETTERED.match(text) for text in options]
    letters = [hit.group(1) for hit in found if hit]
    if letters != [chr(ord("A") + number) for number in range(len(options))]:
        return options
    return [text[hit.end() :] for text, hit in zip(options, found, strict=True) if hit]


def _column(entry: Eval, path: str, batch: Batch) -> Any:
    """A column of the batch, or the part of a struct column that a dotted path names."""
    table = batch.table
    if path in table.column_names:
        return table[path]
    head, *rest = path.split(".")
    if head in table.column_names:
        column = table[head]
        for part in rest:
            if not pa.types.is_struct(column.type) or column.type.get_field_index(part) < 0:
                break
            column = pc.struct_field(column, part)
        else:
            return column
    raise SourceError(
        f"eval {entry.name!r} has no field {path!r}", where=batch.file,
        expected=f"one of: {', '.join(table.column_names)}", nearest=nearest(path, table.column_names),
    )  # fmt: skip
