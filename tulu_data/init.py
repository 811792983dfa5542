"""Starting a workspace: a commented suite, a recipe and a few rows, copied from `starter/`."""

from __future__ import annotations

import shutil
from pathlib import Path

from tulu_data.errors import StoreError

STARTER = Path(__file__).resolve().parent / "starter"

NEXT = (
    "tulu-data decontaminate --against evals.yaml",
    "tulu-data check my_mix",
    "tulu-data build-mixture my_mix",
)
"""What to type in a new workspace."""


def start(folder: Path) -> list[Path]:
    """Copies the starter files into `folder` and returns their paths.

    Raises:
        StoreError: one of the files exists already; then nothing is written.
    """
    files = sorted(path.relative_to(STARTER) for path in STARTER.rglob("*") if path.is_file())
    taken = [str(folder / file) for file in files if (folder / file).exists()]
    if taken:
        raise StoreError(
            f"{', '.join(taken)} exists already", remedy="Nothing was written; choose another folder"
        )
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(STARTER / file, folder / file)
    return [folder / file for file in files]
