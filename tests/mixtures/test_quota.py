"""How much of each source is taken: fill, repeat, weight, size, in rows and tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulu_data.mixtures.amounts import Size
from tulu_data.mixtures.quota import Quota, ShortageError, Supply, apportion, quotas, target_of
from tulu_data.mixtures.recipe import SourceEntry
from tulu_data.mixtures.select import taking_order


def entry(name: str = "a", **settings: Any) -> SourceEntry:
    return SourceEntry.model_validate({"name": name, "from": "x.jsonl", **settings})


def supply(
    rows: int, name: str = "a", *, tokens: int = 10, loaded: int | None = None, held: int = 0, **settings: Any
) -> Supply:
    """So many rows, of which the first ones in order are `held` out."""
    keys = np.random.default_rng(len(name) + rows).permutation(rows).astype(np.uint64)
    sizes, order = np.full(rows, tokens, np.int64), taking_order(keys)
    out = np.zeros(rows, np.bool_)
    out[order[:held]] = True
    return Supply(entry(name, **settings), loaded or rows, keys, sizes, order, out)


def rows_of(found: list[Quota]) -> list[int]:
    return [quota.rows for quota in found]


# -- each word -----------------------------------------------------------------------------------------------


def test_without_words_every_row_is_taken_once() -> None:
    (found,) = quotas([supply(7)])
    assert found.copies.tolist() == [1] * 7
    assert found.words == {}


def test_fill_takes_the_count_of_what_passed() -> None:
    assert rows_of(quotas([supply(80, loaded=120, count=50, fill=True)])) == [50]


def test_a_filled_fraction_is_of_the_rows_as_loaded() -> None:
    assert rows_of(quotas([supply(80, loaded=120, fraction=0.5, fill=True)])) == [60]


def test_fill_is_an_error_where_too_few_pass() -> None:
    with pytest.raises(ShortageError, match=r"source a: `fill` asks for 90 rows, and 80 pass the steps"):
        quotas([supply(80, loaded=120, count=90, fill=True)])


def test_no_source_gives_more_than_max_per_source() -> None:
    assert rows_of(quotas([supply(80), supply(20, "b")], max_per_source=30)) == [30, 20]


@pytest.mark.parametrize(
    ("rows", "repeat", "expected"), [(24, 10, 240), (4, 2.5, 10), (5, 2.5, 13), (5, 1, 5)]
)
def test_repeat_multiplies(rows: int, repeat: float, expected: int) -> None:
    (found,) = quotas([supply(rows, repeat=repeat)])
    assert found.rows == expected == target_of(rows, repeat)
    assert set(found.copies.tolist()) <= {int(repeat), int(repeat) + 1}


def test_weights_share_a_size_in_rows() -> None:
    found = quotas([supply(100, weight=3.0), supply(100, "b", weight=1.0)], size=Size(rows=80))
    assert rows_of(found) == [60, 20]


def test_weights_share_a_size_in_tokens() -> None:
    sources = [supply(100, tokens=10, weight=1.0), supply(100, "b", tokens=40, weight=1.0)]
    found = quotas(sources, size=Size(tokens=1600))
    assert rows_of(found) == [80, 20]


def test_weights_alone_take_as_much_as_the_scarcest_source_allows() -> None:
    assert rows_of(quotas([supply(90, weight=1.0), supply(20, "b", weight=2.0)])) == [10, 20]


def test_of_tokens_too() -> None:
    sources = [supply(100, tokens=10, weight=1.0), supply(10, "b", tokens=50, weight=1.0)]
    assert rows_of(quotas(sources, size=Size(tokens="max"))) == [50, 10]


def test_sources_without_weight_are_taken_whole_beside_those_with() -> None:
    sources = [supply(30), supply(100, "b", weight=1.0), supply(100, "c", weight=1.0)]
    assert rows_of(quotas(sources, size=Size(rows=100))) == [30, 35, 35]


def test_a_repeat_makes_the_supply_that_a_weight_asks_for() -> None:
    sources = [supply(10, repeat=4, weight=1.0), supply(100, "b", weight=1.0)]
    found = quotas(sources, size=Size(rows=60))
    assert rows_of(found) == [30, 30]
    assert found[0].copies.tolist() == [3] * 10


def test_a_weight_that_asks_for_more_than_there_is_is_an_error() -> None:
    sources = [supply(10, weight=1.0), supply(100, "b", weight=1.0)]
    with pytest.raises(
        ShortageError, match=r"source a: its weight asks for 30 rows, and 10 are there; `repeat`"
    ):
        quotas(sources, size=Size(rows=60))


def test_a_size_without_weights_keeps_the_shares() -> None:
    assert rows_of(quotas([supply(300), supply(100, "b")], size=Size(rows=40))) == [30, 10]


def test_a_size_above_what_passed_is_an_error() -> None:
    with pytest.raises(ShortageError, match=r"^`size` asks for 500 rows, and there are 400 behind the steps"):
        quotas([supply(300), supply(100, "b")], size=Size(rows=500))


def test_a_size_that_the_unweighted_sources_use_up_is_an_error() -> None:
    with pytest.raises(ShortageError, match="the sources without a weight have 300"):
        quotas([supply(300), supply(100, "b", weight=1.0)], size=Size(rows=200))


def test_a_synthetic_sample_gives_what_it_has() -> None:
    few = supply(5, loaded=5, count=90, fill=True)
    lenient = replace(few, lenient=True)
    assert rows_of(quotas([lenient], size=Size(rows=50))) == [5]


def test_rows_that_are_held_out_stand_once_and_the_size_is_met_all_the_same() -> None:
    (found,) = quotas([supply(100, held=40, repeat=3)])
    assert found.rows == 40 + 3 * 60
    assert sorted(set(found.copies.tolist())) == [1, 3]
    (sized,) = quotas([supply(100, held=40, repeat=3)], size=Size(rows=150))
    assert sized.rows == 150
    assert sized.copies.max() == 2
    sources = [supply(50, held=20, repeat=10, weight=1.0), supply(400, "b", weight=1.0)]
    assert rows_of(quotas(sources, size=Size(tokens=4000))) == [200, 200]


def test_a_weighted_source_without_rows_is_an_error_and_empties_no_other() -> None:
    sources = [supply(100, weight=1.0), supply(0, "b", loaded=40, weight=1.0)]
    with pytest.raises(ShortageError, match=r"source b: it has a weight, and no row of it passes the steps"):
        quotas(sources)


def test_a_weight_that_comes_to_nothing_is_an_error() -> None:
    sources = [supply(100, weight=1.0), supply(5, "b", weight=0.001)]
    with pytest.raises(ShortageError, match=r"source b: its weight comes to 0 rows, and that is not one row"):
        quotas(sources, size=Size(rows=50))


@pytest.mark.parametrize("size", [Size(rows="max"), Size(tokens="max")])
def test_the_most_there_is_without_weights_is_all_of_it(size: Size) -> None:
    assert rows_of(quotas([supply(7), supply(0, "b", loaded=3)], size=size)) == [7, 0]


@pytest.mark.parametrize("weight", [2.1, 3.1, 4.2, 5.1, 0.3])
def test_a_weight_alone_loses_no_row_to_rounding(weight: float) -> None:
    assert rows_of(quotas([supply(100, tokens=20, weight=weight)], size=Size(tokens="max"))) == [100]


def test_a_size_that_the_cap_of_sources_prevents_says_so() -> None:
    with pytest.raises(ShortageError, match=r"`size` asks for 60 rows, and `max_per_source: 20` leaves 40"):
        quotas([supply(100), supply(40, "b")], size=Size(rows=60), max_per_source=20)


# -- what holds for all --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.integers(1, 200), st.integers(0, 40))
def test_a_larger_size_only_adds_rows(sizes: list[int], wanted: int, more: int) -> None:
    sources = [supply(rows, "abcde"[i]) for i, rows in enumerate(sizes)]
    there = sum(sizes)
    small, large = min(wanted, there), min(wanted + more, there)
    if not small:
        return
    before, after = (quotas(sources, size=Size(rows=size)) for size in (small, large))
    assert sum(rows_of(before)) == small
    assert all((one.copies <= two.copies).all() for one, two in zip(before, after, strict=True))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(0, 300))
def test_apportion_hands_out_all_of_it_and_never_takes_back(weights: list[float], total: int) -> None:
    shares, more = apportion(total, weights), apportion(total + 1, weights)
    assert sum(shares) == total
    assert all(one <= two for one, two in zip(shares, more, strict=True))
    ideal = [total * weight / sum(weights) for weight in weights]
    assert all(share >= int(exact) - len(weights) for share, exact in zip(shares, ideal, strict=True))


@given(st.integers(1, 30), st.integers(1, 1000), st.integers(1, 50))
def test_tokens_are_never_overdrawn(rows: int, wanted: int, each: int) -> None:
    (found,) = quotas([supply(rows, tokens=each)], size=Size(tokens=min(wanted, rows * each)))
    assert int((found.copies * each).sum()) <= wanted
    assert found.rows == min(rows, wanted // each)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.booleans())
def test_every_beginning_of_the_order_keeps_the_shares(values: list[int], equal: bool) -> None:
    keys = np.random.default_rng(7).permutation(len(values)).astype(np.uint64)
    strata = np.array(values)
    order = taking_order(keys, strata, equal=equal)
    assert sorted(order.tolist()) == list(range(len(values)))
    for size in range(1, len(values) + 1):
        taken = np.bincount(strata[order[:size]], minlength=4)
        there = np.bincount(strata, minlength=4)
        if equal:
            assert all(taken[i] == there[i] or taken[i] >= taken.max() - 1 for i in range(4))
        else:
            assert (np.abs(taken - size * there / len(values)) < 2).all()
    for value in set(values):  # within a value, the smallest keys come first
        of_value = [keys[i] for i in order if values[i] == value]
        assert of_value == sorted(of_value)
