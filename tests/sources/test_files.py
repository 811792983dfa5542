"""Sources that are files: every format, plain and compressed, to the row, the line and the type."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.files import batches, rows, write
from tulu_data.errors import SourceError
from tulu_data.sources import SetAside, SourceSpec, documents, open_source, streams
from tulu_data.sources.batch import AS_JSON

ROWS = [{"prompt": "Grüße, 世界", "n": 1}, {"prompt": 'two\nlines, "quoted"', "n": 2}]
TEXT_ROWS = [{"prompt": row["prompt"], "n": str(row["n"])} for row in ROWS]
CSV = 'prompt,n\n"Grüße, 世界",1\n"two\nlines, ""quoted""",2\n'


def as_parquet(path: Path, table: pa.Table, **settings_: Any) -> Path:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **settings_)
    return write(path, sink.getvalue().to_pybytes())


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
class TestEveryFormat:
    def test_jsonl(self, tmp_path: Path, packed: str) -> None:
        assert rows(write(tmp_path / f"a.jsonl{packed}", ROWS)) == ROWS

    def test_ndjson_in_capitals(self, tmp_path: Path, packed: str) -> None:
        assert rows(write(tmp_path / f"A.NDJSON{packed}", ROWS)) == ROWS

    def test_json_list(self, tmp_path: Path, packed: str) -> None:
        assert rows(write(tmp_path / f"a.json{packed}", json.dumps(ROWS, indent=2))) == ROWS

    def test_parquet(self, tmp_path: Path, packed: str) -> None:
        assert rows(as_parquet(tmp_path / f"a.parquet{packed}", pa.Table.from_pylist(ROWS))) == ROWS

    def test_csv(self, tmp_path: Path, packed: str) -> None:
        assert rows(write(tmp_path / f"a.csv{packed}", CSV)) == TEXT_ROWS

    def test_tsv(self, tmp_path: Path, packed: str) -> None:
        assert (
            rows(
                write(
                    tmp_path / f"a.tsv{packed}",
                    CSV.replace(",1", "\t1").replace(",2", "\t2").replace("t,n", "t\tn"),
                )
            )
            == TEXT_ROWS
        )


