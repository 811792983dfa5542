"""What the shapes of preference pairs have in common."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.sources.adapters._arrow import is_number, is_text, last_user, pick, shared_turns, texts
from tulu_data.sources.adapters._base import Rows
from tulu_data.sources.json_text import is_json_text

SIDES = ("chosen", "rejected")


def pair(rows: Rows, chosen: pa.Array, rejected: pa.Array) -> Mapping[str, pa.Array]:
    """The columns of a pair of whole conversations.

    The prompt is the text of a native `prompt` column. Where there is none, or it is null, it is the last
    user turn among the turns that both share; whatever follows that belongs to the answers, so a pair whose
    turns part early stays usable, with a shorter prompt. A pair that shares no user turn is bad all the same.
    """
    place = last_user(chosen, limit=shared_turns(chosen, rejected))
    for index in np.flatnonzero(place < 0):
        rows.bad(
            int(index), "chosen and rejected share no user turn", "rejected", "two answers to one prompt"
        )
    prompt, native = pick(chosen, place), _native_prompt(rows)
    if native is not None:
        prompt = pc.coalesce(native, prompt)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **judgements(rows)}


def _native_prompt(rows: Rows) -> pa.Array | None:
    """The texts of the `prompt` column; None where it holds something else, such as turns."""
    if "prompt" not in rows.table.column_names or is_json_text(rows.table.schema.field("prompt")):
        return None
    return rows.optional("prompt")


def judgements(rows: Rows) -> dict[str, pa.Array]:
    """Ratings and models of both sides, under the names that published sets give them.

    A rating in text is read where it is a number; its column stays in `native`, since it may say `N/A`.
    """
    found: dict[str, pa.Array] = {}
    for side in SIDES:
        rating = rows.first(_names(side, ("rating", "score")))
        if rating is not None:
            values = rows.column(rating)[1]
            if is_number(values.type):
                found[f"{side}_rating"] = values.cast(pa.float64())
            elif is_text(values.type):
                rows.used.discard(rating)
                found[f"{side}_rating"] = pa.array([_number(v) for v in values.to_pylist()], pa.float64())
            else:
                rows.used.discard(rating)
        model = rows.first([n for n in _names(side, ("model",)) if n in rows.table.column_names])
        if model is not None and is_text(rows.table.schema.field(model).type):
            named = texts(rows.column(model)[1])
            found[f"{side}_model"] = pc.if_else(pc.equal(named, ""), None, named)  # Capybara's chosen side
    return found


def _names(side: str, words: tuple[str, ...]) -> list[str]:
    """Every way to write it; `chonsen_model` is how Tülu 3's persona pairs are published.

    >>> _names("rejected", ("model",))
    ['rejected_model', 'rejected-model', 'model_rejected', 'model-rejected']
    """
    spelt = ["chosen", "chonsen"] if side == "chosen" else [side]
    return [mark.join(pair) for s, w in product(spelt, words) for pair in ((s, w), (w, s)) for mark in "_-"]


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
