"""`.json`: a list of rows, or an object with the list inside; one row at a time becomes Python values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from tulu_data.errors import SourceError, Where, nearest
from tulu_data.sources.batch import Batch
from tulu_data.sources.jsonl import JsonLines, read_jsonl
from tulu_data.sources.streams import BLOCK, BOM, Block, DataFile, Stream, block_of
from tulu_data.sources.tables import Reading

LARGEST = 1 << 30
"""The most bytes, uncompressed, that a `.json` file may have; it alone is held in memory whole."""

WELL_KNOWN = ("Instances", "examples")
"""The keys of the rows in Super-NaturalInstructions and BIG-bench, whose files hold other lists too."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def read_json(file: DataFile, reading: Reading, records: str | None) -> Iterator[Batch]:
    """The rows of a `.json` file; `records` is the key of their list where an object holds several."""
    with Stream(file) as stream:
        head = stream.read(BLOCK).removeprefix(BOM)
        is_lines = records is None and _is_lines(head)
        data = b"" if is_lines else head + stream.read(max(0, LARGEST + 1 - len(head)))
        position = stream.position
    if is_lines:
        yield from read_jsonl(file, reading)
        return
    if len(data) > LARGEST:
        raise _too_large(file, data, records)
    document = _Document(_text(data, file), file.shown)
    del data, head
    found = _choose(document, records)
    document.finish()
    lines = JsonLines(file.shown, reading, found.same, is_list=True)
    for block in found.blocks(document, position):
        yield from lines.read(block)


def _is_lines(head: bytes) -> bool:
    """Whether the first line is a whole object and another follows: JSON lines under the name `.json`."""
    lines = head.lstrip().split(b"\n", 1)
    if len(lines) == 1 or not lines[0].startswith(b"{") or not lines[1].lstrip().startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(lines[0]), dict)
    except ValueError:
        return False


def _too_large(file: DataFile, data: bytes, records: str | None) -> SourceError:
    rows = (
        f".{records}[]" if records else ".[]" if data.lstrip().startswith(b"[") else ".THE_KEY_OF_THE_ROWS[]"
    )
    name = file.path.name.removesuffix(file.path.suffix) if file.compression else file.path.name
    unpack = {"gzip": "zcat", "zstd": "zstdcat", None: "cat"}[file.compression]
    return SourceError(
        f"the file is larger than {LARGEST / 2**20:.0f} MiB, and a .json file must be held in memory whole",
        where=Where(file.shown),
        remedy=f"Convert it: {unpack} {file.path.name} | jq -c '{rows}' > {name}l",
    )


def _text(data: bytes, file: DataFile) -> str:
    if b"\0" in data:
        line = data[: data.index(0)].count(b"\n") + 1
        raise SourceError("a NUL byte", where=Where(file.shown, line), expected="JSON in UTF-8")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, begin = data[: error.start].count(b"\n") + 1, data.rfind(b"\n", 0, error.start)
        what = f"invalid UTF-8, at byte {error.start - begin} of the line (0x{data[error.start]:02x})"
        raise SourceError(what, where=Where(file.shown, line)) from None
    if not text.strip():
        raise SourceError("the file is empty", where=Where(file.shown))
    return text


