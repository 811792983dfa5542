"""`decontaminate`: the step that finds the rows which repeat evaluation items, and rejects them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PrivateAttr

from tulu_data.decontam.cache.scans import CachedFindings
from tulu_data.decontam.cache.store import Cache
from tulu_data.decontam.certificate_step import GatherHosts, GatherScanned, certificate_of
from tulu_data.decontam.check import check_suite
from tulu_data.decontam.evidence import FINDING, MATCHES, dropped_for, explode, one_each, scanned_columns
from tulu_data.decontam.index import tell_first_compilation
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.planting import PLANTS
from tulu_data.decontam.policy import Cell, cells
from tulu_data.decontam.review.decisions import Decisions, load_decisions
from tulu_data.decontam.review.page import Head, write_report
from tulu_data.decontam.review.texts import PLACES, TEXT_BYTES, KeptTexts, marked_places
from tulu_data.decontam.rules import NO_ACTIONS, Actions
from tulu_data.decontam.suite import Suite, load_suite
from tulu_data.errors import PolicyError, Problem
from tulu_data.op import VERDICT_FIELD, Context, Fold, Op, Step, verdicts
from tulu_data.record import ROLES, Kind
from tulu_data.sources import open_source
from tulu_data.sources.files import FileSource
from tulu_data.turns import one_chunk
from tulu_data.workspace import Workspace

RoleName = Literal["system", "user", "assistant", "tool"]

FINDINGS_FIELD = pa.field("matches", pa.list_(FINDING))

_read: dict[tuple[str, str], SuiteItems] = {}
_reading = Lock()

SUITES_KEPT = 4
"""So many suites stay in memory, for recipes that decontaminate against several."""


def items_of(suite: Suite, mirror: Path | None, cache: Cache | None = None) -> SuiteItems:
    """The items of a suite, kept for the plan's other operators, as long as its files stay as they are."""
    key = (_stamp(suite), str(mirror))
    with _reading:
        if key not in _read:
            while len(_read) >= SUITES_KEPT:
                _read.pop(next(iter(_read)))
            _read[key] = read_items(suite, mirror=mirror, cache=cache)
        return _read[key]


def _cache(context: Context) -> Cache | None:
    return Cache.open(context.say) if context.cache else None


def _stamp(suite: Suite) -> str:
    """What the suite says, and the size and time of every file it reads; a Hub dataset stands for itself."""
    parts = [str(suite.base.resolve()), suite.name, suite.rule.model_dump_json()]
    for entry in suite.evals:
        parts.append(entry.model_dump_json())
        if not entry.from_.startswith("hf:"):
            source = open_source(entry.spec(), base=suite.base)
            stats = [file.path.stat() for file in source.files] if isinstance(source, FileSource) else []
            parts += [f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats]
    return "\n".join(parts)


class _OfSuite(Step):
    """What the parts of the step share: the suite they name, found from where the recipe lies."""

    suite: str = Field(description="A suite of `decontam/`, or a path to a .yaml file.")
    rule: str | None = Field(
        default=None, description="A preset, or a rule's file, that wins over the suite's own rule."
    )
    actions: Actions = Field(
        default=NO_ACTIONS,
        description="What becomes of rows, by the kind of a finding: drop, review or keep.",
    )

    decisions: str | None = Field(
        default=None, description="A file of decisions that the review page saved; they win over the actions."
    )

    _from: tuple[Workspace, Path] | None = PrivateAttr(default=None)

    def bind(self, workspace: Workspace, base: Path) -> Self:
        """The step with its suite looked up from the recipe's folder."""
        bound = self.model_copy()
        bound._from = (workspace, base)  # noqa: SLF001 - it is one of ours
        return bound

    def _load(self) -> Suite:
        workspace, base = self._from or (Workspace.here(), None)
        return load_suite(self.suite, workspace, base=base, rule=self.rule, actions=self.actions)

    def _decided(self) -> Decisions | None:
        """The decisions; their path counts from the recipe's folder."""
        if self.decisions is None:
            return None
        base = self._from[1] if self._from else Path.cwd()
        return load_decisions(base / self.decisions, suite=self._load().name)

    def content(self) -> str:
        """A hash of the suite's rule and items, and of what was decided."""
        decided = self._decided()
        return self._suite_content() + (decided.content() if decided else "")

    def _suite_content(self) -> str:
        suite = self._load()
        stamp = _stamp(suite)
        known = [
            items for (kept, _), items in _read.items() if kept == stamp
        ]  # whichever mirror it was read from
        return (known[0] if known else items_of(suite, None)).fingerprint

    def _part(self, kind: type[_OfSuite], **more: Any) -> Any:
        """A part of the step, with the same suite."""
        shared = {name: getattr(self, name) for name in _OfSuite.model_fields}
        part = kind(**shared, **more)
        return part.bind(*self._from) if self._from else part


