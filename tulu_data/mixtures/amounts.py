"""How a recipe says how much: of a source by the values of a column, of all, and of what is held out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _amount(given: object) -> object:
    """One message for a union of types."""
    if given != "max" and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise ValueError("a size is a whole number from 1 on, or `max`")
    return given


Amount = Annotated[int | Literal["max"], BeforeValidator(_amount)]


class Stratify(BaseModel):
    """Rows are taken by the values of a column, so that none is lost or overdone by chance."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    by: str
    """A native column of the source with one text, number or truth value per row."""
    shares: Literal["proportional", "equal"] = "proportional"
    """Whether each value keeps its share, or all have the same number of rows as far as there are so many."""

    @staticmethod
    def written(given: object) -> object:
        """A text is the name of the column."""
        return {"by": given} if isinstance(given, str) else given


class Size(BaseModel):
    """How much there is in all: so many rows or tokens, or as much as the weights and the rows allow."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rows: Amount | None = None
    """How many rows, those of a holdout among them."""
    tokens: Amount | None = None

    @staticmethod
    def written(given: object) -> object:
        """A number is one of rows."""
        return {"rows": given} if isinstance(given, int | float) and not isinstance(given, bool) else given

    @model_validator(mode="after")
    def _one_unit(self) -> Size:
        if (self.rows is None) == (self.tokens is None):
            raise ValueError("a size is given in `rows` or in `tokens`")
        return self


class Holdout(BaseModel):
    """Rows that become the split `test`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    fraction: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    """About this part of the prompts: those with the smallest hashes."""

    @staticmethod
    def written(given: object) -> object:
        """A number is the fraction."""
        return {"fraction": given} if isinstance(given, int | float) else given
