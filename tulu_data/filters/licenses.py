"""`licenses`: rejects rows by their licence."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tulu_data.op import Op, verdicts
from tulu_data.record import Kind


class Licenses(Op):
    """Rejects a row whose licence is not allowed, or is denied; case is ignored in ids such as `CC-BY-4.0`.

    A row's licence is the one of its source, or its own where the source tells it row by row. An allow list
    lets pass what it names and nothing else; a deny list stops what it names and nothing else.

        - {op: licenses, deny: [cc-by-nc-4.0]}

        license: "apache-2.0"      ->  kept
        license: "CC-BY-NC-4.0"    ->  licenses:cc-by-nc-4.0
        license: null              ->  kept; with an allow list, or `missing: drop`: licenses:missing
    """

    name: ClassVar[str] = "licenses"

    allow: tuple[str, ...] = Field(default=(), description="Licences that may pass.")
    deny: tuple[str, ...] = Field(default=(), description="Licences that may not pass.")
    missing: Literal["keep", "drop"] | None = Field(
        default=None,
        description="What becomes of rows that name no licence; else kept with `deny`, dropped with `allow`.",
    )

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if bool(self.allow) == bool(self.deny):
            raise ValueError("give either `allow` or `deny`")
        if not all(license_.strip() for license_ in (*self.allow, *self.deny)):
            raise ValueError("an empty licence id; rows without a licence are treated by `missing`")
        return self

    @classmethod
    def example(cls) -> Self:
        """No licence that forbids commercial use."""
        return cls(deny=("cc-by-nc-4.0", "CC-BY-NC-SA-4.0"), missing="drop")

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The licence, of rows of any kind."""
        return ("license",)

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:  # noqa: ARG002
        """The batch with a verdict on every row whose licence may not pass."""
        ids = pc.utf8_lower(pc.utf8_trim_whitespace(batch["license"]))
        missing = pc.fill_null(pc.equal(ids, ""), fill_value=True)
        listed = pc.is_in(ids, pa.array([i.strip().lower() for i in self.allow or self.deny], pa.string()))
        refused = pc.and_(pc.invert(missing), pc.invert(listed) if self.allow else listed)
        if (self.missing or ("drop" if self.allow else "keep")) == "drop":
            batch = verdicts(batch, missing, f"{self.name}:missing")
        return verdicts(batch, refused, pc.binary_join_element_wise(self.name, ids, ":"))
