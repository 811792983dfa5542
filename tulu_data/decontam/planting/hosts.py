"""The run's own rows that carry the planted items, and how an item gets into a copy of one."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.decontam.evidence import scanned_columns
from tulu_data.decontam.planting.kinds import Planting
from tulu_data.record import MESSAGES, ROLES, Kind

HOSTS = 32
"""So many rows of each kind carry the plants: enough to be varied, few enough to be kept while scanning."""

HOST_BYTES = 16_384
"""Longer rows do not become hosts: each plant is a copy of one."""

Keys = npt.NDArray[np.uint64]
Row = dict[str, Any]
Messages = list[dict[str, str]]

HOST_ROWS = pa.schema([
    ("key", pa.uint64()),
    ("kind", pa.string()),
    ("prompt", pa.string()),
    ("messages", MESSAGES),
    ("chosen", MESSAGES),
    ("rejected", MESSAGES),
])  # fmt: skip
"""Hosts as a table, whatever their kind: what a fold of a build hands on."""

SYNTHETIC: Messages = [
    {"role": "user", "content": "Let us talk about something else for a moment."},
    {"role": "assistant", "content": "Gladly. What is on your mind?"},
]
"""The conversation that carries plants where the run has no row that could."""


def row_keys(seed: int, dataset: str, numbers: npt.NDArray[np.int64]) -> Keys:
    """A key for each row of a dataset, from its number: SplitMix64 (Steele and others, OOPSLA 2014).

    For runs that give their rows no ids; `record.sort_keys` makes keys of ids.
    """
    start = blake2b(f"{seed}/{dataset}".encode(), digest_size=8).digest()
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(
        int.from_bytes(start, "big")
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    keys: Keys = mixed ^ (mixed >> np.uint64(31))
    return keys


@dataclass
class Hosts:
    """The rows with the smallest keys of each kind, collected while scanning from any number of threads.

    Which they are hangs on the keys alone, not on threads or on how the rows are cut into batches.
    """

    size: int = HOSTS
    _rows: dict[Kind, list[tuple[int, str, Row]]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, kind: Kind, rows: pa.Table, keys: Keys) -> None:
        """Offers rows (with the columns of `scanned_columns(kind)`) and a key for each."""
        near = np.flatnonzero(keys <= self._worst(kind))
        near = near[np.argsort(keys[near], kind="stable")]
        for first in range(0, len(near), self.size):
            some = near[first : first + self.size]
            if keys[some[0]] > self._worst(kind):  # they ascend, so none of the rest can stay
                break
            found = rows.select(scanned_columns(kind)).take(pa.array(some)).to_pylist()
            self._keep(kind, zip(keys[some].tolist(), found, strict=True))

    def merge(self, other: Hosts) -> None:
        """Takes in what another has collected."""
        for kind, held in other._rows.items():
            self._keep(kind, ((key, row) for key, _, row in held))

    def rows(self, kind: Kind) -> list[Row]:
        """The hosts of a kind, smallest key first."""
        return [row for _, _, row in self._rows.get(kind, [])]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of which there are hosts."""
        return tuple(sorted(kind for kind, held in self._rows.items() if held))

    def table(self) -> pa.Table:
        """All of them, as HOST_ROWS."""
        names = HOST_ROWS.names[2:]
        rows = [
            {"key": key, "kind": kind, **{name: row.get(name) for name in names}}
            for kind in self.kinds
            for key, _, row in self._rows[kind]
        ]
        return pa.Table.from_pylist(rows, schema=HOST_ROWS)

    @classmethod
    def of(cls, tables: pa.Table, size: int = HOSTS) -> Hosts:
        """The hosts among those of a table, or of several one behind the other."""
        hosts = cls(size)
        for row in tables.to_pylist():
            kind = cast("Kind", row["kind"])
            hosts._keep(kind, [(row["key"], {name: row[name] for name in scanned_columns(kind)})])
        return hosts

    def _worst(self, kind: Kind) -> np.uint64:
        """The largest key that can still stay."""
        held = self._rows.get(kind, [])
        return np.uint64(held[-1][0] if len(held) >= self.size else 2**64 - 1)

    def _keep(self, kind: Kind, rows: Iterable[tuple[int, Row]]) -> None:
        with self._lock:
            held = self._rows.setdefault(kind, [])
            for key, row in rows:
                if _can_host(row):
                    insort(held, (key, str(row), row), key=lambda entry: entry[:2])
                    del held[self.size :]


