"""How much of each source a mixture takes of the rows that passed the steps.

    count, fraction    take so many of the rows as loaded, before the steps (see `select`); with `fill: true`
                       of those that pass them
    max_per_source     no source gives more rows than this
    repeat             each row stands so often in the mixture; of 2.5, every second row stands three times
    weight             sources with weights share what `size` leaves to them, in rows or in tokens
    size               so many rows or tokens in all; `max`: as many as the weights allow

They apply in this order, each to what the one before leaves. Wherever fewer rows are taken than there are, it
is those that come first by `record.sort_keys`: a larger number only adds rows. What cannot be had is an error
that says where the rows went; a quota is never met by half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tulu_data.mixtures.amounts import Size
from tulu_data.mixtures.recipe import SourceEntry
from tulu_data.mixtures.select import target

Numbers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Supply:
    """What is left of one source after the steps."""

    entry: SourceEntry
    loaded: int
    """How many rows the source has: what `fraction` is a part of."""
    keys: Keys
    """The sort key of every row."""
    tokens: Numbers
    """The tokens of every row."""
    order: Numbers
    """The rows' places, those that are taken first in front."""
    lenient: bool = False
    """Whether too few rows are taken for what they are: those of a synthetic sample."""


@dataclass(frozen=True)
class Quota:
    """How often each row of a source stands in the mixture, and how that was decided."""

    copies: Numbers
    """0 where a row is not taken."""
    words: dict[str, object] = field(default_factory=dict)
    """The recipe's words that decided, and what they came to."""

    @property
    def rows(self) -> int:
        """How many rows the mixture has of the source, copies counted."""
        return int(self.copies.sum())


class ShortageError(Exception):
    """More is asked of a source than there is."""

    def __init__(self, source: str | None, asked: str, there: str) -> None:
        whose = f"source {source}: " if source else ""
        super().__init__(f"{whose}{asked}, and {there}")
        self.source = source
        """Its name; None where all sources together are too few."""


@dataclass(frozen=True)
class _Stock:
    """The rows of a source that may be taken, as a queue: all of them once, then all again."""

    supply: Supply
    order: Numbers
    length: int
    """How many places the queue has, with repetitions."""

    def tokens(self) -> int:
        """The tokens of the whole queue."""
        rounds, rest = divmod(self.length, max(1, len(self.order)))
        sizes = self.supply.tokens[self.order]
        return int(rounds * sizes.sum() + sizes[:rest].sum())

    def within(self, tokens: float) -> int:
        """How many places from the front have no more tokens than this together."""
        sizes = np.cumsum(self.supply.tokens[self.order])
        if not len(sizes) or not sizes[-1]:
            return self.length
        rounds, rest = divmod(tokens, float(sizes[-1]))
        places = int(rounds) * len(sizes) + int(np.searchsorted(sizes, rest, side="right"))
        return min(places, self.length)

    def copies(self, places: int) -> Numbers:
        """How often each row stands in the first places of the queue."""
        out = np.zeros(len(self.supply.keys), np.int64)
        rounds, rest = divmod(places, max(1, len(self.order)))
        out[self.order] = rounds
        out[self.order[:rest]] += 1
        return out


def quotas(
    supplies: Sequence[Supply], *, size: Size | None = None, max_per_source: int | None = None
) -> list[Quota]:
    """How often each row of each source is taken.

    Raises:
        ShortageError: a source has fewer rows than are asked of it.
    """
    stocks = [_stock(supply, max_per_source) for supply in supplies]
    taken = _shared(stocks, size)
    return [
        Quota(stock.copies(places), _words(stock, places, size))
        for stock, places in zip(stocks, taken, strict=True)
    ]


def _stock(supply: Supply, max_per_source: int | None) -> _Stock:
    entry, rows = supply.entry, len(supply.keys)
    if entry.fill:
        asked = target(supply.loaded, count=entry.count, fraction=entry.fraction)
        if asked > rows and not supply.lenient:
            raise ShortageError(entry.name, f"`fill` asks for {asked:,} rows", f"{rows:,} pass the steps")
        rows = min(asked, rows)
    if max_per_source is not None:
        rows = min(rows, max_per_source)
    return _Stock(supply, supply.order[:rows], target_of(rows, entry.repeat or 1.0))


def target_of(rows: int, repeat: float) -> int:
    """How many rows so many become; halves round up, and the factor is taken as it is written.

    >>> target_of(5, 2.5), target_of(100, 1.15)
    (13, 115)
    """
    whole = int(repeat)
    return rows * whole + target(rows, count=None, fraction=repeat - whole if repeat > whole else 0.0)


