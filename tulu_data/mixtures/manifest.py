"""The manifest of a version: what it was made of, by what, and how many rows went where.

It names no path that the recipe does not name, and only `built` tells a time; two builds of the same recipe
over the same sources differ in nothing else.
"""

from __future__ import annotations

import json
import platform
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data import __version__
from tulu_data.engine import Count
from tulu_data.mixtures.check import Checked, OpenSource, ReadyStep, Surroundings
from tulu_data.mixtures.outcome import Kept
from tulu_data.mixtures.reading import Loaded
from tulu_data.mixtures.recipe import Recipe
from tulu_data.mixtures.select import Chosen
from tulu_data.mixtures.store import file_hash
from tulu_data.op import Op
from tulu_data.sources import SourceLock

FORMAT = 1
BYTES_PER_TOKEN = 4
"""Bytes of UTF-8 text per token, for estimates: the usual rule of thumb for English text. An exact count
needs a tokenizer, which a mixture does not choose."""

_MADE_OF = ("kind", "seed", "layout", "recipe", "sources", "steps")
"""The parts of a manifest that tell what the rows were made of: all but times, libraries and files' bytes."""


@dataclass(frozen=True)
class Built:
    """A build that is done but for its manifest."""

    found: Checked
    recipe: Recipe
    around: Surroundings
    limit: int | None
    loaded: list[Loaded]
    chosen: list[Chosen]
    counts: list[Count]
    kept: Kept
    dropped: Counter[tuple[str, str]]
    logical_hash: str
    locks: dict[str, dict[str, Any]]
    step_data: list[dict[str, Any]]
    """What each step tells of the data that it brought along."""


def manifest(built: Built, folder: Path) -> dict[str, Any]:
    """What is known of a build, as data; the version's name is known only when it is committed."""
    return {
        "format": FORMAT,
        "mixture": built.recipe.name,
        "version": "",
        "preview": built.limit is not None,
        **({"limit": built.limit} if built.limit is not None else {}),
        "kind": built.recipe.kind,
        "seed": built.recipe.seed,
        "layout": built.recipe.layout,
        "rows": built.kept.rows,
        "columns": built.kept.schema().names,
        "logical_hash": built.logical_hash,
        "recipe": built.recipe.resolved(),
        "sources": _sources(built),
        "steps": _steps(built),
        "warnings": [f"{p.what}. {p.remedy}" for p in built.found.problems if p.level == "warning"],
        "files": _files(folder),
        "libraries": {
            "tulu_data": __version__,
            "pyarrow": pa.__version__,
            "python": platform.python_version(),
            "unicode": unicodedata.unidata_version,
        },
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts of two manifests that tell of different recipes, locks or operators, by their names."""
    plain = json.loads(_json(now))
    return tuple(part for part in _MADE_OF if earlier.get(part) != plain[part])


def rows_of_sources(built: Built) -> list[dict[str, Any]]:
    """What happened to the rows of each source: read, bad, selected, dropped by verdict, kept."""
    rows = []
    for loaded, chosen in zip(built.loaded, built.chosen, strict=True):
        dropped = {
            verdict: n for (source, verdict), n in sorted(built.dropped.items()) if source == loaded.name
        }
        rows.append(
            {
                "source": loaded.name,
                "read": loaded.rows.rows + len(loaded.bad),
                "bad": len(loaded.bad),
                "selected": int(chosen.taken.sum()),
                "dropped": dropped,
                "kept": built.kept.totals[loaded.name].rows,
            }
        )
    return rows


def lock(built: Built) -> dict[str, Any]:
    """What pins each source, as data for `lock.json`."""
    return {"format": FORMAT, "sources": built.locks}


def source_locks(sources: Iterable[OpenSource], store: Path) -> dict[str, dict[str, Any]]:
    """What pins each source, by its name. Files are read once more for their hashes."""
    return {source.at.entry.name: _source_lock(source.source.lock(), store.resolve()) for source in sources}


def _source_lock(told: SourceLock, store: Path) -> dict[str, Any]:
    """A source's lock; files of the store are named from the store's own folder."""
    data: dict[str, Any] = told.model_dump(mode="json", exclude_none=True)
    for file in data.get("files", ()):
        path = Path(file["path"])
        if path.is_absolute() and path.resolve().is_relative_to(store):
            file["path"] = f"store/{path.resolve().relative_to(store).as_posix()}"
    return data


def _sources(built: Built) -> list[dict[str, Any]]:
    text = sum(total.text_bytes for total in built.kept.totals.values())
    told = []
    for source, loaded, counts in zip(built.found.sources, built.loaded, rows_of_sources(built), strict=True):
        total = built.kept.totals[loaded.name]
        told.append(
            {
                "name": loaded.name,
                "from": source.at.entry.from_,
                "license": source.at.entry.license,
                "adapter": source.adapter.name,
                "left_out": loaded.left_out,
                "lock": built.locks[loaded.name],
                "rows": {key: counts[key] for key in ("read", "bad", "selected", "kept")},
                "dropped": counts["dropped"],
                "text_bytes": total.text_bytes,
                "tokens_estimated": total.text_bytes // BYTES_PER_TOKEN,
                "share_of_rows": _share(total.rows, built.kept.rows),
                "share_of_tokens": _share(total.text_bytes, text),
            }
        )
    return told


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _steps(built: Built) -> list[dict[str, Any]]:
    counts = iter(built.counts)
    return [
        _step(number, ready, [next(counts) for _ in ready.plan], built)
        | ({"data": built.step_data[number - 1]} if built.step_data[number - 1] else {})
        for number, ready in enumerate(built.found.steps, 1)
    ]


def _step(number: int, ready: ReadyStep, counts: list[Count], built: Built) -> dict[str, Any]:
    """Of a step; folds pass every row on, so they are not counted."""
    ops = [count for count, op in zip(counts, ready.plan, strict=True) if isinstance(op, Op)]
    reasons: Counter[str] = Counter()
    for count in ops:
        reasons.update(count.reasons)
    return {
        "step": number,
        "op": ready.step.name,
        "version": ready.step.version,
        "settings": {key: value for key, value in ready.at.settings.items() if key != "op"},
        "fingerprint": built.around.registry.fingerprint(ready.step),
        "rows_in": ops[0].rows_in if ops else 0,
        "rows_out": ops[-1].rows_out if ops else 0,
        "dropped": dict(sorted(reasons.items())),
    }


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """Every Parquet file, by its path within the version."""
    return {
        path.relative_to(folder).as_posix(): {
            "rows": pq.read_metadata(path).num_rows,
            "bytes": path.stat().st_size,
            "sha256": file_hash(path),
        }
        for path in sorted(folder.rglob("*.parquet"))
    }


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """JSON that a person can read."""
    path.write_text(_json(data) + "\n", encoding="utf-8")


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)