def _can_host(row: Row) -> bool:
    """Whether it is short enough, whole, and has a turn of the user's to carry an item."""
    prompt, *conversations = (row.get("prompt", ""), *(v for k, v in row.items() if k != "prompt"))
    if prompt is None or not all(conversations):
        return False
    turns = [turn for messages in conversations for turn in messages]
    if not all(turn and turn["role"] and turn["content"] is not None for turn in turns):
        return False
    size = len(prompt) + sum(len(turn["content"]) for turn in turns)
    return size <= HOST_BYTES and all(
        any(turn["role"] == "user" for turn in messages) for messages in conversations
    )


def synthetic(kind: Kind) -> Row:
    """A row of ours, where the run has none that can carry."""
    if kind == "preference":
        return {"prompt": SYNTHETIC[0]["content"], "chosen": SYNTHETIC, "rejected": SYNTHETIC}
    return {"messages": SYNTHETIC}


def carrier(roles: Sequence[str] | None) -> str:
    """Whose turns carry the plants: the user's where the run looks at them, else another that it looks at."""
    order = ("user", "assistant", *ROLES)
    return next(role for role in order if roles is None or role in roles)


def carry(kind: Kind, host: Row, planting: Planting, role: str, number: int) -> Row:
    """A copy of a host with the item in it.

    Args:
        kind: of the row.
        host: the row; it stays as it is.
        planting: the texts, and where they go.
        role: whose turns carry them.
        number: of the plant; every other goes into `rejected` where only one answer carries it.
    """
    if kind != "preference":
        return {"messages": _carry(host["messages"], planting, role)}
    if planting.place == "assistant":
        side = ("chosen", "rejected")[number % 2]
        return {**host, side: _carry(host[side], planting, role)}
    sides = {side: _carry(host[side], planting, role) for side in ("chosen", "rejected")}
    return {"prompt": _prompt(host["prompt"], planting, role), **sides}


def _prompt(prompt: str, planting: Planting, role: str) -> str:
    if role != "user" or planting.place == "later":
        return prompt
    return inside(prompt, planting.texts[0]) if planting.place == "inside" else planting.texts[0]


def _carry(messages: Messages, planting: Planting, role: str) -> Messages:
    match planting.place:
        case "message":
            return _changed(messages, role, lambda _old: planting.texts[0])
        case "inside":
            return _changed(messages, role, lambda old: inside(old, planting.texts[0]))
        case "assistant":
            return _changed(messages, "assistant", lambda _old: planting.texts[0])
        case "later":
            return [*messages, *_between(messages, role), {"role": role, "content": planting.texts[0]}]
        case "split":
            first, second = planting.texts
            changed = _changed(messages, role, lambda _old: first)
            at = next(i for i, turn in enumerate(changed) if turn["role"] == role) + 1
            then = [*_between(changed[:at], role), {"role": role, "content": second}]
            return [*changed[:at], *then, *changed[at:]]


def _changed(messages: Messages, role: str, change: Callable[[str], str]) -> Messages:
    """With another text in the role's first turn; a turn of its own where it has none."""
    for place, turn in enumerate(messages):
        if turn["role"] == role:
            return [
                *messages[:place],
                {"role": role, "content": change(turn["content"])},
                *messages[place + 1 :],
            ]
    new = {"role": role, "content": change("")}
    return [new, *messages] if role == "system" else [*messages, new]


def _between(messages: Messages, role: str) -> Messages:
    """What the other says before the role's next turn."""
    if not messages or messages[-1]["role"] != role:
        return []
    other = "user" if role == "assistant" else "assistant"
    said = next((turn["content"] for turn in messages if turn["role"] == other), None)
    return [{"role": other, "content": said or SYNTHETIC[1]["content"]}]


def inside(host: str, text: str) -> str:
    """A text within a longer one: at a space near its middle, as a paragraph of its own."""
    cut = host.find(" ", len(host) // 2)
    cut = len(host) if cut < 0 else cut
    return f"{host[:cut]}\n\n{text}\n\n{host[cut:].lstrip(' ')}"
