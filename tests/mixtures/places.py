"""A workspace with small sources of every kind, as real Parquet and JSON lines."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tulu_data.mixtures.build import BuildResult, build
from tulu_data.mixtures.check import check
from tulu_data.workspace import Workspace

Row = dict[str, Any]


def turns(*texts: str) -> list[Row]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def sft_rows(count: int, word: str = "row") -> list[Row]:
    """Rows of different lengths; every tenth repeats the first."""
    said = [n if n % 10 else 0 for n in range(count)]
    return [
        {"id": f"up{i}", "messages": turns(f"{word} {n}?", "yes " * (n % 7 + 1))} for i, n in enumerate(said)
    ]


def preference_rows(count: int, *, rated: bool) -> list[Row]:
    ratings = {"chosen_rating": 4.5, "rejected_rating": 0.1 + 0.2, "chosen_model": "a", "rejected_model": "b"}
    return [
        {
            "prompt": f"ask {n}",
            "chosen": turns(f"ask {n}", f"good {n}"),
            "rejected": turns(f"ask {n}", f"bad {n}"),
            **(ratings if rated else {}),
        }
        for n in range(count)
    ]


def rlvr_rows(count: int) -> list[Row]:
    return [
        {
            "messages": turns(f"{n} + 1?"),
            "ground_truth": str(n + 1),
            "dataset": "gsm8k",
            "constraint_type": "",
            "constraint": "",
        }
        for n in range(count)
    ]


@dataclass
class Place:
    """A user's workspace."""

    root: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def store(self) -> Path:
        return self.root / "store"

    def parquet(self, name: str, rows: list[Row]) -> str:
        path = self.root / "mixtures" / "data" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
        return f"data/{name}.parquet"

    def jsonl(self, name: str, rows: list[Row]) -> str:
        path = self.root / "mixtures" / "data" / f"{name}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0))
        return f"data/{name}.jsonl.gz"

    def recipe(self, name: str = "mini", **settings: Any) -> str:
        """A recipe from its settings; `text` writes it as it is."""
        path = self.root / "mixtures" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = settings.pop("text", None)
        path.write_text(text or yaml.safe_dump({"mixture": name, "kind": "sft", **settings}, sort_keys=False))
        return name

    def build(self, name: str = "mini", **settings: Any) -> BuildResult:
        return build(name, workspace=self.workspace, **settings)

    def problems(self, name: str = "mini", **settings: Any) -> list[str]:
        """What `check` says, each with its level before it."""
        found = check(name, workspace=self.workspace, **settings)
        return [f"{p.level}: {p}".replace(f"{self.root}/", "") for p in found]

    def left_behind(self) -> list[str]:
        """What a build left in the store, but for versions and previews."""
        there = self.store.iterdir() if self.store.is_dir() else ()
        return sorted(p.name for p in there if p.name not in {".lock", "mixtures", "previews"})
