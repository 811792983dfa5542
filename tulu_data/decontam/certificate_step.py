"""What a build gathers for its certificate: rows that carry plants, and what was looked at of each source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.certificate import Certificate, DatasetTold, DecisionsTold, certify
from tulu_data.decontam.evidence import scanned_columns
from tulu_data.decontam.items import SuiteItems
from tulu_data.decontam.planting import PLANTS, Hosts, measure
from tulu_data.decontam.planting.hosts import HOST_ROWS
from tulu_data.digests import hash_rows, part_of_texts
from tulu_data.op import Context, Fold
from tulu_data.record import Kind, sort_keys
from tulu_data.turns import one_chunk

SCANNED = pa.schema([("source", pa.string()), ("rows", pa.int64()), ("sha256", pa.string())])
"""What was looked at of each source; the hash is over the ids of its rows, which tell their content."""

_ROW = pa.schema([("source", pa.string()), ("row", pa.binary(16))])


class GatherHosts(Fold):
    """The rows with the smallest hash(seed, id): they carry the plants of the positive control."""

    name: ClassVar[str] = "hosts"

    @classmethod
    def example(cls) -> Self:
        """It has no settings."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        """What rows say, and their ids."""
        return ("id", *scanned_columns(kind))

    def setup(self, context: Context) -> tuple[Kind, int]:
        """The kind of the rows, and the seed."""
        return context.kind, context.seed

    def partial(self, batch: pa.Table, state: tuple[Kind, int]) -> pa.Table:
        """The best hosts of one batch."""
        kind, seed = state
        hosts = Hosts()
        hosts.add(kind, batch, sort_keys(batch["id"], seed).to_numpy())
        return hosts.table()

    def nothing(self) -> pa.Table:
        """No rows."""
        return HOST_ROWS.empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """The best of all."""
        return Hosts.of(partials).table()


class GatherScanned(Fold):
    """How many rows of each source were looked at, and a hash of them in their order."""

    name: ClassVar[str] = "scanned"

    @classmethod
    def example(cls) -> Self:
        """It has no settings."""
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:  # noqa: ARG002
        """Whose rows they are, and their ids."""
        return ("source", "id")

    def partial(self, batch: pa.Table, state: None) -> pa.Table:  # noqa: ARG002
        """A short hash of each row's id."""
        hashes = pa.py_buffer(hash_rows([part_of_texts(one_chunk(batch["id"]))], 16))
        rows = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), batch.num_rows, [None, hashes])
        return pa.table([batch["source"], rows], schema=_ROW)

    def nothing(self) -> pa.Table:
        """No rows."""
        return _ROW.empty_table()

    def finish(self, partials: pa.Table) -> pa.Table:
        """A row for each source."""
        told = []
        for source in pc.unique(partials["source"]).to_pylist():
            rows = partials["row"].filter(pc.equal(partials["source"], source)).to_pylist()
            told.append({"source": source, "rows": len(rows), "sha256": sha256(b"".join(rows)).hexdigest()})
        return pa.Table.from_pylist(told, schema=SCANNED)


def certificate_of(
    suite: SuiteItems,
    roles: Sequence[str] | None,
    context: Context,
    *,
    matches: str,
    plants: int = PLANTS,
    dropped: Collection[str] = (),
    places: Mapping[str, str] | None = None,
    decisions: DecisionsTold | None = None,
) -> Certificate:
    """The certificate of a `decontaminate` step, from what its folds have gathered.

    Args:
        suite: what was looked for.
        roles: whose messages were looked at; None means everyone's.
        context: with the artifacts of `GatherHosts`, `GatherScanned` and of the matches.
        matches: the name of the fold that gathered the matches.
        plants: as of `measure`.
        dropped: the sources that were dropped as a whole.
        places: where each source is from, by its name; the name itself otherwise.
        decisions: what a person decided, where the step honours it.
    """
    found = context.artifact(matches)
    drops = pc.equal(found["action"], "drop")
    by_drop, by_any = (_rows_by_source(table) for table in (found.filter(drops), found))
    hosts = Hosts.of(context.artifact(GatherHosts.name))
    datasets = []
    for told in context.artifact(GatherScanned.name).to_pylist():
        source, rows = told["source"], told["rows"]
        gone = rows if source in dropped else by_drop.get(source, 0)
        left = 0 if source in dropped else by_any.get(source, 0) - gone
        datasets.append(
            DatasetTold(
                dataset=source,
                source=(places or {}).get(source, source),
                kind=context.kind,
                rows=rows,
                kept=rows - gone,
                dropped=gone,
                kept_with_findings=left,
                sha256=told["sha256"],
            )
        )
    measured = measure(suite, roles, hosts, kinds=(context.kind,), seed=context.seed, plants=plants)
    return certify(suite, measured, datasets, roles, decisions=decisions)


def _rows_by_source(matches: pa.Table) -> dict[str, int]:
    """How many rows of each source have findings."""
    counts = matches.group_by("dataset").aggregate([("row_id", "count_distinct")]).to_pydict()
    return dict(zip(counts["dataset"], counts["row_id_count_distinct"], strict=True))
