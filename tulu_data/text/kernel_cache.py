"""Numba's cache of compiled kernels, kept true to their sources.

Numba compiles a kernel again when the kernel's own file changes, but not when a file that it calls into does:
after an update, `scan` could go on running yesterday's `cut`. So the hash of all kernel files lies beside the
compiled code, and code that was made from other sources is thrown away before anything is loaded.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from pathlib import Path

STAMP = "kernels.sha256"


def keep_true(caches: set[str], sources: list[Path], name: str = STAMP) -> None:
    """Empties the cache folders of code that was not compiled from these sources.

    Args:
        caches: the folders, as `dispatcher.stats.cache_path` tells them; they need not exist.
        sources: every file with kernels that call each other.
        name: of the file with their hash; kernels that are loaded apart from others have one of their own.
    """
    stamp = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stems = [path.stem for path in sources]
    for folder in map(Path, caches):
        with contextlib.suppress(OSError):  # a read-only cache cannot be emptied, nor filled anew
            if (folder / name).is_file() and (folder / name).read_text() == stamp:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            for stem in stems:
                for compiled in folder.glob(f"{stem}.*.nb[ic]"):
                    compiled.unlink()
            (folder / name).write_text(stamp)
