"""What follows from matches (Tülu 3, section 3.2): rows drop; beyond 2 % a dataset is contaminated."""

from __future__ import annotations

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
    contaminated: bool
    """Whether more than the rule's share of the items is matched (2 % for tulu3)."""

    @property
    def percent(self) -> float:
        """Matched items, in percent."""
        return 100 * self.matched / self.items


def cells(matches: pa.Table, datasets: Sequence[str], suite: SuiteItems) -> list[Cell]:
    """Every dataset against every eval, in the order given, from `matches.parquet`'s columns."""
    dropped = matches.filter(pc.not_equal(matches["action"], "keep"))
    counted = dropped.group_by(["dataset", "eval"]).aggregate(
        [("item_id", "count_distinct"), ("row_id", "count_distinct")]
    )
    found = {
        (r["dataset"], r["eval"]): (r["item_id_count_distinct"], r["row_id_count_distinct"])
        for r in counted.to_pylist()
    }
    share = Fraction(str(suite.suite.rule.contaminated))  # as it is written: 29 % of 100 is 29, not 28.999…
    out = []
    for dataset in datasets:
        for part in suite.evals:
            items, rows = found.get((dataset, part.eval.name), (0, 0))
            over = items > share * len(part.ids)
            out.append(Cell(dataset, part.eval.name, part.eval.role, len(part.ids), items, rows, over))
    return out
