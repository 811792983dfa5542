"""Writing and reading small real files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import zstandard

from tulu_data.sources import Batch, OnBad, SourceSpec, open_source, stop


def write(path: Path, content: bytes | str | list[Any]) -> Path:
    """Write a file, compressed as its name says; a list becomes JSON lines."""
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    path.write_bytes(zstandard.compress(data) if path.suffix == ".zst" else data)
    return path


def batches(path: Path, on_bad: OnBad = stop, batch_bytes: int = 16 << 20, **keys: Any) -> list[Batch]:
    source = open_source(SourceSpec(from_=path.name, **keys), base=path.parent)
    return list(source.batches(on_bad=on_bad, batch_bytes=batch_bytes))


def rows(path: Path, on_bad: OnBad = stop, **keys: Any) -> list[dict[str, Any]]:
    """Every row of a file, as Python values."""
    return [row for batch in batches(path, on_bad, **keys) for row in batch.table.to_pylist()]
