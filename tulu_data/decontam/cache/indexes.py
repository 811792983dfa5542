"""The index of a suite's items, kept by the hash of its evals and rule: loading is faster than building."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tulu_data.decontam.cache.arrays import packed, unpacked
from tulu_data.decontam.cache.keys import code_key, eval_key, joined_key
from tulu_data.decontam.cache.store import Cache

if TYPE_CHECKING:
    from tulu_data.decontam.items import SuiteItems

T = TypeVar("T")

LARGEST = 2 << 30
"""Indexes take up to this many bytes in all (that of 58,708 items takes 190 MB); then the oldest go."""


def kept_index(cache: Cache | None, suite: SuiteItems, build: Callable[[], T]) -> T:
    """What `build` makes of a suite, from the cache where it was made before.

    Args:
        cache: where it is looked for, and kept; None means neither.
        suite: what the index is of.
        build: makes it, of what `packed` takes, from the suite's items and rule alone; one thing per rule.
    """
    if cache is None:
        return build()
    path = cache.path("indexes", joined_key(eval_key(part, suite.suite.rule) for part in suite.evals))
    entry = cache.read(path)
    if entry is not None:
        value: T = unpacked(entry.header["shape"], entry.content)
        return value
    value = build()
    shape, parts = packed(value)
    cache.write(path, {**_about(suite), "shape": shape}, parts)
    cache.limit("indexes", LARGEST)
    return value


def _about(suite: SuiteItems) -> dict[str, Any]:
    """What the listing tells of an index."""
    return {
        "suite": suite.suite.name,
        "rule": suite.suite.rule.rule,
        "evals": [part.eval.name for part in suite.evals],
        "items": sum(len(part.ids) for part in suite.evals),
        "code": code_key(),
    }
