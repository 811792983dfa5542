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

import tulu_data
from tulu_data.decontam import run as module
from tulu_data.decontam import scan
from tulu_data.decontam.evidence import MATCHES
from tulu_data.decontam.output import NativeWriter, new_folder
from tulu_data.errors import RecipeError, RowError, SourceError, StoreError, UsageError
from tulu_data.progress import Progress
from tulu_data.workspace import Workspace

MATH = "Nora packs lunch boxes for a school trip and fills twenty six of them before the bus arrives"
FACT = "Who wrote the play Faust?"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "math.csv").write_text(f"id,question\nm1,{MATH}\nm2,{MATH} and leaves again at noon\n")
    (tmp_path / "facts.csv").write_text(f"question\n{FACT}\n!\n")
    (tmp_path / "evals.yaml").write_text(
        "suite: mine\nrule: tulu3\nevals:\n"
        "  - {name: math, from: math.csv, split: test, fields: [question], id: id}\n"
        "  - {name: facts, role: unseen, from: facts.csv, fields: [question]}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chat(*texts: str | None, **columns: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"row-{i}",
            "messages": [{"role": "user", "content": t}, {"role": "assistant", "content": "Yes."}],
            **columns,
        }
        for i, t in enumerate(texts)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def decontaminate(*data: str, **settings: Any) -> module.Result:
    return tulu_data.decontaminate("evals.yaml", data, **{"out": Path("out"), **settings})


def test_what_is_written(place: Path) -> None:
    write(place / "chat.jsonl.gz", chat("Hello", f"Solve: {MATH}", "Bye", FACT))
    write(place / "tasks.jsonl", [{"instruction": "Say hi", "output": "hi"}])
    result = decontaminate("chat.jsonl.gz", "tasks.jsonl")
    assert result.exit_status == 3
    assert sorted(str(p.relative_to("out")) for p in Path("out").rglob("*.*")) == [
        "certificate.html",
        "certificate.json",
        "clean/chat.parquet",
        "clean/tasks.parquet",
        "dropped/chat.parquet",
        "matches.parquet",
        "report.html",
        "summary.json",
    ]
    assert pq.read_table("out/clean/chat.parquet")["id"].to_pylist() == ["row-0", "row-2"]
    dropped = pq.read_table("out/dropped/chat.parquet")
    assert dropped.select(["id", "verdict"]).to_pylist() == [
        {"id": "row-1", "verdict": "decontaminate:math"},
        {"id": "row-3", "verdict": "decontaminate:facts"},
    ]
    matches = pq.read_table("out/matches.parquet")
    assert matches.schema.equals(MATCHES)
    assert matches.equals(result.findings)
    assert matches.select(
        ["dataset", "train_id", "eval", "split", "item_id", "kind", "action"]
    ).to_pylist() == [
        {
            "dataset": "chat",
            "train_id": "row-1",
            "eval": "math",
            "split": "test",
            "item_id": "m1",
            "kind": "copy",
            "action": "drop",
        },
        {
            "dataset": "chat",
            "train_id": "row-1",
            "eval": "math",
            "split": "test",
            "item_id": "m2",
            "kind": "partial",
            "action": "drop",
        },
        {
            "dataset": "chat",
            "train_id": "row-3",
            "eval": "facts",
            "split": None,
            "item_id": "0",
            "kind": "short",
            "action": "drop",
        },
    ]
    assert json.loads(Path("out/summary.json").read_text()) == result.summary


def test_the_summary(place: Path) -> None:
    write(place / "chat.jsonl", chat("Hello", MATH, "Bye", FACT))
    told = decontaminate("chat.jsonl").summary
    assert told["suite"] == "mine"
    assert told["rule"] == {
        "rule": "tulu3",
        "method": "coverage",
        "ngram": 8,
        "threshold": 0.5,
        "generic": [],
        "single": None,
        "contaminated": 0.02,
        "actions": {},
    }
    assert told["datasets"] == [
        {
            "dataset": "chat",
            "from": "chat.jsonl",
            "rows": 4,
            "kept": 2,
            "dropped": 2,
            "kept_with_findings": 0,
            "bad": 0,
        }
    ]
    assert [(e["eval"], e["role"], e["items"], e["unchecked"]) for e in told["evals"]] == [
        ("math", "development", 2, 0),
        ("facts", "unseen", 2, 1),
    ]
    assert [
        (c["eval"], c["matched"], c["percent"], c["verdict"], c["rows_flagged"]) for c in told["cells"]
    ] == [
        ("math", 2, 100.0, "contaminated", 1),
        ("facts", 1, 50.0, "contaminated", 1),
    ]
    short, nothing = told["warnings"]
    assert "1 of 2 items of eval 'facts' has fewer tokens in every field than an n-gram" in short
    assert "1 of 2 items of eval 'facts' cannot be checked: no field of it has a letter or a digit" in nothing


