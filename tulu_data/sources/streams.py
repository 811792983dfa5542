"""Files as streams of bytes: decompressed, cut into blocks of whole lines, and honest about damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from tulu_data.errors import SourceError, Where
from tulu_data.sources.tables import Numbers

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

BLOCK = 16 << 20
"""Bytes that are parsed at once. Types are found per block, so it must not follow the caller's batch size."""

LONGEST_LINE = 256 << 20
"""A line beyond this is not a row, and would not fit the memory that a batch may take."""

_PART = 256 << 10
"""Bytes that are decompressed at once; what lies this close before damage is lost."""

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class DataFile:
    """A file of a source: where it lies, and how it is shown in messages and locks."""

    path: Path
    shown: str

    @property
    def compression(self) -> str | None:
        """What Arrow calls the compression that its name tells."""
        return COMPRESSIONS.get(self.path.suffix.lower())

    @property
    def format(self) -> str:
        """The extension that tells its format, in lower case and without the compression's."""
        name = self.path.name.lower()
        for ending in COMPRESSIONS:
            name = name.removesuffix(ending)
        return Path(name).suffix


@dataclass(frozen=True)
class Block:
    """Some whole lines that are not blank.

    `starts` and `ends` are where they lie in `data` (a line's end leaves its line break out), `lines` their
    numbers in the file, `position` how much of the file on disk was read so far.
    """

    data: bytes
    starts: Numbers
    ends: Numbers
    lines: Numbers
    position: int

    def line(self, index: int) -> bytes:
        """The bytes of the line at `index`."""
        return self.data[self.starts[index] : self.ends[index]]

    def take(self, kept: Sequence[int]) -> Block:
        """Some of the lines."""
        return block_of([self.line(index) for index in kept], self.lines[kept], self.position)

    def are_objects(self) -> bool:
        """Whether every line begins with `{` and ends with `}`; then no JSON object spans two of them."""
        octets = np.frombuffer(self.data, np.uint8)
        fit = (octets[self.starts] == ord("{")) & (octets[self.ends - 1] == ord("}"))
        others = (self.line(int(index)).strip() for index in np.flatnonzero(~fit))
        return all(line.startswith(b"{") and line.endswith(b"}") for line in others)


def block_of(lines: Sequence[bytes], numbers: Numbers, position: int) -> Block:
    """A block of the given lines."""
    ends = np.cumsum([len(line) + 1 for line in lines], dtype=np.int64) - 1
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    return Block(b"\n".join([*lines, b""]), starts, ends, numbers, position)


class Stream:
    """An open file, decompressed. Use as a context; damage becomes one `SourceError`."""

    def __init__(self, file: DataFile) -> None:
        self.file = file
        self.lines = 0
        """Lines read so far; damage is reported after them."""
        self.broken: str | None = None
        """What is wrong with the file from here on."""

    def __enter__(self) -> Self:
        with readable(self.file):
            self._disk = pa.OSFile(str(self.file.path))
        codec = self.file.compression
        self._bytes = pa.CompressedInputStream(self._disk, codec) if codec else self._disk
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.close()

    @property
    def position(self) -> int:
        """Bytes on disk read so far."""
        return int(self._disk.tell())

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end.

        Raises:
            SourceError: the compressed data ends early or is corrupt, or the disk fails.
        """
        # What lies before the damage is given first, so that the message can say how far the file is whole.
        parts: list[bytes] = []
        while size and self.broken is None:
            try:
                part = bytes(self._bytes.read(min(size, _PART)))
            except OSError as error:
                self.broken = str(error)
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        if self.broken is not None and not parts:
            raise self._damage(self.broken)
        return b"".join(parts)

    def _damage(self, detail: str) -> SourceError:
        after = f" after line {self.lines}" if self.lines else ""
        where = Where(self.file.shown)
        if "runcated" in detail:
            return SourceError(
                f"the file is cut short: its compressed data ends{after} before it is complete",
                where=where,
                remedy="Fetch the file again",
            )
        if self.file.compression and ("inflate" in detail or "ZSTD" in detail):
            what = f"the file is corrupt{after}, or is not {self.file.compression} as its name says"
            return SourceError(f"{what} ({detail})", where=where)
        return SourceError(f"the file cannot be read{after} ({detail})", where=where)


@contextmanager
def readable(file: DataFile) -> Iterator[None]:
    """Turns what the system says of a file that cannot be opened into a `SourceError`."""
    where = Where(file.shown)
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError("the file does not exist", where=where) from error
    except IsADirectoryError as error:
        raise SourceError("this is a folder", where=where, expected="a file") from error
    except PermissionError as error:
        raise SourceError(
            "no permission to read this file", where=where, remedy="Change its mode or owner"
        ) from error
    except OSError as error:
        raise SourceError(f"the file cannot be read ({error.strerror or error})", where=where) from error


def blocks(stream: Stream) -> Iterator[Block]:
    """The lines of a text file that are not blank, about `BLOCK` bytes at a time.

    Raises:
        SourceError: the file is empty or damaged, or a line is longer than `LONGEST_LINE`.
    """
    for data, position in whole_lines(stream):
        block = _find_lines(data, stream.lines, position)
        # `_find_lines` counts blank lines too, and a last line may lack its line break.
        stream.lines += data.count(b"\n") + (not data.endswith(b"\n"))
        if len(block.lines):
            yield block


def whole_lines(stream: Stream) -> Iterator[tuple[bytes, int]]:
    """Pieces of the file that end with a line break (but the last), with the position on disk behind each."""
    pending: list[bytes] = []
    first, last, length = True, False, 0
    while not last and (data := stream.read(BLOCK)):
        last = len(data) < BLOCK and not stream.broken
        if first:
            data, first = data.removeprefix(BOM), False
        cut = len(data) if last else data.rfind(b"\n") + 1
        if cut:
            yield b"".join([*pending, data[:cut]]), stream.position
            pending, length = [], 0
        pending.append(data[cut:])
        length += len(data) - cut
        if length > LONGEST_LINE:
            where = Where(stream.file.shown, stream.lines + 1)
            raise SourceError(
                f"a line is longer than {LONGEST_LINE >> 20} MiB", where=where, expected="one row per line"
            )
    if first:
        raise SourceError("the file is empty", where=Where(stream.file.shown))
    if length:
        yield b"".join(pending), stream.position


def _find_lines(data: bytes, before: int, position: int) -> Block:
    octets = np.frombuffer(data, np.uint8)
    breaks = np.flatnonzero(octets == ord("\n"))
    ends = breaks if data.endswith(b"\n") else np.append(breaks, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    ends = ends.astype(np.int64)
    ends -= (ends > starts) & (octets[ends - 1] == ord("\r"))
    kept = ends > starts
    # Only a line that begins with white space can be blank, and such lines are few.
    suspects = np.flatnonzero(kept)[np.isin(octets[starts[kept]], np.frombuffer(b" \t\r\v\f", np.uint8))]
    for index in suspects:
        kept[index] = bool(data[starts[index] : ends[index]].strip())
    numbers = np.arange(before + 1, before + 1 + len(ends))
    return Block(data, starts[kept], ends[kept], numbers[kept], position)