class Decontaminate(_OfSuite):
    """Rejects every row that repeats an item of an evaluation suite, by the suite's rule.

    Looked at are the messages of the chosen roles; of a preference row the prompt and both sides. The column
    `matches` holds the evidence of each row: eval, item, scores, and the matching characters on both sides. A
    source that matches more than 2 % of an eval's items is contaminated; if the eval is unseen, `on_unseen`
    decides: `stop` ends the build, `rows` drops the matched rows and goes on, `drop` drops the whole source.

        - {op: decontaminate, suite: tulu3, roles: [user], on_unseen: rows}

        a  user "Janet's ducks lay 16 eggs per day. …"   ->  decontaminate:gsm8k
    """

    name: ClassVar[str] = "decontaminate"

    roles: Annotated[tuple[RoleName, ...], Field(min_length=1)] | Literal["all"] = Field(
        default=("user",), description="Whose messages are looked at: a list, or `all`."
    )
    plants: int = Field(
        default=PLANTS,
        ge=0,
        description="Items of each eval that are planted in each way, for the certificate; 0 plants none.",
    )
    on_unseen: Literal["stop", "rows", "drop"] = Field(
        default="stop", description="What a contaminated source means for an unseen eval."
    )

    @classmethod
    def example(cls) -> Self:
        """The bundled sample suite."""
        return cls(suite="sample", on_unseen="rows")

    def problems(self, context: Context) -> list[Problem]:
        """Items of the suite that cannot be seen well."""
        return check_suite(items_of(self._load(), context.mirror, _cache(context)))

    def told(self, context: Context) -> dict[str, Any]:
        """The suite as it was read, what of each eval each source matched, and what is certified of it.

        The certificate and the review page are written beside the rows.
        """
        items = items_of(self._load(), context.mirror)
        matches = context.artifact(GatherMatches.name)
        scanned = context.artifact(GatherScanned.name)
        table = cells(matches, scanned["source"].to_pylist(), items)
        gone = {cell.dataset for cell in table if cell.contaminated and cell.role == "unseen"}
        roles = None if self.roles == "all" else self.roles
        decided = self._decided()
        certificate = certificate_of(
            items, roles, context, matches=GatherMatches.name, plants=self.plants,
            dropped=gone if self.on_unseen == "drop" else (),
            decisions=decided.certified() if decided else None,
        )  # fmt: skip
        if context.folder is not None:
            context.folder.mkdir(exist_ok=True)
            certificate.write(context.folder)
            head = Head(
                title=context.title,
                datasets=dict(zip(scanned["source"].to_pylist(), scanned["rows"].to_pylist(), strict=True)),
                roles=roles,
                contaminated=[(cell.dataset, cell.eval) for cell in table if cell.contaminated],
                whole_rows="dropped/ and data/",
            )
            write_report(
                context.folder / "report.html", head=head, matches=[matches],
                texts=KeptTexts(context.artifact(GatherTexts.name)), suite=items,
                certificate=certificate.told(), decisions=self._decided(), threads=context.threads,
            )  # fmt: skip
        return {
            "suite": items.suite.name,
            "rule": items.suite.rule.model_dump(mode="json"),
            "evals": [
                {
                    "eval": part.eval.name,
                    "items": len(part.ids),
                    "lock": part.lock.model_dump(exclude_none=True),
                }
                for part in items.evals
            ],
            "cells": [asdict(cell) for cell in table if cell.matched or cell.review],
            "certificate": {
                "status": certificate.status,
                "statement": certificate.statement,
                "card": certificate.card_lines(),
            },
        }

    def plan(self) -> Sequence[Op | Fold]:
        """Find the matches, gather them all, then reject."""
        roles = ROLES if self.roles == "all" else self.roles
        return (
            self._part(FindMatches, roles=roles),
            GatherMatches(),
            GatherTexts(),
            GatherHosts(),
            GatherScanned(),
            self._part(RejectMatches, on_unseen=self.on_unseen),
        )


