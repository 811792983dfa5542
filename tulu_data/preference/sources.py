"""What the operators of this folder share: which rows they look at."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tulu_data.op import Step
from tulu_data.record import Kind
from tulu_data.turns import Mask, bools


class OfSources(Step):
    """A step that looks at the preference rows of some sources, or of all."""

    kinds: ClassVar[tuple[Kind, ...]] = ("preference",)

    sources: tuple[str, ...] = Field(
        default=(), description="The sources whose rows are looked at; all of them, unless given."
    )

    def looked_at(self, batch: pa.Table) -> Mask:
        """Per row: is it of one of the sources?"""
        if not self.sources:
            return np.ones(batch.num_rows, np.bool_)
        return bools(pc.is_in(batch["source"], pa.array(self.sources, pa.string())))

    def source_column(self) -> tuple[str, ...]:
        """The column that `looked_at` reads, if any."""
        return ("source",) if self.sources else ()
