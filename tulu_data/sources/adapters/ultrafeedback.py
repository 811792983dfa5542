"""UltraFeedback's rated completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import dig, is_text, items, keys, pieces, texts, turn
from tulu_data.sources.adapters._base import Rows, is_text_column
from tulu_data.sources.adapters._completions import Completed, answered, completions, judged, ratings
from tulu_data.sources.json_text import is_json_text

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
# That ratings can be "N/A", "0" or no number at all is told by others; each is kept as it is said.
SCORES = {"overall": "overall_score", "fine_grained": "fine-grained_score"}
"""Our words for the scores of the whole answer: the judge's 1 to 10, and the mean of the aspects' ratings."""
USED = ("model", "response", "annotations", *SCORES.values())


class UltraFeedback(Completed):
    """An instruction and up to four answers, each rated by aspect (openbmb/UltraFeedback).

    Uses `instruction` and `completions`. The ratings are text upstream: what is no number (`N/A`) is null
    and stays as the rating's note. `custom_system_prompt` told the model how to answer, not the reader what
    was asked, so it is no turn; with `principle` and `critique` it is left out.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> answer = {"model": "m", "response": "Hello!", "annotations": {"honesty": {"Rating": "N/A"}}}
    >>> adapt_row("ultrafeedback", {"instruction": "Hi", "completions": [answer | {"overall_score": 8.0}]})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'prompt': 'Hi',
     'completions': [{'messages': [{'role': 'user', 'content': 'Hi'},
                                   {'role': 'assistant', 'content': 'Hello!'}],
                      'model': 'm',
                      'ratings': [{'aspect': 'honesty', 'rating': None, 'note': 'N/A'},
                                  {'aspect': 'overall', 'rating': 8.0, 'note': None}]}]}
    """

    name: ClassVar[str] = "ultrafeedback"
    needs: ClassVar[str] = "instruction, completions (list of model, response, annotations, overall_score)"

    def matches(self, sample: pa.Table) -> bool:
        """An instruction, and completions with annotations (or JSON text, as their types are mixed)."""
        if not is_text_column(sample, "instruction") or "completions" not in sample.column_names:
            return False
        field = sample.schema.field("completions")
        return is_json_text(field) or keys(items(field.type)) >= {"response", "annotations"}

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """The prompt, and every completion in its order."""
        asked = rows.required("instruction")
        held = _typed(rows)
        rows.left_out += [f"completions.{f.name}" for f in items(held.type) if f.name not in USED]
        offsets, flat = pieces(held)
        answers = texts(dig(flat, "response"))
        rows.refuse_inner_nulls(answers, offsets, "completions", "response")
        rated = {a: judged(dig(flat, "annotations", a, "Rating")) for a in ASPECTS}
        rated |= {ours: judged(dig(flat, theirs)) for ours, theirs in SCORES.items()}
        whole = answered(turn("user", asked), offsets, answers)
        found = completions(offsets, whole, dig(flat, "model"), ratings(rated))
        return {"prompt": asked, "completions": found}


_RATING = pa.struct([("Rating", pa.string())])
_COMPLETIONS = pa.list_(
    pa.struct(
        [
            *((name, pa.string()) for name in ("model", "response", *SCORES.values())),
            ("annotations", pa.struct([(aspect, _RATING) for aspect in ASPECTS])),
        ]
    )
)


def _typed(rows: Rows) -> pa.Array:
    """The completions as lists of structs, also where their mixed `Type` made JSON text of them."""
    _, held = rows.column("completions")
    if not is_text(held.type):
        return held
    rows.left_out += [f"completions.{name}" for name in ("principle", "custom_system_prompt", "critique")]
    parsed = [json.loads(text) if text else None for text in held.to_pylist()]
    return pa.array([found and [_plain(one) for one in found] for found in parsed], _COMPLETIONS)


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    annotations = one.get("annotations") or {}
    rated = {a: {"Rating": _said((annotations.get(a) or {}).get("Rating"))} for a in ASPECTS}
    return {name: _said(one.get(name)) for name in USED if name != "annotations"} | {"annotations": rated}


def _said(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
