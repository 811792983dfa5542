"""The positive control: what of the planted items the run's own rule finds, by kind and eval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.evidence import findings_of, scanned_columns
from tulu_data.decontam.items import SuiteItems
from tulu_data.decontam.planting.hosts import Hosts, Row, carrier, carry, synthetic
from tulu_data.decontam.planting.kinds import WAYS, DecoyKind, Planting, PlantKind, Way, unfit
from tulu_data.decontam.planting.shapes import Anatomy, Specimen
from tulu_data.record import CONTENT, Kind

PLANTS = 50
"""Items of each eval that are planted in each way."""

BATCH = 2_000
"""Planted rows that are scanned together."""

BATCH_CHARACTERS = 32_000_000
"""…unless they are longer than that."""

MOST_CHARACTERS = 1_000_000
"""Of an eval with long items fewer are planted: no more in each way than have so many characters, but one."""

SHOWN = 20
"""So many missed plants of a kind are named, or flagged decoys."""

RELATED = ("changed_numbers", "near_duplicate")
"""Findings that are enough for an item with other numbers, whatever the rule does with them."""

OWN_WORDS = "its own words"
"""Why an item that its shape lets through cannot be planted after all."""

BLIND = "the run looks at no assistant turn"


@dataclass
class Cell:
    """One kind of plant in one eval."""

    kind: PlantKind | DecoyKind
    eval: str
    decoy: bool
    items: int
    eligible: int = 0
    """How many of the eval's items can be checked in this way."""
    planted: int = 0
    found: int = 0
    """Plants that were found; of decoys, those that were flagged."""
    not_checkable: Counter[str] = field(default_factory=Counter)
    """Of the items that cannot be checked in this way: why, and how many."""


@dataclass(frozen=True)
class Odd:
    """A plant that was missed, or a decoy that was flagged."""

    kind: PlantKind | DecoyKind
    eval: str
    item_id: str
    data: Kind
    """What kind of row carried it."""


@dataclass(frozen=True)
class Measured:
    """What the control found."""

    seed: int
    plants: int
    cells: list[Cell]
    hosts: dict[Kind, int]
    """How many rows of the run carried plants; 0 where a synthetic conversation did."""
    missed: list[Odd]
    flagged: list[Odd]
    unfit: dict[str, Counter[str]]
    """Per eval: the items that cannot be checked in any way; why, and how many."""


@dataclass(frozen=True)
class _Plant:
    cell: Cell
    anatomy: Anatomy
    item: int
    data: Kind
    row: Row
    characters: int

    @property
    def name(self) -> str:
        return self.anatomy.part.ids[self.item]

    def is_also(self, other: Anatomy, name: str) -> bool:
        """Whether an item of some eval has the same words."""
        return self.anatomy.identity(self.name) == other.identity(name)


def measure(
    suite: SuiteItems,
    roles: Sequence[str] | None,
    hosts: Hosts,
    *,
    kinds: Sequence[Kind] = ("sft",),
    seed: int = 42,
    plants: int = PLANTS,
) -> Measured:
    """Plants a sample of the suite's items into copies of the hosts, and counts what is found.

    The planted rows go the way of all rows: `findings_of`, with the roles of the run.

    Args:
        suite: whose items are planted, and searched for.
        roles: whose messages the run looks at; None means everyone's.
        hosts: the rows of the run that carry the plants.
        kinds: what the run's rows are; each kind carries its share.
        seed: which items and which hosts.
        plants: how many items of each eval in each way; 0 plants nothing.
    """
    carriers = _carriers(suite, hosts, sorted(set(kinds)) or ["sft"])
    anatomies = [Anatomy(suite, part, seed) for part in suite.evals]
    cells: list[Cell] = []
    by_name = {anatomy.part.eval.name: anatomy for anatomy in anatomies}
    odd: list[Odd] = []
    for batch in _batches(_plants(anatomies, cells, carriers, roles, plants)):
        for plant, found in zip(batch, _found(suite, roles, batch, by_name), strict=True):
            plant.cell.found += found
            if found == plant.cell.decoy:
                odd.append(Odd(plant.cell.kind, plant.cell.eval, plant.name, plant.data))
    decoys = {way.name for way in WAYS if way.decoy}
    return Measured(
        seed,
        plants,
        cells,
        {kind: 0 if rows == [synthetic(kind)] else len(rows) for kind, rows in carriers.items()},
        _first(one for one in odd if one.kind not in decoys),
        _first(one for one in odd if one.kind in decoys),
        {anatomy.part.eval.name: _unfit(anatomy) for anatomy in anatomies},
    )


def _first(odds: Iterable[Odd]) -> list[Odd]:
    """The first of each kind."""
    seen = Counter[str]()
    out = []
    for odd in odds:
        seen[odd.kind] += 1
        if seen[odd.kind] <= SHOWN:
            out.append(odd)
    return out


def _batches(plants: Iterable[_Plant]) -> Iterator[list[_Plant]]:
    """Plants that are scanned together."""
    batch: list[_Plant] = []
    size = 0
    for plant in plants:
        batch.append(plant)
        size += plant.characters
        if len(batch) == BATCH or size > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _carriers(suite: SuiteItems, hosts: Hosts, kinds: Sequence[Kind]) -> dict[Kind, list[Row]]:
    """The hosts of each kind that match nothing by themselves; a row of ours where there is none."""
    out: dict[Kind, list[Row]] = {}
    for kind in kinds:
        rows = hosts.rows(kind)
        matched = findings_of(_table(kind, rows), kind, None, suite)
        out[kind] = [row for row, hit in zip(rows, pc.is_valid(matched).to_pylist(), strict=True) if not hit]
        out[kind] = out[kind] or [synthetic(kind)]
    return out


