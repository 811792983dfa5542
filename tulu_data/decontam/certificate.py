"""The certificate of a run: what was looked for in what, by which rule, and what that rule finds of plants.

certificate.json    everything, for programs; the same run gives the same bytes
certificate.html    the same for people: one page that opens offline and prints

It says no more than was checked. The word "pass" stands there only where at least 99 % of what was planted is
found again: of every kind that the rule promises, and of every eval.
"""

from __future__ import annotations

import json
import math
import platform
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numba
import numpy as np
import pyarrow as pa
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from tulu_data import __version__
from tulu_data.decontam.certificate_page import page
from tulu_data.decontam.items import EvalItems, SuiteItems
from tulu_data.decontam.planting import WAYS, Cell, Measured, Odd
from tulu_data.record import Kind

ENOUGH = 0.99
"""Planted recall under which the word "pass" is refused."""

Z = 1.959964
"""Of the normal distribution: two-sided intervals of 95 %."""

PASS, FAIL, NOT_MEASURED = "pass", "fail", "not measured"


_FROM = AliasChoices("from", "source")


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recall(_Told):
    """Of so many planted, so many were found (of decoys: flagged)."""

    planted: int
    found: int
    recall: float | None
    """found / planted; null where nothing was planted."""
    low: float | None
    high: float | None
    """The 95 % interval of Wilson (JASA 1927)."""

    @classmethod
    def of(cls, planted: int, found: int) -> Recall:
        """With its interval."""
        low, high = wilson(found, planted) if planted else (None, None)
        return cls(planted=planted, found=found, recall=_rounded(found, planted), low=low, high=high)


class KindTold(Recall):
    """One kind of plant, over all evals."""

    kind: str
    decoy: bool
    promised: bool
    """Whether the rule promises to find it; decoys are never promised."""
    about: str
    eligible_are: str
    """Which items can be checked in this way."""
    eligible: int
    """How many of the suite's items can be checked in this way."""
    not_checkable: dict[str, int]
    """Why the others cannot, and how many."""


class CellTold(Recall):
    """One kind of plant in one eval."""

    kind: str
    eligible: int
    not_checkable: dict[str, int]


class EvalTold(Recall):
    """One eval: where its items are from, and what of those planted in promised ways was found."""

    eval: str
    role: str
    source: str = Field(validation_alias=_FROM, serialization_alias="from")
    config: str | None
    split: str | None
    revision: str | None
    items: int
    expected: int | None
    """How many items the suite says there are."""
    sha256: str
    """Of the items' ids and texts."""
    unchecked: dict[str, int]
    """Items that cannot be checked in any way: why, and how many."""
    cells: tuple[CellTold, ...]


class DatasetTold(_Told):
    """One dataset that was scanned."""

    dataset: str
    source: str = Field(validation_alias=_FROM, serialization_alias="from")
    kind: Kind
    rows: int
    """Rows that were looked at."""
    kept: int
    dropped: int
    kept_with_findings: int = 0
    """Rows that are kept though something matches: for review, or as the rule or a decision says."""
    bad: int = 0
    """Rows that could not be used, and were not looked at."""
    revision: str | None = None
    sha256: str
    """Of what was looked at: see `ScanDigest`."""


class DecisionsTold(_Told):
    """The decisions of a person that the run honoured."""

    sha256: str
    """Of what was decided, in whichever order."""
    drop: int
    keep: int


class OddTold(_Told):
    """A plant that was missed, or a decoy that was flagged."""

    kind: str
    eval: str
    item_id: str
    data: Kind


class Control(_Told):
    """How the control was made."""

    seed: int
    plants: int
    """Items of each eval that were planted in each way, at most."""
    hosts: dict[Kind, int]
    """How many of the run's own rows carried the plants; 0 where a conversation of ours did."""