def test_warnings_of_the_suite_are_said(place: Path) -> None:
    class Heard(Progress):
        said: list[str] = []  # noqa: RUF012

        def say(self, text: str) -> None:
            self.said.append(text)

    write(place / "chat.jsonl", chat("Hello"))
    result = decontaminate("chat.jsonl", progress=Heard())
    assert [f"warning: {warning}" for warning in result.summary["warnings"]] == [
        t for t in Heard.said if "warning" in t
    ]


def test_nothing_matched(place: Path) -> None:
    write(place / "chat.jsonl", chat("Hello", "Bye"))
    result = decontaminate("chat.jsonl")
    assert result.exit_status == 0
    assert pq.read_table("out/matches.parquet").schema.equals(MATCHES)
    assert pq.read_table("out/clean/chat.parquet").num_rows == 2
    assert not list(Path("out/dropped").iterdir())


def test_a_dataset_of_which_nothing_is_kept(place: Path) -> None:
    write(place / "chat.jsonl", chat(MATH, MATH))
    result = decontaminate("chat.jsonl")
    clean = pq.read_table("out/clean/chat.parquet")
    assert (clean.num_rows, clean.column_names) == (0, ["id", "messages"])
    assert result.findings["row_id"].to_pylist()[0].endswith("/0")
    assert result.findings["row_id"].to_pylist()[-1].endswith("/1"), (
        "rows of equal content have ids of their own"
    )


def test_cleaned_data_keeps_every_native_column_and_type(place: Path) -> None:
    rows = chat("Hello", MATH, "Bye")
    table = pa.table(
        {
            "messages": pa.array([r["messages"] for r in rows]),
            "score": pa.array([1.5, None, 2.5], pa.float32()),
            "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
            "when": pa.array([1, 2, 3], pa.timestamp("us", "UTC")),
            "label": pa.array([0, 1, 0], pa.int8()),
            "nested": pa.array([{"a": {"b": 1}}] * 3),
            "raw": pa.array([b"\xff", b"", None]),
        }
    )
    pq.write_table(table, place / "rich.parquet")
    decontaminate("rich.parquet")
    clean = pq.read_table("out/clean/rich.parquet")
    assert clean.schema.remove_metadata().equals(pq.read_table("rich.parquet").schema.remove_metadata())
    assert clean.to_pylist() == [r for i, r in enumerate(table.to_pylist()) if i != 1]
    assert (
        pq.read_table("out/dropped/rich.parquet").drop_columns("verdict").to_pylist()
        == table.slice(1, 1).to_pylist()
    )


def test_columns_that_appear_on_the_way_are_null_before(place: Path) -> None:
    rows = [*chat(*["some words to fill a batch"] * 300), *chat(MATH, "late", note="new", count=3)]
    path = place / "grows.jsonl"
    write(path, rows)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(scan, "BATCH_BYTES", 2_000)
        decontaminate("grows.jsonl")
    clean = pq.read_table("out/clean/grows.parquet")
    assert clean.num_rows == 301
    assert clean.slice(299).select(["id", "note", "count"]).to_pylist() == [
        {"id": "row-299", "note": None, "count": None},
        {"id": "row-1", "note": "new", "count": 3},
    ]
    assert [p.name for p in Path("out/clean").iterdir()] == ["grows.parquet"]


def test_a_writer_joins_parts_whose_types_differ(tmp_path: Path) -> None:
    writer = NativeWriter(tmp_path / "x.parquet")
    writer.write(pa.table({"a": pa.array([1], pa.int64()), "b": pa.nulls(1)}))
    writer.write(pa.table({"a": pa.array([1.5]), "b": pa.array(["x"]), "c": pa.array([{"d": 1}])}))
    writer.write(pa.table({"c": pa.array([{"d": 2, "e": "y"}]), "a": pa.array([2], pa.int64())}))
    writer.close()
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [
        {"a": 1.0, "b": None, "c": None},
        {"a": 1.5, "b": "x", "c": {"d": 1, "e": None}},
        {"a": 2.0, "b": None, "c": {"d": 2, "e": "y"}},
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]