class FindMatches(_OfSuite, Op):
    """Adds the column `matches`: for each row the list of its findings."""

    name: ClassVar[str] = "find_matches"

    roles: tuple[str, ...]

    @classmethod
    def example(cls) -> Self:
        """The bundled sample suite, user turns."""
        return cls(suite="sample", roles=("user",))

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The texts that are looked at, and where there are decisions, the ids that they name."""
        return scanned_columns(kind) + (("id",) if self.decisions else ())

    def writes(self) -> pa.Schema:
        """The findings."""
        return pa.schema([FINDINGS_FIELD])

    def setup(self, context: Context) -> tuple[Kind, CachedFindings, Decisions | None]:
        """Reads and indexes the suite."""
        tell_first_compilation(context.say)
        cache = _cache(context)
        items = items_of(self._load(), context.mirror, cache)
        roles = None if set(self.roles) >= set(ROLES) else self.roles
        return context.kind, CachedFindings(cache, items, roles), self._decided()

    def apply(self, batch: pa.Table, state: tuple[Kind, CachedFindings, Decisions | None]) -> pa.Table:
        """The batch with its findings."""
        kind, find, decided = state
        found = find(batch, kind)
        if decided is not None:
            found = decided.apply(one_chunk(batch["id"]), found)
        if FINDINGS_FIELD.name in batch.column_names:
            batch = batch.drop_columns(FINDINGS_FIELD.name)
        return batch.append_column(FINDINGS_FIELD, found)


class GatherMatches(Fold):
    """All findings of all rows: `matches.parquet`."""

    name: ClassVar[str] = "matches"

    @classmethod
    def example(cls) -> Self:
        """It has no settings."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The findings, and whose they are."""
        return ("id", "source", "upstream_id", FINDINGS_FIELD.name)

    def partial(self, batch: pa.Table, state: None) -> pa.Table:  # noqa: ARG002
        """The findings of one batch, one row each."""
        return explode(
            *(one_chunk(batch[name]) for name in ("source", "upstream_id", "id", FINDINGS_FIELD.name))
        )

    def nothing(self) -> pa.Table:
        """No findings."""
        return MATCHES.empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """They are in row order already."""
        return partials


class GatherTexts(Fold):
    """The texts that findings mark, for the review page."""

    name: ClassVar[str] = "marked_texts"

    @classmethod
    def example(cls) -> Self:
        """It has no settings."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """The findings, whose they are, and the texts."""
        return ("id", *scanned_columns(kind), FINDINGS_FIELD.name)

    def partial(self, batch: pa.Table, state: None) -> pa.Table:  # noqa: ARG002
        """The texts of one batch; long ones are cut."""
        hit = pc.is_valid(batch[FINDINGS_FIELD.name])
        rows = batch.filter(hit)
        ids, findings = (one_chunk(rows[name]) for name in ("id", FINDINGS_FIELD.name))
        return marked_places(ids, rows, findings)

    def nothing(self) -> pa.Table:
        """No texts."""
        return PLACES.empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """As much as a page holds."""
        sizes = np.cumsum(pc.fill_null(pc.binary_length(partials["text"]), 0).to_numpy())
        return partials.slice(0, int(np.searchsorted(sizes, TEXT_BYTES, side="right")))


@dataclass(frozen=True)
class Rejection:
    """Which sources go as a whole, and for which eval's sake."""

    sources: dict[str, str]


class RejectMatches(_OfSuite, Op):
    """Rejects the rows with findings, and applies the policy for unseen evals."""

    name: ClassVar[str] = Decontaminate.name

    on_unseen: Literal["stop", "rows", "drop"]

    @classmethod
    def example(cls) -> Self:
        """Matched rows drop."""
        return cls(suite="sample", on_unseen="rows")

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """The findings, and whose they are."""
        return ("source", FINDINGS_FIELD.name)

    def setup(self, context: Context) -> Rejection:
        """Applies the policy to all matches.

        Raises:
            PolicyError: a source is contaminated by an unseen eval, and `on_unseen` is `stop`.
            UsageError: there are decisions, and none is about a finding.
        """
        matches = context.artifact(GatherMatches.name)
        if decided := self._decided():
            decided.apply(one_chunk(matches["row_id"]), one_each(matches))
            decided.told("")
        if self.on_unseen == "rows":
            return Rejection({})
        sources = pc.unique(matches["dataset"]).to_pylist()
        table = cells(matches, sources, items_of(self._load(), context.mirror))
        over = [cell for cell in table if cell.contaminated and cell.role == "unseen"]
        if over and self.on_unseen == "stop":
            raise _contaminated(over)
        return Rejection({cell.dataset: cell.eval for cell in reversed(over)})

    def apply(self, batch: pa.Table, state: Rejection) -> pa.Table:
        """Verdicts: `decontaminate:EVAL` for a matched row, `decontaminate:dataset:EVAL` for a source."""
        findings = one_chunk(batch[FINDINGS_FIELD.name])
        reason = pc.binary_join_element_wise(self.name, dropped_for(findings), ":")
        batch = verdicts(batch, pc.is_valid(reason), reason)
        for source, eval_ in state.sources.items():
            batch = verdicts(batch, pc.equal(batch["source"], source), f"{self.name}:dataset:{eval_}")
        return batch

    def writes(self) -> pa.Schema:
        """The verdict."""
        return pa.schema([VERDICT_FIELD])


def _contaminated(over: list[Cell]) -> PolicyError:
    told = "; ".join(
        f"{c.dataset} matches {c.matched:,} of {c.items:,} items of {c.eval} ({c.percent:.1f} %)"
        for c in over
    )
    return PolicyError(
        f"contaminated by an unseen eval: {told}",
        remedy="Leave the source out, or say in the recipe `decontaminate: {suite: …, on_unseen: rows}` to "
        "drop the matched rows, or `on_unseen: drop` to drop the whole source",
    )
