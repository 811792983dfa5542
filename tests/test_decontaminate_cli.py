"""`python -m tulu_data decontaminate …`, as a program: exit status, what it prints, what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tulu_data import cli

MATH = "Nora packs lunch boxes for a school trip and fills twenty six of them before the bus arrives"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "math.csv").write_text(f"id,question\nm1,{MATH}\n")
    (tmp_path / "evals.yaml").write_text(
        "suite: mine\nevals:\n  - {name: math, from: math.csv, fields: [question], id: id}\n"
    )
    for name, text in (("clean", "Hello"), ("dirty", f"Solve: {MATH}")):
        row = {"prompt": text, "completion": "26", "question": "Hello", "answer": "Hi"}
        rows = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "26"}]}]
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(rows[0]) + "\n")
        (tmp_path / f"{name}-both.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "bad.jsonl").write_text(
        (tmp_path / "dirty.jsonl").read_text() + '{oh\n{"messages": "no list"}\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.run(["decontaminate", "--against", "evals.yaml", *line.split()])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.mark.slow
def test_the_program_itself(place: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tulu_data",
        "decontaminate",
        "--against",
        "evals.yaml",
        "dirty.jsonl",
        "clean.jsonl",
    ]
    root = str(Path(cli.__file__).parent.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 3, done.stderr
    assert "2 rows against 1 items: 1 row matches, 1 stay" in done.stdout
    assert pq.read_table(place / "decontaminated/mine/clean/clean.parquet").num_rows == 1
    assert pq.read_table(place / "decontaminated/mine/dropped/dirty.parquet")["verdict"].to_pylist() == [
        "decontaminate:math"
    ]


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("clean.jsonl", 0, ""),
        ("dirty.jsonl", 3, ""),
        ("dirty.jsonl --roles assistant", 0, ""),
        ("dirty.jsonl --roles assistant,user", 3, ""),
        ("dirty.jsonl --roles usr", 2, "Did you mean 'user'?"),
        ("dirty.jsonl --rule tulu3", 3, ""),
        ("dirty.jsonl --rule tulu", 2, "Did you mean 'tulu3'?"),
        ("", 2, "has no `train:` list"),
        ("--all-recipes", 2, "no recipe in the workspace has a source"),
        ("nothere.jsonl", 1, "nothere.jsonl: the file does not exist"),
        ("clean.json", 1, "Did you mean 'clean.jsonl'?"),
        ("dirty.jsonl dirty.jsonl", 2, "is named twice"),
        ("dirty-both.jsonl", 1, "fit more than one adapter"),
        ("dirty-both.jsonl --adapter prompt_completion", 3, ""),
        ("dirty-both.jsonl --adapter question_answer", 0, ""),
        ("dirty-both.jsonl --adapter promt_completion", 2, "Did you mean 'prompt_completion'?"),
        ("bad.jsonl", 1, "--bad-rows skip"),
        ("bad.jsonl --bad-rows skip", 3, ""),
        ("dirty.jsonl --threads 0", 2, "--threads"),
        ("dirty.jsonl --bad-rows maybe", 2, "--bad-rows"),
    ],
)
def test_exit_status_and_message(
    place: Path, capsys: pytest.CaptureFixture[str], line: str, status: int, said: str
) -> None:
    before = sorted(place.rglob("*"))
    got, _, err = run(line, capsys)
    assert (got, said in err) == (status, True), err
    if status not in {0, 3}:
        assert sorted(place.rglob("*")) == before, "nothing remains of a run that failed"


def test_json_is_the_summary(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("dirty.jsonl --json --out there", capsys)
    assert status == 3
    assert json.loads(out) == json.loads(Path("there/summary.json").read_text())


def test_an_existing_folder_needs_force(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dirty.jsonl --out there", capsys)[0] == 3
    status, _, err = run("clean.jsonl --out there", capsys)
    assert (status, "--force" in err) == (1, True)
    assert run("clean.jsonl --out there --force", capsys)[0] == 0
    assert run(f"clean.jsonl --out {place} --force", capsys)[0] == 1


def test_ctrl_c_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    before = sorted(place.rglob("*"))
    monkeypatch.setattr("tulu_data.decontam.output.NativeWriter.write", stopped)
    assert run("dirty.jsonl", capsys)[0] == 130
    assert sorted(place.rglob("*")) == before


def test_row_text_is_printed_literally(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"messages": [{"role": "user", "content": f"\x1b[2J[/INST] [red]{MATH}"}]}
    (place / "odd.jsonl").write_text(json.dumps(row) + "\n")
    status, out, _ = run("odd.jsonl", capsys)
    assert status == 3
    assert "[/INST]" in out
    assert "\x1b[2J" not in out
