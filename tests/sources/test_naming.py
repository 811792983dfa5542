"""Files whose bytes are not what their name says: told at the opening, with the name they should have."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.sources.files import rows
from tulu_data.errors import SourceError
from tulu_data.sources import SetAside, SourceSpec, open_source


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": ["x"]}), sink)
    return sink.getvalue()


LINES = b'{"a": "x"}\n{"a": "y"}\n'
PRETTY = b'[\n {"a": "x"}\n]'
CSV = b"a,b\n1,2\n"
PARQUET = _parquet()
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0\0\0\0\0"
"""A frame that says nothing, as pzstd puts before its own."""

WRONG = [
    ("wrong.jsonl", gzip.compress(LINES), "gzip of text", "plain .jsonl", "the name wrong.jsonl.gz"),
    ("wrong.JSONL", zstandard.compress(LINES), "zstd of text", "plain .jsonl", "the name wrong.JSONL.zst"),
    ("wrong.json", gzip.compress(PRETTY), "gzip of text", "plain .json", "the name wrong.json.gz"),
    ("wrong.csv", gzip.compress(CSV), "gzip of text", "plain .csv", "the name wrong.csv.gz"),
    (
        "wrong.tsv",
        SKIPPABLE + zstandard.compress(CSV),
        "zstd of text",
        "plain .tsv",
        "the name wrong.tsv.zst",
    ),
    (
        "wrong.parquet",
        gzip.compress(PARQUET),
        "gzip of Parquet",
        "plain .parquet",
        "the name wrong.parquet.gz",
    ),
    ("wrong.parquet", gzip.compress(LINES), "gzip of text", "plain .parquet", "the name wrong.jsonl.gz"),
    ("wrong.parquet", LINES, "plain text", "plain .parquet", "the name wrong.jsonl"),
    ("wrong.parquet", PRETTY, "plain text", "plain .parquet", "the name wrong.json"),
    ("wrong.parquet", CSV, "plain text", "plain .parquet", "a name that says what the file holds"),
    ("wrong.jsonl", PARQUET, "plain Parquet", "plain .jsonl", "the name wrong.parquet"),
    ("wrong.jsonl.gz", PARQUET, "plain Parquet", "gzip of .jsonl", "the name wrong.parquet"),
    (
        "wrong.jsonl.gz",
        gzip.compress(PARQUET),
        "gzip of Parquet",
        "gzip of .jsonl",
        "the name wrong.parquet.gz",
    ),
    ("wrong.jsonl.gz", LINES, "plain text", "gzip of .jsonl", "the name wrong.jsonl"),
    ("wrong.csv.zst", CSV, "plain text", "zstd of .csv", "the name wrong.csv"),
    (
        "wrong.jsonl.gz",
        gzip.compress(gzip.compress(LINES)),
        "gzip of gzip",
        "gzip of .jsonl",
        "a file that is compressed once",
    ),
    ("wrong.jsonl.zst", gzip.compress(LINES), "gzip of text", "zstd of .jsonl", "the name wrong.jsonl.gz"),
]
IDS = [f"{found} as {name}" for name, _, found, *_ in WRONG]


@pytest.mark.parametrize(("name", "data", "found", "said", "expected"), WRONG, ids=IDS)
def test_a_wrong_name_is_told_at_once(
    tmp_path: Path, name: str, data: bytes, found: str, said: str, expected: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError) as caught:
        open_source(SourceSpec(from_=name), base=tmp_path)
    assert (
        str(caught.value) == f"{name}: the bytes are {found}, but the name says {said}; expected {expected}"
    )


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, data, *_ in WRONG], ids=IDS)
def test_no_row_is_set_aside_for_it(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    aside = SetAside()
    with pytest.raises(SourceError, match="the bytes are"):
        rows(tmp_path / name, aside)
    assert aside.rows == []


@pytest.mark.parametrize(("name", "data"), [case[:2] for case in WRONG if case[4].startswith("the name")])
def test_under_the_name_that_is_told_it_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError) as caught:
        open_source(SourceSpec(from_=name), base=tmp_path)
    right = str(caught.value.expected).removeprefix("the name ")
    (tmp_path / name).rename(tmp_path / right)
    assert rows(tmp_path / right)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.zst", SKIPPABLE + zstandard.compress(LINES)),
        ("a.csv", b"PAR1,PAR2\n1,2\n"),
        ("a.jsonl", b'{"a": "' + "é".encode() * 50_000 + b'"}\n'),
        ("a.jsonl.gz", gzip.compress(b"\xef\xbb\xbf" + LINES)),
    ],
)
def test_what_only_looks_wrong_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert rows(tmp_path / name)


def test_in_a_glob_the_wrong_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(LINES))
    with pytest.raises(SourceError, match=r"^b\.jsonl: the bytes are gzip"):
        open_source(SourceSpec(from_="*.jsonl"), base=tmp_path)
