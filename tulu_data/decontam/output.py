"""What `decontaminate` writes; see `sources/output.py`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from tulu_data.sources import output
from tulu_data.sources.output import NativeWriter

__all__ = ["NativeWriter", "new_folder"]

WRITTEN = {"clean", "dropped", "matches.parquet", "bad_rows.parquet", "summary.json"}
"""What a result's folder holds; `--force` replaces no folder that holds anything else."""


def new_folder(out: Path, *, force: bool) -> AbstractContextManager[Path]:
    """A folder beside `out` to write into; takes the place of `out` at the end, or goes if anything fails."""
    return output.new_folder(out, WRITTEN, force=force)
