"""WildJailbreak's adversarial and vanilla prompts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.sources.adapters._base import Rows
from tulu_data.sources.adapters._pairs import Pair, filled

# The columns, and that `adversarial` is empty where there is no such form, are told by others: not verified.


class WildJailbreak(Pair):
    """A prompt, adversarial where there is such a form of it, and its completion (allenai/wildjailbreak).

    Uses `adversarial` where it is not empty, else `vanilla`, and `completion`. What an adversarial prompt
    was made from stays in `native`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> adapt_row("wildjailbreak", {"vanilla": "Say hi", "adversarial": "", "completion": "Hi"})
    {'messages': [{'role': 'user', 'content': 'Say hi'}, {'role': 'assistant', 'content': 'Hi'}]}
    """

    name: ClassVar[str] = "wildjailbreak"
    needs: ClassVar[str] = "vanilla, adversarial, completion"
    question: ClassVar[str] = "vanilla"
    answers: ClassVar[tuple[str, ...]] = ("completion",)

    def matches(self, sample: pa.Table) -> bool:
        """Both forms of a prompt, and a completion."""
        return "adversarial" in sample.column_names and super().matches(sample)

    def asked(self, rows: Rows) -> pa.Array:
        """The adversarial prompt, else the vanilla one."""
        vanilla, adversarial = (rows.text(name)[1] for name in ("vanilla", "adversarial"))
        there = filled(adversarial)
        found = pc.if_else(there, adversarial, vanilla)
        for index in np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False)):
            rows.bad(int(index), "vanilla and adversarial hold no prompt", "vanilla", "text in one of them")
        rows.notes["vanilla"] = pc.if_else(there, vanilla, None)
        return found
