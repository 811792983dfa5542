"""The sample of preferences holds what its README says, and its recipe finds it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import tulu_data
from tulu_data.mixtures.build import BuildResult
from tulu_data.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "mixtures" / "sample"

DROPPED = {
    "Explain how to descale": "pair:tie",
    "How do I fold": "pair:tie",
    "Is it true that lightning": "pair:tie",
    "Which animals sleep": "pair:too_few",
    "What is a leap second": "pair:unrated",
    "How do I tie a bowline": "valid_pair:empty_answer",
    "Write a headline for a story": "valid_pair:same_answer",
    "How do I thank a neighbour": "valid_pair:same_answer",
    "Nora packs lunch boxes": "decontaminate:sample_math",
}
"""The beginning of the prompt of every row that is not kept, and why."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return tulu_data.build(
        "preference_mini", workspace=Workspace(ROOT), store=tmp_path_factory.mktemp("sample") / "store"
    )


def test_each_planted_fault_is_found_and_nothing_else(built: BuildResult) -> None:
    rows = [
        row
        for file in sorted((built.path / "dropped").glob("*.parquet"))
        for row in pq.read_table(file, columns=["prompt", "verdict"]).to_pylist()
    ]
    found = {begin: row["verdict"] for row in rows for begin in DROPPED if row["prompt"].startswith(begin)}
    assert found == DROPPED
    assert len(rows) == len(DROPPED)


def test_the_readme_names_the_planted_faults_and_counts_the_rows() -> None:
    text = (SAMPLE / "README.md").read_text(encoding="utf-8")
    assert all(begin in text for begin in DROPPED)
    for file in ("ratings.jsonl", "pairs.jsonl"):
        rows = len((SAMPLE / file).read_text(encoding="utf-8").splitlines())
        assert re.search(rf"\| `{file}` \| {rows} \|", text)


def test_the_better_answer_is_often_but_not_always_the_longer_one(built: BuildResult) -> None:
    rows = pq.read_table(built.path / "data").to_pylist()
    longer = [len(row["chosen"][-1]["content"]) > len(row["rejected"][-1]["content"]) for row in rows]
    assert 0.5 < sum(longer) / len(rows) < 0.9


def test_every_answer_is_kept_beside_the_pair(built: BuildResult) -> None:
    native = [json.loads(line) for line in (SAMPLE / "ratings.jsonl").read_text().splitlines()]
    answers = {row["instruction"]: [c["response"] for c in row["completions"]] for row in native}
    prompts = {row["id"]: row["prompt"] for row in pq.read_table(built.path / "data").to_pylist()}
    lineage = pq.read_table(built.path / "lineage.parquet").to_pylist()
    rated = [row for row in lineage if row["source"] == "rated"]
    assert len(rated) > 20
    for row in rated:
        kept = [completion["messages"][-1]["content"] for completion in row["completions"]]
        assert kept == answers[prompts[row["id"]]]
    assert all(row["completions"] is None for row in lineage if row["source"] == "pairs")
