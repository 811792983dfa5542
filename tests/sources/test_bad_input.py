"""Input that cannot be read: one message with what, where and what was expected; or the row is set aside."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.sources.files import batches, rows, write
from tulu_data.errors import RowError, SourceError, TuluDataError
from tulu_data.sources import SetAside, SourceSpec, documents, files, open_source, streams

GOOD = b'{"a": "x"}\n'


def message(path: Path, **keys: Any) -> str:
    """What the user is told about a file that cannot be read."""
    with pytest.raises(TuluDataError) as caught:
        rows(path, **keys)
    return str(caught.value)


def refused(base: Path, written: str, **keys: Any) -> str:
    """What the user is told at once, before anything is read."""
    with pytest.raises(SourceError) as caught:
        open_source(SourceSpec(from_=written, **keys), base=base)
    return str(caught.value)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read every file, so a test of permissions must not be root."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


BAD_LINES = {
    b'{"a": ': "invalid JSON: Expecting value at column 7",
    b'{"a": "x\xff"}': "invalid UTF-8, at byte 9 of the line (0xff)",
    b'{"a": "x\0"}': "a NUL byte, at byte 9 of the line",
    b"[1]": "the line holds a list; expected one JSON object per line",
    b"null": "the line holds null",
    b'{"a": 5}': "field a: mixed types: the value is a number, but a string on line 1; expected a string",
    b'{"a": "\\ud800"}': "half of a surrogate pair",
    b'{"a": ' + b"9" * 5000 + b"}": "a number with more digits than Python reads",
    b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}": "nested too deep",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=BAD_LINES.values())
class TestBadLine:
    def test_stops_at_its_line_and_row(self, tmp_path: Path, line: bytes, reason: str) -> None:
        told = message(write(tmp_path / "a.jsonl.gz", GOOD + b"\n" + line + b"\n" + GOOD))
        assert told.startswith("a.jsonl.gz, line 3, row 1")
        assert reason in told
        assert "--bad-rows skip" in told

    def test_is_set_aside_and_still_counted(self, tmp_path: Path, line: bytes, reason: str) -> None:
        aside = SetAside()
        found = batches(write(tmp_path / "a.jsonl", GOOD + b"\n" + line + b"\n" + GOOD), aside)
        assert [n for batch in found for n in batch.rows.to_pylist()] == [0, 2]
        assert [batch.table["a"].to_pylist() for batch in found] == [["x", "x"]]
        [bad] = aside.rows
        assert (bad.where.line, bad.where.row) == (3, 1)
        assert bad.text == line.decode(errors="replace")[:200]

    def test_is_found_in_a_later_block(
        self, tmp_path: Path, line: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "BLOCK", 8)
        aside = SetAside()
        assert len(rows(write(tmp_path / "a.jsonl", GOOD * 3 + line + b"\n" + GOOD), aside)) == 4
        assert [bad.where.line for bad in aside.rows] == [4]


class TestCutShort:
    LINES = b"".join(b'{"i": %d, "t": "%s"}\n' % (i, os.urandom(40).hex().encode()) for i in range(20_000))

    @pytest.mark.parametrize("ending", ["gz", "zst"])
    def test_says_after_which_line(self, tmp_path: Path, ending: str) -> None:
        pack = gzip.compress if ending == "gz" else zstandard.compress
        packed = pack(self.LINES)
        path = tmp_path / f"a.jsonl.{ending}"
        path.write_bytes(packed[: len(packed) * 3 // 4])
        given: list[int] = []
        source = open_source(SourceSpec(from_=path.name), base=tmp_path)
        with pytest.raises(SourceError, match=r"the file is cut short: .* ends after line (\d+)") as caught:
            given.extend(batch.table.num_rows for batch in source.batches(on_bad=SetAside()))
        whole = int(str(caught.value).split("after line ")[1].split()[0])
        assert whole == sum(given)
        assert 8_000 < whole < 15_000

    def test_csv(self, tmp_path: Path) -> None:
        packed = gzip.compress(b"a,b\n" + self.LINES.replace(b'"', b""))
        (tmp_path / "a.csv.gz").write_bytes(packed[:-30])
        assert "the file is cut short" in message(tmp_path / "a.csv.gz")

    def test_json(self, tmp_path: Path) -> None:
        told = message(write(tmp_path / "a.json", '[{"a": 1},\n {"a": '))
        assert told == "a.json, line 2: the file is cut short: its JSON ends before it is complete"

    def test_parquet(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": range(100)}), tmp_path / "b.parquet")
        write(tmp_path / "a.parquet", (tmp_path / "b.parquet").read_bytes()[:-50])
        assert "a.parquet: the file is cut short, or is no Parquet file" in message(tmp_path / "a.parquet")

    def test_parquet_whose_middle_is_damaged(self, tmp_path: Path) -> None:
        table = pa.table({"a": [os.urandom(20).hex() for _ in range(5000)]})
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000, use_dictionary=False)
        data = bytearray((tmp_path / "a.parquet").read_bytes())
        data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
        (tmp_path / "a.parquet").write_bytes(data)
        assert message(tmp_path / "a.parquet").startswith("a.parquet: corrupt after row ")

    def test_bytes_that_tell_nothing_of_themselves(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl.gz").write_bytes(bytes(100))
        assert "the file is corrupt, or is not gzip as its name says" in message(tmp_path / "a.jsonl.gz")


TEXT_FILES = ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.tsv.zst"]


@pytest.mark.parametrize("name", [*TEXT_FILES, "a.parquet"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, name: str) -> None:
    assert message(write(tmp_path / name, b"")).startswith(f"{name}: the file is empty")


@pytest.mark.parametrize("name", TEXT_FILES)
def test_so_is_a_byte_order_mark_alone(tmp_path: Path, name: str) -> None:
    assert message(write(tmp_path / name, b"\xef\xbb\xbf")).startswith(f"{name}: the file is empty")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", "\n \n", "every line is blank"),
        ("a.json", "[]", "its list holds no rows"),
        ("a.csv", "a,b\n", "a header and no rows"),
        ("a.csv", "\n\n", "every line is blank"),
    ],
)
def test_a_file_without_rows_says_so(tmp_path: Path, name: str, content: str, told: str) -> None:
    assert told in message(write(tmp_path / name, content))


class TestValues:
    def test_a_text_of_20_mb_is_read(self, tmp_path: Path) -> None:
        text = "é" * 10_000_000
        data = [
            {"messages": [{"role": "user", "content": "short"}]},
            {"messages": [{"role": "user", "content": text}]},
        ]
        assert rows(write(tmp_path / "a.jsonl", data)) == data

    def test_a_cell_of_2_mb_is_read(self, tmp_path: Path) -> None:
        assert rows(write(tmp_path / "a.csv", "t\n" + "x" * 2_000_000)) == [{"t": "x" * 2_000_000}]

    def test_a_line_beyond_the_longest_is_no_row(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "LONGEST_LINE", 1 << 20)
        monkeypatch.setattr(streams, "BLOCK", 1 << 19)
        assert "a.jsonl, line 2: a line is longer than 1 MiB" in message(
            write(tmp_path / "a.jsonl", GOOD + b"x" * (3 << 20))
        )

    def test_a_json_file_that_does_not_fit_says_how_to_convert_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(documents, "LARGEST", 1 << 20)
        path = write(tmp_path / "a.json.gz", json.dumps([{"a": "x" * 2_000_000}]))
        assert "zcat a.json.gz | jq -c '.[]' > a.jsonl" in message(path)

    def test_invalid_utf8_in_parquet_names_row_and_field(self, tmp_path: Path) -> None:
        raw = pa.array([b"ok", b"\xff\xfe", b"ok too"], pa.binary())
        table = pa.table({"n": [1, 2, 3], "t": pa.Array.from_buffers(pa.string(), 3, raw.buffers())})
        pq.write_table(table, tmp_path / "a.parquet")
        assert message(tmp_path / "a.parquet").startswith("a.parquet, row 1, field t: invalid UTF-8")
        aside = SetAside()
        [batch] = batches(tmp_path / "a.parquet", aside)
        assert batch.rows.to_pylist() == [0, 2]
        assert len(aside.rows) == 1


class TestCsv:
    @pytest.mark.parametrize(
        ("content", "where", "reason"),
        [
            (b"a,b\n1,2\n3\n4,5\n", "line 3, row 1", "the row has 1 cells; expected 2 cells: a, b"),
            (b'a,b\n1,"x\ny"\n3,4,5\n6,7\n', "line 4, row 1", "the row has 3 cells"),
            (b'a,b\n1,2\n"x"y,2\n3,4\n', "line 3, row 1", "a stray quote"),
            (b'a,b\n1,2\n3,"4\n', "line 3, row 1", "the quote that opens on line 3 is never closed"),
            (b"a,b\n1,2\n\xff,4\n5,6\n", "line 3, row 1", "invalid UTF-8, at byte 1 of line 3 (0xff)"),
            (b"a,b\n1,2\n3,\0\n5,6\n", "line 3, row 1", "a NUL byte, at byte 3 of line 3"),
        ],
    )
    def test_a_bad_row_stops_or_is_set_aside(
        self, tmp_path: Path, content: bytes, where: str, reason: str
    ) -> None:
        path = write(tmp_path / "a.csv", content)
        told = message(path)
        assert told.startswith(f"a.csv, {where}: ")
        assert reason in told
        aside = SetAside()
        found = rows(path, aside)
        assert found[0]["a"] == "1"
        assert len(aside.rows) == 1
        assert len(found) == (1 if "never closed" in reason else 2)

    def test_a_header_that_names_a_column_twice(self, tmp_path: Path) -> None:
        assert "'a' more than once. For a file without" in message(
            write(tmp_path / "a.csv", "a,b,a\n1,2,3\n")
        )


class TestJson:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (
                '{"dev": [{"q": 1}], "test": [{"q": 2}]}',
                "the rows could be 'dev' or 'test'. Say which: `records: dev`",
            ),
            ('{"a": 1, "b": [1]}', "an object with no list of objects"),
            ("7", "a single value; expected a list of rows"),
            ('[{"a": 1} {"a": 2}]', "a.json, line 1: invalid JSON: no ',' or ']' after a value"),
            ('[\n{"a": 1},\n{"a": tru}\n]', "a.json, line 3: invalid JSON: Expecting value at column 7"),
            ('[{"a": 1}]\n[{"a": 2}]', "a.json, line 2: invalid JSON: more text after the end"),
            (b'[\n{"a": "\xff"}]', "a.json, line 2: invalid UTF-8, at byte 8 of the line (0xff)"),
            (b'[\n\n{"a": "\0"}]', "a.json, line 3: a NUL byte"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_line(
        self, tmp_path: Path, content: bytes | str, told: str
    ) -> None:
        assert told in message(write(tmp_path / "a.json", content))

    def test_records_that_name_nothing(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.json", '{"dev": [{"q": 1}], "test": [{"q": 2}]}')
        assert "expected a key that holds one: dev, test. Did you mean 'test'?" in message(
            path, records="tests"
        )

    def test_an_element_that_is_no_object_is_a_bad_row(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.json", '[{"a": 1},\n 5,\n {"a": "x"}, {"a": 2}]')
        aside = SetAside()
        assert rows(path, aside) == [{"a": 1}, {"a": 2}]
        assert [(bad.where.line, bad.where.row) for bad in aside.rows] == [(2, 1), (3, 2)]
        with pytest.raises(RowError, match="line 2, row 1: entry 1 of the list is a number; expected an obj"):
            rows(path)

    def test_entries_are_counted_in_their_list(self, tmp_path: Path) -> None:
        write(tmp_path / "a.json", '[{"a": 1}, {"a": 2}]')
        write(tmp_path / "b.json", '{"rows": [{"a": 1}, null]}')
        aside = SetAside()
        found = open_source(SourceSpec(from_="*.json"), base=tmp_path).batches(on_bad=aside)
        assert sum(batch.table.num_rows for batch in found) == 3
        assert [(bad.where.row, bad.reason) for bad in aside.rows] == [(3, "entry 1 of the list is null")]


class TestFinding:
    def test_a_missing_file_names_the_nearest(self, tmp_path: Path) -> None:
        write(tmp_path / "data" / "alpaca.jsonl.gz", GOOD)
        told = refused(tmp_path, "data/alpaca.jsonl")
        assert told == "data/alpaca.jsonl: the file does not exist. Did you mean 'data/alpaca.jsonl.gz'?"

    @pytest.mark.parametrize("place", ["/dev/zero", "pipe.jsonl"])
    def test_what_is_no_regular_file_is_called_so(self, tmp_path: Path, place: str) -> None:
        os.mkfifo(tmp_path / "pipe.jsonl")
        told = refused(tmp_path, place)
        assert told == f"{place}: this is no file but a device, a pipe or a socket; expected a file"

    def test_a_link_that_leads_nowhere_says_where_to(self, tmp_path: Path) -> None:
        (tmp_path / "gone.jsonl").symlink_to("elsewhere/a.jsonl")
        (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
        for name, target in (("gone", "elsewhere/a"), ("loop", "loop")):
            told = refused(tmp_path, f"{name}.jsonl")
            assert told == f"{name}.jsonl: this is a link to {target}.jsonl, which leads to no file"

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        assert "nor does its folder dta" in refused(tmp_path, "dta/a.jsonl")

    def test_a_folder_names_a_glob(self, tmp_path: Path) -> None:
        write(tmp_path / "data" / "a.jsonl.gz", GOOD)
        assert refused(tmp_path, "data").endswith(
            "expected a file or a glob. Did you mean 'data/*.jsonl.gz'?"
        )

    def test_a_glob_that_matches_nothing_says_what_is_there(self, tmp_path: Path) -> None:
        write(tmp_path / "data" / "a.jsonl", GOOD)
        told = refused(tmp_path, "data/*.parquet")
        assert (
            told
            == "data/*.parquet: the glob matches no file; expected a pattern for what data holds: a.jsonl"
        )
        assert "the folder dat does not exist" in refused(tmp_path, "dat/*.jsonl")

    def test_hidden_files_are_no_suggestion(self, tmp_path: Path) -> None:
        for name in (".a.parquet.tmp", ".a.parquet", ".b.parquet"):
            write(tmp_path / "data" / name, b"")
        assert refused(tmp_path, "data/*.parquet").endswith("expected a pattern for what data holds: nothing")
        assert refused(tmp_path, "data/a.parquet") == "data/a.parquet: the file does not exist"
        assert refused(tmp_path, "data") == "data: this is a folder; expected a file or a glob"

    def test_an_unknown_extension_names_the_known(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsnl", GOOD)
        told = refused(tmp_path, "a.jsnl")
        assert "'.jsnl' tells no known format" in told
        assert "Did you mean '.jsonl'?" in told
        assert f"{', '.join(files.FORMATS)}, each plain or with .gz or .zst" in told

    def test_a_url(self, tmp_path: Path) -> None:
        assert "is a URL; expected a file, a glob or hf:ORG/NAME. Download" in refused(
            tmp_path, "https://x.org/a.jsonl"
        )

    def test_keys_that_do_not_fit_the_format(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", GOOD)
        assert "`columns:` is for csv and tsv" in refused(tmp_path, "a.jsonl", columns=["a"])
        assert "`records:` is for .json" in refused(tmp_path, "a.jsonl", records="a")

    def test_no_permission(self) -> None:
        with as_nobody(), tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            write(Path(folder) / "a.jsonl", GOOD).chmod(0)
            assert refused(Path(folder), "a.jsonl").startswith("a.jsonl: no permission to read this file")
            Path(folder).chmod(0)
            assert "no permission" in refused(Path(folder), "a.jsonl")
            Path(folder).chmod(0o755)

    def test_a_file_that_vanishes_before_it_is_read(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", GOOD)
        source = open_source(SourceSpec(from_="a.jsonl"), base=tmp_path)
        path.unlink()
        with pytest.raises(SourceError, match=r"a\.jsonl: the file does not exist"):
            list(source.batches())
