"""How much of each source a mixture takes of the rows that passed the steps.

    count, fraction    take so many of the rows as loaded, before the steps (see `select`); with `fill: true`
                       of those that pass them
    max_per_source     no source gives more rows than this
    repeat             each row stands so often in the mixture; of 2.5, every second row stands three times.
                       Rows that are held out stand there once
    weight             sources with weights share what `size` leaves to them, in rows or in tokens
    size               so many rows or tokens in all; `max`: as many as the weights allow

They apply in this order, each to what the one before leaves. Wherever fewer rows are taken than there are, it
is those that come first by `record.sort_keys`: a larger number only adds rows. What cannot be had is an error
that says where the rows went; a quota is never met by half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import numpy.typing as npt

from tulu_data.mixtures.amounts import Size
from tulu_data.mixtures.recipe import SourceEntry
from tulu_data.mixtures.select import target

Numbers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


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
    held: Mask | None = None
    """Which rows are held out: they stand in the mixture once, whatever `repeat` says."""
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
    """The rows of a source that may be taken, as a queue: all once, then those that may be repeated."""

    supply: Supply
    order: Numbers
    again: Numbers
    """The rows that may stand there more than once."""
    length: int
    """How many places the queue has, with repetitions."""

    def tokens(self, places: int | None = None) -> int:
        """The tokens of so many places from the front; of the whole queue unless told."""
        return int((self.copies(self.length if places is None else places) * self.supply.tokens).sum())

    def within(self, tokens: int) -> int:
        """How many places from the front have no more tokens than this together."""
        low, high = 0, self.length
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.tokens(middle) <= tokens else (low, middle - 1)
        return low

    def copies(self, places: int) -> Numbers:
        """How often each row stands in the first places of the queue."""
        out = np.zeros(len(self.supply.keys), np.int64)
        out[self.order[:places]] = 1
        rounds, rest = divmod(max(0, places - len(self.order)), max(1, len(self.again)))
        out[self.again] += rounds
        out[self.again[:rest]] += 1
        return out


def quotas(
    supplies: Sequence[Supply], *, size: Size | None = None, max_per_source: int | None = None
) -> list[Quota]:
    """How often each row of each source is taken.

    Raises:
        ShortageError: a source has fewer rows than are asked of it.
    """
    stocks = [_stock(supply, max_per_source) for supply in supplies]
    taken = _shared(stocks, size, max_per_source)
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
    order = supply.order[:rows]
    again = order if supply.held is None else order[~supply.held[order]]
    return _Stock(supply, order, again, rows - len(again) + target_of(len(again), entry.repeat or 1.0))


def target_of(rows: int, repeat: float) -> int:
    """How many rows so many become; halves round up, and the factor is taken as it is written.

    >>> target_of(5, 2.5), target_of(10, 1.15)
    (13, 12)
    """
    return int((Decimal(repr(repeat)) * rows).to_integral_value(ROUND_HALF_UP))


def _shared(stocks: Sequence[_Stock], size: Size | None, max_per_source: int | None) -> list[int]:
    """How many places of each queue are taken."""
    taken = [stock.length for stock in stocks]
    weighted = [i for i, stock in enumerate(stocks) if stock.supply.entry.weight is not None]
    size = size or Size(rows="max")
    unit = "rows" if size.tokens is None else "tokens"
    supply = taken if size.tokens is None else [stock.tokens() for stock in stocks]
    _none_is_empty([stocks[i] for i in weighted])
    sharing = [i for i in weighted or range(len(stocks)) if supply[i]]
    weights = [stocks[i].supply.entry.weight or float(supply[i]) for i in sharing]
    wanted = size.rows if size.tokens is None else size.tokens
    if wanted == "max" or wanted is None:
        if not weighted:
            return taken
        share = min((supply[i] / w for i, w in zip(sharing, weights, strict=True)), default=0.0)
        parts = [_whole(share * w) for w in weights]
    else:
        whole = sum(part for i, part in enumerate(supply) if i not in sharing)
        left = wanted - whole
        there = sum(supply[i] for i in sharing)
        if left < 1 or (not weighted and left > there):
            if not any(stock.supply.lenient for stock in stocks):
                raise _unfit(f"{wanted:,} {unit}", wanted, whole, there, max_per_source)
            return taken
        parts = (
            apportion(left, weights) if unit == "rows" else [_whole(left * w / sum(weights)) for w in weights]
        )
    for i, part in zip(sharing, parts, strict=True):
        taken[i] = _places(stocks[i], part, supply[i], unit)
    return taken


def _whole(number: float) -> int:
    """The whole part, where the error of a product of floats does not count."""
    return int(number * (1 + 1e-12) + 1e-6)


def _none_is_empty(stocks: Sequence[_Stock]) -> None:
    """A weight of a source that has no rows has no meaning: it would leave none to the others."""
    for stock in stocks:
        if not stock.length and not stock.supply.lenient:
            raise ShortageError(stock.supply.entry.name, "it has a weight", "no row of it passes the steps")


def _unfit(asked: str, wanted: int, whole: int, there: int, max_per_source: int | None) -> ShortageError:
    """Of a size that there is too little for, or that the sources without weights alone go beyond."""
    asked = f"`size` asks for {asked}"
    if wanted <= whole:
        return ShortageError(None, asked, f"the sources without a weight have {whole:,} already")
    if max_per_source is not None:
        return ShortageError(None, asked, f"`max_per_source: {max_per_source}` leaves {there:,}")
    return ShortageError(None, asked, f"there are {there:,} behind the steps, copies by `repeat` included")


def _places(stock: _Stock, part: int, supply: int, unit: str) -> int:
    """How many places of a queue a part in rows or tokens is."""
    entry, lenient = stock.supply.entry, stock.supply.lenient
    if part > supply and not lenient:
        there = f"{supply:,} are there; `repeat` gives more, a smaller `size` needs fewer"
        raise ShortageError(entry.name, f"its weight asks for {part:,} {unit}", there)
    places = min(part, stock.length) if unit == "rows" else stock.within(part)
    if not places and entry.weight is not None and not lenient:
        raise ShortageError(entry.name, f"its weight comes to {part:,} {unit}", "that is not one row")
    return places


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
        "stratify": entry.stratify and entry.stratify.model_dump(),
    }
    words = {key: value for key, value in told.items() if value is not None}
    return words | ({"size": size.model_dump(exclude_none=True)} if size and places < stock.length else {})