def many(place: Path) -> str:
    texts = [
        MATH if i % 13 == 0 else FACT if i % 17 == 0 else f"Chatter of the number {i}" for i in range(500)
    ]
    return write(place / "many.jsonl", chat(*texts))


@pytest.mark.parametrize(("threads", "batch_bytes"), [(2, 1 << 24), (1, 500), (2, 3_000)])
def test_threads_and_batches_change_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, threads: int, batch_bytes: int
) -> None:
    name = many(place)
    plain = decontaminate(name, threads=1, out=Path("plain"))
    monkeypatch.setattr(scan, "BATCH_BYTES", batch_bytes)
    other = decontaminate(name, threads=threads)
    assert other.findings.equals(plain.findings)
    assert other.summary | {"out": ""} == plain.summary | {"out": ""}
    for file in ("clean/many.parquet", "dropped/many.parquet"):
        assert pq.read_table(Path("out") / file).equals(pq.read_table(Path("plain") / file))


def test_a_finding_beside_its_row_and_its_item(place: Path) -> None:
    write(place / "chat.jsonl", chat("Hello", f"Solve: {MATH}!"))
    result = decontaminate("chat.jsonl")
    row, item = result.text_of(result.findings.to_pylist()[0])
    assert (row.title, item.title) == ("chat row 1, user message 0", "math item m1, question")
    assert [row.text[a:b] for a, b in row.spans] == [item.text[a:b] for a, b in item.spans] == [MATH]


def test_which_messages_are_looked_at(place: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "Go on"}, {"role": "assistant", "content": MATH}]}]
    write(place / "chat.jsonl", rows)
    assert decontaminate("chat.jsonl").exit_status == 0
    assert decontaminate("chat.jsonl", roles="all", force=True).exit_status == 3
    assert decontaminate("chat.jsonl", roles=["user", "assistant"], force=True).exit_status == 3
    with pytest.raises(UsageError, match=r"no role is named 'asistant'.*Did you mean 'assistant'"):
        decontaminate("chat.jsonl", roles="asistant", out=Path("o2"))
    with pytest.raises(UsageError, match=r"no role is named to look at"):
        decontaminate("chat.jsonl", roles=[], out=Path("o2"))


# -- what is scanned -------------------------------------------------------------------------------------


def test_without_data_the_suites_own_list_is_scanned(place: Path) -> None:
    (place / "sub").mkdir()
    write(place / "sub" / "chat.jsonl", chat(MATH))
    suite = (
        (place / "evals.yaml")
        .read_text()
        .replace(": math.csv", ": ../math.csv")
        .replace(": facts.csv", ": ../facts.csv")
    )
    (place / "sub" / "evals.yaml").write_text(f"{suite}train: [chat.jsonl]\n")
    assert (
        tulu_data.decontaminate("sub/evals.yaml", out=Path("out")).summary["datasets"][0]["dataset"] == "chat"
    )


def test_without_data_and_without_a_list_it_says_what_could_be_scanned(place: Path) -> None:
    (place / "mixtures").mkdir()
    (place / "mixtures" / "mine.yaml").write_text(
        "mixture: mine\nsources:\n  - {name: talk, from: ../chat.jsonl}\n"
    )
    with pytest.raises(UsageError) as caught:
        decontaminate()
    assert "suite mine has no `train:` list" in str(caught.value)
    assert "--all-recipes" in str(caught.value)
    assert "mine_talk: ../chat.jsonl" in str(caught.value)
    assert not Path("out").exists()


def test_all_recipes(place: Path) -> None:
    write(place / "chat.jsonl", chat(MATH, "Hello"))
    recipes = place / "mixtures"
    recipes.mkdir()
    (recipes / "a.yaml").write_text(
        "mixture: a\nsources:\n  - {name: b_c, from: ../chat.jsonl}\n  - {from: 'store:mixtures/x@v1'}\n"
    )
    (recipes / "a_b.yaml").write_text(
        "mixture: a_b\nsources:\n  - {name: c, from: ../chat.jsonl, adapter: messages}\n"
    )
    (recipes / "bad.yaml").write_text("mixture: [\n")
    (recipes / "worse.yaml").write_text("mixture: worse\nsources: [{from: x.csv, columns: 3}, 7]\n")
    (recipes / "path.yaml").write_text(
        "mixture: p\nsources: [{name: ../../escape, from: ../chat.jsonl, split: x}]\n"
    )
    result = decontaminate(all_recipes=True)
    names = [d["dataset"] for d in result.summary["datasets"]]
    assert len(set(names)) == len(names) == 3
    assert sorted(p.stem for p in Path("out/clean").iterdir()) == sorted(names)
    assert not list(place.glob("*escape*"))
    with pytest.raises(UsageError, match=r"one of them"):
        decontaminate("chat.jsonl", all_recipes=True, force=True)


