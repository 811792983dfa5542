"""Prompts with verifiable answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import is_scalar, items, keys, texts
from tulu_data.sources.adapters._base import Adapter, Rows, column_type
from tulu_data.sources.adapters._turns import turns, until_last_user
from tulu_data.sources.adapters.messages import answered

CONSTRAINTS = ("constraint_type", "constraint")
"""Whether rows without one hold null or an empty text was not verified; both are taken."""


class RLVR(Adapter):
    """Prompts with a ground truth that a verifier checks (Tülu 3's RLVR sets).

    Uses `messages`, `ground_truth` (anything but text is written as JSON), `dataset`, `constraint_type` and
    `constraint`, which are null or empty where a row has none: null here.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> asked = [{"role": "user", "content": "2 + 2?"}]
    >>> adapt_row("rlvr", {"messages": asked, "ground_truth": 4, "dataset": "gsm8k"})
    {'messages': [{'role': 'user', 'content': '2 + 2?'}], 'ground_truth': '4', 'dataset': 'gsm8k'}
    """

    name: ClassVar[str] = "rlvr"
    kinds: ClassVar[tuple[Kind, ...]] = ("rlvr", "prompts")
    needs: ClassVar[str] = "messages, ground_truth, [dataset, constraint_type, constraint]"

    def matches(self, sample: pa.Table) -> bool:
        """Messages with a ground truth that do not end in an answer."""
        prompts = keys(items(column_type(sample, "messages"))) >= {"role", "content"}
        return prompts and "ground_truth" in sample.column_names and answered(sample, "messages") is not True

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The messages and what the verifier is told."""
        found = turns(rows, "messages")
        if kind == "prompts":
            return {"messages": until_last_user(rows, found, "messages")}
        truth = as_text(rows.column("ground_truth")[1])
        rows.refuse_nulls(truth, "ground_truth")
        told = {
            name: as_text(rows.column(name)[1]) for name in ("dataset", *CONSTRAINTS) if rows.first([name])
        }
        told |= {n: pc.if_else(pc.equal(told[n], ""), None, told[n]) for n in CONSTRAINTS if n in told}
        return {"messages": found, "ground_truth": truth, **told}


def as_text(values: pa.Array) -> pa.Array:
    """Texts as they are, one-item lists as their item, anything else as JSON."""
    if is_scalar(values.type) and not pa.types.is_boolean(values.type):
        return texts(values)
    held = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in values.to_pylist()]
    return pa.array(
        [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in held],
        pa.string(),
    )
