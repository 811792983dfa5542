"""`SHA256SUMS`: the hash of every file of a version, written last, and what stands otherwise than it says.

Two builds of the same recipe differ in it, as the manifest tells when it was made; what two builds share is
told by the manifest's own hashes. `sha256sum -c SHA256SUMS` in the version's folder checks the files, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tulu_data.errors import StoreError

SUMS = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
"""As GNU coreutils write it: the hash, a blank, a blank or `*`, the path."""

_OF_ROWS = ("data/", "test/", "dropped/")
"""Where a loader, or the store's views, would take every file for rows of the version."""


@dataclass(frozen=True)
class Flaw:
    """A file that is not as it was written."""

    what: Literal["altered", "missing", "extra"]
    file: str
    """Its path within the version."""
    told: str
    """What was found, and what was expected."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(version: Path, told: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Writes the hash of every file in a version's folder; nothing is written into it after that.

    Args:
        version: the folder of the version.
        told: the `files` of its manifest, which are not read again for their hashes.
    """
    known = {name: entry["sha256"] for name, entry in (told or {}).items()}
    files = sorted(path for path in version.rglob("*") if path.is_file() and path != version / SUMS)
    named = ((path, path.relative_to(version).as_posix()) for path in files)
    lines = [f"{known.get(name) or file_hash(path)}  {name}\n" for path, name in named]
    (version / SUMS).write_text("".join(lines), encoding="utf-8")


def read_sums(version: Path) -> dict[str, str] | None:
    """The hash of every file of a version; None where it was built before such hashes were kept.

    Raises:
        StoreError: the file cannot be read, or is no list of hashes.
    """
    path = version / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("the hashes cannot be read", where=str(path)) from error
    found = [_LINE.fullmatch(line) for line in lines]
    if not all(found):
        what = "this is no list of hashes"
        raise StoreError(what, where=str(path), expected="lines of a SHA-256, two blanks and a file")
    return {match[2]: match[1] for match in found if match}


def flaws(version: Path, told: Mapping[str, Mapping[str, Any]]) -> Iterator[Flaw]:
    """Every file that is not as it was written, or that was not written by the build.

    Args:
        version: the folder of the version.
        told: the `files` of its manifest. They are held against both, so that neither can be altered alone.
    """
    try:
        sums = read_sums(version)
    except StoreError as error:
        yield Flaw("altered", SUMS, error.what)
        sums = None
    expected: dict[str, set[str]] = {name: {entry["sha256"]} for name, entry in told.items()}
    for name, digest in (sums or {}).items():
        expected.setdefault(name, set()).add(digest)
    for name, digests in expected.items():
        yield from _file(version / name, name, digests)
    for name in _extra(version, {*expected, SUMS}):
        if sums is not None or name.startswith(_OF_ROWS) or name.endswith(".parquet"):
            yield Flaw("extra", name, "is not of this version: nothing that the build wrote")


def _file(path: Path, name: str, digests: Iterable[str]) -> Iterator[Flaw]:
    try:
        digest = file_hash(path)
    except FileNotFoundError:
        yield Flaw("missing", name, "is missing")
    except OSError as error:
        yield Flaw("altered", name, f"cannot be read: {error.strerror}")
    else:
        if other := sorted({*digests} - {digest}):
            said = f"was altered: SHA-256 {digest[:12]}…, expected {other[0][:12]}…"
            yield Flaw("altered", name, said)


def _extra(version: Path, known: Iterable[str]) -> Iterator[str]:
    """Files and folders that are not known; hidden ones, which no loader reads, are nobody's business.

    Of a folder that is itself not known, only the folder is told.
    """
    files = {PurePosixPath(name) for name in known}
    folders = {parent for name in files for parent in name.parents}
    for path in sorted(version.rglob("*")):
        name = PurePosixPath(path.relative_to(version).as_posix())
        if name.parent in folders and name not in files | folders and not name.name.startswith("."):
            yield f"{name}/" if path.is_dir() else str(name)
