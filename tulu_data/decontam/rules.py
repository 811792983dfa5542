"""The rules that say when an evaluation item counts as found in a training row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tulu_data.errors import RecipeError, unknown
from tulu_data.op import settings_problems

EPSILON = 1e-12
"""By so much a score must be above the threshold: in floats, 5/6, 1/2 and 1/6 have a mean above a half."""


class Rule(BaseModel):
    """The rule of Tülu 3 (arXiv 2411.15124, section 3.2), and what may be set otherwise.

    A token of an evaluation field is covered if it lies in an n-gram of that field which occurs inside one
    message of the training row. A field's score is covered / tokens; a field with fewer than n tokens scores
    1 if it occurs whole in one message, else 0. An item's score is the mean over its fields; it is matched
    above the threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ngram: int = Field(default=8, ge=1, le=64)
    """Tokens in an n-gram; the paper found 8 to work best."""
    threshold: float = Field(default=0.5, ge=0, lt=1)
    """"More than 50 %" of an item's tokens must match, in one training row."""
    contaminated: float = Field(default=0.02, ge=0, le=1)
    """A dataset that matches more than this share of an eval's items is contaminated: "more than 2 %"."""


PRESETS: dict[str, Rule] = {"tulu3": Rule()}


def rule_of(given: str | Mapping[str, Any], *, where: str = "") -> Rule:
    """The rule of a preset's name, or of a mapping of settings.

    >>> rule_of("tulu3").ngram, rule_of({"ngram": 13}).threshold
    (8, 0.5)
    """
    if isinstance(given, str):
        if given not in PRESETS:
            raise unknown("rule", given, PRESETS, where=where)
        return PRESETS[given]
    try:
        return Rule.model_validate(dict(given))
    except ValidationError as error:
        raise RecipeError("the rule is wrong", settings_problems(error, Rule, where)) from None
