"""What follows from matches (Tülu 3, section 3.2): rows drop; beyond 2 % a dataset is contaminated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.items import SuiteItems


@dataclass(frozen=True)
class Cell:
    """One dataset held against one eval."""

    dataset: str
    eval: str
    role: str
    items: int
    """How many items the eval has."""
    matched: int
    """How many of them some row of the dataset matches."""
    rows: int
    """How many rows of the dataset match one of them."""
    review: int
    """How many rows have only findings that a person should look at."""
    kept: int
    """How many rows match, and are kept because an action or a decision says so."""
    contaminated: bool
    """Whether more than the rule's share of the items is matched (2 % for tulu3)."""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.contaminated:
            return "contaminated"
        if self.matched:
            return "matches"
        return "to review" if self.review else "kept" if self.kept else "no match"

    @property
    def percent(self) -> float:
        """Matched items, in percent."""
        return 100 * self.matched / self.items


ORDER = ("drop", "review", "keep")
"""Of a row's findings of one eval the first of these decides."""


class Tally:
    """Counts, from batches of `matches.parquet`, what of each eval each dataset matches.

    All findings of a row must come in one batch: then memory is bounded by the suite, however many match.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], set[str]] = {}
        self._rows: Counter[tuple[str, str]] = Counter()
        self._review: Counter[tuple[str, str]] = Counter()
        self._kept: Counter[tuple[str, str]] = Counter()

    def add(self, matches: pa.Table) -> None:
        """Counts the findings of some rows: those that drop a row, and rows that are only to be reviewed."""
        dropped = pc.equal(matches["action"], "drop")
        counted = matches.filter(dropped).group_by(["dataset", "eval"])
        for found in counted.aggregate([("item_id", "distinct"), ("row_id", "count_distinct")]).to_pylist():
            pair = (found["dataset"], found["eval"])
            self._items.setdefault(pair, set()).update(found["item_id_distinct"])
            self._rows[pair] += found["row_id_count_distinct"]
        for action, counts in (("review", self._review), ("keep", self._kept)):
            seen = matches.group_by(["dataset", "eval", "row_id"]).aggregate([("action", "distinct")])
            worst = [min(found, key=ORDER.index) for found in seen["action_distinct"].to_pylist()]
            pairs = zip(seen["dataset"].to_pylist(), seen["eval"].to_pylist(), worst, strict=True)
            counts.update((dataset, name) for dataset, name, found in pairs if found == action)

    def cells(self, datasets: Sequence[str], suite: SuiteItems) -> list[Cell]:
        """Every dataset against every eval, in the order given."""
        share = Fraction(str(suite.suite.rule.contaminated))  # as written: 29 % of 100 is 29, not 28.999…
        out = []
        for dataset in datasets:
            for part in suite.evals:
                pair = (dataset, part.eval.name)
                items = len(self._items.get(pair, ()))
                over = items > share * len(part.ids)
                out.append(
                    Cell(
                        *pair,
                        part.eval.role,
                        len(part.ids),
                        items,
                        self._rows[pair],
                        self._review[pair],
                        self._kept[pair],
                        over,
                    )
                )
        return out


def cells(matches: pa.Table, datasets: Sequence[str], suite: SuiteItems) -> list[Cell]:
    """Every dataset against every eval, in the order given, from all of `matches.parquet`."""
    tally = Tally()
    tally.add(matches)
    return tally.cells(datasets, suite)
