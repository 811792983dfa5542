"""Two outputs to an instruction, and which is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._base import Rows, is_text_column
from tulu_data.sources.adapters._completions import TIE, Completed, Judged, answered_twice, judged, two, votes
from tulu_data.sources.adapters._pairs import with_input

QUESTIONS = ("instruction", "input")
PREFERENCES = ("preference", "label")
OUTPUTS = ("output_1", "output_2")
MODELS = ("generator_1", "generator_2")
DRAW = 0.0
"""How AlpacaEval's annotations tell a draw."""


class AlpacaFarm(Completed):
    """Two outputs and the number of the better one (AlpacaFarm, AlpacaEval, LLMBar): aspect `vote`.

    Uses `instruction` with `input` (LLMBar: `input` alone), `output_1`, `output_2`, and `preference` or
    `label`: 1 or 2. AlpacaEval's annotations name their models in `generator_1` and `generator_2`; there, 0
    is a draw, null is no vote, and 1.25 is a quarter of the vote for the second.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> row = {"instruction": "Name a colour.", "input": "", "output_1": "Blue", "output_2": "Dog"}
    >>> found = adapt_row("alpaca_farm", {**row, "preference": 1})["completions"]
    >>> [(one["messages"][1]["content"], one["ratings"][0]["rating"]) for one in found]
    [('Blue', 1.0), ('Dog', 0.0)]
    """

    name: ClassVar[str] = "alpaca_farm"
    needs: ClassVar[str] = "instruction | input, output_1, output_2, preference | label"

    def matches(self, sample: pa.Table) -> bool:
        """A question, two outputs, and which is better."""
        asked = any(is_text_column(sample, name) for name in QUESTIONS)
        voted = any(name in sample.column_names for name in PREFERENCES)
        return asked and voted and all(is_text_column(sample, name) for name in OUTPUTS)

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """The instruction with its input, and both outputs."""
        if is_text_column(rows.table, "instruction"):
            asked = with_input(rows.required("instruction"), rows.optional("input"))
        else:
            asked = rows.required("input")
        whole = answered_twice(asked, *(rows.required(name) for name in OUTPUTS))
        models = [rows.optional(name) for name in MODELS]
        nobody = pa.nulls(len(rows), pa.string())
        m, n = (nobody if model is None else model for model in models)
        shares = _shares(rows, annotated=models[0] is not None)
        return {"prompt": asked, "completions": two(whole, (m, n), {"vote": shares})}


def _shares(rows: Rows, *, annotated: bool) -> tuple[Judged, Judged]:
    """Both sides' votes; rows whose preference is none are bad."""
    name, held = rows.column(*PREFERENCES)
    chosen, notes = judged(held)
    if annotated:
        draw = pc.equal(chosen, DRAW)
        notes = pc.if_else(pc.fill_null(draw, fill_value=False), "draw", notes)
        chosen = pc.if_else(draw, 1 + TIE, chosen)
        fits = pc.and_(pc.greater_equal(chosen, 1.0), pc.less_equal(chosen, 2.0))
        fits = pc.or_kleene(pc.is_null(held), fits)
    else:
        fits = pc.is_in(chosen, pa.array([1.0, 2.0]))
    for index in np.flatnonzero(~pc.fill_null(fits, fill_value=False).to_numpy(zero_copy_only=False)):
        rows.bad(int(index), f"{name} is {held[int(index)]}", name, "1 or 2, the number of the better output")
    return votes(pc.subtract(2.0, chosen), notes)