class Certificate(_Told):
    """What `certificate.json` says."""

    format: Literal[1] = 1
    status: str
    """`pass`, `not measured: …` or `fail: …` with the kinds and evals."""
    statement: str
    suite: str
    suite_sha256: str
    rule: str
    rule_settings: dict[str, Any]
    roles: Literal["all"] | tuple[str, ...]
    decisions: DecisionsTold | None = None
    datasets: tuple[DatasetTold, ...]
    evals: tuple[EvalTold, ...]
    kinds: tuple[KindTold, ...]
    missed: tuple[OddTold, ...]
    """The first plants of promised kinds that were not found."""
    flagged: tuple[OddTold, ...]
    """The first decoys that were flagged."""
    control: Control
    made_by: dict[str, str]
    """Versions: of this package, of Python and its Unicode, of the libraries that matching is made of."""

    @property
    def passed(self) -> bool:
        """Whether everything that the rule promises was found again."""
        return self.status == PASS

    def told(self) -> dict[str, Any]:
        """As data, with a hash of all the rest."""
        data = self.model_dump(mode="json", by_alias=True)
        return {**data, "sha256": sha256(_json(data).encode()).hexdigest()}

    def write(self, folder: Path) -> None:
        """Writes `certificate.json` and `certificate.html` into a folder."""
        told = self.told()
        (folder / "certificate.json").write_text(_json(told) + "\n", encoding="utf-8")
        (folder / "certificate.html").write_text(page(told), encoding="utf-8")

    def card_lines(self) -> list[str]:
        """For a dataset card: the status, the statement and the recall of each kind, as Markdown."""
        heads = ["| planted | promised | eligible items | planted | found | recall |",
                 "| --- | --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
        plants = [
            f"| {told.about} | {'yes' if told.promised else 'no'} | {told.eligible:,} | {told.planted:,} "
            f"| {told.found:,} | {percent(told.recall)} |"
            for told in self.kinds
            if not told.decoy
        ]
        return [
            f"**Decontamination: {self.status}**",
            "",
            f"{self.statement}",
            "",
            *heads,
            *plants,
            "",
            f"Decoys flagged: {_decoys(self.kinds)}. `certificate.html` and `.json` tell the rest.",
        ]


def certify(
    suite: SuiteItems,
    measured: Measured,
    datasets: Iterable[DatasetTold],
    roles: Sequence[str] | None,
    *,
    decisions: DecisionsTold | None = None,
) -> Certificate:
    """The certificate of a run.

    Args:
        suite: what was looked for, and the rule.
        measured: what the control found.
        datasets: what was scanned.
        roles: whose messages were looked at; None means everyone's.
        decisions: what a person decided, where the run honours it.
    """
    promised = set(suite.suite.rule.promises)
    scanned = tuple(datasets)
    evals = tuple(_eval(part, measured, promised) for part in suite.evals)
    kinds = tuple(_kind(way.name, measured.cells, promised) for way in WAYS)
    name = suite.suite.rule.rule
    status = _status(kinds, evals)
    return Certificate(
        status=status,
        statement=_statement(status, name, suite.suite.name, scanned, evals, kinds),
        suite=suite.suite.name,
        suite_sha256=_hash([told.sha256 for told in evals]),
        rule=name,
        rule_settings=suite.suite.rule.model_dump(mode="json"),
        roles="all" if roles is None else tuple(roles),
        datasets=scanned,
        decisions=decisions,
        evals=evals,
        kinds=kinds,
        missed=_odd(odd for odd in measured.missed if odd.kind in promised),
        flagged=_odd(measured.flagged),
        control=Control(seed=measured.seed, plants=measured.plants, hosts=measured.hosts),
        made_by=versions(),
    )


def wilson(found: int, planted: int) -> tuple[float, float]:
    """The interval of a share, 95 % (Wilson, JASA 1927): sound where nothing or everything was found.

    >>> wilson(50, 50), wilson(0, 10)
    ((0.928652, 1.0), (0.0, 0.277533))
    """
    share, zz = found / planted, Z * Z / planted
    middle = (share + zz / 2) / (1 + zz)
    half = Z * math.sqrt(share * (1 - share) / planted + zz / (4 * planted)) / (1 + zz)
    return round(max(0.0, middle - half), 6), round(min(1.0, middle + half), 6)


def percent(share: float | None) -> str:
    """A share as a person reads it; never rounded up to 100.

    >>> percent(1.0), percent(0.99996), percent(0.5), percent(None)
    ('100 %', '99.9 %', '50.0 %', 'not measured')
    """
    if share is None:
        return NOT_MEASURED
    return "100 %" if share == 1 else f"{math.floor(share * 1000) / 10:.1f} %"


def versions() -> dict[str, str]:
    """What matching is made of."""
    return {
        "tulu_data": __version__,
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "numba": numba.__version__,
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
    }


# -- parts ---------------------------------------------------------------------------------------------------


def _kind(name: str, cells: Iterable[Cell], promised: set[str]) -> KindTold:
    way = next(way for way in WAYS if way.name == name)
    own = [cell for cell in cells if cell.kind == name]
    return KindTold(
        **_recall(own),
        kind=name,
        decoy=way.decoy,
        promised=name in promised,
        about=way.about,
        eligible_are=way.eligible,
        eligible=sum(cell.eligible for cell in own),
        not_checkable=_sorted(sum((cell.not_checkable for cell in own), Counter[str]())),
    )


def _eval(part: EvalItems, measured: Measured, promised: set[str]) -> EvalTold:
    entry = part.eval
    own = [cell for cell in measured.cells if cell.eval == entry.name]
    return EvalTold(
        **_recall([cell for cell in own if cell.kind in promised]),
        eval=entry.name,
        role=entry.role,
        source=entry.from_,
        config=str(entry.config) if entry.config else None,
        split=entry.split,
        revision=part.lock.revision,
        items=len(part.ids),
        expected=entry.rows,
        sha256=_hash([*part.ids, *(text for texts in part.texts for text in texts)]),
        unchecked=_sorted(measured.unfit[entry.name]),
        cells=tuple(
            CellTold(
                **_recall([cell]),
                kind=cell.kind,
                eligible=cell.eligible,
                not_checkable=_sorted(cell.not_checkable),
            )
            for cell in own
        ),
    )


def _recall(cells: Iterable[Cell]) -> dict[str, Any]:
    own = list(cells)
    return Recall.of(sum(cell.planted for cell in own), sum(cell.found for cell in own)).model_dump()


def _status(kinds: Sequence[KindTold], evals: Sequence[EvalTold]) -> str:
    """Recall of each promised kind over all evals, and of each eval over all promised kinds, must be enough.

    The second so that one eval among many that the matcher is blind to is told.
    """
    low = [f"{told.kind} {percent(told.recall)}" for told in kinds if told.promised and _under(told)]
    low += [f"eval {told.eval} {percent(told.recall)}" for told in evals if _under(told)]
    if low:
        return f"{FAIL}: planted recall is under {ENOUGH:.0%} for {', '.join(low)}"
    if not any(told.planted for told in evals):
        return NOT_MEASURED
    blank = [told.eval for told in evals if not told.planted]
    return f"{NOT_MEASURED}: nothing could be planted of eval {', '.join(blank)}" if blank else PASS


def _under(told: Recall) -> bool:
    return told.planted > 0 and told.found < ENOUGH * told.planted


def _statement(
    status: str,
    rule: str,
    suite: str,
    datasets: Sequence[DatasetTold],
    evals: Sequence[EvalTold],
    kinds: Sequence[KindTold],
) -> str:
    rows, kept = (sum(getattr(told, name) for told in datasets) for name in ("rows", "kept"))
    found = sum(told.kept_with_findings for told in datasets)
    where = "" if kept == rows else f" in the {kept:,} of {rows:,} rows that are kept"
    left = f" that drops a row ({found:,} rows are kept with findings)" if found else ""
    recall = ", ".join(
        f"{told.kind} {percent(told.recall)}" for told in kinds if told.promised and told.planted
    )
    unchecked = sum(sum(told.unchecked.values()) for told in evals)
    named = ", ".join(f"{sum(told.unchecked.values()):,} of {told.eval}" for told in evals if told.unchecked)
    items = (
        f"these {unchecked:,} items could not be checked: {named}" if named else "every item could be checked"
    )
    control = f"planted recall by kind: {recall}" if recall else "planted recall was not measured"
    if status.startswith(FAIL):
        control = f"but this run misses what it should find; {control}"
    return f"No match{left} under rule {rule} at suite {suite}{where}; {control}; {items}."


def _decoys(kinds: Sequence[KindTold]) -> str:
    own = [told for told in kinds if told.decoy]
    return f"{sum(told.found for told in own):,} of {sum(told.planted for told in own):,}"


def _odd(odds: Iterable[Odd]) -> tuple[OddTold, ...]:
    return tuple(OddTold(kind=odd.kind, eval=odd.eval, item_id=odd.item_id, data=odd.data) for odd in odds)


def _rounded(found: int, planted: int) -> float | None:
    return round(found / planted, 6) if planted else None


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _hash(texts: Iterable[str]) -> str:
    """SHA-256 over texts, each behind its length in bytes, so that none runs into the next."""
    digest = sha256()
    for text in texts:
        data = text.encode()
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def _json(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)
