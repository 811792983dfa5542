"""`licenses`: rejects rows by their licence."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tulu_data.op import Op, verdicts
from tulu_data.record import Kind

COMMERCIAL = frozenset(
    {
        *("apache-2.0", "mit", "mit-0", "isc", "bsd-2-clause", "bsd-3-clause", "unlicense", "bsl-1.0"),
        *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
        *("cc-by-sa-2.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *("odc-by", "odc-by-1.0", "odbl", "odbl-1.0", "pddl", "pddl-1.0"),
        *("cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
    }
)
"""Licences whose text allows commercial use, by SPDX or the Hub's identifiers; some ask for credit or for the
same licence. What is not here (terms of a model's maker, `other`, none) does not pass for commercial use."""


class Licenses(Op):
    """Rejects a row whose licence is not allowed, or is denied; case is ignored in ids such as `CC-BY-4.0`.

    A row's licence is the one of its source, or its own where the source tells it row by row. An allow list
    lets pass what it names and nothing else; a deny list stops what it names and nothing else. `use:
    commercial` is an allow list of well-known licences that permit commercial use; of a row that is under
    several (`cc-by-4.0, mit`) each must.

        - {op: licenses, deny: [cc-by-nc-4.0]}

        license: "apache-2.0"      ->  kept
        license: "CC-BY-NC-4.0"    ->  licenses:cc-by-nc-4.0
        license: null              ->  kept; with an allow list, or `missing: drop`: licenses:missing
    """

    name: ClassVar[str] = "licenses"

    allow: tuple[str, ...] = Field(default=(), description="Licences that may pass.")
    deny: tuple[str, ...] = Field(default=(), description="Licences that may not pass.")
    use: Literal["commercial"] | None = Field(
        default=None, description="Lets pass the licences that allow this use, in place of a list."
    )
    missing: Literal["keep", "drop"] | None = Field(
        default=None,
        description="What becomes of rows that name no licence; else kept with `deny`, dropped otherwise.",
    )

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if sum(map(bool, (self.allow, self.deny, self.use))) != 1:
            raise ValueError("give one of `allow`, `deny` and `use`")
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
        named = pa.array([i for i in pc.unique(ids).to_pylist() if i and self._refuses(i)], pa.string())
        if (self.missing or ("keep" if self.deny else "drop")) == "drop":
            batch = verdicts(batch, missing, f"{self.name}:missing")
        return verdicts(batch, pc.is_in(ids, named), pc.binary_join_element_wise(self.name, ids, ":"))

    def _refuses(self, license_: str) -> bool:
        if self.use:
            return not {part.strip() for part in license_.split(",")} <= COMMERCIAL
        listed = license_ in {i.strip().lower() for i in self.allow or self.deny}
        return listed if self.deny else not listed