def _shared(stocks: Sequence[_Stock], size: Size | None) -> list[int]:
    """How many places of each queue are taken."""
    weighted = [i for i, stock in enumerate(stocks) if stock.supply.entry.weight is not None]
    if size is None and not weighted:
        return [stock.length for stock in stocks]
    size = size or Size(rows="max")
    by_tokens = size.tokens is not None
    wanted = size.tokens if by_tokens else size.rows
    supply = [stock.tokens() if by_tokens else stock.length for stock in stocks]
    taken = [stock.length for stock in stocks]
    sharing = weighted or list(range(len(stocks)))
    weights = [stocks[i].supply.entry.weight or float(supply[i]) for i in sharing]
    if wanted == "max":
        share = min((supply[i] / w for i, w in zip(sharing, weights, strict=True)), default=0.0)
        parts: Sequence[float] = [share * w for w in weights]
        parts = parts if by_tokens else [int(part + 1e-9) for part in parts]
    else:
        whole = sum(part for i, part in enumerate(supply) if i not in sharing)
        left = int(wanted or 0) - whole
        _suffices(stocks, sharing, supply, left, whole, by_tokens)
        left = min(left, sum(supply[i] for i in sharing)) if weighted == [] else left
        parts = [left * w / sum(weights) for w in weights] if by_tokens else apportion(left, weights)
    for i, part in zip(sharing, parts, strict=True):
        taken[i] = _places(stocks[i], part, supply[i], by_tokens)
    return taken


def _suffices(
    stocks: Sequence[_Stock],
    sharing: Sequence[int],
    supply: Sequence[int],
    left: int,
    whole: int,
    by_tokens: bool,
) -> None:
    """Refuses a size that there is too little for, or that the sources without weights alone go beyond."""
    unit = "tokens" if by_tokens else "rows"
    lenient = any(stock.supply.lenient for stock in stocks)
    if left < 1:
        name = stocks[sharing[0]].supply.entry.name
        there = f"the sources without weight have {whole:,} already"
        raise ShortageError(name, f"`size` leaves it no {unit}", there)
    rest = sum(supply[i] for i in sharing)
    if all(stocks[i].supply.entry.weight is None for i in sharing) and left > rest and not lenient:
        raise ShortageError(None, f"`size` asks for {left:,} {unit}", f"{rest:,} pass the steps")


def _places(stock: _Stock, part: float, supply: int, by_tokens: bool) -> int:
    entry = stock.supply.entry
    if part > supply * (1 + 1e-9) and not stock.supply.lenient:
        unit = "tokens" if by_tokens else "rows"
        asked = f"its weight asks for {int(part):,} {unit}"
        raise ShortageError(
            entry.name, asked, f"{supply:,} are there; `repeat` gives more, a smaller `size` needs fewer"
        )
    return stock.within(part) if by_tokens else min(int(part), stock.length)


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """`total` shared out by weights in whole numbers: the method of Webster.

    Of the ways to round, it is one by which a larger total never takes from anyone.

    >>> apportion(10, [5, 3, 1])
    [6, 3, 1]
    """
    values = np.asarray(weights, float)
    if total <= 0 or not values.sum():
        return [0] * len(values)
    low, high = 0.0, 2.0 * (total + len(values)) / values.sum()
    for _ in range(200):  # the multiplier whose rounded shares come to no more than the total, by bisection
        middle = (low + high) / 2
        low, high = (middle, high) if np.floor(values * middle + 0.5).sum() <= total else (low, middle)
    shares = np.floor(values * low + 0.5).astype(np.int64)
    claims = np.where(values > 0, values, np.finfo(float).tiny)
    for _ in range(total - int(shares.sum())):  # those that reach their half at the very same multiplier
        shares[int(np.argmin((shares + 0.5) / claims))] += 1
    return [int(share) for share in shares]


def _words(stock: _Stock, places: int, size: Size | None) -> dict[str, object]:
    entry = stock.supply.entry
    told: Mapping[str, object] = {
        "fill": entry.fill or None,
        "repeat": entry.repeat,
        "weight": entry.weight,
        "stratify": entry.strata and entry.strata.model_dump(),
    }
    words = {key: value for key, value in told.items() if value is not None}
    return words | ({"size": size.model_dump(exclude_none=True)} if size and places < stock.length else {})
