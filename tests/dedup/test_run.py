"""The verb: what it writes, what it leaves as it was, and that it leaves nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tulu_data
from tulu_data import cli
from tulu_data.dedup import run as module
from tulu_data.errors import RecipeError, RowError, SourceError, StoreError, UsageError
from tulu_data.sources.output import NativeWriter

STORY = " ".join(f"word{number}" for number in range(60))
LIKE = STORY.replace("word30", "changed")  # 51 of 61 shingles shared, 84 %
LESS = STORY.replace("word30", "changed").replace("word40", "changed").replace("word50", "changed")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chat(*texts: str | None, **columns: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"row-{i}", "messages": [{"role": "user", "content": text}], **columns}
        for i, text in enumerate(texts)
    ]


def write(name: str, rows: list[dict[str, Any]], rest: str = "") -> str:
    opener = gzip.open if name.endswith(".gz") else open
    with opener(name, "wt") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows) + rest)
    return name


def native(part: str, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(Path("deduplicated", part, f"{name}.parquet")).to_pylist()
    return rows


def dedup(*data: str, **settings_: Any) -> module.Result:
    return tulu_data.deduplicate(data, **settings_)


def test_duplicates_within_and_across_data_sets_go_and_the_rest_stays_as_it_was() -> None:
    one = chat(STORY, "Something else.", LIKE, extra=[1, 2])
    two = chat(LESS, STORY.upper(), note="n")
    result = dedup(write("one.jsonl", one), write("two.jsonl.gz", two))
    assert native("clean", "one") == one[:2]
    assert native("clean", "two") == two[:1]
    first, second, third = result.clusters.sort_by(
        [("dataset", "ascending"), ("row", "ascending")]
    ).to_pylist()
    assert [first["dataset"], first["row"], first["train_id"], first["kept"]] == ["one", 0, "row-0", True]
    assert [second["dataset"], second["row"], second["jaccard"]] == ["one", 2, 51 / 61]
    assert [third["dataset"], third["row"], third["jaccard"]] == ["two", 1, 1.0]
    assert {row["survivor"] for row in (first, second, third)} == {first["row_id"]}
    assert native("dropped", "one") == [
        one[2] | {"verdict": "minhash:near_duplicate", "duplicate_of": first["row_id"], "similarity": 51 / 61}
    ]
    assert native("dropped", "two") == [
        two[1] | {"verdict": "minhash:near_duplicate", "duplicate_of": first["row_id"], "similarity": 1.0}
    ]
    assert result.clusters.schema == module.MEMBERS
    assert json.loads(Path("deduplicated", "summary.json").read_text()) == result.summary
    counts = [tuple(d[key] for key in ("rows", "kept", "dropped")) for d in result.summary["datasets"]]
    assert counts == [(3, 2, 1), (2, 1, 1)]
    assert (result.summary["clusters"], result.summary["largest_cluster"]) == (1, 3)
    assert result.summary["repeats"] == [
        {"dataset": "one", "of": "one", "rows": 1},
        {"dataset": "two", "of": "one", "rows": 1},
    ]
    assert sorted(path.name for path in Path("deduplicated").iterdir()) == [
        "clean", "clusters.parquet", "dropped", "summary.json",
    ]  # fmt: skip


def test_exact_ones_only() -> None:
    write("one.jsonl", chat(STORY, LIKE, STORY, STORY.upper()))
    assert [d["dropped"] for d in dedup("one.jsonl", method="exact").summary["datasets"]] == [1]
    assert native("dropped", "one")[0]["verdict"] == "exact_dedup:duplicate"
    result = dedup("one.jsonl", method="exact", normalize=True, force=True)
    assert [d["dropped"] for d in result.summary["datasets"]] == [2]


def test_the_best_source_is_a_data_set_by_its_name() -> None:
    write("one.jsonl", chat(STORY))
    write("two.jsonl", chat(STORY))
    dedup("one.jsonl", "two.jsonl", keep="best_source", sources=["two"])
    assert (len(native("dropped", "one")), len(native("clean", "two"))) == (1, 1)


def test_by_a_column_of_the_data_itself() -> None:
    rows = [
        row | {"topic": topic} for row, topic in zip(chat("a", "b", "c"), (STORY, "x", LIKE), strict=True)
    ]
    write("one.jsonl", rows)
    dedup("one.jsonl", by=["topic"])
    assert [row["id"] for row in native("dropped", "one")] == ["row-2"]


def test_columns_that_a_result_adds_make_way_for_it() -> None:
    write("one.jsonl", chat(STORY, STORY, similarity="mine", verdict="mine"))
    dedup("one.jsonl")
    assert native("clean", "one")[0]["similarity"] == "mine"
    assert native("dropped", "one")[0]["similarity"] == 1.0


def test_rows_of_two_kinds_are_compared_by_their_prompts() -> None:
    write("chat.jsonl", chat(STORY))
    write("rl.jsonl", chat(STORY, ground_truth="4", dataset="gsm8k"))
    with pytest.raises(UsageError, match="chat holds sft rows and rl rlvr rows; expected data of one kind"):
        dedup("chat.jsonl", "rl.jsonl")
    assert not Path("deduplicated").exists()
    dedup("chat.jsonl", "rl.jsonl", by="prompt")
    assert len(native("dropped", "rl")) == 1


def test_bad_rows_stop_the_run_or_are_set_aside_in_their_place() -> None:
    bad = {"messages": "no list"}
    write("one.jsonl", [*chat(STORY, "Hello"), bad, *chat(LIKE, "Goodbye")], "{oh\n")
    with pytest.raises(RowError, match=r"one.jsonl, line 3, row 2"):
        dedup("one.jsonl")
    assert list(Path().glob("*dedup*")) == []
    result = dedup("one.jsonl", bad_rows="skip")
    assert [row["messages"][0]["content"] for row in native("dropped", "one")] == [LIKE]
    assert result.clusters["row"].to_pylist() == [0, 3]
    assert pq.read_table("deduplicated/bad_rows.parquet")["row"].to_pylist() == [2, 5]
    assert result.summary["datasets"][0]["bad"] == 2
    with pytest.raises(SourceError, match="none of its 1 rows could be used"):
        dedup(write("bad.jsonl", [], "{oh\n"), bad_rows="skip", force=True, adapter="messages")
    assert len(native("clean", "one")) == 3, "the earlier result stands"


@pytest.mark.parametrize(
    ("settings_", "error", "said"),
    [
        ({"method": "fuzzy"}, UsageError, "no method is named 'fuzzy'; expected one of: exact, minhash"),
        ({"method": "exact", "threshold": 0.9}, RecipeError, "unknown key 'threshold'"),
        ({"treshold": 0.9}, RecipeError, "Did you mean 'threshold'"),
        ({"keep": "best_source"}, RecipeError, "needs a list `sources`"),
        ({"keep": "best_source", "sources": ["on"]}, UsageError, "sources: no data set is named 'on'.*'one'"),
        ({"by": ["mesages"]}, UsageError, "no column is named 'mesages'.*Did you mean 'messages'"),
        ({"by": ["numbers"]}, UsageError, "the column 'numbers' holds list.*expected text"),
        ({"by": ["id"]}, RecipeError, "every row has an `id` of its own; the data's is `upstream_id`"),
        ({"adapter": "alpacca"}, UsageError, "Did you mean 'alpaca'"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left(
    settings_: dict[str, Any], error: type[Exception], said: str
) -> None:
    write("one.jsonl", chat(STORY, numbers=[1]))
    with pytest.raises(error, match=said):
        dedup("one.jsonl", **settings_)
    assert [path.name for path in Path().iterdir()] == ["one.jsonl"]


def test_no_data_and_missing_data() -> None:
    with pytest.raises(UsageError, match="no data is named"):
        dedup()
    with pytest.raises(SourceError, match=r"none.jsonl"):
        dedup("none.jsonl")


def test_an_existing_folder_is_replaced_only_when_asked_and_only_a_result() -> None:
    write("one.jsonl", chat(STORY))
    dedup("one.jsonl")
    with pytest.raises(StoreError, match="exists already"):
        dedup("one.jsonl")
    dedup("one.jsonl", force=True)
    Path("deduplicated", "mine.txt").write_text("precious")
    with pytest.raises(StoreError, match=r"holds 'mine.txt'"):
        dedup("one.jsonl", force=True)


def test_a_failure_on_the_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_self: object, _table: pa.Table) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(NativeWriter, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        dedup(write("one.jsonl", chat(STORY)))
    assert [path.name for path in Path().iterdir()] == ["one.jsonl"]


def test_threads_do_not_matter(tmp_path: Path) -> None:
    texts = st.lists(st.sampled_from([STORY, LIKE, LESS, "a", "b", "", "a b"]), min_size=1, max_size=20)

    @settings(max_examples=10, deadline=None)
    @given(texts, st.sampled_from(["first", "longest"]))
    def holds(texts: list[str], keep: str) -> None:
        for name in ("one", "two"):
            write(f"{name}.jsonl", chat(*texts))
        both = [
            dedup(
                "one.jsonl", "two.jsonl", keep=keep, threads=threads, out=tmp_path / f"t{threads}", force=True
            )
            for threads in (1, 3)
        ]
        assert both[0].clusters.equals(both[1].clusters)
        assert both[0].summary["datasets"] == both[1].summary["datasets"]

    holds()


# -- on the command line -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_program_itself() -> None:
    write("one.jsonl", chat(STORY, LIKE))
    write("two.jsonl", chat(STORY, "Hello there"))
    command = [sys.executable, "-m", "tulu_data", "dedup", "one.jsonl", "two.jsonl", "--by", "prompt"]
    root = str(Path(cli.__file__).parent.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr
    assert "2 rows share 80% of their shingles or more with one that stays, in 1 cluster\n" in done.stdout
    assert "written to deduplicated" in done.stdout


def test_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    write("one.jsonl", chat(STORY, LIKE, answer="x"))
    write("two.jsonl", chat(LESS, answer="x"))
    line = "dedup one.jsonl two.jsonl --threshold 0.5 --ngram 3 --keep best_source --sources two,one --json"
    assert cli.run(line.split()) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (
        summary["settings"] | {"threshold": 0.5, "ngram": 3, "sources": ["two", "one"]} == summary["settings"]
    )
    assert summary["repeats"] == [{"dataset": "one", "of": "two", "rows": 2}]
    assert cli.run(["dedup", "one.jsonl", "--method", "exact", "--by", "answer,upstream_id", "--force"]) == 0
    assert "0 rows are equal to one that stays" in capsys.readouterr().out
    assert cli.run(["dedup", "one.jsonl", "--method", "exact", "--by", "answer", "--force"]) == 0
    assert "1 row is equal to one that stays, in 1 cluster\n" in capsys.readouterr().out
    assert cli.run(["dedup", "one.jsonl", "--method", "exact", "--ngram", "3", "--force"]) == 2
    assert "unknown key 'ngram'" in capsys.readouterr().err
