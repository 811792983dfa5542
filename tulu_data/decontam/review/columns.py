"""The findings of a run as plain numbers: what the review page counts, filters and sorts by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.items import SuiteItems
from tulu_data.turns import one_chunk

Ints = npt.NDArray[np.int64]

KINDS = ("copy", "short", "options", "partial", "changed_numbers", "near_duplicate")
ACTIONS = ("drop", "review", "keep")
NAMES = ("dataset", "row", "eval", "item", "kind", "action", "score")


class Words:
    """Words by number, in the order in which they are first seen."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._numbers = {word: number for number, word in enumerate(known)}

    def listed(self) -> list[str]:
        """The words."""
        return list(self._numbers)

    def numbers(self, words: pa.Array) -> Ints:
        """The number of every word."""
        coded = words.dictionary_encode()
        known = [self._numbers.setdefault(w, len(self._numbers)) for w in coded.dictionary.to_pylist()]
        numbers: Ints = np.asarray(known, np.int64)[coded.indices.to_numpy(zero_copy_only=False)]
        return numbers


@dataclass
class Columns:
    """The findings of a suite in numbers, one array a column, filled table by table.

    Rows are counted from 0 in the order of their findings, which lie together; items are counted through the
    whole suite.
    """

    suite: SuiteItems
    datasets: Words
    most: int
    """So many ids of rows are kept."""
    kinds: Words = field(default_factory=lambda: Words(KINDS))
    actions: Words = field(default_factory=lambda: Words(ACTIONS))
    parts: dict[str, list[npt.NDArray[Any]]] = field(default_factory=lambda: {name: [] for name in NAMES})
    rows: int = 0

    def __post_init__(self) -> None:
        parts = self.suite.evals
        self.evals = {part.eval.name: number for number, part in enumerate(parts)}
        self._eval_of = np.repeat(np.arange(len(parts)), [len(part.ids) for part in parts])
        evals = pa.array(list(self.evals), pa.string()).take(pa.array(self._eval_of))
        self._items = _joined(evals, pa.array([name for part in parts for name in part.ids], pa.string()))
        self._row_ids: list[pa.Array] = []
        self._last = ""
        self._digests = sha256(self.suite.fingerprint.encode()), sha256()

    def add(self, matches: pa.Table) -> tuple[pa.Table, Ints]:
        """Takes a table of findings; returns those of this suite (a recipe may have several), and items."""
        evals, ids = (one_chunk(matches[name]) for name in ("eval", "item_id"))
        items = pc.index_in(_joined(evals, ids), self._items)
        if items.null_count:
            matches, items = matches.filter(items.is_valid()), items.drop_null()
        if not matches.num_rows:
            return matches, np.zeros(0, np.int64)
        column = {name: one_chunk(matches[name]) for name in matches.column_names}
        numbers = items.to_numpy().astype(np.int64)
        found = {
            "dataset": self.datasets.numbers(column["dataset"]),
            "row": self._number_rows(column["row_id"]),
            "eval": self._eval_of[numbers],
            "item": numbers,
            "kind": self.kinds.numbers(column["kind"]),
            "action": self.actions.numbers(column["action"]),
            "score": column["score"].to_numpy(),
        }
        for name in NAMES:
            self.parts[name].append(found[name].astype(np.float64 if name == "score" else np.int32))
        self._digests[0].update("".join(f"{row_id}\n" for row_id in column["row_id"].to_pylist()).encode())
        self._digests[1].update(numbers.tobytes())
        return matches, numbers

    def _number_rows(self, ids: pa.Array) -> Ints:
        before = pa.concat_arrays([pa.array([self._last], pa.string()), ids[:-1]])
        new = pc.not_equal(ids, before)
        numbers = self.rows - 1 + np.cumsum(new.to_numpy(zero_copy_only=False).astype(np.int64))
        own = ids.filter(new)
        self._row_ids.append(own[: max(0, self.most - self.rows)])
        self.rows += len(own)
        self._last = ids[-1].as_py()
        return numbers

    def all(self) -> dict[str, npt.NDArray[Any]]:
        """Every column whole."""
        for name, parts in self.parts.items():
            self.parts[name] = [np.concatenate(parts) if parts else np.zeros(0, np.int32)]
        return {name: whole for name, (whole,) in self.parts.items()}

    def row_ids(self, most: int) -> pa.Array:
        """The ids of the first `most` rows."""
        return pa.concat_arrays([*self._row_ids, pa.array([], pa.string())])[:most]

    @property
    def run(self) -> str:
        """A hash of the suite and of what was found of it, whatever is to happen with the findings."""
        return sha256(b"".join(digest.digest() for digest in self._digests)).hexdigest()[:32]


def _joined(evals: pa.Array, ids: pa.Array) -> pa.Array:
    """One text for each item: names of evals hold no NUL."""
    return pc.binary_join_element_wise(evals, ids, "\0")


# -- the overview -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """What the overview shows. `sure` are findings to drop by; `open` ones only ask for review."""

    kinds: list[list[int]]
    """Findings by kind (down) and action (across)."""
    cells: list[list[int]]
    """`[dataset, eval, sure items, items open only, rows]` where anything was found."""
    evals: list[list[int]]
    """By eval: `[sure items, items open only]`, in any dataset."""
    datasets: list[list[int]]
    """By dataset: `[sure rows, rows open only]`."""


def count(columns: Columns) -> Counts:
    """Counts everything found; findings that are kept do not count as found."""
    all_of = columns.all()
    kinds, actions = columns.kinds.listed(), columns.actions.listed()
    pairs = np.bincount(all_of["kind"] * len(actions) + all_of["action"], minlength=len(kinds) * len(actions))
    kept = all_of["action"] == ACTIONS.index("keep")
    of = {name: values[~kept] for name, values in all_of.items()}
    sure = of["action"] == ACTIONS.index("drop")
    evals, datasets = len(columns.suite.evals), len(columns.datasets.listed())
    cell = of["dataset"] * evals + of["eval"]
    per_cell = [
        *_sure_and_open(cell, of["item"], sure, datasets * evals),
        _distinct(cell, of["row"], datasets * evals),
    ]
    return Counts(
        pairs.reshape(len(kinds), len(actions)).tolist(),
        [[c // evals, c % evals, *(int(n[c]) for n in per_cell)] for c in np.unique(cell).tolist()],
        _side(of["eval"], of["item"], sure, evals),
        _side(of["dataset"], of["row"], sure, datasets),
    )


def _side(groups: Ints, values: Ints, sure: npt.NDArray[np.bool_], size: int) -> list[list[int]]:
    return [
        list(pair)
        for pair in zip(*(n.tolist() for n in _sure_and_open(groups, values, sure, size)), strict=True)
    ]


def _sure_and_open(groups: Ints, values: Ints, sure: npt.NDArray[np.bool_], size: int) -> tuple[Ints, Ints]:
    """By group: how many values have a sure finding, and how many have only others."""
    some = _distinct(groups[sure], values[sure], size)
    return some, _distinct(groups, values, size) - some


def _distinct(groups: Ints, values: Ints, size: int) -> Ints:
    """By group: how many different values there are."""
    span = int(values.max(initial=0)) + 1
    return np.bincount(np.unique(groups.astype(np.int64) * span + values) // span, minlength=size)


def used_items(columns: Columns, most: int) -> tuple[Ints, Ints]:
    """The items that the first `most` findings are about, ascending; and which of them each is about."""
    used, places = np.unique(columns.all()["item"][:most], return_inverse=True)
    return used, places
