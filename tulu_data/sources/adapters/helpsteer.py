"""HelpSteer's rated answers, one to a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import first_text, is_number, pieces, texts, turn
from tulu_data.sources.adapters._base import Rows, column_type, is_text_column
from tulu_data.sources.adapters._completions import Completed, answered, completions, judged, ratings

# How HelpSteer2 marks the roles in a flattened conversation was not verified, so none is taken apart.
ASPECTS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


class HelpSteer(Completed):
    """All answers to a prompt, gathered from rows of one each (nvidia/HelpSteer, HelpSteer2).

    Uses `prompt`, `response` and the aspects helpfulness, correctness, coherence, complexity and verbosity
    (0 to 4, the higher the more). A conversation that HelpSteer2 flattened into its prompt stays one turn.
    Detected where preference rows are asked for; else the rows are a prompt and its completion.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> gathered = {"prompt": ["Hi"] * 2, "response": ["Hello!", "No."], "helpfulness": [4, 0]}
    >>> found = adapt_row("helpsteer", gathered)["completions"]
    >>> [(one["messages"][1]["content"], one["ratings"][0]["rating"]) for one in found]
    [('Hello!', 4.0), ('No.', 0.0)]
    """

    name: ClassVar[str] = "helpsteer"
    needs: ClassVar[str] = f"prompt, response, {', '.join(ASPECTS)}"
    gathers: ClassVar[str] = "prompt"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "response", *ASPECTS)

    def matches(self, sample: pa.Table) -> bool:
        """A prompt, a response and numbers for the aspects."""
        rated = all(is_number(column_type(sample, aspect)) for aspect in ASPECTS)
        return rated and all(is_text_column(sample, name) for name in ("prompt", "response"))

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """The prompt, and its answers in reading order."""
        asked, _ = first_text(rows.column("prompt")[1])
        offsets, flat = pieces(rows.column("response")[1])
        answers = texts(flat)
        rows.refuse_inner_nulls(answers, offsets, "response", "text")
        held = {a: pieces(rows.column(a)[1])[1] for a in ASPECTS if rows.first([a])}
        rated = ratings({aspect: judged(values) for aspect, values in held.items()})
        whole = answered(turn("user", asked), offsets, answers)
        nobody = pa.nulls(len(answers), pa.string())
        return {"prompt": asked, "completions": completions(offsets, whole, nobody, rated)}
