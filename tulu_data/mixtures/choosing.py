"""Which rows a build takes: before the steps of what was loaded, and after them of what passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tulu_data.errors import PolicyError, RecipeError
from tulu_data.mixtures.kept import Kept
from tulu_data.mixtures.opening import OpenSource, too_few
from tulu_data.mixtures.quota import Quota, ShortageError, Supply, quotas
from tulu_data.mixtures.reading import Loaded
from tulu_data.mixtures.recipe import Recipe, SourceEntry
from tulu_data.mixtures.select import Chosen, choose, taking_order


def chosen_of(
    recipe: Recipe, sources: Sequence[OpenSource], loaded: Sequence[Loaded], *, whole: bool
) -> list[Chosen]:
    """Which rows of each source go into the steps.

    Raises:
        RecipeError: with every count above what exists, where the `whole` sources were read.
    """
    if whole:
        problems = [
            too_few(source, rows.rows.rows)
            for source, rows in zip(sources, loaded, strict=True)
            if (source.at.entry.count or 0) > rows.rows.rows and not source.source.synthetic
        ]
        if problems:
            raise RecipeError(f"the recipe {recipe.name} cannot be built", problems)
    return [
        choose(
            rows.name,
            rows.hashes,
            recipe.seed,
            count=None if entry.fill else entry.count,
            fraction=None if entry.fill else entry.fraction,
            strata=rows.strata,
            equal=_equally(entry),
        )
        for entry, rows in zip([source.at.entry for source in sources], loaded, strict=True)
    ]


def quotas_of(
    recipe: Recipe,
    sources: Sequence[OpenSource],
    chosen: Sequence[Chosen],
    strata: Sequence[npt.NDArray[np.int64] | None],
    kept: Kept,
    dropped: Mapping[tuple[str, str], int],
    *,
    whole: bool,
) -> list[Quota]:
    """How often each row that passed the steps stands in the mixture.

    Raises:
        PolicyError: too few passed for what the recipe asks; says which steps dropped how many.
    """
    supplies = []
    for source, before, numbers in zip(sources, chosen, strata, strict=True):
        keys, tokens, held = kept.of_source(before.source)
        entry = source.at.entry
        own = None if numbers is None else numbers[_places(before.keys, keys)]
        order = taking_order(keys, own, equal=_equally(entry))
        lenient = source.source.synthetic or not whole
        supplies.append(Supply(entry, len(before.keys), keys, tokens, order, held, lenient))
    try:
        return quotas(supplies, size=recipe.size, max_per_source=recipe.max_per_source)
    except ShortageError as short:
        raise PolicyError(
            f"the mixture {recipe.name} cannot be filled: {short}", remedy=_lost(short.source, dropped)
        ) from None


def _lost(source: str | None, dropped: Mapping[tuple[str, str], int]) -> str:
    """Where the rows of a source, or of all, went."""
    lost: Counter[str] = Counter()
    for (name, verdict), count in dropped.items():
        if source in (None, name):
            lost[verdict] += count
    if not lost:
        return ""
    reasons = ", ".join(f"{verdict} {count:,}" for verdict, count in lost.most_common(5))
    return f"The steps dropped: {reasons}"


def _equally(entry: SourceEntry) -> bool:
    return entry.stratify is not None and entry.stratify.shares == "equal"


def _places(keys: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Where the wanted keys stand among all."""
    order = np.argsort(keys)
    return order[np.searchsorted(keys[order], wanted)]
