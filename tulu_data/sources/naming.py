"""Whether a file's first bytes are what its name says: a wrong name is told at once, not row by row."""

from __future__ import annotations

import codecs
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tulu_data.errors import SourceError, Where
from tulu_data.sources.streams import BOM, COMPRESSIONS, DataFile

_HEAD = 64 << 10
"""How many bytes are looked at: enough for the first row of most files, and read in no time."""

_MAGIC = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}
"""RFC 1952, section 2.3.1 (with deflate, its only method); RFC 8878, section 3.1.1."""

_SKIPPABLE = tuple(bytes([octet]) + b"\x2a\x4d\x18" for octet in range(0x50, 0x60))
"""RFC 8878, section 3.1.2: a zstd file may begin with such a frame (pzstd writes it)."""

_PARQUET = b"PAR1"
"""The Parquet format's file layout."""


@dataclass(frozen=True)
class _Contents:
    """What the first bytes are: how compressed, and what that holds (Parquet, text, or compressed again).

    Both are None where the bytes do not tell.
    """

    compression: str | None
    inner: str | None
    text: str = ""

    def __str__(self) -> str:
        if self.compression is None:
            return f"plain {self.inner}"
        return f"{self.compression} of {self.inner}" if self.inner else self.compression

    def fits(self, file: DataFile) -> bool:
        """Whether they may be what the name says."""
        if self.compression is None and self.inner is None:
            return True
        wrong = _MAGIC.keys() | {"text" if file.format == ".parquet" else "Parquet"}
        return self.compression == file.compression and self.inner not in wrong


def check_name(file: DataFile, head: bytes) -> None:
    """Refuse a file whose first bytes are known to be something else than its name says.

    Raises:
        SourceError: compressed in another way than the extension says, or twice; Parquet under the name of a
            text format, or the reverse.
    """
    found = _look(head)
    if found.fits(file):
        return
    said = f"{file.compression} of {file.format}" if file.compression else f"plain {file.format}"
    raise SourceError(
        f"the bytes are {found}, but the name says {said}",
        where=Where(file.shown),
        expected=_expected(file, found),
    )


def first_bytes(path: Path) -> bytes:
    """As much of a file as `check_name` looks at."""
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def _look(head: bytes) -> _Contents:
    compression = _compression(head)
    inner = _unpacked(head, compression) if compression else head
    if compression and (again := _compression(inner)):
        return _Contents(compression, again)
    # Text may begin with these letters too; the Thrift header of the first page holds a zero byte.
    if inner.startswith(_PARQUET) and b"\0" in inner:
        return _Contents(compression, "Parquet")
    text = _text(inner)
    return _Contents(compression, None) if text is None else _Contents(compression, "text", text)


def _compression(head: bytes) -> str | None:
    if head.startswith(_SKIPPABLE):
        return "zstd"
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), None)


def _unpacked(head: bytes, compression: str) -> bytes:
    """The beginning of what is compressed; nothing where it is damaged, which its reader tells better."""
    try:
        return bytes(pa.CompressedInputStream(io.BytesIO(head), compression).read(_HEAD // 16))
    except OSError:
        return b""


def _text(data: bytes) -> str | None:
    """The bytes as text, of which the last character may be cut; None if they are none."""
    if not data or b"\0" in data:
        return None
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data.removeprefix(BOM))
    except UnicodeDecodeError:
        return None


def _expected(file: DataFile, found: _Contents) -> str:
    if found.inner in _MAGIC:
        return "a file that is compressed once"
    right = _right_name(file, found)
    return f"the name {right}" if right else "a name that says what the file holds"


def _right_name(file: DataFile, found: _Contents) -> str | None:
    """The name that the file should have; None where the bytes do not tell its format."""
    stem = file.path.name
    if file.compression:
        stem = stem[: -len(file.path.suffix)]
    ending = Path(stem).suffix
    if found.inner == "Parquet":
        ending = ".parquet"
    elif file.format == ".parquet":
        ending = _text_format(found.text)
    if not ending:
        return None
    packed = next((end for end, name in COMPRESSIONS.items() if name == found.compression), "")
    return stem[: -len(file.format)] + ending + packed


def _text_format(text: str) -> str:
    """`.jsonl` or `.json` where text begins like it; nothing else is told by its beginning."""
    begins = text.lstrip()
    if not begins.startswith(("{", "[")):
        return ""
    try:
        return ".jsonl" if isinstance(json.loads(begins.split("\n", 1)[0]), dict) else ".json"
    except (ValueError, RecursionError):
        return ".json"
