"""Rules made ready for items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam.coverage import CoverageMatcher, ExactMatcher
from tulu_data.decontam.distinctive import DistinctiveMatcher
from tulu_data.decontam.index import Keep, build_anew
from tulu_data.decontam.match import KINDS, Column, Matcher
from tulu_data.decontam.near import MinHashMatcher
from tulu_data.decontam.rules import Coverage, Distinctive, Exact, MinHash, Rule
from tulu_data.text.hashing import Texts


def matcher_of(
    rule: Rule,
    items: Sequence[Sequence[str]],
    options: Sequence[Sequence[str]],
    groups: npt.NDArray[np.int32],
    *,
    keep: Keep = build_anew,
) -> Matcher:
    """What finds items by a rule.

    Args:
        rule: how a match is decided.
        items: the texts of each item's fields.
        options: the answer options of each item; only some rules look at them.
        groups: the eval of each item, ascending.
        keep: has the index built, or brings one that was kept.
    """
    if isinstance(rule, Distinctive):
        return DistinctiveMatcher(rule, items, options, groups, keep)
    if isinstance(rule, Coverage):
        return CoverageMatcher(rule, items, keep)
    if isinstance(rule, Exact):
        return ExactMatcher(items, keep)
    if isinstance(rule, MinHash):
        return MinHashMatcher(rule, items)
    raise TypeError(rule)


def tried(
    rule: Rule,
    item: str | Sequence[str],
    text: str,
    *,
    options: Sequence[str] = (),
    others: Sequence[str] = (),
) -> str:
    """What a rule says of one item and one message, in words: for trying a rule out.

    Args:
        rule: how a match is decided.
        item: the text of the item, or the texts of its fields.
        text: a message of a training row.
        options: the item's answer options.
        others: other items of its eval, from which boilerplate is learned.
    """
    fields = [item] if isinstance(item, str) else list(item)
    rows = [fields, *([other] + [""] * (len(fields) - 1) for other in others)]
    matcher = matcher_of(rule, rows, [options, *([()] * len(others))], np.zeros(len(rows), np.int32))
    one = np.ones(1, np.uint8)
    found = matcher.find([Column(Texts.of(pa.array([text])), np.zeros(1, np.int32), one)])
    ours = found.only(found.items == 0)
    return f"{KINDS[ours.kinds[0]]} {ours.scores[0]:.2f}" if len(ours) else "no match"