def _plants(
    anatomies: Sequence[Anatomy],
    cells: list[Cell],
    carriers: dict[Kind, list[Row]],
    roles: Sequence[str] | None,
    plants: int,
) -> Iterator[_Plant]:
    """Every plant of every cell, its row made; the cells are counted on the way."""
    role, data, number = carrier(roles), list(carriers), 0
    for anatomy in anatomies:
        specimens = _Specimens(anatomy)
        for way in WAYS:
            cell = Cell(way.name, anatomy.part.eval.name, way.decoy, len(anatomy.part.ids))
            cells.append(cell)
            for item, planting in specimens.ready(way, cell, roles, plants):
                kind = data[number % len(data)]
                rows = carriers[kind]
                host = rows[number // len(data) % len(rows)]
                cell.planted += 1
                row = carry(kind, host, planting, role, number)
                yield _Plant(cell, anatomy, item, kind, row, planting.characters)
                number += 1


def _unfit(anatomy: Anatomy) -> Counter[str]:
    counts = Counter[str]()
    for shape, count in zip(anatomy.shapes.different, anatomy.shapes.counts(), strict=True):
        if why := unfit(shape, anatomy.rule):
            counts[why] += count
    return counts


class _Specimens:
    """The items of an eval that are planted: much the same in every way, so each is cut once."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self.rule = anatomy.rule
        self._with_numbers, self._plain = anatomy.shapes, anatomy.shapes.without_numbers()
        self._cut: dict[int, Specimen] = {}

    def ready(
        self, way: Way, cell: Cell, roles: Sequence[str] | None, most: int
    ) -> Iterator[tuple[int, Planting]]:
        """The first eligible items, ready to be planted; counts all that are, and why the others are not."""
        if way.name == "assistant_turn" and not (roles is None or "assistant" in roles):
            cell.not_checkable[BLIND] = cell.items
            return
        shapes = self._with_numbers if way.name == "changed_numbers" else self._plain
        reasons = [unfit(shape, self.rule) or way.reason(shape, self.rule) for shape in shapes.different]
        for reason, count in zip(reasons, shapes.counts(), strict=True):
            if reason:
                cell.not_checkable[reason] += count
        cell.eligible = cell.items - cell.not_checkable.total()
        fit = np.array([reason is None for reason in reasons], bool)[shapes.which]
        left = MOST_CHARACTERS
        for item in self.anatomy.order[fit[self.anatomy.order]].tolist():
            if cell.planted == most or left <= 0:
                return
            if planting := way.plant(self._specimen(item)):
                left -= planting.characters
                yield item, planting
            else:
                cell.not_checkable[OWN_WORDS] += 1
                cell.eligible -= 1

    def _specimen(self, item: int) -> Specimen:
        if item not in self._cut:
            self._cut[item] = self.anatomy.specimen(item)
        return self._cut[item]


def _found(
    suite: SuiteItems,
    roles: Sequence[str] | None,
    plants: Sequence[_Plant],
    anatomies: Mapping[str, Anatomy],
) -> list[bool]:
    """Which plants the run finds, in whatever kind of row they are."""
    found = [False] * len(plants)
    for kind in {plant.data: None for plant in plants}:
        places = [place for place, plant in enumerate(plants) if plant.data == kind]
        hits = _found_in(suite, roles, kind, [plants[place] for place in places], anatomies)
        for place, hit in zip(places, hits, strict=True):
            found[place] = hit
    return found


def _found_in(
    suite: SuiteItems,
    roles: Sequence[str] | None,
    kind: Kind,
    plants: Sequence[_Plant],
    anatomies: Mapping[str, Anatomy],
) -> list[bool]:
    """Which plants the run finds, by the name of their item or of one with the same words."""
    findings = findings_of(_table(kind, [plant.row for plant in plants]), kind, roles, suite)
    owners, flat = pc.list_parent_indices(findings), findings.flatten()
    changed = pa.array([plant.cell.kind == "changed_numbers" for plant in plants], pa.bool_()).take(owners)
    related = pc.and_(changed, pc.is_in(pc.struct_field(flat, "kind"), pa.array(RELATED)))
    enough = pc.or_(related, pc.equal(pc.struct_field(flat, "action"), "drop"))
    owners, flat = owners.filter(enough), flat.filter(enough)
    evals, items = (pc.struct_field(flat, name) for name in ("eval", "item_id"))
    own_eval, own_item = (
        pa.array(names, pa.string()).take(owners)
        for names in ([plant.cell.eval for plant in plants], [plant.name for plant in plants])
    )
    named = pc.and_(pc.equal(evals, own_eval), pc.equal(items, own_item))
    found = np.bincount(owners.filter(named), minlength=len(plants)) > 0
    for owner, of, name in zip(owners.to_pylist(), evals.to_pylist(), items.to_pylist(), strict=True):
        if not found[owner] and not plants[owner].cell.decoy:
            found[owner] = plants[owner].is_also(anatomies[of], name)
    return found.tolist()  # type: ignore[no-any-return]


def _table(kind: Kind, rows: Sequence[Row]) -> pa.Table:
    """Rows of a kind, with the columns that are looked at."""
    schema = pa.schema([CONTENT[kind].field(name) for name in scanned_columns(kind)])
    return pa.Table.from_pylist(list(rows), schema=schema)