@dataclass
class _Rows:
    """A list of objects in the text: where its elements lie, and what its siblings say of every row."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    objects: int = 0
    same: dict[str, Any] = field(default_factory=dict)

    def blocks(self, document: _Document, position: int) -> Iterator[Block]:
        """The elements as lines of JSON: a line break within one can only be space between its parts."""
        line, seen = 1, 0
        texts: list[bytes] = []
        numbers: list[int] = []
        size = 0
        for start, end in self.spans:
            line += document.text.count("\n", seen, start)
            seen = start
            texts.append(re.sub(r"[\r\n]", " ", document.text[start:end]).encode("utf-8", "surrogatepass"))
            numbers.append(line)
            size += len(texts[-1])
            if size > BLOCK:
                yield block_of(texts, np.array(numbers, np.int64), position)
                texts, numbers, size = [], [], 0
        if texts:
            yield block_of(texts, np.array(numbers, np.int64), position)


class _Document:
    """The text of a JSON file, gone through once."""

    def __init__(self, text: str, shown: str) -> None:
        self.text, self.shown, self.end = text, shown, 0

    def fail(self, what: str, position: int) -> NoReturn:
        """Say what is wrong at a position of the text."""
        line = self.text.count("\n", 0, position) + 1
        if position >= len(self.text.rstrip()):
            what = "the file is cut short: its JSON ends before it is complete"
        raise SourceError(what, where=Where(self.shown, line))

    def skip(self, position: int) -> int:
        """The position of the next character that is not space."""
        found = _SPACE.match(self.text, position)
        return found.end() if found else position

    def value(self, position: int) -> tuple[Any, int]:
        """The value at a position, and where it ends."""
        try:
            return _DECODER.raw_decode(self.text, position)
        except json.JSONDecodeError as error:
            cut = error.pos if "Unterminated" not in error.msg else len(self.text)
            self.fail(f"invalid JSON: {error.msg} at column {error.colno}", cut)
        except RecursionError:
            self.fail("JSON that is nested too deep", position)
        except ValueError:
            self.fail("a number with more digits than Python reads", position)

    def elements(self, position: int, close: str) -> Iterator[int]:
        """The position of each element of the list or object that opens here; `end` is set behind it."""
        self.end = position = self.skip(position + 1)
        while self.text[position : position + 1] != close:
            yield position
            position = self.skip(self.end)
            if self.text[position : position + 1] == ",":
                position = self.skip(position + 1)
            elif self.text[position : position + 1] != close:
                self.fail(f"invalid JSON: no ',' or '{close}' after a value", position)
        self.end = position + 1

    def finish(self) -> None:
        """Make sure that nothing follows."""
        if (behind := self.skip(self.end)) < len(self.text):
            self.fail("invalid JSON: more text after the end of the document", behind)

    def rows(self, position: int) -> _Rows:
        """The list at a position."""
        found = _Rows()
        for start in self.elements(position, "]"):
            value, self.end = self.value(start)
            found.spans.append((start, self.end))
            found.objects += isinstance(value, dict)
        return found

    def members(self, position: int) -> Iterator[tuple[str, int]]:
        """Each key of the object at a position, and where its value begins; whoever takes it sets `end`."""
        for start in self.elements(position, "}"):
            key, end = self.value(start)
            colon = self.skip(end)
            if not isinstance(key, str) or self.text[colon : colon + 1] != ":":
                self.fail("invalid JSON: an object's key and its ':' are expected", start)
            yield key, self.skip(colon + 1)


def _choose(document: _Document, records: str | None) -> _Rows:
    """The rows of a document.

    Raises:
        SourceError: it holds no list of objects, or several and none is well known, or `records` names none.
    """
    begin = document.skip(0)
    where = Where(document.shown)
    if document.text[begin] == "[":
        if records is not None:
            raise SourceError(
                f"the file is a list, so `records: {records}` names nothing in it",
                where=where,
                remedy="Leave it out",
            )
        return _some(document.rows(begin), document)
    if document.text[begin] != "{":
        document.value(begin)
        raise SourceError("the file holds a single value", where=where, expected="a list of rows")
    found = _lists(document, begin, "", (records or "").rpartition(".")[0])
    if records is not None:
        if records not in found:
            known = ", ".join(found) or "none"
            raise SourceError(
                f"`records: {records}` names no list in the file",
                where=where,
                expected=f"a key that holds one: {known}",
                nearest=nearest(records, found),
            )
        return _some(found[records], document)
    of_objects = [name for name, rows in found.items() if rows.objects]
    chosen = of_objects if len(of_objects) == 1 else [name for name in WELL_KNOWN if name in of_objects]
    if len(chosen) == 1:
        return found[chosen[0]]
    if not of_objects:
        raise SourceError(
            "the file is an object with no list of objects",
            where=where,
            expected="a list of rows, or one in an object",
        )
    raise SourceError(
        f"the rows could be {' or '.join(map(repr, of_objects))}",
        where=where,
        remedy=f"Say which: `records: {of_objects[0]}`",
    )


def _some(rows: _Rows, document: _Document) -> _Rows:
    if not rows.spans:
        raise SourceError("the file is empty: its list holds no rows", where=Where(document.shown))
    return rows


def _lists(document: _Document, position: int, prefix: str, path: str) -> dict[str, _Rows]:
    """The lists of an object by key, also in the objects on `path`; its siblings go to its rows."""
    found: dict[str, _Rows] = {}
    here: list[_Rows] = []
    same: dict[str, Any] = {}
    for key, start in document.members(position):
        name = prefix + key
        if document.text[start : start + 1] == "[":
            rows = document.rows(start)
            here.append(rows)
            found[name] = rows
            if rows.spans and (words := _words(document, rows)):
                same[key] = words
        elif document.text[start : start + 1] == "{" and (path == name or path.startswith(name + ".")):
            found |= _lists(document, start, name + ".", path)
        else:
            value, document.end = document.value(start)
            if isinstance(value, str | int | float):
                same[key] = value
    for rows in here:
        rows.same = same
    return found


def _words(document: _Document, rows: _Rows) -> list[str] | None:
    """A list that holds strings alone."""
    if rows.objects or any(document.text[start] != '"' for start, _ in rows.spans):
        return None
    return [document.value(start)[0] for start, _ in rows.spans]
