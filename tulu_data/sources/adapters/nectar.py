"""Nectar's ranked answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import dig, items, keys, last_user, owners, pick, pieces, texts
from tulu_data.sources.adapters._base import Rows, column_type, is_text_column
from tulu_data.sources.adapters._completions import Completed, answered, completions, judged, ratings
from tulu_data.sources.adapters._transcript import transcripts

RUNS_ON = r"(?:^|\n)\s*(?:Human|Assistant):"
"""An answer that goes on to speak for the user, or begins with a speaker's mark."""


class Nectar(Completed):
    r"""A transcript as prompt, and ranked answers to it (berkeley-nest/Nectar): aspect `rank`, 1 the best.

    Uses `prompt` (`\n\nHuman: … \n\nAssistant: `, of one turn or more) and `answers`, which come in any
    order. An answer in which a paragraph begins with `Human:` or `Assistant:` holds more than an answer: it
    is left out, and `native` counts those as `answers_left_out`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> answers = [{"answer": "Hello", "model": "m", "rank": 1.0}, {"answer": "\n\nHuman: x", "rank": 2.0}]
    >>> adapt_row("nectar", {"prompt": "\n\nHuman: Hi\n\nAssistant: ", "answers": answers})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'prompt': 'Hi',
     'completions': [{'messages': [{'role': 'user', 'content': 'Hi'},
                                   {'role': 'assistant', 'content': 'Hello'}],
                      'model': 'm',
                      'ratings': [{'aspect': 'rank', 'rating': 1.0, 'note': None}]}],
     'native': '{"answers_left_out": 1}'}
    """

    name: ClassVar[str] = "nectar"
    needs: ClassVar[str] = "prompt, answers (list of answer, model and rank)"

    def matches(self, sample: pa.Table) -> bool:
        """A prompt and a list of ranked answers."""
        return is_text_column(sample, "prompt") and keys(items(column_type(sample, "answers"))) >= {
            "answer",
            "rank",
        }

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:  # noqa: ARG002 - it has one kind
        """The last user turn as prompt, and every answer behind all turns."""
        context = transcripts(rows, "prompt", prompts=True)
        place = last_user(context)
        for index in np.flatnonzero(place < 0):
            rows.bad(int(index), "prompt holds no user turn", "prompt", "a user turn to answer")
        offsets, flat = pieces(rows.column("answers")[1])
        rows.refuse_inner_nulls(texts(dig(flat, "answer")), offsets, "answers", "answer")
        offsets, flat = _kept(rows, offsets, flat)
        whole = answered(context, offsets, texts(dig(flat, "answer")))
        rated = ratings({"rank": judged(dig(flat, "rank"))})  # the card says int, the code reads a float
        return {
            "prompt": pick(context, place),
            "completions": completions(offsets, whole, dig(flat, "model"), rated),
        }


def _kept(
    rows: Rows, offsets: np.ndarray[tuple[int], np.dtype[np.int64]], flat: pa.Array
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], pa.Array]:
    """The answers that are one answer each, and their offsets."""
    runs_on = pc.fill_null(pc.match_substring_regex(texts(dig(flat, "answer")), RUNS_ON), fill_value=False)
    kept = ~runs_on.to_numpy(zero_copy_only=False)
    sizes = np.bincount(owners(offsets)[kept], minlength=len(rows))
    lost = np.diff(offsets) - sizes
    rows.notes["answers_left_out"] = pa.array(lost, mask=lost == 0)
    return np.concatenate([[0], np.cumsum(sizes)]), flat.filter(pa.array(kept))
