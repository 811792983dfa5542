"""Selection: the k smallest keys, occurrences, and what fractions mean."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulu_data.mixtures.select import as_numpy, binary_hashes, choose, occurrences, target

contents = st.lists(st.integers(0, 12), max_size=60)


def hashes_of(numbers: list[int]) -> np.ndarray:
    raw = b"".join(bytes([n % 3]) * 8 + n.to_bytes(8, "big") for n in numbers)  # equal first halves
    return np.frombuffer(raw, np.uint8).reshape(-1, 16)


def ids(
    numbers: list[int], seed: int = 42, *, count: int | None = None, fraction: float | None = None
) -> list[str]:
    chosen = choose("s", hashes_of(numbers), seed, count=count, fraction=fraction)
    taken: list[str] = chosen.ids(slice(0, len(numbers))).to_pylist()
    return taken


@given(contents)
def test_occurrences_count_earlier_equals(numbers: list[int]) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for number in numbers:
        expected.append(seen[number])
        seen[number] += 1
    assert occurrences(hashes_of(numbers)).tolist() == expected


@given(contents, st.integers(0, 100))
def test_ids_are_unique_and_the_same_in_any_order(numbers: list[int], seed: int) -> None:
    one, other = ids(numbers, seed), ids(numbers[::-1], seed)
    assert len(set(one)) == len(numbers)
    assert sorted(one) == sorted(other)


@given(contents, st.integers(1, 60), st.integers(1, 60))
def test_a_larger_count_only_adds_rows(numbers: list[int], one: int, other: int) -> None:
    small, large = sorted([one, other])
    assert set(ids(numbers, count=small)) <= set(ids(numbers, count=large))
    assert len(ids(numbers, count=small)) == min(small, len(numbers))


@given(contents, st.integers(1, 30))
def test_a_selection_does_not_depend_on_the_order_of_rows(numbers: list[int], count: int) -> None:
    assert sorted(ids(numbers, count=count)) == sorted(ids(numbers[::-1], count=count))


@given(contents)
def test_what_is_chosen_in_parts_is_what_is_chosen_whole(numbers: list[int]) -> None:
    chosen = choose("s", hashes_of(numbers), 1, count=None, fraction=0.5)
    half = len(numbers) // 2
    parts = [*chosen.ids(slice(0, half)).to_pylist(), *chosen.ids(slice(half, len(numbers))).to_pylist()]
    assert parts == chosen.ids(slice(0, len(numbers))).to_pylist()


def test_the_seed_changes_the_selection() -> None:
    numbers = list(range(200))
    assert set(ids(numbers, 1, count=50)) != set(ids(numbers, 2, count=50))


@pytest.mark.parametrize(
    ("rows", "fraction", "expected"),
    [(10, 0.5, 5), (5, 0.5, 3), (50, 0.29, 15), (3, 0.1, 0), (7, 1.0, 7), (10, 0.05, 1)],
)
def test_halves_of_a_fraction_round_up(rows: int, fraction: float, expected: int) -> None:
    assert target(rows, count=None, fraction=fraction) == expected


@given(st.integers(0, 10_000), st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_larger_fraction_never_takes_fewer(rows: int, one: float, other: float) -> None:
    small, large = sorted([one, other])
    assert target(rows, count=None, fraction=small) <= target(rows, count=None, fraction=large) <= rows


@given(contents, st.integers(0, 5))
def test_hashes_survive_arrow_and_slices(numbers: list[int], start: int) -> None:
    raw = hashes_of(numbers)
    array = binary_hashes(raw)
    assert array.type == pa.binary(16)
    assert as_numpy(array.slice(start)).tolist() == raw[start:].tolist()
