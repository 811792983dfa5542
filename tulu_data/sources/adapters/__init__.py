"""Adapters: from the native columns of published data sets to our rows, one file per shape.

An adapter keeps rows as they are: each native row gives one row, or is reported as bad; none is split, merged
or judged. Empty texts pass, because judging a row is an operator's work, which leaves a verdict behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tulu_data.errors import SourceError, UsageError, Where, nearest, unknown
from tulu_data.record import Kind, adapted_schema
from tulu_data.sources.adapters._base import Adapter, Rows
from tulu_data.sources.adapters._lineage import lineage
from tulu_data.sources.adapters._mixed import unmix
from tulu_data.sources.adapters.alpaca import Alpaca
from tulu_data.sources.adapters.alpaca_farm import AlpacaFarm
from tulu_data.sources.adapters.arena import Arena
from tulu_data.sources.adapters.arena_55k import Arena55k
from tulu_data.sources.adapters.bigbench import BigBench
from tulu_data.sources.adapters.dialogue import Dialogue
from tulu_data.sources.adapters.hard_coded import HardCoded
from tulu_data.sources.adapters.helpsteer import HelpSteer
from tulu_data.sources.adapters.hh import HH
from tulu_data.sources.adapters.input_target import InputTarget
from tulu_data.sources.adapters.inputs_targets import InputsTargets
from tulu_data.sources.adapters.instruction import Instruction
from tulu_data.sources.adapters.messages import Messages
from tulu_data.sources.adapters.multiple_choice import MultipleChoice
from tulu_data.sources.adapters.nectar import Nectar
from tulu_data.sources.adapters.oasst import Oasst
from tulu_data.sources.adapters.oasst_trees import OasstTrees
from tulu_data.sources.adapters.persona import Persona
from tulu_data.sources.adapters.preference import Preference
from tulu_data.sources.adapters.preference_text import PreferenceText
from tulu_data.sources.adapters.prm800k import PRM800K
from tulu_data.sources.adapters.problem_solution import ProblemSolution
from tulu_data.sources.adapters.prompt_completion import PromptCompletion
from tulu_data.sources.adapters.question_answer import QuestionAnswer
from tulu_data.sources.adapters.rlvr import RLVR
from tulu_data.sources.adapters.self_instruct import SelfInstruct
from tulu_data.sources.adapters.sentence_label import SentenceLabel
from tulu_data.sources.adapters.sharegpt import ShareGPT
from tulu_data.sources.adapters.shp import SHP
from tulu_data.sources.adapters.stack_exchange import StackExchange
from tulu_data.sources.adapters.task import Task
from tulu_data.sources.adapters.ultrafeedback import UltraFeedback
from tulu_data.sources.adapters.verl import Verl
from tulu_data.sources.adapters.wildguard import WildGuard
from tulu_data.sources.adapters.wildjailbreak import WildJailbreak
from tulu_data.sources.batch import Batch, OnBad, stop

SAMPLE = 1_000
"""How many rows are looked at to know a shape: values settle few shapes, and those at the first row."""

IN_RECIPE = "Name the data as a source of a recipe, and build it"

__all__ = ["Adapted", "Adapter", "adapt", "adapt_row", "detect", "get", "names"]

_ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        *(
            Messages(),
            ShareGPT(),
            Dialogue(),
            Alpaca(),
            Instruction(),
            QuestionAnswer(),
            MultipleChoice(),
            Persona(),
        ),
        *(ProblemSolution(), PromptCompletion(), InputsTargets(), InputTarget(), SentenceLabel(), Task()),
        *(SelfInstruct(), BigBench(), WildJailbreak(), WildGuard(), HardCoded(), Oasst(), OasstTrees()),
        *(Preference(), PreferenceText(), HH(), StackExchange()),
        *(UltraFeedback(), Nectar(), SHP(), Arena(), Arena55k(), AlpacaFarm(), HelpSteer(), PRM800K()),
        *(RLVR(), Verl()),
    )
}


@dataclass(frozen=True)
class Adapted:
    """The rows of a batch in our schema, and the native columns that found no place in them."""

    rows: pa.Table
    """`adapted_schema(kind)` exactly."""
    left_out: tuple[str, ...]
    """Native columns (`turns.frames`: keys of its turns) that neither the content nor `native` holds."""


def names() -> list[str]:
    """Every word that `adapter:` takes."""
    return sorted(_ADAPTERS)


def get(name: str, *, where: Where | str | None = None, in_recipe: bool = True) -> Adapter:
    """The adapter of that name.

    Raises:
        UsageError: there is none, or only a recipe can use it and this is none (`in_recipe`).
    """
    if name not in _ADAPTERS:
        raise unknown("adapter", name, names(), where=where)
    adapter = _ADAPTERS[name]
    if adapter.only_recipes and not in_recipe:
        raise UsageError(
            f"only a recipe can use the adapter {name!r}: {adapter.only_recipes}",
            where=where,
            remedy=IN_RECIPE,
        )
    return adapter


def detect(sample: pa.Table, *, kind: Kind | None = None, where: str = "") -> Adapter:
    """The one adapter, of those that can produce `kind`, that the columns and values of some rows call for.

    Where no kind is asked for, adapters that only recipes can use are not considered.

    Raises:
        SourceError: no adapter knows the shape, only a recipe can use it, or more than one adapter fits.
    """
    sample = unmix(sample.slice(0, SAMPLE))
    known = [adapter for adapter in _ADAPTERS.values() if adapter.matches(sample)]
    fitting = [adapter for adapter in known if kind is not None or not adapter.only_recipes]
    able = [adapter for adapter in fitting if kind is None or kind in adapter.kinds]
    if len(able) == 1:
        return able[0]
    if able:
        both = " and ".join(f"{a.name} ({a.needs})" for a in able)
        raise SourceError(
            f"the rows fit more than one adapter: {both}",
            where=where or None,
            remedy=_say([a.name for a in able]),
        )
    if fitting:
        found = ", ".join(f"{a.name} (which gives {' or '.join(a.kinds)})" for a in fitting)
        raise SourceError(
            f"the rows give no {kind} rows: they have the shape of {found}", where=where or None
        )
    if known:
        shape, why = known[0].name, known[0].only_recipes
        raise SourceError(
            f"the rows have the shape of {shape}, which only a recipe can use: {why}",
            where=where or None,
            remedy=IN_RECIPE,
        )
    raise _unknown_shape(sample, kind, where or None)


def _unknown_shape(sample: pa.Table, kind: Kind | None, where: str | None) -> SourceError:
    columns = set(sample.column_names)
    if "Definition" in columns and not columns & {"input", "Instances"}:
        return SourceError(
            "these are task definitions without instances: there are no rows to train on",
            where=where,
            expected="rows with `input` and `output`",
        )
    able = [a for a in _ADAPTERS.values() if (kind in a.kinds if kind else not a.only_recipes)]
    held = ", ".join(f"{f.name} ({_brief(f.type)})" for f in sample.schema)
    needed = "".join(f"\n  {a.name}: {a.needs}" for a in able)
    words = {
        word
        for a in able
        for word in a.needs.replace(",", " ").replace("[", " ").split()
        if word.isidentifier()
    }
    like = next((near for name in sample.column_names if (near := nearest(name, words - columns))), None)
    return SourceError(
        f"no adapter knows the shape of these columns: {held or 'none'}",
        where=where,
        nearest=like,
        remedy=f"{_say(['NAME'])}. Each needs these columns:{needed}",
    )


def _brief(kind: pa.DataType) -> str:
    text = str(kind).replace("element: ", "").replace("item: ", "")
    return text if len(text) <= (limit := 80) else f"{text[:limit]}…"


def _say(choices: list[str]) -> str:
    said = " or ".join(f"`adapter: {name}`" for name in choices)
    return f"Say which: {said} in a recipe, `--adapter` on the command line"


def adapt(
    batch: Batch,
    adapter: Adapter,
    kind: Kind,
    *,
    license: str | None = None,  # noqa: A002 - the word that recipes use
    on_bad: OnBad = stop,
) -> Adapted:
    """The rows of a batch as rows of `kind`; those that cannot be used go to `on_bad`, in order.

    `license` is that of the whole source; without it, a native licence column is taken.

    Raises:
        SourceError: the adapter cannot produce `kind`, or a column it needs is missing or of another type.
        RowError: a row cannot be used, and `on_bad` is `stop`.
    """
    if kind not in adapter.kinds:
        raise SourceError(
            f"adapter {adapter.name!r} gives no {kind} rows",
            where=batch.file,
            expected=f"kind {' or '.join(adapter.kinds)}",
        )
    rows = Rows(batch)
    content = adapter.convert(rows, kind)
    kept = np.ones(len(rows), bool)
    for index, bad in rows.bad_rows:
        on_bad(bad)
        kept[index] = False
    columns, left_out = lineage(rows, license)
    table = _conform({**content, **columns}, len(rows), adapted_schema(kind))
    return Adapted(table if kept.all() else table.filter(pa.array(kept)), left_out)


def _conform(columns: dict[str, pa.Array], count: int, schema: pa.Schema) -> pa.Table:
    """The columns in the order and types of `schema`; null where there is none."""
    found = [columns.get(f.name, pa.nulls(count, f.type)) for f in schema]
    cast = [c if c.type == f.type else c.cast(f.type) for c, f in zip(found, schema, strict=True)]
    return pa.table(cast, schema=schema)


def adapt_row(name: str, row: dict[str, Any], kind: Kind | None = None) -> dict[str, Any]:
    """One native row through an adapter, without the columns that are null: for a look, and for examples."""
    adapter = get(name)
    batch = Batch(pa.Table.from_pylist([row]), pa.array([0], pa.int64()), "row")
    adapted = adapt(batch, adapter, kind or adapter.kinds[0]).rows.drop_columns(["row"])
    return {key: value for key, value in adapted.to_pylist()[0].items() if value is not None}
