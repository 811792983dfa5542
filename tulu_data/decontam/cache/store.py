"""A folder of entries that are found by the hash of what they were made from, and proved by their own hash.

An entry is one file: a line of magic, the SHA-256 of all that follows, a JSON header, the content. It is
written aside and renamed, so readers see it whole or not at all, and of two processes that make the same
entry at once the last rename wins, which is no loss: both hold the same. Nothing is synced to the disk: what
a crash cuts short is told by its checksum, like any other damage, and made again.

Nothing here can fail a run. A folder that cannot be written, a full disk or a damaged entry is told in one
line, and the work goes on as if nothing were kept.

SHA-256 and not BLAKE2b, because processors have instructions for it (measured: 1.7 against 0.9 GB/s).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, get_args
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from tulu_data import __version__

Bytes = npt.NDArray[np.uint8]
Part = bytes | memoryview
Kind = Literal["indexes", "scans"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAGIC = b"tulu-data cache 1\n"
"""The first bytes of every entry; the number is raised when the layout changes."""

ALIGNED = 64
"""The content begins at a multiple of this, so that arrays in it lie as NumPy lays them."""

ENDING = ".kept"
ASIDE = "aside"
"""The folder of half-written entries; what is left there by a killed process is pruned."""

ASIDE_SECONDS = 3600.0
"""No entry takes longer to be written."""

_HEAD = len(MAGIC) + 32 + 8  # magic, digest, length of the header


@dataclass(frozen=True)
class Entry:
    """What was kept: its header, and its content."""

    header: dict[str, Any]
    content: Bytes
    """Writable, because Numba compiles a kernel again for arrays that are not."""


@dataclass(frozen=True)
class Listed:
    """An entry as the listing shows it, read no further than its header."""

    path: Path
    kind: Kind
    header: dict[str, Any]
    size: int
    used: float
    """When it was last written or read, in seconds since 1970."""


class DamagedError(Exception):
    """A file is no entry, or not the one that was written."""


def default_folder() -> Path:
    """Where entries are kept: `$TULU_DATA_CACHE`, else `tulu-data` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if named := os.environ.get("TULU_DATA_CACHE"):
        return Path(named).expanduser()
    if (shared := os.environ.get("XDG_CACHE_HOME", "")) and Path(shared).is_absolute():
        return Path(shared) / "tulu-data"
    return Path("~/.cache/tulu-data").expanduser()


def _say_nothing(_text: str) -> None:
    """Where nobody listens."""


