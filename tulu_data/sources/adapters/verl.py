"""verl's reinforcement-learning parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import items, keys
from tulu_data.sources.adapters._base import Adapter, Rows, column_type
from tulu_data.sources.adapters._turns import turns, until_last_user
from tulu_data.sources.adapters.rlvr import as_text


class Verl(Adapter):
    """Prompts with a ground truth, as the trainer verl reads them.

    Uses `prompt` (messages), `reward_model.ground_truth` and `data_source`, which becomes `dataset`.

    >>> from tulu_data.sources.adapters import adapt_row
    >>> asked = [{"role": "user", "content": "2 + 2?"}]
    >>> adapt_row("verl", {"prompt": asked, "reward_model": {"ground_truth": "4"}, "data_source": "m"})
    {'messages': [{'role': 'user', 'content': '2 + 2?'}], 'ground_truth': '4', 'dataset': 'm'}
    """

    name: ClassVar[str] = "verl"
    kinds: ClassVar[tuple[Kind, ...]] = ("rlvr", "prompts")
    needs: ClassVar[str] = (
        "prompt (list of role and content), reward_model (with ground_truth), [data_source]"
    )

    def matches(self, sample: pa.Table) -> bool:
        """A prompt of messages, and a reward model with a ground truth."""
        prompts = keys(items(column_type(sample, "prompt"))) >= {"role", "content"}
        return prompts and "ground_truth" in keys(column_type(sample, "reward_model"))

    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The prompt and its ground truth."""
        found = turns(rows, "prompt")
        if kind == "prompts":
            return {"messages": until_last_user(rows, found, "prompt")}
        _, reward = rows.column("reward_model")
        rows.left_out += [f"reward_model.{f.name}" for f in reward.type if f.name != "ground_truth"]
        truth = as_text(pc.struct_field(reward, "ground_truth"))
        rows.refuse_nulls(truth, "reward_model.ground_truth")
        source = (
            rows.column("data_source")[1] if rows.first(["data_source"]) else pa.nulls(len(rows), pa.string())
        )
        return {"messages": found, "ground_truth": truth, "dataset": as_text(source)}