class TestJsonLines:
    def test_lines_are_counted_and_blank_ones_skipped(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a":1}\r\n\r\n  \t\n{"a":2}\r\n   {"a":3}')
        [batch] = batches(path)
        assert batch.table["a"].to_pylist() == [1, 2, 3]
        assert batch.lines is not None
        assert batch.lines.to_pylist() == [1, 4, 5]
        assert batch.rows.to_pylist() == [0, 1, 2]
        assert str(batch.where(1, "a")) == "a.jsonl, line 4, row 1, field a"

    def test_text_that_looks_like_a_date_stays_text(self, tmp_path: Path) -> None:
        data = [{"d": "2020-01-01", "in": {"d": ["2020-01-01T00:00:00"]}}] * 3
        path = write(tmp_path / "a.jsonl", data)
        assert rows(path) == data

    def test_an_empty_list_before_a_list_of_dates(self, tmp_path: Path) -> None:
        data = [{"t": "x" * 3000, "h": []}] * 400 + [{"t": "y" * 3000, "h": [["2020-01-01"]]}] * 400
        assert rows(write(tmp_path / "a.jsonl", data)) == data

    def test_sparse_and_late_keys(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", [{"a": None}, {"b": "x"}, {"a": None, "c": [1]}])
        assert rows(path)[2] == {"a": None, "b": None, "c": [1]}

    def test_a_column_keeps_its_type_where_it_is_null(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "BLOCK", 16)
        path = write(tmp_path / "a.jsonl", [{"a": [{"b": "x"}], "n": 1}, {"a": None, "n": None}])
        first, second = (batch.table.schema for batch in batches(path))
        assert first == second

    def test_objects_without_keys_alone(self, tmp_path: Path) -> None:
        assert sum(batch.table.num_rows for batch in batches(write(tmp_path / "a.jsonl", "{}\n{}\n"))) == 2

    def test_integers_widen_to_floats(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streams, "BLOCK", 32)
        path = write(tmp_path / "a.jsonl", [{"n": n} for n in (1, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)])
        types = [batch.table.schema.field("n").type for batch in batches(path)]
        assert types[-1] == pa.float64()
        assert [row["n"] for row in rows(path)] == [1, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]

    def test_kinds_that_differ_inside_a_value_come_as_json(self, tmp_path: Path) -> None:
        data = [{"id": 1, "x": [1, "a", {"k": None}]}, {"id": 2, "x": None}, {"id": 3, "x": []}]
        [batch] = batches(write(tmp_path / "a.jsonl", data))
        assert batch.table.schema.field("x").metadata == AS_JSON
        assert batch.table["x"].to_pylist() == ['[1, "a", {"k": null}]', None, "[]"]
        assert batch.table["id"].type == pa.int64()

    def test_kinds_that_differ_inside_from_block_to_block(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "BLOCK", 16)
        data: list[dict[str, Any]] = [
            {"m": [{"content": "text"}]},
            {"m": [{"content": [{"type": "text"}]}]},
            {"m": [{"content": "t"}]},
        ]
        first, *later = batches(write(tmp_path / "a.jsonl", data))
        assert first.table.to_pylist() == data[:1]
        assert [json.loads(b.table["m"][0].as_py()) for b in later] == [row["m"] for row in data[1:]]
        assert all(b.table.schema.field("m").metadata == AS_JSON for b in later)

    def test_escaped_nul_not_a_number_and_huge_numbers(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", '{"t":"a\\u0000b","f":NaN,"i":99999999999999999999}\n')
        [row] = rows(path)
        assert row["t"] == "a\0b"
        assert row["f"] != row["f"]
        assert row["i"] == 1e20

    def test_empty_objects_are_rows(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", '{}\n{}\n{"a": 1}\n')
        assert rows(path) == [{"a": None}, {"a": None}, {"a": 1}]

    def test_a_row_is_a_line_and_a_line_is_a_row(self, tmp_path: Path) -> None:
        aside = SetAside()
        path = write(tmp_path / "a.jsonl", '{"a":1}\n{"a":2}{"a":3}\n{"a":\n4}\n{"a":5}\n')
        assert rows(path, on_bad=aside) == [{"a": 1}, {"a": 5}]
        assert [bad.where.line for bad in aside.rows] == [2, 3, 4]

    def test_types_do_not_follow_the_batch_size(self, tmp_path: Path) -> None:
        data = [{"a": None if i < 50 else "x", "n": 1 if i < 90 else 0.5} for i in range(100)]
        path = write(tmp_path / "a.jsonl", data)
        small, large = batches(path, batch_bytes=64), batches(path)
        assert len(small) > 10 > len(large)
        assert {str(b.table.schema) for b in small} == {str(b.table.schema) for b in large}
        assert pa.concat_tables([b.table for b in small]).equals(pa.concat_tables([b.table for b in large]))

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(["a", "b", "c"]),
                st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
            ),
            min_size=1,
            max_size=12,
        ),
        st.integers(4, 60),
    )
    def test_any_rows_in_any_blocks(
        self, tmp_path_factory: pytest.TempPathFactory, data: list[dict[str, Any]], block: int
    ) -> None:
        path = write(tmp_path_factory.mktemp("any") / "a.jsonl", data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "BLOCK", block)
            found = rows(path)
        assert [{k: v for k, v in row.items() if v is not None} for row in found] == [
            {k: v for k, v in row.items() if v is not None} for row in data
        ]


class TestJson:
    def test_siblings_become_columns(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "a.json",
            json.dumps(
                {
                    "Definition": ["Do it."],
                    "id": 7,
                    "more": {"x": 1},
                    "Instances": [{"input": "a"}, {"input": "b"}],
                }
            ),
        )
        assert rows(path) == [{"input": i, "Definition": ["Do it."], "id": 7} for i in "ab"]

    def test_a_well_known_list_among_several(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "a.json", '{"Positive Examples": [{"input": "p"}], "Instances": [{"input": "i"}]}'
        )
        assert rows(path) == [{"input": "i"}]

    def test_records_chooses(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.json", '{"name": "t", "dev": [{"q": 1}], "in": {"test": [{"q": 2}]}}')
        assert rows(path, records="dev") == [{"q": 1, "name": "t"}]
        assert rows(path, records="in.test") == [{"q": 2}]

    def test_lines_and_row_numbers(self, tmp_path: Path) -> None:
        [batch] = batches(write(tmp_path / "a.json", json.dumps([{"a": {"b": 1}}] * 3, indent=1)))
        assert batch.lines is not None
        assert batch.lines.to_pylist() == [2, 7, 12]

    def test_json_lines_under_the_name_json(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(documents, "LARGEST", 10)
        assert rows(write(tmp_path / "a.json", ROWS)) == ROWS


class TestCsv:
    def test_cells_are_text_and_rows_know_their_first_line(self, tmp_path: Path) -> None:
        [batch] = batches(write(tmp_path / "a.csv", b'\xef\xbb\xbfa,b\r\n01,\r\n\r\n"x\r\ny",NA\r\nlast,1'))
        assert batch.table.to_pylist() == [
            {"a": "01", "b": ""},
            {"a": "x\r\ny", "b": "NA"},
            {"a": "last", "b": "1"},
        ]
        assert batch.lines is not None
        assert batch.lines.to_pylist() == [2, 4, 6]

    def test_columns_without_a_header(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "What?,1,2,A\n")
        assert rows(path, columns=["q", "A", "B", "answer"]) == [
            {"q": "What?", "A": "1", "B": "2", "answer": "A"}
        ]

    def test_quotes_inside_a_tsv_cell(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tsv", 'q\ta\nHe said "hi" there\t"[""x""]"\n')
        assert rows(path) == [{"q": 'He said "hi" there', "a": '["x"]'}]


class TestParquet:
    def test_other_forms_of_a_type_become_plain(self, tmp_path: Path) -> None:
        frame = pl.DataFrame(
            {"m": [[{"role": "user", "content": "hi"}]], "c": pl.Series(["x"], dtype=pl.Categorical)}
        )
        frame.write_parquet(tmp_path / "a.parquet")
        [batch] = batches(tmp_path / "a.parquet")
        message = pa.struct([("role", pa.string()), ("content", pa.string())])
        assert batch.table.schema.types == [pa.list_(pa.field("item", message)), pa.string()]
        assert batch.table.to_pylist() == frame.to_dicts()

    def test_a_large_row_group_comes_in_parts(self, tmp_path: Path) -> None:
        table = pa.table({"i": range(50_000), "t": ["x" * 100] * 50_000})
        found = batches(as_parquet(tmp_path / "a.parquet", table), batch_bytes=1 << 20)
        assert len(found) >= 5
        assert max(b.table.nbytes for b in found) < 2 << 20
        assert pa.concat_tables([b.table for b in found]).equals(table)
        assert [b.rows[0].as_py() for b in found] == [b.table["i"][0].as_py() for b in found]


class TestFinding:
    def test_a_glob_reads_in_the_order_of_names_and_numbers_rows_throughout(self, tmp_path: Path) -> None:
        write(tmp_path / "d" / "b.jsonl.gz", [{"a": 3}])
        write(tmp_path / "d" / "a.jsonl", [{"a": 1}, {"a": 2}])
        source = open_source(SourceSpec(from_="d/*.jsonl*"), base=tmp_path)
        found = list(source.batches())
        assert [(b.file, b.rows.to_pylist()) for b in found] == [("d/a.jsonl", [0, 1]), ("d/b.jsonl.gz", [2])]
        assert (
            found[-1].position == source.nbytes == sum(p.stat().st_size for p in (tmp_path / "d").iterdir())
        )

    def test_a_name_with_glob_characters_is_a_name(self, tmp_path: Path) -> None:
        assert rows(write(tmp_path / "a[1].jsonl", [{"a": 1}])) == [{"a": 1}]

    def test_the_lock_holds_relative_names_and_hashes(self, tmp_path: Path) -> None:
        path = write(tmp_path / "d" / "a.jsonl", [{"a": 1}])
        source = open_source(SourceSpec(from_="d/a.jsonl", split="train"), base=tmp_path)
        lock = source.lock()
        [file] = lock.files
        assert (lock.origin, lock.revision, lock.split, file.path) == (
            "d/a.jsonl",
            None,
            "train",
            "d/a.jsonl",
        )
        assert (file.bytes, file.sha256) == (9, hashlib.sha256(path.read_bytes()).hexdigest())
        assert source.lock() is lock

    def test_a_store_version_is_found_by_the_callers_resolver(self, tmp_path: Path) -> None:
        path = write(tmp_path / "part.jsonl", [{"a": 1}])
        source = open_source(
            SourceSpec(from_="store:synth/x@v2"), base=tmp_path, store={"synth/x@v2": [path]}.__getitem__
        )
        assert [b.table.num_rows for b in source.batches()] == [1]
        with pytest.raises(SourceError, match="not readable here"):
            open_source(SourceSpec(from_="store:synth/x@v2"), base=tmp_path)

    def test_a_spec_is_read_from_a_recipes_words(self) -> None:
        spec = SourceSpec.model_validate({"from": "a.csv", "columns": ["q"]})
        assert spec == SourceSpec(from_="a.csv", columns=("q",))
        assert spec.model_dump(by_alias=True, exclude_none=True) == {"from": "a.csv", "columns": ("q",)}


def test_reading_files_imports_neither_datasets_nor_polars(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ROWS)
    code = (
        "import sys, pathlib; from tulu_data.sources import SourceSpec, open_source\n"
        "s = open_source(SourceSpec(from_='a.jsonl'), base=pathlib.Path(sys.argv[1])); list(s.batches())\n"
        "assert not {'datasets', 'polars', 'numba'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.slow
def test_the_real_files_have_the_rows_that_their_readme_counts(shared_data: Path) -> None:
    lines = (shared_data / "MANIFEST.tsv").read_text().splitlines()
    counted = {line.split("\t")[0]: int(line.split("\t")[1]) for line in lines[1:]}
    found = {name: _count(shared_data, name) for name in counted}
    assert found == counted


def _count(base: Path, name: str) -> int:
    keys: dict[str, Any] = {}
    if "/mmlu/" in name and name.endswith(".csv"):
        keys["columns"] = ["question", "A", "B", "C", "D", "answer"]
    lists = ["dev", "test"] if name.endswith("popqa_modelcollab_2000.json") else [None]
    specs = [SourceSpec(from_=name, records=records, **keys) for records in lists]
    sources = [open_source(spec, base=base) for spec in specs]
    return sum(batch.table.num_rows for source in sources for batch in source.batches(on_bad=SetAside()))