@dataclass
class Cache:
    """The entries in a folder; may be used by many threads and processes at once."""

    root: Path = field(default_factory=default_folder)
    say: Callable[[str], None] = _say_nothing
    """Is told of trouble, each kind of it once."""
    _told: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)
    _full: bool = False
    """Writing has failed; it is not tried again."""

    @classmethod
    def open(cls, say: Callable[[str], None] = _say_nothing) -> Self:
        """The cache in the default folder."""
        return cls(default_folder(), say)

    def path(self, kind: Kind, key: str, name: str = "") -> Path:
        """Where an entry lies, or with `name` one of several under one key."""
        return self.root / kind / key[:2] / (f"{key}{ENDING}" if not name else f"{key}/{name}{ENDING}")

    def read(self, path: Path) -> Entry | None:
        """The entry of a file; None where there is none that can be used."""
        try:
            entry = _read(path)
        except FileNotFoundError:
            return None
        except (DamagedError, OSError) as error:
            what = str(error) if isinstance(error, DamagedError) else _reason(error)
            self._tell(
                "damage", f"warning: what was kept in {path} cannot be used ({what}); it is made again"
            )
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry

    def under(self, kind: Kind, key: str) -> list[Path]:
        """The files under one key, by name."""
        try:
            return sorted(self.path(kind, key).with_suffix("").glob(f"*{ENDING}"))
        except OSError:
            return []

    def write(self, path: Path, header: dict[str, Any], parts: Iterable[Part]) -> None:
        """Keeps an entry, if that can be done."""
        if self._full:
            return
        aside = self.root / ASIDE / f"{os.getpid()}-{uuid4().hex}"
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            _write(aside, {"made_by": __version__, **header}, parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                aside.replace(path)
            except FileNotFoundError:  # the folder was empty yet, and another process is pruning
                path.parent.mkdir(parents=True, exist_ok=True)
                aside.replace(path)
        except OSError as error:
            self._full = True
            why = _reason(error)
            self._tell("write", f"warning: the cache {self.root} cannot be written ({why}); nothing is kept")
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    def _tell(self, kind: str, text: str) -> None:
        with self._lock:
            if kind in self._told:
                return
            self._told.add(kind)
        self.say(text)

    # -- what is kept --------------------------------------------------------------------------------

    def entries(self, *kinds: Kind) -> Iterator[Listed]:
        """Every entry (of these kinds), by its path; a file whose header is damaged has an empty one."""
        for kind in kinds or KINDS:
            for path in sorted((self.root / kind).rglob(f"*{ENDING}")):
                with contextlib.suppress(FileNotFoundError):  # another process prunes too
                    stat = path.stat()
                    yield Listed(path, kind, _header(path), stat.st_size, stat.st_mtime)

    def remove(self, entries: Iterable[Listed]) -> int:
        """Deletes entries, and folders that are empty then; returns the bytes freed.

        Raises:
            OSError: one cannot be deleted.
        """
        freed = 0
        for entry in entries:
            entry.path.unlink(missing_ok=True)
            freed += entry.size
            with contextlib.suppress(OSError):  # ends at the first folder that holds something
                for folder in entry.path.parents:
                    if folder == self.root:
                        break
                    folder.rmdir()
        return freed

    def orphans(self) -> list[Path]:
        """Half-written entries that no process can still be writing."""
        old = time.time() - ASIDE_SECONDS
        found = []
        for path in (self.root / ASIDE).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < old:
                    found.append(path)
        return sorted(found)

    def limit(self, kind: Kind, most: int) -> None:
        """Deletes what was not used for longest of a kind, until no more than `most` bytes remain."""
        with contextlib.suppress(OSError):
            self.remove(over(self.entries(kind), most))


def over(entries: Iterable[Listed], most: int) -> list[Listed]:
    """The entries that go where only `most` bytes may stay: those that were not used for longest."""
    left, gone = most, []
    for entry in sorted(entries, key=lambda e: e.used, reverse=True):
        left -= entry.size
        if left < 0:
            gone.append(entry)
    return gone


# -- one file ------------------------------------------------------------------------------------------------


def _write(path: Path, header: dict[str, Any], parts: Iterable[Part]) -> None:
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-(_HEAD + len(text)) % ALIGNED)
    with path.open("xb") as stream:
        digest = sha256()
        stream.write(MAGIC + bytes(32))
        for part in (len(text).to_bytes(8, "little"), text, *parts):
            digest.update(part)
            stream.write(part)
        stream.seek(len(MAGIC))
        stream.write(digest.digest())


def _read(path: Path) -> Entry:
    """The whole entry, checked.

    Raises:
        DamagedError: the file is not what was written.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as stream:
        data = np.empty(os.fstat(stream.fileno()).st_size, np.uint8)
        view, done = data.data, 0
        while done < len(data) and (more := stream.readinto(view[done:])):
            done += more
    magic, rest = data[: len(MAGIC)].tobytes(), len(MAGIC) + 32
    if magic != MAGIC:
        raise DamagedError("it is no entry of this version")
    if done < len(data) or sha256(data[rest:].data).digest() != data[len(MAGIC) : rest].tobytes():
        raise DamagedError("its checksum does not fit its content")
    begin = _HEAD + int.from_bytes(data[rest:_HEAD].tobytes(), "little")
    return Entry(json.loads(data[_HEAD:begin].tobytes()), data[begin:])


def _header(path: Path) -> dict[str, Any]:
    """The header alone, unchecked; empty where the file holds none."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            if not head.startswith(MAGIC) or len(head) < _HEAD:
                return {}
            size = min(int.from_bytes(head[-8:], "little"), path.stat().st_size)
            found = json.loads(stream.read(size))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full"
    return (error.strerror or str(error)).lower()
