"""Stanford Human Preferences: two comments and their votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import is_number
from tulu_data.sources.adapters._base import Rows, column_type, is_text_column
from tulu_data.sources.adapters._completions import Completed, answered_twice, judged, two, votes

SIDES = ("A", "B")


class SHP(Completed):
    """A post and two comments on it (stanfordnlp/SHP, SHP-2): aspects `vote` and `score`.

    Uses `history`, `human_ref_A`, `human_ref_B`, `labels` (1 where A was preferred, 0 where B was) and
    `score_A`, `score_B` (net votes). Who wrote a comment is not told, so there is no model.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> row = {"history": "Why?", "human_ref_A": "So.", "human_ref_B": "No.", "labels": 1}
    >>> found = adapt_row("shp", row | {"score_A": 9, "score_B": 3})["completions"]
    >>> [(one["messages"][1]["content"], [r["rating"] for r in one["ratings"]]) for one in found]
    [('So.', [1.0, 9.0]), ('No.', [0.0, 3.0])]
    """

    name: ClassVar[str] = "shp"
    needs: ClassVar[str] = "history, human_ref_A, human_ref_B, labels, [score_A, score_B]"

    def matches(self, sample: pa.Table) -> bool:
        """A post, two comments, and which was preferred."""
        texts = ("history", *(f"human_ref_{side}" for side in SIDES))
        return all(is_text_column(sample, name) for name in texts) and is_number(
            column_type(sample, "labels")
        )

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """The post as prompt, and both comments."""
        asked = rows.required("history")
        first, second = (rows.required(f"human_ref_{side}") for side in SIDES)
        labels = rows.column("labels")[1]
        known = pc.fill_null(pc.is_in(labels, pa.array([0, 1], labels.type)), fill_value=False)
        for index in np.flatnonzero(~known.to_numpy(zero_copy_only=False)):
            rows.bad(int(index), f"labels is {labels[int(index)]}", "labels", "1 (A preferred) or 0 (B)")
        aspects = {"vote": votes(labels)}
        if all(rows.first([f"score_{side}"]) for side in SIDES):
            a, b = (judged(rows.column(f"score_{side}")[1]) for side in SIDES)
            aspects["score"] = (a, b)
        whole = answered_twice(asked, first, second)
        nobody = pa.nulls(len(rows), pa.string())
        return {"prompt": asked, "completions": two(whole, (nobody, nobody), aspects)}