def test_all_recipes_of_a_workspace_without_any(place: Path) -> None:
    with pytest.raises(UsageError, match=r"no recipe in the workspace has a source"):
        decontaminate(all_recipes=True)


def test_the_same_data_twice_is_an_error_and_equal_names_are_told_apart(place: Path) -> None:
    for folder in ("x", "y"):
        (place / folder).mkdir()
        write(place / folder / "chat.jsonl", chat("Hello"))
    with pytest.raises(UsageError, match=r"'./x/chat.jsonl' is named twice"):
        decontaminate("x/chat.jsonl", "./x/chat.jsonl")
    assert [d["dataset"] for d in decontaminate("x/chat.jsonl", "y/chat.jsonl").summary["datasets"]] == [
        "chat",
        "chat-2",
    ]


def test_what_killed_runs_left_is_cleared_and_their_result_put_back(place: Path) -> None:
    write(place / "chat.jsonl", chat(MATH))
    result = decontaminate("chat.jsonl").out.resolve()
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    owner = int(dead.stdout)
    moved = result.with_name(f".{result.name}.{owner}.old")
    result.rename(moved)
    aside = result.with_name(f".{result.name}.{owner}.tmp")
    aside.mkdir()
    running = result.with_name(f".{result.name}.{os.getpid()}x.tmp")
    running.mkdir()
    with pytest.raises(StoreError, match=r"exists already"):
        decontaminate("chat.jsonl", out=result)
    assert result.is_dir()
    assert not moved.exists()
    assert not aside.exists()
    assert running.exists(), "not one of ours"


def test_a_dataset_of_which_no_row_can_be_used_is_an_error(place: Path) -> None:
    (place / "broken.jsonl").write_text('{"messages": "[]"}\n{"messages": "[]"}\n')
    with pytest.raises(SourceError, match=r"broken.jsonl: none of its 2 rows could be used"):
        decontaminate("broken.jsonl", adapter="messages", bad_rows="skip")


def test_roles_may_have_spaces_and_all_stands_alone() -> None:
    assert module.role_list(["user", " assistant"]) == ("user", "assistant")
    with pytest.raises(UsageError, match=r"'all' stands alone"):
        module.role_list(["all", "user"])


def test_a_glob_is_one_dataset(place: Path) -> None:
    for i in range(3):
        write(place / f"part-{i}.jsonl", chat(MATH if i else "Hello"))
    result = decontaminate("part-*.jsonl")
    assert [(d["dataset"], d["rows"], d["dropped"]) for d in result.summary["datasets"]] == [
        ("part-all", 3, 2)
    ]


def test_an_adapter_for_data_whose_shape_is_ambiguous(place: Path) -> None:
    rows = [{"prompt": MATH, "completion": "26", "question": "Hello", "answer": "Hi"}]
    write(place / "both.jsonl", rows)
    with pytest.raises(SourceError, match=r"fit more than one adapter.*--adapter"):
        decontaminate("both.jsonl")
    assert decontaminate("both.jsonl", adapter="prompt_completion").exit_status == 3
    assert decontaminate("both.jsonl", adapter="question_answer", force=True).exit_status == 0
    with pytest.raises(UsageError, match=r"no adapter is named 'mesages'.*Did you mean 'messages'"):
        decontaminate("both.jsonl", adapter="mesages", force=True)


def test_preference_and_rlvr_rows(place: Path) -> None:
    turns = [[{"role": "user", "content": MATH}, {"role": "assistant", "content": a}] for a in ("26", "27")]
    write(place / "pairs.jsonl", [{"prompt": MATH, "chosen": turns[0], "rejected": turns[1]}])
    write(place / "verify.jsonl", [{"messages": turns[0][:1], "ground_truth": "26", "dataset": "gsm8k"}])
    result = decontaminate("pairs.jsonl", "verify.jsonl")
    assert [d["dropped"] for d in result.summary["datasets"]] == [1, 1]
    columns = {s["column"] for f in result.findings.slice(0, 1).to_pylist() for s in f["train_spans"]}
    assert columns == {"prompt", "chosen", "rejected"}
    row, _ = result.text_of(result.findings.to_pylist()[0])
    assert row.text == MATH


# -- bad rows --------------------------------------------------------------------------------------------


def bad(place: Path) -> str:
    path = place / "bad.jsonl"
    good = [json.dumps(row) for row in chat("Hello", MATH)]
    path.write_text(
        "\n".join([good[0], "{not json", json.dumps({"id": "x", "messages": None}), good[1]]) + "\n"
    )
    return path.name


def test_a_bad_row_stops_the_run_and_leaves_nothing(place: Path) -> None:
    with pytest.raises(RowError, match=r"bad.jsonl, line 2.*--bad-rows skip"):
        decontaminate(bad(place))
    assert [p.name for p in place.iterdir() if "out" in p.name] == []


def test_bad_rows_are_set_aside_with_their_reasons(place: Path) -> None:
    result = decontaminate(bad(place), bad_rows="skip")
    aside = pq.read_table("out/bad_rows.parquet").to_pylist()
    assert [(row["source"], row["line"], row["row"]) for row in aside] == [("bad", 2, 1), ("bad", 3, 2)]
    assert all(row["reason"] for row in aside)
    assert result.summary["datasets"] == [
        {
            "dataset": "bad",
            "from": "bad.jsonl",
            "rows": 2,
            "kept": 1,
            "dropped": 1,
            "kept_with_findings": 0,
            "bad": 2,
        }
    ]


# -- the folder ------------------------------------------------------------------------------------------


def test_an_existing_folder_is_refused_without_force(place: Path) -> None:
    write(place / "chat.jsonl", chat("Hello"))
    decontaminate("chat.jsonl")
    write(place / "other.jsonl", chat("Hello"))
    with pytest.raises(StoreError, match=r"out: exists already.*--force"):
        decontaminate("other.jsonl")
    decontaminate("other.jsonl", force=True)
    assert [p.name for p in Path("out/clean").iterdir()] == ["other.parquet"]


def test_force_replaces_no_folder_of_the_users(place: Path) -> None:
    write(place / "chat.jsonl", chat("Hello"))
    for out in (place, Path(), Path("..")):
        with pytest.raises(StoreError, match=r"is no result of this command"):
            decontaminate("chat.jsonl", out=out, force=True)
    with pytest.raises(StoreError, match=r"chat.jsonl: is a file"):
        decontaminate("chat.jsonl", out=Path("chat.jsonl"), force=True)
    assert (place / "chat.jsonl").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
def test_nothing_half_written_remains(place: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    name = many(place)
    before = sorted(place.rglob("*"))
    calls = []

    def failing(writer: NativeWriter, table: pa.Table) -> None:
        calls.append(table.num_rows)
        if len(calls) > 3:
            raise error
        write_(writer, table)

    write_ = NativeWriter.write
    monkeypatch.setattr(NativeWriter, "write", failing)
    monkeypatch.setattr(scan, "BATCH_BYTES", 3_000)
    with pytest.raises(StoreError if isinstance(error, OSError) else error) as caught:
        decontaminate(name, out=Path("deep/er/out"))
    assert sorted(place.rglob("*")) == before
    if isinstance(error, OSError):
        assert "the disk is full" in str(caught.value)


def test_an_earlier_result_survives_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = many(place)
    decontaminate(name)
    before = {p: p.read_bytes() for p in Path("out").rglob("*") if p.is_file()}
    monkeypatch.setattr(module, "_summary", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        decontaminate(name, force=True)
    assert {p: p.read_bytes() for p in Path("out").rglob("*") if p.is_file()} == before


def test_an_earlier_result_survives_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with new_folder(out, force=False) as folder:
        (folder / "summary.json").write_text("old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name.endswith(".tmp"):
            raise PermissionError(13, "no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StoreError, match=r"no permission"), new_folder(out, force=True) as folder:
        (folder / "summary.json").write_text("new")
    assert (out / "summary.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_is_missing_is_told_before_the_long_work(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_items", lambda *_, **__: pytest.fail("the suite was read first"))
    with pytest.raises(SourceError, match=r"nothere.jsonl"):
        decontaminate("nothere.jsonl")
    with pytest.raises(UsageError, match=r"no suite is named 'evalz'"):
        tulu_data.decontaminate("evalz", ["nothere.jsonl"], workspace=Workspace(place))
    with pytest.raises(UsageError, match=r"no rule is named 'tulu4'"):
        decontaminate("nothere.jsonl", rule="tulu4")
    (place / "evals.yaml").write_text("suite: [\n")
    with pytest.raises(RecipeError, match=r"not valid YAML"):
        decontaminate("nothere.jsonl")
